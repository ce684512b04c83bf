"""`curate list, info, check, score`: what there is, and how good it is."""

from dataclasses import asdict
from typing import Any

import click

from curation.cli.output import as_json, dataset, show, table
from embeddings.errors import CurationError


@click.command(name="list")
@as_json
def list_datasets(as_json: bool) -> None:
    """List the datasets."""
    from embeddings import dataset as datasets

    rows = [_describe(name) for name in datasets.names()]
    sound = [row for row in rows if "error" not in row]
    lines = [
        table(
            [(r["name"], r["images"], r["atlases"], r["decisions"]) for r in sound],
            ("dataset", "images", "atlases", "decisions"),
        )
    ]
    lines += [f"{row['name']}: {row['error']}" for row in rows if "error" in row]
    empty = f"no datasets in {datasets.home()}; make one with: curate demo"
    text = "\n".join(lines) if rows else empty
    show({"home": str(datasets.home()), "datasets": rows}, text, as_json)


def _describe(name: str) -> dict[str, Any]:
    from curation.workspace import Workspace

    try:
        workspace = Workspace(name)
    except CurationError as error:  # one dataset's trouble does not hide the others
        return {"name": name, "error": str(error)}
    return {
        "name": name,
        "path": str(workspace.dataset.path),
        "images": workspace.store.count("images"),
        "items": workspace.store.count("items"),
        "spaces": list(workspace.store.spaces()),
        "atlases": len(workspace.runs()),
        "decisions": workspace.journal.head,
    }


@click.command()
@click.option("-d", "--dataset", "name", help="Also a dataset's stages, files and last build.")
@as_json
def info(name: str | None, as_json: bool) -> None:
    """Show versions, device, registries and paths: what a bug report needs."""
    from curation.about import about, about_dataset

    value = about()
    if name is not None:
        value["dataset"] = about_dataset(name)
    rows = [
        (key, inner if not isinstance(inner, dict) else _line(inner))
        for key, inner in value.items()
        if key != "dataset"
    ]
    lines = [f"{key:<16}{inner}" for key, inner in rows]
    lines += [f"{key:<16}{inner}" for key, inner in _dataset_rows(value.get("dataset"))]
    show(value, "\n".join(lines), as_json)


def _dataset_rows(value: dict[str, Any] | None) -> list[tuple[str, str]]:
    if value is None:
        return []
    stages = ", ".join(
        f"{stage} {done:,} of {total:,}" for stage, (done, total) in value["stages"].items()
    )
    counts = ", ".join(f"{key} {inner:,}" for key, inner in value["files"].items())
    rows = [("dataset", value["name"]), ("stages", stages), ("files", counts)]
    rows += [("unreadable", f"{n:,} x {why}") for why, n in value["unreadable"].items()]
    build = value["last_build"]
    if build is not None:
        rows.append(("last build", f"{build['made_at']} on {build['device']}{_busy(build)}"))
    return rows


def _busy(build: dict[str, Any]) -> str:
    share = build.get("encoder_busy")
    return "" if share is None else f", encoder busy {share:.0%} of scan to store"


@click.command()
@dataset
@click.option(
    "--status", default="unreadable", show_default=True, help="ok, unreadable, missing, moved."
)
@as_json
def files(name: str, status: str, as_json: bool) -> None:
    """List the files of one status: unreadable (with the reason), missing, moved, or ok."""
    from curation import intake
    from curation.workspace import Workspace

    rows = [intake.shown(row) for row in intake.files(Workspace(name), status)]
    lines = [f"{row['file']}\t{row['reason']}".rstrip() for row in rows]
    show({"status": status, "files": rows}, "\n".join(lines) or f"no {status} files", as_json)


def _line(value: dict[str, Any]) -> str:
    return ", ".join(f"{key} {inner}" for key, inner in value.items())


@click.command()
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@dataset
@as_json
def check(checks: tuple[str, ...], name: str, as_json: bool) -> None:
    """Look for duplicates, outliers and doubtful labels; all checks when none is named."""
    from curation.checks import CHECKS
    from curation.workspace import Workspace

    workspace = Workspace(name)
    for each in checks:
        CHECKS.get(each)  # a name that is none is refused before any check runs
    found = {each: workspace.check(each) for each in checks or CHECKS.names()}
    lines = []
    for each, findings in found.items():
        lines.append(f"{each}: {len(findings):,} findings")
        lines += [f"  {f.score:.3f}  {f.detail}" for f in findings[:10]]
    value = {each: [asdict(finding) for finding in rows] for each, rows in found.items()}
    show({"findings": value}, "\n".join(lines), as_json)


@click.command()
@dataset
@click.option("--truth", default="category", show_default=True, help="Labels, or field.NAME.")
@as_json
def score(name: str, truth: str, as_json: bool) -> None:
    """Show the leave-one-out k-NN accuracy of each space, beside chance."""
    from curation.scores import knn_scores
    from curation.workspace import Workspace

    rows = knn_scores(Workspace(name), truth)
    text = table(
        [(r["space"], r["items"], r["k1"], r["k5"], r["chance"]) for r in rows],
        ("space", "items", "1-NN", "5-NN", "chance"),
    )
    show({"truth": truth, "spaces": rows}, text, as_json)
