"""Kills, full disks and second builders: what was written is kept, what is missing is completed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import filelock
import numpy as np
import pytest

from embeddings import dataset as datasets
from embeddings import disk
from embeddings.add import add
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.samples import scenes
from embeddings.schema import Atlas
from embeddings.store import Store

from .small_disk import on_small_disk

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=5)
ADD = Options(encoder="")
KILLS = int(os.environ.get("CURATE_TEST_KILLS", "6"))
BUILDS, ADDS = -(-KILLS // 2), KILLS // 2  # how many of them fall on what
TABLES = {
    "images": "image_id",
    "items": "item_id",
    "vectors_builtin": "item_id",
    "locations": "path",
}

# Builds or adds, printing each step; writes often and always compacts, so that a kill falls on
# either. Where it is told of a gate, it stops there at the first image until the gate opens.
WORK = """
import sys
import embeddings.ingest as ingest
import embeddings.store as store
from embeddings.add import add
from embeddings.build import Options, build
from embeddings.encoders import builtin
ingest.WRITE_ITEMS = builtin.Builtin.batch_size = 8
store.COMPACT_AT = 2
act, folder, gate = sys.argv[1:]
def say(stage, done, total):
    global gate
    print(stage, done, flush=True)
    if gate and stage == "encode":
        open(gate).readline()
        gate = ""
if act == "build":
    options = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=5)
    report = build("scenes", [folder], options, say)
else:
    report = add("scenes", [folder], Options(encoder=""), progress=say)
print("files", report.files)
"""

# Loads the slow libraries once, then becomes a worker each time it is told to: arguments, the pipe
# to print to, and CURATE_HOME come in on one line, its process id goes out. LanceDB is not among
# what is loaded: its threads would not survive the fork.
NURSERY = """
import json, os, signal, sys
import cv2, scipy.stats, sklearn.cluster, sklearn.decomposition, torch
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    told = json.loads(line)
    pid = os.fork()
    if not pid:
        os.dup2(os.open(told["pipe"], os.O_WRONLY), 1)
        os.environ["CURATE_HOME"] = told["home"]
        sys.argv = ["worker", *told["arguments"]]
        exec(told["work"])
        sys.stdout.flush()
        os._exit(0)
    print(pid, flush=True)
"""


@dataclass(frozen=True)
class Undisturbed:
    """What a build of `photos`, then an `add` of `later` end with when nobody disturbs them."""

    photos: Path
    later: Path
    home: Path
    atlas: Atlas
    grown: Atlas
    lines: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("safety")
    photos, later = folder / "photos", folder / "later"
    for seed, target, count in ((3, photos, 60), (4, later, 40)):
        scenes.generate(folder / str(seed), scenes=count, seed=seed, width=96, height=72)
        (folder / str(seed) / "images").rename(target)
        (target / "empty.jpg").touch()
        (target / "text.png").write_text("no picture")
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_HOME", str(folder / "home"))
        first = build("scenes", [photos], QUICK, lambda stage, *_: lines.append(stage))
        atlas = store().atlas(first.atlas_version)
        shutil.copytree(folder / "home", folder / "built")
        grown = store().atlas(add("scenes", [later], ADD).atlas_version)
    return Undisturbed(photos, later, folder / "built", atlas, grown, len(lines))


def store() -> Store:
    return Store(datasets.open_dataset("scenes").tables)


def held() -> dict[str, list[str]]:
    """Return the ids that each table holds, in row order; a table that is not there has none."""
    if "scenes" not in datasets.names():
        return {name: [] for name in TABLES}
    known = store()
    there = {name: column for name, column in TABLES.items() if name in known.names()}
    found = {name: known.read(name, [key])[key].to_pylist() for name, key in there.items()}
    return {name: found.get(name, []) for name in TABLES}


def files(*folders: Path) -> list[str]:
    return sorted(str(path) for folder in folders for path in folder.iterdir())


def assert_whole(expected: Atlas, *folders: Path) -> None:
    """Assert that every file, image, item and vector is there exactly once, and the atlas too."""
    ids = held()
    assert sorted(ids["locations"]) == files(*folders)
    for name in ("images", "items", "vectors_builtin"):
        assert sorted(ids[name]) == expected.item_ids.tolist(), name
    known = store()
    newest = known.atlas(known.atlas_runs()[-1]["version"])
    assert newest.version == expected.version
    assert np.array_equal(newest.item_ids, expected.item_ids)
    assert np.array_equal(newest.xy, expected.xy)
    assert np.array_equal(newest.cluster, expected.cluster)
    reasons = [row.error for row in known.locations() if row.status != "ok"]
    assert len(reasons) == 2 * len(folders), reasons


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield process
        process.kill()


@dataclass(frozen=True)
class Worker:
    """A process that builds or adds: its number, what it prints, and its gate."""

    pid: int
    steps: TextIO
    gate: Path

    def kill(self) -> None:
        """Kill it, and wait until it is gone and what it held is free."""
        with suppress(ProcessLookupError):
            while True:
                os.kill(self.pid, signal.SIGKILL)
                time.sleep(0.005)


Start = Callable[..., Worker]


@pytest.fixture
def start(nursery: subprocess.Popen[str], home: Path) -> Iterator[Start]:
    """Return what starts a worker in the test's own home; none outlives the test."""
    started: list[Worker] = []

    def start(act: str, folder: Path, *, hold: bool = False) -> Worker:
        pipe, gate = home.with_name("pipe"), home.with_name("gate")
        os.mkfifo(pipe)
        os.mkfifo(gate)
        told = {"pipe": str(pipe), "home": str(home), "work": WORK}
        told["arguments"] = [act, str(folder), str(gate) if hold else ""]
        assert nursery.stdin is not None and nursery.stdout is not None
        nursery.stdin.write(json.dumps(told) + "\n")
        nursery.stdin.flush()
        started.append(Worker(int(nursery.stdout.readline()), pipe.open(), gate))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.steps.close()


