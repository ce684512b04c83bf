"""The command line does what it says, in words for people and in one JSON object for programs."""

import csv
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from curation.workspace import Workspace
from embeddings import __version__
from embeddings.samples import digits as scans

Curate = Callable[..., Any]
QUICK = ("--encoder", "builtin", "--layout", "pca", "--cluster", "kmeans", "--neighbours", "5")
COMMAND = (sys.executable, "-m", "curation.cli")


def a_process(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `curate` in a process of its own, as a shell does."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True)


@pytest.fixture
def photos(built_home: Path, tmp_path: Path) -> Path:
    """A folder of 30 scans that the test may change."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for scan in sorted((built_home.parent / "images").glob("*.png"))[:30]:
        shutil.copy(scan, folder)
    return folder


# ---- making datasets


def test_the_demo_is_the_sample_with_its_digits_and_says_how_to_look_at_it(
    curate: Curate, digits: str, home: Path
) -> None:
    before = Workspace(digits).newest_version()
    outcome = curate("demo", "--no-serve")
    assert (outcome.code, outcome.err) == (0, "")
    assert "1,797 images in 'digits' (0 new, 1,797 files hold images known already)" in outcome.out
    assert outcome.out.splitlines()[-1] == "look at it: curate serve -d digits"
    assert len(list((home / ".samples" / "digits").glob("*.png"))) == 1797
    assert Workspace(digits).newest_version() == before, "the same images are the same atlas"
    labels = scans.render(home / ".samples" / "digits") / "labels.csv"
    with labels.open(newline="") as file:
        known = Counter(row["digit"] for row in csv.DictReader(file))
    held = Counter(str(row["field.digit"]) for row in Workspace(digits).records().to_pylist())
    assert held == known


def test_a_build_reports_what_it_did_and_a_second_one_has_nothing_to_do(
    curate: Curate, photos: Path
) -> None:
    (photos / "broken.jpg").write_bytes(b"no image at all")
    first = curate("build", photos, "-d", "few", *QUICK, "--batch", "monday", "--json")
    assert first.code == 0
    report = first.value
    assert (report["files"], report["images"], report["new_images"]) == (31, 30, 30)
    assert sum(report["unreadable"].values()) == 1
    assert {"scan", "decode", "encode", "store", "project", "cluster"} <= set(
        report["timings"]["stages"]
    )
    again = curate("build", photos, "-d", "few", *QUICK)
    assert "30 images in 'few' (0 new)" in again.out
    assert "unreadable: 1 x not an image" in again.out
    assert report["atlas_version"] in again.out
    held = Workspace("few").records().to_pylist()
    assert {row["batch"] for row in held} == {"monday"}


@pytest.mark.data
def test_real_photographs_get_the_labels_of_their_table(
    curate: Curate, real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    source = real_data("photos_clothing")
    with (source / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:: len(list((source / "images").rglob("*.jpg"))) // 60]
    rows = rows[:60]
    folder = tmp_path / "clothes"
    for row in rows:
        link = folder / row["path"]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source / row["path"])
    shutil.copy(source / "labels.csv", folder)
    outcome = curate(
        "build", folder, "-d", "clothes", *QUICK, "--metadata", folder / "labels.csv", "--json"
    )
    assert outcome.code == 0, outcome.err
    (joined,) = outcome.value["metadata"]
    assert joined["rows"] - joined["unmatched"] == 60 and joined["conflicts"] == 0
    held = {Path(row["path"]).name: row for row in Workspace("clothes").records().to_pylist()}
    for row in rows:
        record = held[Path(row["path"]).name]
        assert record["field.label"] == row["label"]
        assert (record["width"], record["height"]) == (int(row["w"]), int(row["h"]))
    score = curate("score", "-d", "clothes", "--truth", "field.label", "--json").value
    assert score["spaces"][0]["items"] == 60
    dresses = Counter(row["label"] for row in rows)["dress"]
    done = curate("label", '{"field.label": "dress"}', "dress", "-d", "clothes", "--json")
    assert done.value["n_items"] == dresses > 0


def test_ctrl_c_ends_a_build_in_words_and_the_next_one_goes_on_from_there(
    built_home: Path, home: Path
) -> None:
    arguments = ("build", str(built_home.parent / "images"), "-d", "stopped", "--encoder=builtin")
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    receipts = home / "stopped" / "tables" / "locations.lance" / "data"
    deadline = time.monotonic() + 60
    versions = receipts.with_name("_versions")
    while not list(receipts.glob("*.lance")) or len(list(versions.glob("*.manifest"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.strip().splitlines()[-1]
    assert last == "stopped; what was done is kept, the same command goes on from here"
    assert "Traceback" not in err
    assert not (home / "stopped" / "build.holder").exists(), "nobody holds it any more"
    report = json.loads(a_process(*arguments, *QUICK, "--json").stdout)
    assert report["images"] == 1797
    assert report["unchanged"] > 0, "what was written before is not decoded again"
    assert len(Workspace("stopped").atlas()) == 1797


# ---- what there is


def test_the_list_names_every_dataset_and_an_empty_home_says_how_to_begin(
    curate: Curate, digits: str, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    curate("label", "cluster:0", "zero", "-d", digits)
    (row,) = curate("list", "--json").value["datasets"]
    assert (row["name"], row["images"], row["atlases"], row["decisions"]) == (digits, 1797, 1, 1)
    assert row["spaces"] == ["builtin"] and row["path"] == str(home / digits)
    assert curate("list").out.splitlines()[1].split() == [digits, "1797", "1", "1"]
    monkeypatch.setenv("CURATE_HOME", str(tmp_path / "none"))
    assert curate("list", "--json").value == {"home": str(tmp_path / "none"), "datasets": []}
    assert curate("list").out.endswith("make one with: curate demo\n")


def test_a_dataset_in_trouble_does_not_hide_the_others(
    curate: Curate, digits: str, home: Path
) -> None:
    (home / "broken").mkdir()
    (home / "broken" / "dataset.json").write_text("{")
    broken, sound = curate("list", "--json").value["datasets"]
    assert (broken["name"], sound["name"]) == ("broken", digits)
    assert "is damaged" in broken["error"] and "error" not in sound
    outcome = curate("list")
    assert outcome.code == 0
    assert digits in outcome.out and "broken: " in outcome.out


def test_info_has_what_a_bug_report_needs(curate: Curate, digits: str, home: Path) -> None:
    value = curate("info", "--json").value
    assert (value["curation-atlas"], value["datasets"]) == (__version__, 1)
    assert value["home"] == str(home)
    assert {"builtin", "onnx", "open_clip"} <= set(value["encoders"].split(", "))
    assert {"torch", "lancedb", "streamlit"} <= set(value["libraries"])
    text = curate("info").out
    assert str(home) in text and f"torch {value['libraries']['torch']}" in text


def test_checks_tell_what_they_suspect(curate: Curate, digits: str) -> None:
    one = curate("check", "outliers", "-d", digits, "--json").value["findings"]
    assert list(one) == ["outliers"] and one["outliers"]
    first = one["outliers"][0]
    assert 0 <= first["score"] <= 1 and len(first["item_ids"]) == 1
    every = curate("check", "-d", digits)
    assert every.code == 0
    heads = [line for line in every.out.splitlines() if not line.startswith(" ")]
    assert [head.split(":")[0] for head in heads] == ["duplicates", "labels", "outliers"]
    assert f"outliers: {len(one['outliers']):,} findings" in heads


def test_the_score_stands_beside_chance(curate: Curate, digits: str) -> None:
    (row,) = curate("score", "-d", digits, "--truth", "field.digit", "--json").value["spaces"]
    assert (row["space"], row["items"]) == ("builtin", 1797)
    assert row["chance"] == round(183 / 1797, 4), "threes are the most common digit"
    assert row["k1"] > 0.9
    curate("label", '{"field.digit": 7}', "seven", "-d", digits)
    (row,) = curate("score", "-d", digits, "--json").value["spaces"]
    assert (row["items"], row["k1"], row["chance"]) == (179, 1.0, 1.0)
    header, line = curate("score", "-d", digits).out.splitlines()
    assert header.split() == ["space", "items", "1-NN", "5-NN", "chance"]
    assert line.split()[:2] == ["builtin", "179"]


# ---- decisions


def test_undo_and_redo_of_one_act_in_processes_of_their_own(curate: Curate, digits: str) -> None:
    labelled = a_process("label", "cluster:0", "zero", "-d", digits, "--note", "by eye", "--json")
    act = json.loads(labelled.stdout)
    assert (act["action"], act["value"], act["note"]) == ("label", "zero", "by eye")
    assert act["n_items"] == len(Workspace(digits).select("cluster:0"))
    assert a_process("undo", "-d", digits).stdout.startswith("undo of 1: ")
    assert Workspace(digits).labels.counts("category") == {}
    redone = json.loads(a_process("redo", "-d", digits, "--json").stdout)
    assert (redone["action"], redone["undoes"]) == ("redo", 1)
    assert Workspace(digits).labels.counts("category") == {"zero": act["n_items"]}
    log = curate("log", "-d", digits, "--json").value["decisions"]
    assert [row["action"] for row in log] == ["redo", "undo", "label"]
    assert [row["seq"] for row in log] == [3, 2, 1]
    (newest,) = curate("log", "-d", digits, "-n", "1", "--json").value["decisions"]
    assert newest == log[0]
    text = curate("log", "-d", digits).out.splitlines()
    assert text[0].split() == ["seq", "when", "(UTC)", "who", "act", "items", "note"]
    assert text[-1].endswith("by eye") and "category: zero" in text[-1]


def test_two_people_undo_each_their_own(
    curate: Curate, digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_USER", "ann")
    ann = curate("label", "cluster:0", "zero", "-d", digits, "--json").value
    monkeypatch.setenv("CURATE_USER", "bob")
    curate("label", "cluster:1", "one", "-d", digits)
    monkeypatch.setenv("CURATE_USER", "ann")
    undone = curate("undo", "-d", digits, "--json").value
    assert (undone["undoes"], undone["made_by"]) == (ann["seq"], "ann")
    assert list(Workspace(digits).labels.counts("category")) == ["one"]
    assert curate("undo", "-d", digits).err == "error: nothing to undo by ann\n"
    monkeypatch.setenv("CURATE_USER", "bob")
    assert curate("redo", "-d", digits).err == "error: nothing to redo by bob\n"
    assert curate("undo", "-d", digits).code == 0
    assert Workspace(digits).labels.counts("category") == {}


def test_labels_can_be_of_either_kind_changed_and_cleared(curate: Curate, digits: str) -> None:
    curate("label", "cluster:0", "zero", "-d", digits)
    refused = curate("label", "cluster:0", "null", "-d", digits)
    assert refused.code == 1 and "say overwrite" in refused.err
    assert curate("label", "cluster:0", "null", "-d", digits, "--overwrite").code == 0
    curate("label", "label:null", "writer 7", "-d", digits, "--field", "instance")
    labels = Workspace(digits).labels
    n = len(Workspace(digits).select("cluster:0"))
    assert (labels.counts("category"), labels.counts("instance")) == ({"null": n}, {"writer 7": n})
    cleared = curate("label", "cluster:0", "--clear", "-d", digits)
    assert cleared.out.startswith("category: cleared: ")
    assert Workspace(digits).labels.counts("category") == {}


def test_flags_are_set_and_taken_away(curate: Curate, digits: str, tmp_path: Path) -> None:
    ids = Workspace(digits).atlas().item_ids[:3].tolist()
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    done = curate("flag", f"@{tmp_path / 'ids.txt'}", "excluded", "-d", digits, "--json").value
    assert (done["action"], done["value"], done["n_items"]) == ("flag", "excluded", 3)
    assert Workspace(digits).select("flag:excluded").item_ids.tolist() == ids
    back = curate("flag", f"id:{ids[0]}", "excluded", "--remove", "-d", digits)
    assert back.out == "unflag excluded: 1 items (decision 2)\n"
    assert Workspace(digits).select("flag:excluded").item_ids.tolist() == ids[1:]


# ---- exports


@pytest.fixture
def decided(curate: Curate, digits: str) -> dict[str, str]:
    """Some labels and two exclusions; the labels by item id."""
    zero, one = (Workspace(digits).select(f"cluster:{n}").item_ids.tolist() for n in (0, 1))
    curate("label", "cluster:0", "zero", "-d", digits)
    curate("label", "cluster:1", "one: 'uno'", "-d", digits)
    curate("flag", f"id:{zero[0]},{one[0]}", "excluded", "-d", digits)
    return {**dict.fromkeys(zero, "zero"), **dict.fromkeys(one, "one: 'uno'")}


def exported(curate: Curate, format: str, to: Path) -> dict[str, Any]:
    """Export, and return the manifest once every checksum in it is seen to hold."""
    outcome = curate("export", "-d", "digits", "--as", format, "--to", to, "--json")
    assert outcome.code == 0, outcome.err
    manifest: dict[str, Any] = json.loads((to / "manifest.json").read_text())
    assert outcome.value == {"path": str(to), "manifest": manifest}
    present = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    assert present == {*manifest["files"], "manifest.json"}
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((to / name).read_bytes()).hexdigest() == entry["sha256"]
    assert manifest["source"]["head"] == Workspace("digits").journal.head == 3
    return manifest


def test_a_table_says_what_the_journal_says(
    curate: Curate, decided: dict[str, str], tmp_path: Path
) -> None:
    exported(curate, "csv", tmp_path / "csv")
    exported(curate, "parquet", tmp_path / "parquet")
    with (tmp_path / "csv" / "items.csv").open(newline="") as file:
        text = list(csv.DictReader(file))
    typed = pyarrow.parquet.read_table(tmp_path / "parquet" / "items.parquet").to_pylist()
    for rows in (text, typed):
        assert len(rows) == 1797
        assert {row["item_id"]: row["category"] for row in rows if row["category"]} == decided
        excluded = {row["item_id"] for row in rows if "excluded" in row["flags"]}
        assert excluded == set(Workspace("digits").select("flag:excluded").item_ids.tolist())
        assert {row["labelled_by"] for row in rows if row["category"]} == {"tester"}


def test_a_folder_a_category_holds_the_labelled_images_and_no_stray(
    curate: Curate, decided: dict[str, str], tmp_path: Path
) -> None:
    manifest = exported(curate, "imagefolder", tmp_path / "set")
    workspace = Workspace("digits")
    strays = workspace.select("flag:excluded").item_ids.tolist()
    sources = {row["item_id"]: row["path"] for row in workspace.records().to_pylist()}
    wanted = Counter(
        (label, Path(sources[item]).read_bytes())
        for item, label in decided.items()
        if item not in strays
    )
    found = Counter(
        (manifest["folders"][path.parent.name], path.read_bytes())
        for path in (tmp_path / "set").rglob("*.png")
    )
    assert found == wanted


def test_an_export_is_replaced_only_when_asked(
    curate: Curate, decided: dict[str, str], tmp_path: Path
) -> None:
    target = ("export", "-d", "digits", "--as", "csv", "--to", tmp_path / "out")
    assert curate(*target).out == (
        f"1 files in {tmp_path / 'out'} (manifest.json has their checksums)\n"
    )
    curate("undo", "-d", "digits")
    assert "exists; choose another folder or say overwrite" in curate(*target).err
    assert curate(*target, "--overwrite").code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["source"]["head"] == 4


# ---- serving


def test_serve_answers_on_its_port_until_ctrl_c_and_prints_only_its_result(
    digits: str, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ("demo", "--no-browser", "--port", str(port), "--json")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        server = subprocess.Popen([*COMMAND, *arguments], stdout=out, stderr=err)
        try:
            assert answers(f"http://127.0.0.1:{port}/_stcore/health", server) == b"ok"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    assert f"Curation Atlas on http://127.0.0.1:{port}" in (tmp_path / "err").read_text()
    assert json.loads((tmp_path / "out").read_text())["dataset"] == "digits"


def answers(url: str, server: subprocess.Popen[bytes]) -> bytes:
    """Return what `url` answers once it does."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"{url} never answered; the server ended with {server.poll()}")


# ---- growing datasets


def test_new_photographs_are_added_and_moved_ones_found(
    curate: Curate, photos: Path, home: Path, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    for scan in sorted(photos.iterdir())[:8]:
        scan.rename(later / scan.name)
    first = curate("build", photos, "-d", "growing", *QUICK, "--json").value
    grown = curate("add", later, "-d", "growing", "--batch", "second", "--json").value
    assert grown["new_images"] == 8 and grown["encoder"] == "builtin"
    assert grown["atlas_version"] != first["atlas_version"]
    workspace = Workspace("growing")
    workspace.label(workspace.select('{"batch": "second"}'), "new ones")

    moved = tmp_path / "archive"
    later.rename(moved)
    assert "missing" not in curate("add", photos, "-d", "growing").out
    found = curate("relocate", later, moved, "-d", "growing", "--json").value
    assert (found["found"], found["absent"], found["changed"]) == (8, [], [])
    curate("export", "-d", "growing", "--as", "imagefolder", "--to", tmp_path / "set")
    assert len(list((tmp_path / "set" / "new ones").iterdir())) == 8
