"""The whole journal on disk: who, when, what, before and after, why, and about which items."""

import csv
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from curation.folding import NONE, Folded, Int64, numbers
from curation.journal import Journal
from curation.schema import Decision
from curation.workspace import Workspace
from embeddings import disk
from embeddings.errors import CurationError

COLUMNS = (
    "seq decision_id made_at made_by action field value n_items atlas_version undoes note source "
    "replaces part_of"
).split()
FORMATS = ("csv", "json")

Tally = dict[str, int]


def export_log(
    workspace: Workspace,
    format: str,
    to: Path,
    *,
    made_by: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write every decision, or those of one person, to a file; return how many.

    Each has the columns of the journal, `before` and `after` (how many of its items carried each
    label of its field, or its flag; ``""`` = none), and `item_ids`. In CSV the two counts are JSON
    and the ids are parted by spaces. Nothing half is ever left at `to`.

    Raises
    ------
    CurationError
        For a format that is none, a file that is there already, and one that cannot be written.
    """
    if format not in FORMATS:
        raise CurationError(f"unknown format {format[:40]!r}; known: {', '.join(FORMATS)}")
    if to.is_dir() or (to.exists() and not overwrite):
        raise CurationError(f"{to} is there already; say overwrite, or choose another file")
    fresh = to.with_name(f".{to.name[:40]}.{uuid.uuid4().hex}")
    rows = audit(workspace.journal, made_by=made_by)
    with disk.writing(to.parent):
        try:
            with fresh.open("x", encoding="utf-8", newline="") as file:
                written = (_write_csv if format == "csv" else _write_json)(file, rows)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, to)
        except FileNotFoundError as error:
            raise CurationError(f"there is no folder {to.parent}; make it first") from error
        finally:
            fresh.unlink(missing_ok=True)
    return written


def audit(journal: Journal, *, made_by: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield each decision as plain values, oldest first, with what it changed."""
    state = Folded(journal.bitmaps, journal.items_of, journal.refusals)
    state.grow(journal.n_items)
    for decision in journal.each():
        items, name = numbers(decision.items), _channel(state, decision)
        state.grow(max(len(state.named), int(decision.items.max()) + 1))
        before = _tally(state, name, items)
        state.fold([decision])
        if made_by in (None, decision.made_by):
            yield {
                **{column: getattr(decision, column) for column in COLUMNS},
                "before": before,
                "after": _tally(state, name, items),
                "item_ids": journal.item_ids(items).tolist(),
            }


def _channel(state: Folded, decision: Decision) -> str | None:
    if decision.undoes is not None:
        return state.channel_of(decision.undoes)
    if decision.action == "label":
        return decision.field
    return decision.value if decision.field == "flag" else None


def _tally(state: Folded, name: str | None, items: Int64) -> Tally | None:
    if name is None:
        return None
    channel = state.channels[name]
    codes = state.codes[channel.winner[items]]
    labels = [*channel.legend, ""]
    held, counts = np.unique(np.where(codes == NONE, len(labels) - 1, codes), return_counts=True)
    return {labels[code]: n for code, n in zip(held.tolist(), counts.tolist(), strict=True)}


def _write_json(file: TextIO, rows: Iterator[dict[str, Any]]) -> int:
    written = 0
    file.write("[")
    for row in rows:
        file.write(",\n" if written else "\n")
        file.write(json.dumps(row, ensure_ascii=False))
        written += 1
    file.write("\n]\n")
    return written


def _write_csv(file: TextIO, rows: Iterator[dict[str, Any]]) -> int:
    writer = csv.DictWriter(file, [*COLUMNS, "before", "after", "item_ids"])
    writer.writeheader()
    written = 0
    for row in rows:
        counts = {
            name: row[name] and json.dumps(row[name], ensure_ascii=False)
            for name in ("before", "after")
        }
        writer.writerow({**row, **counts, "item_ids": " ".join(row["item_ids"])})
        written += 1
    return written
