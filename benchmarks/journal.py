"""The journal, and beside it what it replaces: labels in a JSON file rewritten in place.

The peer keeps ``{item_id: label}`` of the labelled items only, writes it whole after every act, and
flushes it to the disk as the journal does. It has no history, so nothing to undo.

A second case is a long journal: a million small decisions, opened from its beginning, and from a
kept state that is 10,000 decisions old.
"""

import json
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pyroaring import BitMap

from benchmarks.measure import Size, columns, median, percentile95, timed
from curation import labels
from curation.journal import Journal
from curation.labels import LabelState

ME = "bench"
LABELS = 50
ACTS, ITEMS = 1000, 1000  # decisions, and items in each: half of them in a run, half strewn
TAIL = 10_000  # decisions since the state was kept
SHEET, PEOPLE = 20, 10  # items in a decision of the long journal on average, and who made them
WRITTEN = "decision_id, made_at, made_by, action, field, value, items, n_items, atlas"


def run(size: Size) -> dict[str, Any]:
    items = size.pick(1_000_000, 1_000_000)
    repeats = 50 if size.quick or size.limit else 200
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}" for number in range(items)]
    acts = _acts(items)
    with tempfile.TemporaryDirectory(prefix="bench-journal-") as folder:
        ours = _journal(Path(folder, "decisions.sqlite"), ids, acts, repeats)
        peer = _json_file(Path(folder, "labels.json"), ids, acts)
        decisions = size.pick(200_000, 1_000_000)
        long = _long(Path(folder, "long.sqlite"), ids, decisions)
    return {
        "items": items,
        "decisions": ACTS,
        "items_in_each": ITEMS,
        "journal": ours,
        "json_file": peer,
        "long": long,
        "ratio": {
            "act": round(peer["act_ms"] / ours["append_ms"], 1),
            "open": round(peer["load_ms"] / ours["open_and_fold_ms"], 1),
        },
    }


def table(result: dict[str, Any]) -> str:
    ours, peer, ratio = result["journal"], result["json_file"], result["ratio"]
    rows = [
        ("append an act of 1,000 items, ms", ours["append_ms"], peer["act_ms"], ratio["act"]),
        ("  95th percentile, ms", ours["append_ms_95"], peer["act_ms_95"], None),
        ("undo, ms", ours["undo_ms"], None, None),
        ("redo, ms", ours["redo_ms"], None, None),
        ("read and fold all decisions, ms", ours["open_and_fold_ms"], peer["load_ms"],
         ratio["open"]),
        ("  reading the rows of it, ms", ours["read_ms"], None, None),
        ("fold the newest decision, ms", ours["refresh_ms"], None, None),
        ("register all ids, s", ours["register_seconds"], None, None),
        ("size (the journal's holds every id), MB", ours["bytes"] / 1e6, peer["bytes"] / 1e6, None),
    ]  # fmt: skip
    heads = (f"{result['decisions']:,} decisions over {result['items']:,} items", "journal")
    first = columns(
        [
            dict(
                zip((*heads, "JSON file", "JSON/journal"), [what, *map(_float, rest)], strict=True)
            )
            for what, *rest in rows
        ]
    )
    long = result["long"]
    title = f"{long['decisions']:,} decisions of {SHEET} items, over {result['items']:,} items"
    names = {
        "replay_seconds": "full replay from the first decision, s",
        "open_seconds": f"open from a state kept {long['tail']:,} decisions ago, s",
        "reopen_seconds": "open from a state kept now, s",
        "refresh_ms": "fold the newest decision, ms",
        "undo_ms": "undo an act and fold that, ms",
        "bytes": "size of the journal, bytes",
        "kept_bytes": "size of the kept state, bytes",
    }
    second = columns([{title: text, "journal": float(long[key])} for key, text in names.items()])
    return f"{first}\n\n{second}"


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _acts(items: int) -> list[BitMap]:
    random = np.random.default_rng(0)
    half = min(ITEMS, items) // 2
    found = []
    for _ in range(ACTS):
        start = int(random.integers(0, items - half + 1))
        strewn = random.integers(0, items, half)
        found.append(BitMap(range(start, start + half)) | BitMap(strewn.astype(np.uint32)))
    return found


