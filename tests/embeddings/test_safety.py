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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
KILLS = int(os.environ.get("CURATE_TEST_KILLS", "6"))  # half of them fall on a build
TABLES = {
    "images": "image_id",
    "items": "item_id",
    "vectors_builtin": "item_id",
    "locations": "path",
}

# Builds or adds, printing each step; writes often, so that a kill falls between two writes.
# With "hold" it stops at the first image until a line comes in.
WORK = """
import sys
import embeddings.ingest as ingest
from embeddings.add import add
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.encoders import builtin
ingest.WRITE_ITEMS = builtin.Builtin.batch_size = 8
act, folder, hold = sys.argv[1:]
def say(stage, done, total):
    global hold
    print(stage, done, flush=True)
    if hold and stage == "encode":
        hold = ""
        sys.stdin.readline()
options = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=5)
try:
    if act == "build":
        report = build("scenes", [folder], options, say)
    else:
        report = add("scenes", [folder], Options(encoder=""), progress=say)
    print("files", report.files)
except CurationError as error:
    print("refused:", error)
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


def worker(act: str, folder: Path, hold: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORK, act, str(folder), hold]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def workers() -> Iterator[list[subprocess.Popen[str]]]:
    """A list of processes, none of which outlives the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


# ---- kill -9


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield process
        process.kill()


@dataclass(frozen=True)
class Reaper:
    """Starts workers in the test's own home and kills them somewhere."""

    nursery: subprocess.Popen[str]
    home: Path

    def kill(self, act: str, folder: Path, lines: int, seed: str) -> str:
        """Kill at a random step of `lines`, or at a random moment after the last; return where."""
        chance = random.Random(seed)
        # three in four during the steps; the others while tables are compacted, or at the very end
        step, pause = chance.randint(1, lines * 4 // 3), chance.uniform(0.0, 0.02)
        if step > lines:
            step, pause = lines, chance.uniform(0.0, 0.3)
        pipe = self.home.with_name("pipe")
        os.mkfifo(pipe)
        told = {"pipe": str(pipe), "home": str(self.home), "work": WORK}
        assert self.nursery.stdin is not None and self.nursery.stdout is not None
        self.nursery.stdin.write(json.dumps({**told, "arguments": [act, str(folder), ""]}) + "\n")
        self.nursery.stdin.flush()
        last = ""
        with pipe.open() as steps:
            pid = int(self.nursery.stdout.readline())
            for _ in range(step):
                last = steps.readline() or last
            time.sleep(pause)
            with suppress(ProcessLookupError):  # it may have come to its end
                while True:  # until it is gone, and what it held is free
                    os.kill(pid, signal.SIGKILL)
                    time.sleep(0.005)
        return f"seed {seed!r}: killed {pause:.3f} s after step {step}: {last.strip()!r}"


@pytest.fixture
def reaper(nursery: subprocess.Popen[str], home: Path) -> Reaper:
    return Reaper(nursery, home)


@pytest.mark.parametrize("kill", range(-(-KILLS // 2)))
def test_a_killed_build_is_completed_and_loses_nothing(
    undisturbed: Undisturbed, reaper: Reaper, kill: int
) -> None:
    where = reaper.kill("build", undisturbed.photos, undisturbed.lines, f"build {kill}")
    kept = held()
    print(where, {name: len(ids) for name, ids in kept.items()})
    build("scenes", [undisturbed.photos], QUICK)
    now = held()
    assert all(now[name][: len(ids)] == ids for name, ids in kept.items()), where
    assert_whole(undisturbed.atlas, undisturbed.photos)


@pytest.mark.parametrize("kill", range(KILLS // 2))
def test_a_killed_add_is_completed_and_loses_nothing(
    undisturbed: Undisturbed, reaper: Reaper, home: Path, kill: int
) -> None:
    shutil.copytree(undisturbed.home, home)
    lines = len(files(undisturbed.later)) + 4
    where = reaper.kill("add", undisturbed.later, lines, f"add {kill}")
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
from embeddings import dataset as datasets
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.store import Store
from embeddings.encoders import builtin
ingest.WRITE_ITEMS = builtin.Builtin.batch_size = 8
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
SHARES = (0.01, 0.2, 0.4, 0.55, 0.75, 0.95)


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
    assert len(refusals) >= 5
    assert {stage for stage, _ in refusals} >= {"encode", "cluster"}, "in more than one stage"


def test_the_need_is_about_what_a_build_writes(undisturbed: Undisturbed) -> None:
    folder = undisturbed.home / "scenes"
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    n = len(undisturbed.atlas.item_ids)
    assert written < disk.need(n, 639, neighbours=5) < 4 * written
    more = disk.need(1, 639, known=n, neighbours=5)
    assert disk.need(1, 639, neighbours=5) < more, "tables that are there are compacted too"
    assert disk.need(0, 639, known=n) < disk.need(1, 639, known=n)


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


@pytest.mark.parametrize(
    ("first", "second"), [("build", "build"), ("build", "add"), ("add", "build")]
)
def test_a_second_process_is_refused_with_who_holds_the_dataset(
    undisturbed: Undisturbed,
    home: Path,
    workers: list[subprocess.Popen[str]],
    first: str,
    second: str,
) -> None:
    shutil.copytree(undisturbed.home, home)
    workers.append(holder := worker(first, undisturbed.later, "hold"))
    assert holder.stdout is not None
    assert any(line.startswith("encode") for line in holder.stdout), "it holds the dataset"
    with pytest.raises(CurationError) as refusal:
        if second == "add":
            add("scenes", [undisturbed.later], ADD)
        else:
            build("scenes", [undisturbed.later], QUICK)
    who = rf"'scenes' is being built by process {holder.pid} since \d{{4}}-\S+; wait for it to end"
    assert re.search(who, str(refusal.value)), refusal.value
    outcome, trouble = holder.communicate("go on\n")
    assert f"files {len(files(undisturbed.later))}" in outcome, trouble
    if first == "add":
        assert_whole(undisturbed.grown, undisturbed.photos, undisturbed.later)
    else:
        assert sorted(held()["locations"]) == files(undisturbed.photos, undisturbed.later)
        assert sorted(held()["images"]) == undisturbed.grown.item_ids.tolist()
    assert not (home / "scenes" / "build.holder").exists()


def test_what_a_killed_process_held_is_free_at_once_and_it_is_not_quoted(
    undisturbed: Undisturbed, home: Path, workers: list[subprocess.Popen[str]]
) -> None:
    workers.append(holder := worker("build", undisturbed.photos, "hold"))
    assert holder.stdout is not None
    assert any(line.startswith("encode") for line in holder.stdout)
    holder.kill()
    holder.communicate()
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