# ---- kill -9


def kill_somewhere(worker: Worker, lines: int, act: str, kill: int, kills: int) -> str:
    """Kill at a random step of `lines`, or at a random moment after the last; return where.

    The first kill of `kills` falls early, the last one late: while tables are compacted, or at
    the very end.
    """
    seed = f"{act} {kill} of {kills}"
    chance = random.Random(seed)
    step = 1 + int(lines * 4 / 3 * (kill + chance.random()) / kills)
    pause = chance.uniform(0.0, 0.02)
    if step > lines:
        step, pause = lines, chance.uniform(0.0, 0.3)
    last = ""
    for _ in range(step):
        last = worker.steps.readline() or last
    time.sleep(pause)
    worker.kill()
    return f"seed {seed!r}: killed {pause:.3f} s after step {step}: {last.strip()!r}"


@pytest.mark.parametrize("kill", range(BUILDS))
def test_a_killed_build_is_completed_and_loses_nothing(
    undisturbed: Undisturbed, start: Start, kill: int
) -> None:
    worker = start("build", undisturbed.photos)
    where = kill_somewhere(worker, undisturbed.lines, "build", kill, BUILDS)
    kept = held()
    print(where, {name: len(ids) for name, ids in kept.items()})
    build("scenes", [undisturbed.photos], QUICK)
    now = held()
    assert all(now[name][: len(ids)] == ids for name, ids in kept.items()), where
    assert_whole(undisturbed.atlas, undisturbed.photos)


@pytest.mark.parametrize("kill", range(ADDS))
def test_a_killed_add_is_completed_and_loses_nothing(
    undisturbed: Undisturbed, start: Start, home: Path, kill: int
) -> None:
    shutil.copytree(undisturbed.home, home)
    lines = len(files(undisturbed.later)) + 2  # the atlas, the graph and all else come after them
    where = kill_somewhere(start("add", undisturbed.later), lines, "add", kill, ADDS)
    kept = held()
    print(where, {name: len(ids) for name, ids in kept.items()})
    base = store().atlas(undisturbed.atlas.version)
    assert np.array_equal(base.xy, undisturbed.atlas.xy), f"{where}: the atlas is as it was"
    add("scenes", [undisturbed.later], ADD)
    now = held()
    assert all(now[name][: len(ids)] == ids for name, ids in kept.items()), where
    assert_whole(undisturbed.grown, undisturbed.photos, undisturbed.later)


