"""`curate export`: a labelled set on disk, with a manifest."""

from pathlib import Path

import click

from curation.cli.output import as_json, dataset, show, with_bars


@click.command()
@dataset
@click.option("--as", "format", required=True, help="csv, parquet, imagefolder, urls or cortex.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace the folder when it is there.")
@as_json
def export(name: str, format: str, to: Path, overwrite: bool, as_json: bool) -> None:
    """Write images and labels to a folder, with checksums in its manifest.json."""
    import json

    from curation.workspace import Workspace

    workspace = Workspace(name)
    path = with_bars(
        lambda bars: workspace.export(
            format,
            to,
            overwrite=overwrite,
            progress=lambda done, total: bars("export", done, total),
        )
    )
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    text = f"{len(manifest['files']):,} files in {path} (manifest.json has their checksums)"
    show({"path": str(path), "manifest": manifest}, text, as_json)
