"""`curate label, flag, undo, redo, log`: acts on the journal."""

from typing import TYPE_CHECKING, Any

import click

from curation.cli.output import as_json, dataset, show, table

if TYPE_CHECKING:
    from curation.schema import Decision

SELECTOR = "cluster:7 | label:NAME | flag:NAME | id:ID | @FILE | all | a JSON query"


@click.command()
@click.argument("selector", metavar="SELECTOR")
@click.argument("value", metavar="LABEL", required=False)
@dataset
@click.option(
    "--field",
    type=click.Choice(["category", "instance"]),
    default="category",
    show_default=True,
    help="What kind of label it is.",
)
@click.option("--overwrite", is_flag=True, help="Change labels that people gave before.")
@click.option("--clear", is_flag=True, help="Take the label away; LABEL is left out.")
@click.option("--note", help="Why; kept in the journal.")
@as_json
def label(
    selector: str,
    value: str | None,
    name: str,
    field: str,
    overwrite: bool,
    clear: bool,
    note: str | None,
    as_json: bool,
) -> None:
    """Give all items of SELECTOR one LABEL, as one act that can be undone.

    SELECTOR is cluster:7, label:NAME, flag:NAME, id:ID, @FILE with one id a line, all, or a JSON
    query such as '{"width": {"$gt": 100}}'.
    """
    if (value is None) != clear:
        raise click.UsageError("give a LABEL, or --clear to take it away")
    workspace = _open(name)
    selection = workspace.select(selector)
    if value is None:
        decision = workspace.clear(selection, field=field, note=note)
    else:
        decision = workspace.label(selection, value, field=field, overwrite=overwrite, note=note)
    _done(decision, as_json)


@click.command()
@click.argument("selector", metavar="SELECTOR")
@click.argument("value", metavar="FLAG")
@dataset
@click.option("--remove", is_flag=True, help="Take the flag away (restores excluded items).")
@click.option("--note", help="Why; kept in the journal.")
@as_json
def flag(
    selector: str, value: str, name: str, remove: bool, note: str | None, as_json: bool
) -> None:
    """Flag all items of SELECTOR as excluded, outlier, duplicate or unclear."""
    workspace = _open(name)
    decision = workspace.flag(workspace.select(selector), value, remove=remove, note=note)
    _done(decision, as_json)


@click.command()
@dataset
@as_json
def undo(name: str, as_json: bool) -> None:
    """Take back your newest act, whole."""
    _done(_open(name).undo(), as_json)


@click.command()
@dataset
@as_json
def redo(name: str, as_json: bool) -> None:
    """Bring back what you undid last."""
    _done(_open(name).redo(), as_json)


@click.command()
@dataset
@click.option("-n", "--last", type=click.IntRange(1), help="Only the newest so many.")
@as_json
def log(name: str, last: int | None, as_json: bool) -> None:
    """Show who decided what, and when; newest first."""
    decisions = _open(name).log(last)
    rows = [
        (d.seq, d.made_at[:19].replace("T", " "), d.made_by, d.words, d.n_items, d.note or "")
        for d in decisions
    ]
    text = table(rows, ("seq", "when (UTC)", "who", "act", "items", "note")) if rows else "no acts"
    show({"decisions": [_plain(d) for d in decisions]}, text, as_json)


def _open(name: str) -> Any:
    from curation.workspace import Workspace

    return Workspace(name)


def _done(decision: "Decision", use_json: bool) -> None:
    text = f"{decision.words}: {decision.n_items:,} items (decision {decision.seq})"
    show(_plain(decision), text, use_json)


def _plain(decision: "Decision") -> dict[str, Any]:
    from curation.schema import Decision

    skip = {"items"}
    names = [name for name in Decision.__dataclass_fields__ if name not in skip]
    return {name: getattr(decision, name) for name in names}