@pytest.mark.parametrize(
    "name", ["images", "locations", "vectors_builtin", "neighbours_builtin", "atlas_runs", "fields"]
)
def test_a_table_whose_making_was_killed_does_not_stop_the_next_build(
    undisturbed: Undisturbed, home: Path, name: str
) -> None:
    """Its folder lies there with data and no manifest: a moment too short to be hit by chance."""
    table = home / "scenes" / "tables" / f"{name}.lance"
    (table / "data").mkdir(parents=True)
    (table / "data" / "begun.lance").write_bytes(b"half")
    (table / "_versions").mkdir()
    datasets.create_dataset("scenes")
    assert store().names() == []
    assert store().count(name) == 0
    build("scenes", [undisturbed.photos], QUICK)
    assert_whole(undisturbed.atlas, undisturbed.photos)


# ---- a full disk

# Measures what a build writes, then for each share of that: leaves just so much room on the disk at
# the first image, and builds on once there is room again. Prints one line for each.
FILL = """
import os, shutil, sys
from pathlib import Path
import embeddings.ingest as ingest
import embeddings.store as store
from embeddings import dataset as datasets
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.store import Store
from embeddings.encoders import builtin
ingest.WRITE_ITEMS = builtin.Builtin.batch_size = 8
store.COMPACT_AT = 2
home, photos = Path(sys.argv[1]), sys.argv[2]
os.environ["CURATE_HOME"] = str(home)
options = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=5)
keys = {"images": "image_id", "items": "item_id", "vectors_builtin": "item_id", "locations": "path"}
def held():
    if "scenes" not in datasets.names():
        return {name: [] for name in keys}
    store = Store(datasets.open_dataset("scenes").tables)
    there = store.names()
    return {
        name: store.read(name, [key])[key].to_pylist() if name in there else []
        for name, key in keys.items()
    }
def free():
    status = os.statvfs(home)
    return status.f_bavail * status.f_frsize
before = free()
build("scenes", [photos], options)
written = before - free()
shutil.rmtree(home / "scenes")
for share in map(float, sys.argv[3:]):
    ballast, last = home / "ballast", ""
    def say(stage, done, total):
        global last
        last = stage
        if stage == "encode" and done == 1:
            ballast.write_bytes(b"1" * (free() - int(share * written)))
    refusal = "none"
    try:
        build("scenes", [photos], options, say)
    except CurationError as error:
        refusal = str(error)
    assert "\\n" not in refusal
    kept = held()
    ballast.unlink()
    report = build("scenes", [photos], options)
    now = held()
    lost = [name for name in kept if now[name][: len(kept[name])] != kept[name]]
    twice = [name for name in now if len(now[name]) != len(set(now[name]))]
    counts = [len(now[name]) for name in keys]
    print(share, last, lost, twice, counts, report.atlas_version, refusal, sep="|", flush=True)
    shutil.rmtree(home / "scenes")
"""
SHARES = (0.02, 0.3, 0.52, 0.75, 0.97)


def test_a_full_disk_is_a_plain_error_and_the_same_command_goes_on_from_there(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    command = on_small_disk(tmp_path / "disk", "40m")
    arguments = [str(tmp_path / "disk"), str(undisturbed.photos), *map(str, SHARES)]
    script = [*command, sys.executable, "-c", FILL, *arguments]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line.split("|") for line in result.stdout.splitlines()]
    print(result.stdout)
    assert [float(share) for share, *_ in lines] == list(SHARES)
    n = len(undisturbed.atlas.item_ids)
    for share, _, lost, twice, counts, version, _ in lines:
        assert (lost, twice) == ("[]", "[]"), share
        assert counts == str([n, n, n, len(files(undisturbed.photos))]), share
        assert version == undisturbed.atlas.version, share
    refusals = [(stage, refusal) for _, stage, *_, refusal in lines if refusal != "none"]
    assert all(re.search("is full.*free some space", refusal) for _, refusal in refusals)
    assert len(refusals) == len(SHARES)
    assert {stage for stage, _ in refusals} >= {"encode", "cluster"}, "in more than one stage"


