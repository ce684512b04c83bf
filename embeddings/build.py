"""The staged pipeline: sources of images become a dataset with an atlas; resumable throughout."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from embeddings import cluster as clusters
from embeddings import dataset as datasets
from embeddings import disk, encoders, given, metadata, neighbours, nvjpeg, project, sources
from embeddings.dataset import REPORT, Dataset, building, now, write_json
from embeddings.downloads import Limits
from embeddings.encoders import precision
from embeddings.encoders.given import KIND
from embeddings.errors import CurationError
from embeddings.images import JpegDecoder, printable
from embeddings.ingest import Ingest, Ingested, Scan, scan
from embeddings.originals import Originals
from embeddings.schema import Atlas, Location, Neighbours, Vectors
from embeddings.stages import Progress, Timings, silent
from embeddings.store import Store, vectors_digest

_log = logging.getLogger(__name__)

REVISION = 1  # rises when our own code would give another atlas for the same input
BIG_RUN = 10_000  # new files from which on the disk's room is said
LIBRARIES = ("umap-learn", "hdbscan", "scikit-learn", "numpy", "numba", "torch")


@dataclass(frozen=True)
class Options:
    """What a build is asked for. `neighbours` is k of the k-NN graph, `seed` decides chance.

    No `encoder` means the vectors that the sources bring, else `encoders.DEFAULT`; `brought` is
    what they bring of the atlas, and `run` fills it in. `decode` is ``"cpu"``, or ``"nvjpeg"`` to
    decode JPEGs on the GPU.
    """

    encoder: str = ""
    layout: str = "umap"
    dims: int = 2
    cluster: str = "hdbscan"
    neighbours: int = 30
    seed: int = 0
    batch: str | None = None
    device: str = "auto"
    metadata: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
    decode: str = "cpu"
    brought: given.Places | None = None


Placer = Callable[[Store, str, Options, Timings, Progress], Atlas]


@dataclass(frozen=True)
class Report:
    """What a build did: counts, seconds per stage, and the atlas it ended with.

    `encoder_busy` is the share of the time from scan to store that the encoder worked: 1 means
    that nothing else was waited for. None when it had nothing to do.
    """

    dataset: str
    space: str
    encoder: str
    files: int
    images: int
    new_images: int
    new_vectors: int
    unchanged: int
    duplicates: int
    unreadable: dict[str, int]
    missing: int
    metadata: list[dict[str, Any]]
    atlas_version: str
    clusters: int
    noise: int
    device: str
    timings: dict[str, Any]
    encoder_busy: float | None
    notes: list[str]
    made_at: str = field(default_factory=now)


def build(
    name: str, specs: Sequence[str | Path], options: Options, progress: Progress = silent
) -> Report:
    """Bring the images of the sources into the dataset `name` and lay out its atlas.

    Each of `specs` is what a source is called on the command line: a folder, a file, a glob, an
    archive, a list of URLs.

    What is there already is not computed again: files whose size and time of change are known,
    vectors, the k-NN graph and the atlas of the same vectors and parameters.

    Raises
    ------
    CurationError
        For a source, encoder, layout, clusterer or metadata table that cannot be used, before
        anything is written; and when no file at all can be read.
    """
    project.LAYOUTS.get(options.layout)
    clusters.CLUSTERERS.get(options.cluster)

    def check(encoder_id: str, found: Scan) -> None:
        usual = Options()  # what is as usual may not have been asked for
        given.check(
            found,
            layout=None if options.layout == usual.layout else options.layout,
            dims=None if options.dims == usual.dims else options.dims,
            cluster=None if options.cluster == usual.cluster else options.cluster,
        )

    return run(name, specs, options, lay_out, progress, check)


def run(
    name: str,
    specs: Sequence[str | Path],
    options: Options,
    place: Placer,
    progress: Progress,
    check: Callable[[str, Scan], None],
) -> Report:
    """Ingest `specs`, let `place` make the atlas, and keep the report: `build` and `add`.

    `check` is given the encoder's id and what the sources hold, before anything is written.
    """
    timings = Timings()
    precision.check_device(options.device)
    tables = [(path, metadata.read(path)) for path in options.metadata]
    wanted = [os.fspath(spec) for spec in specs]
    for spec in wanted:
        sources.resolve(spec)
    if not options.encoder.startswith(f"{KIND}:"):
        encoders.kind_of(options.encoder or encoders.DEFAULT)
    jpegs = _jpegs(options)
    with begun(name) as dataset:
        store = Store(dataset.tables)
        found = scan(
            wanted,
            timings,
            progress,
            keep=dataset.downloads,
            stored=Originals(store, dataset.downloads).read,
            limits=options.limits,
        )
        if not found.candidates:
            places = ", ".join(wanted)
            raise CurationError(f"no images below {places}; give a folder that holds image files")
        encoder, spec = _encoder(found, store, options)
        check(encoder.encoder_id, found)
        ingest = Ingest(
            store,
            encoder,
            timings,
            spec=spec,
            batch=options.batch,
            jpegs=jpegs,
            room=_room(dataset, store, encoder.dim, options, found),
            progress=progress,
        )
        result = ingest.run(found.candidates)
        if not store.count("items"):
            raise CurationError(_all_unreadable(result))
        ingest.mark_missing(found)
        joined = _join_metadata(store, tables, found, result)
        options = replace(options, brought=given.places(found, store))
        atlas = place(store, ingest.space, options, timings, progress)
        found.notes += given.notes(options.brought, atlas)
        store.compact()
        report = _report(dataset, store, encoder, ingest, found, joined, atlas, timings)
        write_json(dataset.path / REPORT, asdict(report))
    return report


def _encoder(found: Scan, store: Store, options: Options) -> tuple[encoders.Encoder, str]:
    """Return the encoder and how to ask for it again: of what the sources bring, or a model."""
    own = given.encoder(found, store, options.encoder)
    if own is not None:
        return own, own.encoder_id
    spec = options.encoder or encoders.DEFAULT
    return encoders.load(spec, device=options.device), spec


def lay_out(
    store: Store, space: str, options: Options, timings: Timings, progress: Progress = silent
) -> Atlas:
    """Return the atlas of one space under `options`: the stored one, or a new one that is kept.

    Either is the newest then: what was asked for last is what people see.
    """
    params = {
        "layout": options.layout,
        "dims": options.dims,
        "cluster": options.cluster,
        "neighbours": options.neighbours,
        "seed": options.seed,
        "encoder": store.spaces()[space]["encoder"],
        "revision": REVISION,
        "libraries": {library: installed(library) for library in LIBRARIES},
        **(options.brought.params if options.brought else {}),
    }
    unchanged = _unchanged(store, space, params)
    if unchanged is not None:
        store.save_atlas(unchanged, now())
        return unchanged
    vectors = store.vectors(space)
    key = json.dumps([vectors_digest(vectors), space, params], sort_keys=True)
    version = hashlib.sha256(key.encode()).hexdigest()[:16]
    graph = stored_graph(store, space, vectors, options, timings, progress)
    progress("project", 0, len(vectors))
    with timings.stage("project", items=len(vectors)):
        xy = given.layout(options.brought, vectors)
        if xy is None:
            xy = project.project(
                options.layout, vectors, graph, dims=options.dims, random_state=options.seed
            )
    progress("project", len(vectors), len(vectors))
    with timings.stage("cluster", items=len(vectors)):
        found, membership = given.clusters(options.brought, vectors) or clusters.cluster(
            options.cluster, xy, random_state=options.seed
        )
    progress("cluster", len(vectors), len(vectors))
    outlier = neighbours.outlier_score(graph)
    atlas = Atlas(vectors.item_ids, xy, found, membership, outlier, version, space, params)
    store.save_atlas(atlas, now())
    return atlas


def _unchanged(store: Store, space: str, params: dict[str, Any]) -> Atlas | None:
    """Return the atlas of the same parameters and vectors, if there is one.

    A space only grows, so one with as many vectors as the atlas has items has the same vectors.
    """
    wanted = json.loads(json.dumps(params))  # as a run's are kept
    for run in reversed(store.atlas_runs()):
        if run["space"] == space and run["params"] == wanted:
            atlas = store.atlas(run["version"])
            if len(atlas) == store.count(f"vectors_{space}"):
                return atlas
    return None


def stored_graph(
    store: Store,
    space: str,
    vectors: Vectors,
    options: Options,
    timings: Timings,
    progress: Progress,
) -> Neighbours:
    """Return the k-NN graph of one space: the stored one, or a new one that is kept."""
    key = f"{vectors_digest(vectors)}-{options.neighbours}"
    graph = store.neighbours(space, key)
    if graph is not None:
        return graph
    with timings.stage("neighbours", items=len(vectors)):
        graph = neighbours.knn_graph(
            vectors,
            options.neighbours,
            device=options.device,
            progress=lambda done, total: progress("neighbours", done, total),
        )
    if graph.k:
        store.save_neighbours(space, graph, key)
    return graph


@contextmanager
def begun(name: str) -> Iterator[Dataset]:
    """Hold the dataset called `name`, made when there is none, for a build.

    A new one that fails before anything was kept in it leaves nothing behind.
    """
    new = name not in datasets.names()
    dataset = datasets.create_dataset(name)
    with building(dataset):
        try:
            yield dataset
        except BaseException:
            if new and not _worth_keeping(dataset):
                # renamed first: who comes now must not meet half of it, nor lose what he begins
                gone = dataset.path.with_name(f".{name}.{os.getpid()}.gone")
                dataset.path.rename(gone)
                shutil.rmtree(gone)
            raise


def _worth_keeping(dataset: Dataset) -> bool:
    downloaded = dataset.downloads.is_dir() and any(dataset.downloads.iterdir())
    return downloaded or dataset.journal.exists() or Store(dataset.tables).count("items") > 0


def _jpegs(options: Options) -> JpegDecoder | None:
    if options.decode == "cpu":
        return None
    if options.decode != "nvjpeg":
        raise CurationError(f"unknown decoder {options.decode!r}; known: cpu, nvjpeg")
    return nvjpeg.open_decoder(precision.choose_device(options.device))


def _room(
    dataset: Dataset, store: Store, dim: int, options: Options, found: Scan
) -> Callable[[int], None]:
    """Return what refuses a run of so many new images that the disk cannot hold, or notes it."""

    def room(new: int) -> None:
        note = disk.check(
            dataset.path, new, dim, known=store.count("images"), neighbours=options.neighbours
        )
        if new >= BIG_RUN or "tight" in note:
            found.notes.append(f"{new:,} new files: {note}")
            _log.warning(found.notes[-1])  # at once: the report comes after hours

    return room


def _busy(timings: Timings, result: Ingested, encoder: encoders.Encoder) -> float | None:
    seconds = timings.seconds.get("encode")
    brought = encoder.encoder_id.startswith(f"{KIND}:")  # nothing is encoded
    return None if seconds is None or brought else round(seconds / max(result.seconds, 1e-9), 3)


def _all_unreadable(result: Ingested) -> str:
    reasons = "; ".join(f"{count} x {reason}" for reason, count in result.unreadable.most_common(3))
    return (
        f"none of the {result.files} files can be read as an image ({reasons}); "
        "give a folder that holds image files"
    )


def _join_metadata(
    store: Store, tables: Sequence[tuple[Path, Any]], found: Scan, result: Ingested
) -> list[dict[str, Any]]:
    new = result.files > result.unchanged or store.count("fields") < store.count("images")
    if not (new or tables or any(one.brought.fields for one in found.candidates)):
        return []
    locations: list[Location] = store.locations()
    layers = [metadata.folders(locations), _brought_fields(found, locations)]
    joined = []
    for path, table in tables:
        fields = metadata.join(table, path.absolute().parent, locations)
        layers.append(fields.columns)
        joined.append(
            {
                "table": printable(str(path)),
                "rows": fields.rows,
                "unmatched": fields.unmatched,
                "conflicts": fields.conflicts,
            }
        )
    store.save_fields(metadata.merge(store.fields(), layers))
    return joined


def _brought_fields(found: Scan, locations: Sequence[Location]) -> dict[str, dict[str, Any]]:
    """Return what the sources say of each image: of two about one image the first counts."""
    met = {row.path: row.image_id for row in locations if row.status == "ok"}
    fields: dict[str, dict[str, Any]] = {}
    for one in found.candidates:
        image_id = met.get(one.path)
        if image_id is not None and one.brought.fields:
            told = {name: value for name, value in one.brought.fields.items() if value is not None}
            fields[image_id] = {**told, **fields.get(image_id, {})}
    return fields


def _report(
    dataset: Dataset,
    store: Store,
    encoder: encoders.Encoder,
    ingest: Ingest,
    found: Scan,
    joined: list[dict[str, Any]],
    atlas: Atlas,
    timings: Timings,
) -> Report:
    result = ingest.result
    return Report(
        dataset=dataset.name,
        space=ingest.space,
        encoder=encoder.encoder_id,
        files=result.files,
        images=store.count("images"),
        new_images=result.new_images,
        new_vectors=result.new_vectors,
        unchanged=result.unchanged,
        duplicates=result.duplicates,
        unreadable=dict(result.unreadable.most_common()),
        missing=result.missing,
        metadata=joined,
        atlas_version=atlas.version,
        clusters=int((atlas.clusters >= 0).sum()),
        noise=int((atlas.cluster < 0).sum()),
        device=str(encoder.describe().get("device", "cpu")),
        timings=timings.report(),
        encoder_busy=_busy(timings, result, encoder),
        notes=found.notes,
    )
