"""Kills, crowds and full disks: an acknowledged decision is there afterwards, whole."""

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyroaring import BitMap

from curation.journal import Journal
from curation.labels import LabelState
from curation.schema import Act, Decision

KILLS = int(os.environ.get("CURATE_TEST_KILLS", "3"))
N_ITEMS = 2000

# Appends for as long as it lives and prints each seq once the journal has acknowledged it.
# Half of the acts are undone at once, so that a kill may fall on either kind.
APPEND = """
import sys
from pathlib import Path
from pyroaring import BitMap
from curation.journal import Journal
path, who, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Journal(path) as journal:
    turn = 0
    while sys.argv[4] == "for ever" or turn < int(sys.argv[4]):
        turn += 1
        items = BitMap(range(first, first + 500, 1 + turn % 3))
        value = f"{who} {turn}"
        act = journal.append("label", items=items, made_by=who, field="category", value=value)
        print(act.seq, act.decision_id, act.n_items, flush=True)
        if turn % 2:
            step = journal.undo(who)
            print(step.seq, step.decision_id, step.n_items, flush=True)
"""


def appender(path: Path, who: str, first: int, turns: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", APPEND, str(path), who, str(first), turns]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def acknowledged(output: str) -> list[tuple[int, str, int]]:
    """Return what was printed whole; a kill may cut the last line."""
    whole = output[: output.rfind("\n") + 1].splitlines()
    return [(int(seq), identity, int(n)) for seq, identity, n in map(str.split, whole)]


def stored(path: Path) -> list[tuple[int, str, int]]:
    """Return what the journal holds; that every bitmap is whole is asserted on the way."""
    with Journal(path) as journal:
        decisions = journal.since()
    assert all(len(decision.items) == decision.n_items for decision in decisions)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return [(decision.seq, decision.decision_id, decision.n_items) for decision in decisions]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.sqlite"
    with Journal(path) as journal:
        journal.register([f"item-{number:06d}" for number in range(N_ITEMS)])
    return path


def test_every_acknowledged_decision_survives_kill_9(path: Path) -> None:
    chance = random.Random(0)
    promised: list[tuple[int, str, int]] = []
    for kill in range(KILLS):
        children = [appender(path, f"child {n}", 500 * n, "for ever") for n in range(2)]
        started = [child.stdout.readline() for child in children if child.stdout]
        time.sleep(chance.uniform(0.05, 0.4))
        for child, first_line in zip(children, started, strict=True):
            child.send_signal(signal.SIGKILL)
            promised += acknowledged(first_line + child.communicate()[0])
        kept = stored(path)
        assert set(promised) <= set(kept), f"kill {kill}"
        # what a kill cut between the commit and the print may be there too: one each
        assert len(kept) <= len(promised) + 2 * (kill + 1)
    assert promised


def test_four_processes_append_side_by_side(path: Path) -> None:
    children = [appender(path, f"curator {n}", 500 * n, "60") for n in range(4)]
    promised = [line for child in children for line in acknowledged(child.communicate()[0])]
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert len(promised) == 4 * (60 + 30)
    assert sorted(promised) == stored(path)


def test_journals_that_are_created_and_filled_at_once_agree(tmp_path: Path) -> None:
    """Each thread opens the file for itself: to SQLite that is as good as a process."""
    ids = [f"{number:05d}" for number in range(3000)]
    for attempt in range(20):
        path, together = tmp_path / f"{attempt}.sqlite", threading.Barrier(6)

        def fill(first: int, path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            with Journal(path) as journal:
                journal.register(ids[first:])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(fill, range(0, 1200, 200)))
        with Journal(path) as journal:
            assert journal.n_items == 3000
            assert sorted(journal.item_nos(ids).tolist()) == list(range(3000))


def test_another_process_is_seen_at_once(path: Path) -> None:
    with Journal(path) as journal:
        child = appender(path, "bob", 0, "3")
        promised = acknowledged(child.communicate()[0])
        assert [decision.seq for decision in journal.since()] == [seq for seq, _, _ in promised]
        last = journal.append(
            "label", items=BitMap([1]), made_by="ann", field="category", value="x"
        )
        assert last.seq == promised[-1][0] + 1


# -- a crowd -----------------------------------------------------------------------------------

CROWD = 20
SECONDS = 60.0 if KILLS >= 20 else 8.0


def at_random(path: Path, told: Path, who: str, seed: int, until: float) -> None:
    """Label, flag, undo and redo at random, and tell each decision once it is acknowledged."""
    chance = random.Random(seed)
    with Journal(path) as journal, told.open("ab", buffering=0) as file:
        while time.monotonic() < until:
            for act in one_step(journal, who, chance):
                file.write(f"{act.seq} {act.decision_id} {act.n_items}\n".encode())
            time.sleep(chance.uniform(0, 0.02))


def one_step(journal: Journal, who: str, chance: random.Random) -> list[Decision]:
    items = [BitMap(chance.sample(range(N_ITEMS), chance.randrange(1, 40))) for _ in range(3)]
    value = chance.choice("abcdefgh")
    if who.startswith("step"):  # three acts in one: all are kept, or none
        acts = [Act("label", part, "category", value) for part in items]
        return journal.append_step(acts, made_by=who)
    what = chance.random()
    if what < 0.25 and journal.undoable(who):
        return [journal.undo(who)]
    if what < 0.35 and journal.redoable(who):
        return [journal.redo(who)]
    return [journal.append("label", items=items[0], made_by=who, field="category", value=value)]


def by_definition(decisions: list[Decision]) -> dict[int, str | None]:
    """Return the label of each item by playing every act that is not undone, from scratch."""
    undone = set()
    for decision in decisions:
        if decision.undoes:
            (undone.add if decision.action == "undo" else undone.remove)(decision.undoes)
    acts = [act for act in decisions if act.is_act and act.seq not in undone]
    return {item: act.value for act in acts for item in act.items}


def test_a_crowd_with_random_kills_loses_nothing_and_doubles_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 processes; what each was told is in the journal once, in its order, and state agrees."""
    monkeypatch.setattr("curation.labels.KEEP_EVERY", 200)
    chance, until = random.Random(0), time.monotonic() + SECONDS
    forked = multiprocessing.get_context("fork")  # a crowd of fresh interpreters takes minutes
    born, living = 0, []

    def bear() -> None:
        nonlocal born
        who = f"{'step' if born % 4 == 0 else 'curator'} {born}"
        arguments = (path, tmp_path / f"{born}.told", who, born, until)
        living.append((born, forked.Process(target=at_random, args=arguments)))
        living[-1][1].start()
        born += 1

    for _ in range(CROWD):
        bear()
    killed = 0
    with Journal(path) as journal:
        state = LabelState(journal, tmp_path / "labels.npz")
        while killed < KILLS:
            time.sleep(chance.uniform(0.5, 1.5) * SECONDS / (KILLS + 1))
            _, victim = living.pop(chance.randrange(len(living)))
            victim.kill()
            victim.join()
            killed += 1
            bear()
            state.refresh()
        for _, child in living:
            child.join()
        state.refresh()
        decisions = journal.since()
        assert [child.exitcode for _, child in living] == [0] * CROWD
        told = [acknowledged((tmp_path / f"{n}.told").read_text()) for n in range(born)]
        union = [line for lines in told for line in lines]
        kept = stored(path)
        assert len(union) == len(set(union)), "told twice"
        assert set(union) <= set(kept), "lost"
        assert [seq for seq, _, _ in kept] == list(range(1, len(kept) + 1)), "in one order"
        assert len({identity for _, identity, _ in kept}) == len(kept), "kept twice"
        assert all(lines == sorted(lines) for lines in told), "each in its own order"
        # what a kill cut between the commit and the telling: one step each
        assert len(kept) - len(union) <= 3 * killed
        parts = Counter(act.part_of or act.seq for act in decisions if act.made_by[:4] == "step")
        assert set(parts.values()) == {3}, "half a step"
        expected = by_definition(decisions)
        for seen in (state, LabelState(journal), LabelState(journal, tmp_path / "labels.npz")):
            labels = seen.category(range(N_ITEMS)).tolist()
            assert labels == [expected.get(item) for item in range(N_ITEMS)]
    assert len(union) > 10 * CROWD


# Fills a small disk with decisions, then proves what is left; prints one line.
FILL = """
import os, random, sys
from pathlib import Path
from pyroaring import BitMap
from curation.journal import Journal
from embeddings.errors import CurationError
folder, chance = Path(sys.argv[1]), random.Random(0)
journal = Journal(folder / "decisions.sqlite")
journal.register([f"{number:05d}" for number in range(8000)])
def append():
    items = BitMap(chance.sample(range(8000), 2000))
    return journal.append("label", items=items, made_by="ann", field="category", value="x")
ballast = folder / "ballast"
ballast.write_bytes(bytes(400_000))
promised, refusal = [], None
while refusal is None:
    try:
        promised.append(append())
    except CurationError as error:
        refusal = str(error)
assert "the disk is full; free some space" in refusal, refusal
assert "\\n" not in refusal, refusal
assert journal.since() == promised, "in the open journal"
journal.close()
ballast.unlink()
journal = Journal(folder / "decisions.sqlite")
assert journal.since() == promised, "after reopening"
promised.append(append())
assert journal.since() == promised, "once there is space"
print("kept", len(promised))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[list[str]]:
    """Yield the command that runs its arguments with a 3 MB disk mounted on tmp_path/disk."""
    if not (shutil.which("mount") and shutil.which("unshare")):
        pytest.skip("a small disk needs `mount` and `unshare`, which are not installed")
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=3m none "$0" && exec "$@"'
    script = ["sh", "-c", mount, str(tmp_path / "disk")]
    for prefix in (["unshare", "-rm"], ["unshare", "-m"]):  # the mount ends with its process
        command = [*prefix, *script]
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], check=False).returncode == 0
        ):
            yield command
            return
    pytest.skip("a small disk needs root or user namespaces, and this machine gives neither")


def test_a_full_disk_is_a_plain_error_and_loses_nothing(
    small_disk: list[str], tmp_path: Path
) -> None:
    run = [*small_disk, sys.executable, "-c", FILL, str(tmp_path / "disk")]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[1]) > 10


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from pyroaring import BitMap
from curation.journal import Journal
from embeddings.errors import CurationError
folder = Path(sys.argv[1])
journal = Journal(folder / "decisions.sqlite")
journal.register(["a"])
journal.close()
subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
try:
    with Journal(folder / "decisions.sqlite") as journal:
        journal.append("label", items=BitMap([0]), made_by="ann", field="category", value="x")
except CurationError as error:
    print(error)
"""


def test_a_read_only_disk_is_a_plain_error(small_disk: list[str], tmp_path: Path) -> None:
    run = [*small_disk, sys.executable, "-c", READ_ONLY, str(tmp_path / "disk")]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert "read-only" in result.stdout or "cannot be opened" in result.stdout
