"""`curate label, flag, undo, redo, log`: acts on the journal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.output import as_json, dataset, show, table
from curation.schema import FIELDS

if TYPE_CHECKING:
    from curation.acts import Preview
    from curation.schema import Decision

SELECTOR_HELP = """SELECTOR is cluster:7, label:NAME, flag:NAME, id:ID, @FILE with one id a line,
all, or a JSON query such as '{"width": {"$gt": 100}}'."""

kind_of_label = click.option(
    "--field",
    type=click.Choice(FIELDS),
    default=FIELDS[0],
    show_default=True,
    help="What kind of label it is.",
)
note_of = click.option("--note", help="Why; kept in the journal.")


@click.command(
    help=f"Give all items of SELECTOR one LABEL, as one act that can be undone.\n\n{SELECTOR_HELP}"
)
@click.argument("selector", metavar="SELECTOR")
@click.argument("value", metavar="LABEL", required=False)
@dataset
@kind_of_label
@click.option("--overwrite", is_flag=True, help="Change labels that people gave before.")
@click.option("--clear", is_flag=True, help="Take the label away; LABEL is left out.")
@click.option("--review", is_flag=True, help="This is a reviewer's answer: it overwrites.")
@note_of
@as_json
def label(
    selector: str,
    value: str | None,
    name: str,
    field: str,
    overwrite: bool,
    clear: bool,
    review: bool,
    note: str | None,
    as_json: bool,
) -> None:
    """Label, or clear the label of, a selection."""
    if (value is None) != clear:
        raise click.UsageError("give a LABEL, or --clear to take it away")
    workspace = opened(name)
    selection = workspace.select(selector)
    source = "review" if review else None
    if value is None:
        decision = workspace.clear(selection, field=field, note=note, source=source)
    else:
        decision = workspace.label(
            selection, value, field=field, overwrite=overwrite or review, note=note, source=source
        )
    done([decision], as_json)


@click.command()
@click.argument("selector", metavar="SELECTOR")
@click.argument("value", metavar="FLAG")
@dataset
@click.option("--remove", is_flag=True, help="Take the flag away (restores excluded items).")
@note_of
@as_json
def flag(
    selector: str, value: str, name: str, remove: bool, note: str | None, as_json: bool
) -> None:
    """Flag all items of SELECTOR as excluded, outlier, duplicate or unclear."""
    workspace = opened(name)
    done([workspace.flag(workspace.select(selector), value, remove=remove, note=note)], as_json)


preview_of = click.option(
    "--preview", is_flag=True, help="Show what would change, and change nothing."
)


@click.command()
@dataset
@preview_of
@as_json
def undo(name: str, preview: bool, as_json: bool) -> None:
    """Take back your newest act, whole."""
    workspace = opened(name)
    if preview:
        _show_preview(workspace.preview_undo(), "undo", as_json)
    else:
        done(workspace.back("undo"), as_json)


@click.command()
@dataset
@preview_of
@as_json
def redo(name: str, preview: bool, as_json: bool) -> None:
    """Bring back what you undid last."""
    workspace = opened(name)
    if preview:
        _show_preview(workspace.preview_redo(), "redo", as_json)
    else:
        done(workspace.back("redo"), as_json)


@click.command()
@dataset
@click.option("-n", "--last", type=click.IntRange(1), help="Only the newest so many.")
@click.option("--by", "made_by", help="Only the decisions of this person.")
@click.option("--as", "format", type=click.Choice(["csv", "json"]), help="Format of --to.")
@click.option("--to", type=click.Path(path_type=Path), help="File to write the whole log to.")
@click.option("--overwrite", is_flag=True, help="Replace the file when it is there.")
@as_json
def log(
    name: str,
    last: int | None,
    made_by: str | None,
    format: str | None,
    to: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show who decided what, and when; newest first.

    With --to FILE the whole log is written, oldest first, with the items of each decision and what
    they were before and after.
    """
    if to is not None:
        _write_log(name, made_by, format or "csv", to, overwrite, as_json)
        return
    if format is not None:
        raise click.UsageError("say --to FILE too: that is what --as is for")
    decisions = opened(name).log(last, made_by=made_by)
    rows = [
        (d.seq, d.made_at[:19].replace("T", " "), d.made_by, d.words, d.n_items, _why(d))
        for d in decisions
    ]
    text = table(rows, ("seq", "when (UTC)", "who", "act", "items", "note")) if rows else "no acts"
    show({"decisions": [_plain(d) for d in decisions]}, text, as_json)


def opened(name: str) -> Any:
    """Return the workspace of a dataset."""
    from curation.workspace import Workspace

    return Workspace(name)


def done(decisions: Sequence["Decision"], use_json: bool) -> None:
    """Print what was decided; of one step of several acts, each, and the first with --json."""
    lines = [f"{d.words}: {d.n_items:,} items (decision {d.seq})" for d in decisions]
    value: dict[str, Any] = _plain(decisions[0]) if decisions else {"seq": None}
    if len(decisions) > 1:
        value["parts"] = [_plain(decision) for decision in decisions]
    show(value, "\n".join(lines) or "nothing to decide", use_json)


def _write_log(
    name: str, made_by: str | None, format: str, to: Path, overwrite: bool, use_json: bool
) -> None:
    from curation.audit import export_log

    n = export_log(opened(name), format, to, made_by=made_by, overwrite=overwrite)
    show({"path": str(to), "decisions": n}, f"{n:,} decisions in {to}", use_json)


def _show_preview(preview: "Preview | None", what: str, use_json: bool) -> None:
    if preview is None:
        show({"acts": [], "changes": []}, f"nothing to {what}", use_json)
        return
    changes = [
        {"field": c.field, "before": c.before, "after": c.after, "items": len(c.items)}
        for c in preview.changes
    ]
    acts = "; ".join(act.words for act in preview.acts)
    lines = [f"{what} of {acts}", *(f"  {line}" for line in preview.words)]
    value = {"acts": [_plain(act) for act in preview.acts], "changes": changes}
    show(value, "\n".join(lines if changes else [*lines, "  no item changes"]), use_json)


def _why(decision: "Decision") -> str:
    told = [decision.source and f"[{decision.source}]", decision.note]
    return " ".join(part for part in told if part)


def _plain(decision: "Decision") -> dict[str, Any]:
    from curation.schema import Decision

    skip = {"items"}
    names = [name for name in Decision.__dataclass_fields__ if name not in skip]
    return {name: getattr(decision, name) for name in names}