def test_the_need_is_about_what_a_build_writes(undisturbed: Undisturbed) -> None:
    folder = undisturbed.home / "scenes"
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    n = len(undisturbed.atlas.item_ids)
    assert written < disk.need(n, 639, neighbours=5) < 4 * written
    assert disk.need(0, 639) == 0
    assert disk.need(1, 639) < disk.need(1, 639, known=n), "the atlas is written for all of them"


def test_a_run_that_cannot_fit_is_refused_with_both_figures(tmp_path: Path) -> None:
    absent = tmp_path / "not" / "there" / "yet"
    with pytest.raises(CurationError, match=r"about [\d.]+ TB are needed in .*yet, [\d.]+ .B are"):
        disk.check(absent, 10**10, 512)
    with pytest.raises(CurationError, match="set CURATE_HOME to a larger disk"):
        disk.check(absent, 0, 512, downloads=10**12)
    assert re.fullmatch(r"needs about \d+ kB of [\d.]+ .B free", disk.check(absent, 10, 512))
    free = shutil.disk_usage(tmp_path).free
    nearly = int(0.9 * free / disk.DOWNLOAD)
    assert disk.check(absent, 0, 512, downloads=nearly).endswith("tight, the disk may fill up")
    known = int(2 * free / disk.need(1, 512))
    assert "tight" in disk.check(absent, 1, 512, known=known), "what is known may be compacted"
    assert not absent.parent.parent.exists(), "looking makes nothing"


@pytest.mark.parametrize(
    ("count", "text"),
    [(7, "7 bytes"), (61_200_000, "61 MB"), (999_600, "1 MB"), (12_345_678_901, "12.3 GB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert disk.size(count) == text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "is full.*free some space"),
        (RuntimeError("lance error: IO: No space left on device (os error 28), x.rs:1"), "is full"),
        (RuntimeError("lance error: Permission denied (os error 13), x.rs:1"), "cannot be written"),
        (OSError(30, "Read-only file system"), "cannot be written.*set CURATE_HOME"),
    ],
)
def test_trouble_of_the_disk_is_put_in_plain_words(error: Exception, words: str) -> None:
    with pytest.raises(CurationError, match=words), disk.writing(Path("somewhere")):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("commit conflict"), FileNotFoundError(2, "gone")])
def test_other_trouble_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk.writing(Path("somewhere")):
        raise error
    assert caught.value is error


# ---- two at once


@pytest.mark.parametrize("first", ["build", "add"])
def test_a_second_process_is_refused_with_who_holds_the_dataset(
    undisturbed: Undisturbed, home: Path, start: Start, first: str
) -> None:
    shutil.copytree(undisturbed.home, home)
    holder = start(first, undisturbed.later, hold=True)
    assert any(line.startswith("encode") for line in holder.steps), "it holds the dataset"
    who = rf"'scenes' is being built by process {holder.pid} since \d{{4}}-\S+; wait for it to end"
    with pytest.raises(CurationError, match=who):
        build("scenes", [undisturbed.later], QUICK)
    with pytest.raises(CurationError, match=who):
        add("scenes", [undisturbed.later], ADD)
    holder.gate.write_text("go on\n")
    assert holder.steps.read().splitlines()[-1] == f"files {len(files(undisturbed.later))}"
    if first == "add":
        assert_whole(undisturbed.grown, undisturbed.photos, undisturbed.later)
    else:
        assert sorted(held()["locations"]) == files(undisturbed.photos, undisturbed.later)
        assert sorted(held()["images"]) == undisturbed.grown.item_ids.tolist()
    assert not (home / "scenes" / "build.holder").exists()


def test_what_a_killed_process_held_is_free_at_once_and_it_is_not_quoted(
    undisturbed: Undisturbed, home: Path, start: Start
) -> None:
    holder = start("build", undisturbed.photos, hold=True)
    assert any(line.startswith("encode") for line in holder.steps)
    holder.kill()
    left = home / "scenes" / "build.holder"
    assert str(holder.pid) in left.read_text(), "the dead process left its name"
    with (
        filelock.FileLock(home / "scenes" / "build.lock"),  # taken, and its name not yet written
        pytest.raises(CurationError, match="being built by another process; wait"),
    ):
        build("scenes", [undisturbed.photos], QUICK)
    build("scenes", [undisturbed.photos], QUICK)
    assert not left.exists()
    assert_whole(undisturbed.atlas, undisturbed.photos)
