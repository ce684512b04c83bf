"""Datasets of an older schema: brought forward whole, once, by whoever opens them first."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest

from curation.workspace import Workspace
from embeddings import dataset as datasets
from embeddings import migrations, tables
from embeddings.build import Options, build
from embeddings.dataset import SCHEMA_VERSION, building, open_dataset
from embeddings.errors import CurationError
from embeddings.samples import scenes
from embeddings.store import Store

from .small_disk import on_small_disk

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=3)
S = pa.string()

# What schema 1 (commit ae70326) wrote, column by column: never to be changed.
ONE = {
    "images": "image_id sha256 width:i4 height:i4 bytes:i8 format first_seen taken_at source url "
    "batch note histogram:768i4",
    "locations": "path path_bytes:b size:i8 mtime_ns:i8 status first_seen image_id error source",
    "items": "item_id image_id x1:f4 y1:f4 x2:f4 y2:f4 class_name confidence:f4 track_id "
    "thumbnail:B",
    "atlases": "version item_id x:f4 y:f4 z:f4 cluster:i4 membership:f4 outlier_score:f4",
    "atlas_runs": "version space params made_at",
    "findings": "finding_id check item_ids:s score:f4 detail made_at",
    "labels": "item_id category instance flags:s labelled_by labelled_at",
}
TYPES = {
    "": S,
    "i4": pa.int32(),
    "i8": pa.int64(),
    "f4": pa.float32(),
    "b": pa.binary(),
    "B": pa.large_binary(),
    "s": pa.list_(S),
    "768i4": pa.list_(pa.int32(), 768),
}


def one(name: str) -> pa.Schema:
    parts = [part.partition(":") for part in ONE[name].split()]
    return pa.schema([(column, TYPES[kind]) for column, _, kind in parts])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the dataset `old`, of schema 1, with a decision, findings and labels."""
    folder = tmp_path_factory.mktemp("old")
    scenes.generate(folder / "photos", scenes=12, seed=1, width=64, height=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_HOME", str(folder / "home"))
        build("old", [folder / "photos" / "images"], QUICK)
        workspace = Workspace("old", "ann")
        workspace.label(workspace.select("all"), "thing")
        workspace.journal.close()
        store = workspace.store
        finding = {"finding_id": "f", "check": "c", "item_ids": ["x"], "score": 1.0}
        store.save_findings("c", [{**finding, "detail": "{}", "made_at": "now"}])
        dataset = workspace.dataset
    connection = lancedb.connect(str(dataset.tables))
    for name in set(ONE) & set(store.names()):
        rows = store.read(name, one(name).names).cast(one(name))
        connection.drop_table(name)
        # two fragments, as a grown dataset has
        table = connection.create_table(name, data=rows[:5])
        table.add(rows[5:])
    card = dataset.path / "dataset.json"
    datasets.write_json(card, {**json.loads(card.read_text()), "schema_version": 1, "more": "kept"})
    return folder / "home"


@pytest.fixture
def old(made: Path, home: Path) -> Path:
    """The folder of a dataset of schema 1 that the test may change."""
    subprocess.run(["cp", "-a", str(made), str(home)], check=True)
    return home / "old"


def rows(folder: Path, name: str) -> list[dict[str, object]]:
    return lancedb.connect(str(folder / "tables")).open_table(name).to_arrow().to_pylist()


def version(folder: Path) -> int:
    return int(json.loads((folder / "dataset.json").read_text())["schema_version"])


def columns(folder: Path) -> dict[str, list[str]]:
    connection = lancedb.connect(str(folder / "tables"))
    return {
        name: connection.open_table(name).schema.names for name in connection.list_tables().tables
    }


def test_an_old_dataset_opens_with_every_row_and_the_columns_of_this_version(
    old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {name: rows(old, name) for name in columns(old)}
    assert "url" not in columns(old)["locations"]
    decisions = (old / "decisions.sqlite").read_bytes()
    dataset = open_dataset("old")
    assert dataset.schema_version == version(old) == SCHEMA_VERSION
    card = json.loads((old / "dataset.json").read_text())
    assert (card["more"], card["dataset_id"]) == ("kept", dataset.dataset_id)
    for name, found in columns(old).items():
        if name in tables.SCHEMAS and name != "fields":
            assert found == tables.SCHEMAS[name].names, f"{name}: a step is missing"
        was = before[name]
        kept = [{key: row[key] for key in was[0]} for row in rows(old, name)]
        assert kept == was, f"{name}: rows or their order have changed"
    assert {row["url"] for row in rows(old, "locations")} == {None}
    schema = lancedb.connect(str(old / "tables")).open_table("locations").schema
    assert schema.field("url").type == S
    assert (old / "decisions.sqlite").read_bytes() == decisions
    [record] = caplog.records
    assert f"brought forward from schema 1 to {SCHEMA_VERSION}" in record.getMessage()
    caplog.clear()
    open_dataset("old")
    assert not caplog.records, "said once"


def test_an_old_dataset_is_worked_with_at_once(old: Path, made: Path) -> None:
    workspace = Workspace("old", "ann")
    atlas = workspace.atlas()
    assert set(workspace.labels.category(workspace.item_nos(atlas.version))) == {"thing"}
    assert all(paths for paths in workspace.store.places().values())
    photos = made.parent / "photos" / "images"
    report = build("old", [photos], QUICK)
    assert (report.new_images, report.unchanged) == (0, report.files)
    assert report.atlas_version == atlas.version
    (photos / "late.jpg").write_bytes(scenes_again(photos))
    try:
        assert build("old", [photos], QUICK).files == report.files + 1
    finally:
        (photos / "late.jpg").unlink()
    names = [row.path for row in workspace.store.locations()]
    assert len(names) == report.files + 1


def scenes_again(photos: Path) -> bytes:
    return sorted(photos.glob("*.jpg"))[0].read_bytes()


def test_a_dataset_of_schema_1_without_any_table_opens(home: Path) -> None:
    folder = home / "bare"
    folder.mkdir(parents=True)
    card = {"schema_version": 1, "dataset_id": "x", "name": "bare", "created_at": "now"}
    (folder / "dataset.json").write_text(json.dumps(card))
    assert open_dataset("bare").schema_version == SCHEMA_VERSION
    assert Store(open_dataset("bare").tables).locations() == []


def test_a_table_that_was_never_finished_is_passed_over(old: Path) -> None:
    for manifest in (old / "tables" / "locations.lance" / "_versions").iterdir():
        manifest.unlink()
    assert open_dataset("old").schema_version == SCHEMA_VERSION
    assert Store(open_dataset("old").tables).locations() == []


def test_each_step_may_be_run_again(old: Path) -> None:
    for _ in range(2):
        assert list(migrations.steps_from(1, old / "tables")) == list(range(2, SCHEMA_VERSION + 1))
    assert columns(old)["locations"] == tables.SCHEMAS["locations"].names


def test_steps_lead_to_every_version_in_turn() -> None:
    assert list(migrations.STEPS) == list(range(2, SCHEMA_VERSION + 1))


# Opens the dataset, and dies by kill -9 at one exact moment of it.
DIE = """
import os, signal, sys
import lancedb.table
from embeddings.dataset import open_dataset
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "before the column":
    lancedb.table.LanceTable.add_columns = die
else:
    os.fsync = die  # the new card is written, and not yet renamed
open_dataset("old")
"""


@pytest.mark.parametrize("moment", ["before the column", "before the card"])
def test_a_migration_that_is_killed_is_completed_by_the_next(old: Path, moment: str) -> None:
    before = rows(old, "locations")
    child = subprocess.run([sys.executable, "-c", DIE, moment], check=False)
    assert child.returncode == -signal.SIGKILL
    assert version(old) == 1, "the version is written last"
    assert ("url" in columns(old)["locations"]) == (moment != "before the column")
    assert open_dataset("old").schema_version == version(old) == SCHEMA_VERSION
    assert rows(old, "locations") == [{**row, "url": None} for row in before]


OPEN = """
import sys
import lancedb
from embeddings.dataset import open_dataset
from embeddings.store import Store
print("ready", flush=True)
sys.stdin.readline()
dataset = open_dataset("old")
print(dataset.schema_version, len(Store(dataset.tables).locations()))
"""


def test_processes_that_open_it_at_once_all_work_and_one_brings_it_forward(old: Path) -> None:
    count = len(rows(old, "locations"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [
        subprocess.Popen([sys.executable, "-c", OPEN], text=True, **pipes) for _ in range(2)
    ]
    for child in children:
        assert child.stdout and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    outcomes = [child.communicate() for child in children]
    assert [out for out, _ in outcomes] == [f"{SCHEMA_VERSION} {count}\n"] * 2, outcomes
    assert sum(err.count("was brought forward") for _, err in outcomes) == 1, outcomes


def test_an_old_dataset_that_is_being_built_is_refused_with_who_holds_it(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_WAIT", 0.2)
    dataset = datasets.Dataset("old", old, "x", "now", 1)
    with building(dataset), pytest.raises(CurationError, match=f"process {os.getpid()} since"):
        open_dataset("old")
    assert version(old) == 1
    assert open_dataset("old").schema_version == SCHEMA_VERSION


READ_ONLY = """
import os, shutil, subprocess, sys
from embeddings.dataset import open_dataset
from embeddings.errors import CurationError
shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)
subprocess.run(["mount", "-o", "remount,ro", sys.argv[2]], check=True)
os.environ["CURATE_HOME"] = sys.argv[2]
try:
    open_dataset("old")
except CurationError as error:
    print(error)
"""


def test_an_old_dataset_on_a_read_only_disk_is_refused_in_plain_words(
    made: Path, tmp_path: Path
) -> None:
    command = on_small_disk(tmp_path / "disk", "20m")
    script = [sys.executable, "-c", READ_ONLY, str(made), str(tmp_path / "disk")]
    result = subprocess.run([*command, *script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    assert re.search("older version.*cannot be written.*CURATE_HOME", result.stdout), result


@pytest.mark.parametrize("card", ["{", "[]", '{"schema_version": 0}', '{"schema_version": "x"}'])
def test_a_damaged_card_is_refused_and_left_alone(old: Path, card: str) -> None:
    if card.startswith('{"'):
        whole = json.loads((old / "dataset.json").read_text())
        card = json.dumps({**whole, **json.loads(card)})
    (old / "dataset.json").write_text(card)
    with pytest.raises(CurationError, match="damaged"):
        open_dataset("old")
    assert (old / "dataset.json").read_text() == card


def test_a_dataset_of_a_newer_version_is_refused(old: Path) -> None:
    card = json.loads((old / "dataset.json").read_text())
    datasets.write_json(old / "dataset.json", {**card, "schema_version": SCHEMA_VERSION + 1})
    before = (old / "dataset.json").read_bytes()
    with pytest.raises(CurationError, match="newer version.*upgrade"):
        open_dataset("old")
    with pytest.raises(CurationError, match="newer version.*upgrade"):
        build("old", [old], QUICK)
    assert (old / "dataset.json").read_bytes() == before
