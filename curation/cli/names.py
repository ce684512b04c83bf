"""`curate rename, merge, unlabel, refuse`: acts on whole labels, and what an item is not."""

import click

from curation.cli.decide import SELECTOR_HELP, done, kind_of_label, note_of, opened
from curation.cli.output import as_json, dataset


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@dataset
@kind_of_label
@note_of
@as_json
def rename(old: str, new: str, name: str, field: str, note: str | None, as_json: bool) -> None:
    """Rename the label OLD to NEW wherever it stands now, as one act that can be undone."""
    done([opened(name).rename(old, new, field=field, note=note)], as_json)


@click.command()
@click.argument("labels", metavar="LABEL...", nargs=-1, required=True)
@click.option("--into", required=True, help="The label that takes their place; may be one of them.")
@dataset
@kind_of_label
@note_of
@as_json
def merge(
    labels: tuple[str, ...], into: str, name: str, field: str, note: str | None, as_json: bool
) -> None:
    """Merge labels into one wherever they stand now, as one step that can be undone."""
    done(opened(name).merge(labels, into, field=field, note=note), as_json)


@click.command()
@click.argument("label", metavar="LABEL")
@dataset
@kind_of_label
@note_of
@as_json
def unlabel(label: str, name: str, field: str, note: str | None, as_json: bool) -> None:
    """Delete LABEL: take it from every item that carries it, as one act that can be undone."""
    done([opened(name).delete_label(label, field=field, note=note)], as_json)


@click.command(help=f"Say that no item of SELECTOR is LABEL.\n\n{SELECTOR_HELP}")
@click.argument("selector", metavar="SELECTOR")
@click.argument("value", metavar="LABEL")
@dataset
@kind_of_label
@note_of
@as_json
def refuse(
    selector: str, value: str, name: str, field: str, note: str | None, as_json: bool
) -> None:
    """Keep what a curator took out of a proposal."""
    workspace = opened(name)
    done([workspace.refuse(workspace.select(selector), value, field=field, note=note)], as_json)