def _journal(path: Path, ids: list[str], acts: list[BitMap], repeats: int) -> dict[str, Any]:
    with Journal(path) as journal:
        (register,) = timed(lambda: journal.register(ids), 1)

        def label(number: int) -> None:
            name = f"label {number % LABELS}"
            journal.append(
                "label", items=acts[number], made_by=ME, field="category", value=name
            )  # fmt: skip

        append = [timed(lambda number=number: label(number), 1)[0] for number in range(ACTS)]
        read = timed(journal.since, 5)
        fold = timed(lambda: LabelState(journal), 5)
        undo = timed(lambda: journal.undo(ME), repeats)
        redo = timed(lambda: journal.redo(ME), repeats)
        state, refresh = LabelState(journal), []
        for number in range(min(repeats, ACTS)):
            label(number)
            refresh += timed(state.refresh, 1)
    return {
        "register_seconds": round(register / 1000, 3),
        "append_ms": median(append),
        "append_ms_95": percentile95(append),
        "undo_ms": median(undo),
        "redo_ms": median(redo),
        "read_ms": median(read),
        "open_and_fold_ms": median(fold),
        "refresh_ms": median(refresh),
        "bytes": path.stat().st_size,
    }


def _long(path: Path, ids: list[str], decisions: int) -> dict[str, Any]:
    kept = path.with_name("labels.npz")
    tail = min(TAIL, decisions // 10)
    chance = np.random.default_rng(1)
    with Journal(path) as journal:
        journal.register(ids)
    _write(path, chance, len(ids), decisions - tail)
    with Journal(path) as journal, _state(journal, kept, every=1):
        pass
    _write(path, chance, len(ids), tail)
    with Journal(path) as journal:
        (replay,) = timed(lambda: LabelState(journal), 1)
    (opened,) = timed(lambda: _open(path, kept), 1)
    with Journal(path) as journal, _state(journal, kept, every=1) as state:
        undo = timed(lambda: (journal.undo("person 0"), state.refresh()), 3)
        refresh = []
        for _ in range(50):
            journal.append(
                "label", items=BitMap([1]), made_by=ME, field="category", value="x"
            )  # fmt: skip
            refresh += timed(state.refresh, 1)
    (reopened,) = timed(lambda: _open(path, kept), 1)
    return {
        "decisions": decisions,
        "tail": tail,
        "replay_seconds": round(replay / 1000, 3),
        "open_seconds": round(opened / 1000, 3),
        "reopen_seconds": round(reopened / 1000, 3),
        "refresh_ms": median(refresh),
        "undo_ms": median(undo),
        "bytes": path.stat().st_size,
        "kept_bytes": kept.stat().st_size,
    }


def _open(path: Path, kept: Path) -> None:
    with Journal(path) as journal:
        LabelState(journal, kept)


@contextmanager
def _state(journal: Journal, kept: Path, every: int) -> Iterator[LabelState]:
    """A state that is kept after `every` decisions, written to the end when it is left."""
    usual, labels.KEEP_EVERY = labels.KEEP_EVERY, every
    try:
        state = LabelState(journal, kept)
        yield state
        state.settle()
    finally:
        labels.KEEP_EVERY = usual


def _write(path: Path, chance: np.random.Generator, items: int, decisions: int) -> None:
    """Append decisions in one transaction: made one by one they would take a quarter hour."""
    marks = ", ".join("?" * len(WRITTEN.split(",")))
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany(
            f"INSERT INTO decisions ({WRITTEN}) VALUES ({marks})", _rows(chance, items, decisions)
        )


def _rows(
    chance: np.random.Generator, items: int, decisions: int
) -> Iterator[tuple[str | bytes | int, ...]]:
    for number in range(decisions):
        size = min(int(chance.geometric(1 / SHEET)), items)
        chosen = BitMap(chance.integers(0, items, size).astype(np.uint32))
        chosen.run_optimize()
        who, name = f"person {number % PEOPLE}", f"label {int(chance.integers(LABELS))}"
        yield (
            uuid.uuid4().hex,
            "2026-11-22T14:00:00.000+00:00",
            who,
            "label",
            "category",
            name,
            chosen.serialize(),
            len(chosen),
            "v1",
        )


def _json_file(path: Path, ids: list[str], acts: list[BitMap]) -> dict[str, Any]:
    labels: dict[str, str] = {}

    def act(number: int) -> None:
        for item_no in acts[number]:
            labels[ids[item_no]] = f"label {number % LABELS}"

    def save() -> None:
        with path.open("w", encoding="utf-8") as file:
            json.dump(labels, file)
            file.flush()
            os.fsync(file.fileno())

    for number in range(ACTS - 10):  # writing after each of these too would take a quarter hour
        act(number)
    writes = []
    for number in range(ACTS - 10, ACTS):
        writes += timed(lambda number=number: (act(number), save()), 1)
    return {
        "labelled": len(labels),
        "act_ms": median(writes),
        "act_ms_95": percentile95(writes),
        "load_ms": median(timed(lambda: json.loads(path.read_text("utf-8")), 5)),
        "bytes": path.stat().st_size,
    }
