"""Who is here and what is claimed: over processes, and where the file cannot be used."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyroaring import BitMap

from curation.presence import AGAIN, FILE, HERE, LEASE, REST, Presence, presence
from embeddings.dataset import Dataset, create_dataset

RACES = 1_000

# Two of these race for so many items, each on a sheet of its own; each prints those it was given.
RACER = """
import sys
from pathlib import Path
from pyroaring import BitMap
from curation.presence import Presence
from embeddings.dataset import open_dataset

who, races = sys.argv[1], int(sys.argv[2])
people = Presence(open_dataset("birds"))
people.here(who, who, "Clean")
print("ready", flush=True)
sys.stdin.readline()
won = [
    k
    for k in range(races)
    if people.claim(f"{who} {k}", who, who, items=BitMap([k]), field=f"field {k}")
]
assert people.trouble is None, people.trouble
print(*won, flush=True)
sys.stdin.readline()
"""


class Clock:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def birds(home: Path) -> Dataset:
    return create_dataset("birds")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(birds: Dataset, clock: Clock) -> Presence:
    return Presence(birds, clock=clock)


# ---- who is here


def test_the_others_are_seen_with_their_page_and_place(people: Presence, birds: Dataset) -> None:
    people.here("ann", "a", "Clean", "cluster 7")
    people.here("bob", "b", "Map")
    found = Presence(birds, clock=people._clock).others("b")
    assert [vars(one) for one in found] == [
        {"person": "ann", "page": "Clean", "place": "cluster 7"}
    ]
    assert [one.person for one in people.others("somebody new")] == ["ann", "bob"]


def test_who_moves_is_seen_at_the_new_place_at_once(people: Presence) -> None:
    people.here("ann", "a", "Map")
    people.here("ann", "a", "Clean", "cluster 7")
    assert [one.page for one in people.others("b")] == ["Clean"]


def test_who_leaves_is_gone_at_once_and_who_falls_silent_a_little_later(
    people: Presence, clock: Clock
) -> None:
    people.here("ann", "a", "Map")
    people.here("bob", "b", "Map")
    people.leave("a")
    assert [one.person for one in people.others("c")] == ["bob"]
    clock.now += HERE
    assert people.others("c") == []


def test_the_same_sign_of_life_is_not_written_each_time(
    people: Presence, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = [100.0]
    monkeypatch.setattr("curation.presence.time.monotonic", lambda: steady[0])
    people.here("ann", "a", "Map")
    clock.now += HERE - 1  # a long time by the wall clock, none by the steady one
    people.here("ann", "a", "Map")
    clock.now += 2
    assert people.others("b") == [], "the second was not written"
    steady[0] += AGAIN
    people.here("ann", "a", "Map")
    assert [one.person for one in people.others("b")] == ["ann"]


# ---- claims


def test_a_claimed_sheet_is_nobody_elses_until_it_is_let_go(people: Presence) -> None:
    mine = people.claim("7", "ann", "a")
    assert mine is not None and (mine.person, mine.key) == ("ann", "7")
    assert people.claim("7", "bob", "b") is None
    assert people.claim("7", "ann", "a"), "one's own holds on"
    assert {key: one.person for key, one in people.claims().items()} == {"7": "ann"}
    people.release("a")
    assert people.claims() == {}
    assert people.claim("7", "bob", "b")


def test_a_session_lets_go_of_all_but_what_it_keeps_and_of_nothing_of_others(
    people: Presence,
) -> None:
    for key in ("1", "2"):
        assert people.claim(key, "ann", "a")
    assert people.claim("3", "bob", "b")
    people.release("a", but=frozenset({"2", "3"}))
    assert set(people.claims()) == {"2", "3"}
    people.release("a")
    assert set(people.claims()) == {"3"}


def test_a_sheet_that_shares_an_item_with_a_claimed_one_is_refused_in_the_same_field(
    people: Presence,
) -> None:
    assert people.claim("7", "ann", "a", items=BitMap([1, 2, 3]), field="category")
    assert people.claim("8", "bob", "b", items=BitMap([3, 4]), field="category") is None
    assert people.claim("8", "bob", "b", items=BitMap([4]), field="category")
    assert people.claim("9", "bob", "b", items=BitMap([1, 2]), field="instance")
    assert people.claims()["7"].items == BitMap([1, 2, 3])


def test_two_tabs_of_one_person_get_two_sheets_and_a_closed_one_holds_nothing(
    people: Presence,
) -> None:
    people.here("ann", "one tab", "Clean")
    assert people.claim("7", "ann", "one tab", items=BitMap([1, 2]))
    assert people.claim("7", "ann", "another", items=BitMap([1, 2])) is None
    assert people.claim("8", "ann", "another", items=BitMap([2, 3])) is None
    assert people.claim("8", "ann", "another", items=BitMap([3]))
    people.leave("one tab")
    assert people.claim("7", "ann", "another", items=BitMap([1, 2]))


def test_a_tab_that_vanished_keeps_its_sheet_from_the_next_no_longer_than_a_lease(
    people: Presence, clock: Clock
) -> None:
    assert people.claim("7", "ann", "vanished")
    people.here("ann", "vanished", "Clean")
    clock.now += LEASE - 1
    assert people.claim("7", "ann", "another") is None
    clock.now += 1
    assert people.claim("7", "ann", "another")


def test_a_session_that_no_tab_came_to_know_keeps_nothing_from_its_person(
    people: Presence,
) -> None:
    """A page that was loaded again while its server came back: nobody will ever say it is gone."""
    assert people.claim("7", "ann", "never seen", items=BitMap([1]))
    assert people.claim("7", "bob", "b", items=BitMap([1])) is None
    assert people.claim("7", "ann", "the page", items=BitMap([1]))


@pytest.mark.parametrize("run", ["killed", "of the same number", ""])
def test_who_comes_back_to_a_server_that_started_again_has_what_they_held(
    birds: Dataset, run: str
) -> None:
    people = Presence(birds)
    holder = _racer("ann", 3)
    _go(holder)
    assert len(_won(holder)) == 3
    assert people.claim("8", "ann", "new", items=BitMap([0]), field="field 0") is None, "it runs"
    holder.kill()
    holder.communicate()
    if run != "killed":
        runs = {"of the same number": f"{os.getpid()} of the process before", "": ""}
        with sqlite3.connect(birds.path / FILE) as file:
            file.execute("UPDATE held SET run = ?", (runs[run],))
    assert people.claim("8", "bob", "b", items=BitMap([0]), field="field 0") is None
    assert people.claim("8", "ann", "new", items=BitMap([0]), field="field 0")
    assert people.claim("ann 0", "ann", "new", items=BitMap([0]), field="field 0")


def test_a_claim_ends_with_its_lease_and_lives_on_with_signs_of_life(
    people: Presence, clock: Clock
) -> None:
    assert people.claim("7", "ann", "a")
    clock.now += LEASE - 1
    assert people.claim("7", "bob", "b") is None
    people.here("ann", "a", "Clean", "cluster 7")
    clock.now += LEASE - 1
    assert people.claim("7", "bob", "b") is None, "it was renewed"
    clock.now += 1
    assert people.claims() == {}
    assert people.claim("7", "bob", "b")
    people.here("ann", "a", "Clean", "cluster 7, much later")
    assert people.claims()["7"].person == "bob", "what ended is not renewed"


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_holds_nothing_for_ever(
    people: Presence, clock: Clock, jump: float
) -> None:
    assert people.claim("7", "ann", "a")
    people.here("ann", "a", "Clean")
    clock.now += jump
    assert people.others("b") == [] and people.claims() == {}
    assert people.claim("7", "bob", "b")
    assert people.claim("7", "ann", "a") is None


# ---- several processes


def _racer(who: str, races: int = RACES) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RACER, who, str(races)]
    racer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    return racer


def _go(racer: subprocess.Popen[str]) -> None:
    assert racer.stdin is not None
    racer.stdin.write("go\n")
    racer.stdin.flush()


def _won(racer: subprocess.Popen[str]) -> set[int]:
    assert racer.stdout is not None
    return {int(word) for word in racer.stdout.readline().split()}


def test_of_two_processes_that_race_for_an_item_one_gets_it(birds: Dataset) -> None:
    ann, bob = _racer("ann"), _racer("bob")
    for racer in (ann, bob):
        _go(racer)
    hers, his = _won(ann), _won(bob)
    held = Presence(birds).claims()
    for racer in (ann, bob):
        racer.communicate("end\n")
    assert hers | his == set(range(RACES))
    assert not hers & his
    assert {one.person for one in held.values()} == {
        who for who, won in (("ann", hers), ("bob", his)) if won
    }


def test_what_a_killed_process_held_is_free_after_the_lease(birds: Dataset) -> None:
    holder = _racer("ann", 3)
    _go(holder)
    assert len(_won(holder)) == 3
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    people = Presence(birds)
    assert people.claim("ann 0", "bob", "b") is None
    later = Presence(birds, clock=lambda: time.time() + LEASE)
    assert later.claim("ann 0", "bob", "b")


# ---- a file that cannot be used


def _unusable(path: Path) -> None:
    path.mkdir()  # as root a read-only folder can be written


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE here (something TEXT)")


@pytest.mark.parametrize("spoil", [_unusable, _foreign])
def test_without_a_file_the_work_goes_on_alone_and_the_reason_is_told(
    birds: Dataset, spoil: Callable[[Path], None]
) -> None:
    spoil(birds.path / FILE)
    people = Presence(birds)
    people.here("ann", "a", "Map")
    assert people.others("b") == [] and people.claims() == {}
    mine = people.claim("7", "ann", "a")
    assert mine is not None and mine.person == "ann"
    people.release("a")
    people.leave("a")
    assert people.trouble is not None and FILE in people.trouble
    assert "decisions are kept" in people.trouble and "\n" not in people.trouble


def test_a_damaged_file_is_thrown_away_and_made_anew(birds: Dataset) -> None:
    (birds.path / FILE).write_bytes(b"no database at all " * 100)
    people = Presence(birds)
    assert people.claims() == {}
    assert people.claim("7", "ann", "a") and people.claim("7", "bob", "b") is None
    assert people.trouble is None


def test_a_file_that_was_deleted_under_an_open_process_is_made_anew(birds: Dataset) -> None:
    one, other = Presence(birds), Presence(birds)
    assert one.claim("7", "ann", "a")
    for path in birds.path.glob(f"{FILE}*"):
        path.unlink()
    assert other.claim("7", "bob", "b")
    assert one.claim("7", "ann", "a") is None, "both have the new file"


def test_while_another_program_holds_the_file_nobody_waits_twice(
    birds: Dataset, people: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.presence.BUSY", 0.01)
    steady = [100.0]
    monkeypatch.setattr("curation.presence.time.monotonic", lambda: steady[0])
    people.claims()
    holder = sqlite3.connect(birds.path / FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    tries: list[int] = []
    write = people._give_up
    monkeypatch.setattr(people, "_give_up", lambda error: (tries.append(1), write(error)))
    assert people.claim("7", "ann", "a") and people.claim("8", "ann", "a")
    people.here("ann", "a", "Map")
    assert len(tries) == 1 and "locked" in str(people.trouble)
    holder.execute("COMMIT")
    holder.close()
    steady[0] += REST
    assert people.claim("7", "ann", "a") and people.claim("7", "bob", "b") is None
    assert people.trouble is None


def test_a_process_has_one_presence_of_a_dataset(birds: Dataset) -> None:
    assert presence(birds) is presence(birds)
