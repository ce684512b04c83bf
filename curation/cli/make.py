"""`curate demo` and `curate build`: images become a dataset."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.output import as_json, show, table, with_bars
from curation.cli.serve import PORT, PORTS, open_app, refuse_used
from embeddings.errors import CurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.cli.output import Bars
    from embeddings.build import Report
    from embeddings.downloads import Limits

DEMO = "digits"

_metadata = click.option(
    "--metadata",
    multiple=True,
    type=click.Path(path_type=Path),
    help="CSV or Parquet table joined to the images by path or hash; may be given again.",
)
_batch = click.option("--batch", help="Name of this delivery, kept with every new image.")
_decode = click.option(
    "--decode", default="cpu", show_default=True, help="cpu, or nvjpeg: JPEGs on the GPU."
)
_private = click.option(
    "--private", is_flag=True, help="Let URLs lead into your own network, which is refused else."
)
_device = click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")


@click.command()
@click.option("--encoder", default="builtin", show_default=True, help="Encoder of the sample.")
@click.option("--port", type=PORTS, default=PORT, show_default=True, help="Port of the app.")
@click.option("--no-browser", is_flag=True, help="Serve, but open no browser.")
@click.option("--no-serve", is_flag=True, help="Build the sample dataset and stop.")
@as_json
def demo(encoder: str, port: int, no_browser: bool, no_serve: bool, as_json: bool) -> None:
    """Build the sample dataset (1,797 scanned digits) and open it in the browser.

    The images ship with scikit-learn: no network is needed.
    """
    if not no_serve:
        refuse_used(port)  # now, not after a minute of building
    folder = _sample()
    options = {"encoder": encoder, "metadata": (folder / "labels.csv",)}
    report = _build(DEMO, [str(folder)], options)
    show(asdict(report), _summary(report), as_json)
    if not no_serve:
        open_app(DEMO, port, browser=not no_browser)


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("-d", "--dataset", "name", required=True, help="Name of the dataset.")
@click.option(
    "--encoder",
    help="builtin (no download), open_clip:MODEL/TAG, open_clip:MODEL/FILE, onnx:FILE, or the "
    "presets fast, balanced, best; given:NAME to put vectors of several tables into one space.  "
    "[default: the vectors of a table that brings them, else open_clip:ViT-B-32/laion2b_s34b_b79k]",
)
@_metadata
@_batch
@click.option("--layout", default="umap", show_default=True, help="umap, tsne or pca.")
@click.option(
    "--dims", type=click.IntRange(2, 3), default=2, show_default=True, help="2-D or 3-D layout."
)
@click.option("--cluster", default="hdbscan", show_default=True, help="hdbscan, dbscan or kmeans.")
@click.option(
    "--neighbours", type=click.IntRange(2, 200), default=30, show_default=True, help="k of k-NN."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Same seed, same atlas.",
)
@_device
@_decode
@_private
@as_json
def build(
    sources: tuple[str, ...],
    name: str,
    encoder: str | None,
    private: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Scan, decode, encode, lay out and cluster the images of SOURCES.

    A source is a folder, an image, a glob, an archive, a URL or a list of them, what img2dataset
    wrote, Cortex records, or a table that brings vectors (docs/sources.md). Run it again after a
    stop, or over a grown folder: only what is missing is computed.
    """
    if encoder is not None:
        options["encoder"] = encoder
    report = _build(name, list(sources), {**options, "limits": _limits(private)})
    show(asdict(report), _summary(report), as_json)


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("-d", "--dataset", "name", required=True, help="Name of the dataset.")
@click.option("--encoder", default="", help="Only when the encoder's own file has moved.")
@_metadata
@_batch
@click.option("--refit", is_flag=True, help="Fit the layout again from where everything stands.")
@_device
@_decode
@_private
@as_json
def add(
    sources: tuple[str, ...], name: str, refit: bool, private: bool, as_json: bool, **options: Any
) -> None:
    """Bring new images onto the atlas that is there: nobody moves.

    Each stands at the median of its 15 nearest neighbours. Files that are gone are marked missing;
    their labels stay.
    """
    from embeddings.add import add as grow
    from embeddings.build import Options

    options["limits"] = _limits(private)
    report = _kept(
        name, lambda bars: grow(name, sources, Options(**options), anew=refit, progress=bars)
    )
    show(asdict(report), _summary(report), as_json)


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("-d", "--dataset", "name", required=True, help="Name of the dataset.")
@as_json
def relocate(old: Path, new: Path, name: str, as_json: bool) -> None:
    """Say that the files below OLD are below NEW now; their bytes are compared."""
    from embeddings.relocate import relocate as look

    found = with_bars(lambda bars: look(name, old, new, bars))
    lines = [f"{found.found:,} files found below {new}"]
    lines += [f"not there: {path}" for path in found.absent[:10]]
    lines += [f"another file is there: {path}" for path in found.changed[:10]]
    show(asdict(found), "\n".join(lines), as_json)


def _limits(private: bool) -> "Limits":
    from embeddings.downloads import Limits

    return Limits(private=private)


def _sample() -> Path:
    from embeddings import dataset
    from embeddings.samples import digits

    folder = dataset.home() / ".samples" / "digits"
    try:
        return digits.render(folder)
    except OSError as error:
        raise CurationError(
            f"cannot write {folder}: {error.strerror}; set CURATE_HOME to a folder you can write"
        ) from error


def _build(name: str, sources: list[str], options: dict[str, Any]) -> "Report":
    from embeddings.build import Options
    from embeddings.build import build as run

    return _kept(name, lambda bars: run(name, sources, Options(**options), bars))


def _kept(name: str, work: "Callable[[Bars], Report]") -> "Report":
    from curation.workspace import Workspace
    from embeddings import dataset

    if dataset.check_name(name) in dataset.names():
        Workspace(name)  # a journal that cannot be used is refused before anything is computed
    report: Report = with_bars(work)
    Workspace(name)  # gives the new items their numbers, so that the first act need not wait
    return report


def _new(report: "Report") -> str:
    known = f", {report.duplicates:,} files hold images known already" if report.duplicates else ""
    return f"{report.new_images:,} new{known}"


def _summary(report: "Report") -> str:
    timings = report.timings
    rows = [
        (stage, row["items"], row["seconds"], row["items_per_second"])
        for stage, row in timings["stages"].items()
    ]
    lines = [
        table(rows, ("stage", "items", "seconds", "items/s")),
        f"{report.images:,} images in {report.dataset!r} ({_new(report)}), "
        f"{report.clusters} clusters, {report.noise:,} in none; atlas {report.atlas_version}",
        f"{timings['wall_seconds']:.1f} s on {report.device}, encoder {report.encoder}, "
        f"peak memory {timings['peak_memory_bytes'] / 2**20:,.0f} MiB",
    ]
    if report.encoder_busy is not None:
        lines.append(f"the encoder worked {report.encoder_busy:.0%} of the time from scan to store")
    if report.missing:
        lines.append(f"missing: {report.missing:,} files are gone; if they moved: curate relocate")
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"unreadable: {count:,} x {why}" for why, count in report.unreadable.items()]
    lines += [
        f"metadata {row['table']}: {row['rows']:,} rows, {row['unmatched']:,} met no image, "
        f"{row['conflicts']:,} contradict another row about the same image"
        for row in report.metadata
    ]
    lines.append(f"look at it: curate serve -d {report.dataset}")
    return "\n".join(lines)
