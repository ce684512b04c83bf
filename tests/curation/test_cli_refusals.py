"""Bad input: one line that says what to do, the right exit code, and nothing written half."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Curate = Callable[..., Any]
Tree = Callable[[Path], dict[str, str]]
BUILD = ("build", "-d", "new", "--encoder", "builtin")


@pytest.fixture(scope="module")
def kept(built_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `digits`, and beside it what a person may mistake for images or a target."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(built_home, folder / "home")
    images = sorted((built_home.parent / "images").glob("*.png"))
    (folder / "empty").mkdir()
    (folder / "photos").mkdir()
    shutil.copy(images[0], folder / "photos")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "a.jpg").write_text("not at all")
    (folder / "notes.txt").write_text("some words")
    (folder / "keyless.csv").write_text("colour,size\nred,3\n")
    (folder / "taken").mkdir()
    (folder / "taken" / "mine.txt").write_text("keep me")
    return folder


@pytest.fixture(autouse=True)
def at_home(kept: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_HOME", str(kept / "home"))


REFUSED = [
    ((*BUILD, "{}/missing"), "no such file or folder: {}/missing; check the path"),
    ((*BUILD, "{}/empty"), "no images below {}/empty; give a folder"),
    ((*BUILD, "{}/notes.txt"), "{}/notes.txt is not an image; give an image or a folder"),
    ((*BUILD, "{}/damaged"), "none of the 1 files can be read as an image"),
    ((*BUILD, "{}/photos", "--encoder", "wizard"), "unknown encoder 'wizard'; known: builtin"),
    ((*BUILD, "{}/photos", "--encoder", "onnx:{}/no.onnx"), "no.onnx"),
    ((*BUILD, "{}/photos", "--encoder", "open_clip:what"), "expected open_clip:MODEL/TAG"),
    ((*BUILD, "{}/photos", "--layout", "maze"), "unknown layout 'maze'; known: pca, tsne, umap"),
    ((*BUILD, "{}/photos", "--cluster", "heap"), "unknown clusterer 'heap'; known: dbscan"),
    ((*BUILD, "{}/photos", "--metadata", "{}/no.csv"), "no such metadata table: {}/no.csv"),
    ((*BUILD, "{}/photos", "--metadata", "{}/notes.txt"), "is not a .csv, .tsv or .parquet"),
    ((*BUILD, "{}/photos", "--metadata", "{}/keyless.csv"), "which image a row is about"),
    ((*BUILD, "{}/photos", "--device", "abacus"), "unknown device 'abacus'; expected auto, cpu"),
    (("build", "-d", "../x", "{}/photos"), "'../x' cannot name a dataset; use up to 64 letters"),
    (("label", "all", "x" * 10_000, "-d", "digits"), "at most 200 characters, got 10000"),
    (("label", "all", "<script>alert(1)</script>", "-d", "digits"), "may not contain '<'"),
    (("label", "all", "", "-d", "digits"), "got an empty text; type at least one"),
    (("label", "all", "a\x07b", "-d", "digits"), "invisible character U+0007; retype it"),
    (("label", "all", "x", "-d", "digits", "--note", "<b>"), "a note may not contain '<'"),
    (("label", "cluster:999", "x", "-d", "digits"), "'cluster:999' selects no item of 'digits'"),
    (("label", "shoes", "x", "-d", "digits"), "'shoes' selects nothing; write cluster:7"),
    (("label", "id:nobody", "x", "-d", "digits"), "no item 'nobody' in 'digits'; check the id"),
    (("label", "id:", "x", "-d", "digits"), "'id:' selects no item"),
    (("label", "@{}/no.txt", "x", "-d", "digits"), "cannot read ids from {}/no.txt"),
    (("label", '{"w": {"$no": 1}}', "x", "-d", "digits"), "unknown query operator '$no'; known"),
    (("label", '{"$and":[' * 3000, "x", "-d", "digits"), "the query is nested too deeply"),
    (("label", "flag:category", "x", "-d", "digits"), "unknown flag 'category'; known: excluded"),
    (("label", "all", "x", "-d", "nope"), "no dataset 'nope' in {}/home; there are: digits"),
    (("flag", "all", "ugly", "-d", "digits"), "unknown flag 'ugly'; known: excluded, outlier"),
    (("undo", "-d", "digits"), "nothing to undo by tester"),
    (("redo", "-d", "digits"), "nothing to redo by tester"),
    (("log", "-d", "nope"), "no dataset 'nope'"),
    (("check", "-d", "nope"), "no dataset 'nope'"),
    (("check", "outliers", "vibes", "-d", "digits"), "unknown check 'vibes'; known: duplicates"),
    (("score", "-d", "nope"), "no dataset 'nope'"),
    (("score", "-d", "digits"), "no item has 'category' yet; label some"),
    (("score", "-d", "digits", "--truth", "colour"), "no field 'colour'; there are: category"),
    (("serve", "-d", "nope"), "no dataset 'nope'"),
    (("export", "-d", "nope", "--as", "csv", "--to", "{}/out"), "no dataset 'nope'"),
    (("export", "-d", "digits", "--as", "doc", "--to", "{}/out"), "unknown exporter 'doc'; known"),
    (("export", "-d", "digits", "--as", "csv", "--to", "{}/taken"), "{}/taken exists; choose"),
    (
        ("export", "-d", "digits", "--as", "csv", "--to", "{}/taken", "--overwrite"),
        "{}/taken is not an export",
    ),
    (
        ("export", "-d", "digits", "--as", "csv", "--to", "{}/notes.txt/out"),
        "cannot write {}/notes.txt/out",
    ),
]


def said(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments)[:60]


@pytest.mark.parametrize(
    ("arguments", "message"), REFUSED, ids=[said(arguments) for arguments, _ in REFUSED]
)
def test_what_cannot_be_done_is_one_line_and_leaves_everything_as_it_was(
    curate: Curate, tree: Tree, kept: Path, arguments: tuple[str, ...], message: str
) -> None:
    curate("log", "-d", "digits")  # makes the journal, which is none of a refusal's doing
    before = tree(kept)
    arguments = tuple(part.replace("{}", str(kept)) for part in arguments)
    told, machine = (
        curate(*arguments),
        curate(*arguments, "--json") if arguments[0] != "serve" else None,
    )
    assert told.code == 1
    assert told.out == ""
    assert_one_line(told.err, message.replace("{}", str(kept)))
    if machine is not None:
        assert machine.code == 1
        assert machine.value == {"error": told.err.removeprefix("error: ").removesuffix("\n")}
    assert tree(kept) == before


def assert_one_line(err: str, message: str) -> None:
    assert err.startswith("error: ") and err.endswith("\n")
    assert len(err.splitlines()) == 1 and len(err) < 700, err
    assert message in err


MISUSED = [
    (("label", "-d", "digits"), "Missing argument 'SELECTOR'; see: curate label --help"),
    (("label", "all", "-d", "digits"), "give a LABEL, or --clear to take it away; see: "),
    (("label", "all", "x", "--clear", "-d", "digits"), "give a LABEL, or --clear"),
    (("label", "all", "x", "-d", "digits", "--field", "colour"), "'category', 'instance'"),
    (("build", "-d", "new"), "Missing argument 'SOURCES...'; see: curate build --help"),
    ((*BUILD, ".", "--dims", "4"), "4 is not in the range 2<=x<=3"),
    ((*BUILD, ".", "--seed", "-1"), "-1 is not in the range 0<=x<=4294967295"),
    (("serve", "--port", "99999"), "99999 is not in the range 1<=x<=65535"),
    (("log", "-d", "digits", "-n", "0"), "0 is not in the range x>=1"),
    (("export", "-d", "digits", "--as", "csv"), "Missing option '--to'"),
    (("xyzzy",), "No such command 'xyzzy'; see: curate --help"),
    (("list", "--jsn"), "No such option"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISUSED, ids=[said(arguments) for arguments, _ in MISUSED]
)
def test_a_command_that_is_none_is_one_line_with_where_to_read(
    curate: Curate, tree: Tree, kept: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = tree(kept)
    told, machine = curate(*arguments), curate(*arguments, "--json")
    assert (told.code, machine.code) == (2, 2)
    assert told.out == "" and "Traceback" not in told.err
    assert_one_line(told.err, message)
    assert "error" in machine.value
    assert tree(kept) == before


def test_curate_alone_shows_the_commands(curate: Curate) -> None:
    outcome = curate()
    assert outcome.code in (0, 2), "click 8.1 calls it help, click 8.2 an error"
    assert "Usage: curate" in outcome.out + outcome.err
    assert "export" in outcome.out + outcome.err


# ---- written by a newer version


ACTS_ON_DIGITS = [
    ("label", "all", "x", "-d", "digits"),
    ("undo", "-d", "digits"),
    ("log", "-d", "digits"),
    ("check", "-d", "digits"),
    ("score", "-d", "digits"),
    ("export", "-d", "digits", "--as", "csv", "--to", "{}/out"),
    ("build", "{}/photos", "-d", "digits", "--encoder", "builtin", "--layout", "pca"),
]


@pytest.fixture
def newer(digits: str, home: Path, monkeypatch: pytest.MonkeyPatch, curate: Curate) -> Path:
    """The dataset's folder, in a home that the test may change."""
    monkeypatch.setenv("CURATE_HOME", str(home))
    curate("log", "-d", digits)  # makes the journal
    return home / digits


@pytest.mark.parametrize("part", ["dataset", "journal"])
def test_what_a_newer_version_wrote_is_not_touched(
    curate: Curate, tree: Tree, kept: Path, newer: Path, tmp_path: Path, part: str
) -> None:
    if part == "dataset":
        card = json.loads((newer / "dataset.json").read_text())
        (newer / "dataset.json").write_text(json.dumps({**card, "schema_version": 99}))
    else:
        with closing(sqlite3.connect(newer / "decisions.sqlite")) as journal:
            journal.execute("PRAGMA user_version = 99")
    before = tree(tmp_path)
    for arguments in ACTS_ON_DIGITS:
        outcome = curate(*(argument.replace("{}", str(kept)) for argument in arguments))
        assert (outcome.code, outcome.out) == (1, ""), arguments
        assert_one_line(outcome.err, "was written by a newer version")
        assert outcome.err.endswith("upgrade curation-atlas\n")
        assert tree(tmp_path) == before, arguments
    assert not (kept / "out").exists()
    (row,) = curate("list", "--json").value["datasets"]
    assert row["name"] == "digits" and "newer version" in row["error"]


# ---- places that cannot be used


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_port_in_use_is_said_before_anything_is_built(
    curate: Curate, tree: Tree, kept: Path, used_port: int, command: str
) -> None:
    before = tree(kept)
    outcome = curate(command, "--port", used_port, "--no-browser")
    assert (outcome.code, outcome.out) == (1, "")
    assert_one_line(outcome.err, f"port {used_port} is in use")
    assert f"choose another with --port {used_port + 1}" in outcome.err
    assert tree(kept) == before


@pytest.mark.parametrize("arguments", [("demo", "--no-serve"), (*BUILD, "{}/photos")], ids=said)
def test_a_home_that_cannot_be_written_says_how_to_choose_another(
    curate: Curate, tree: Tree, kept: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str]
) -> None:
    # below a file and not without permission: those do not bind root, who runs this in containers
    monkeypatch.setenv("CURATE_HOME", str(kept / "notes.txt" / "home"))
    before = tree(kept)
    outcome = curate(*(argument.replace("{}", str(kept)) for argument in arguments))
    assert (outcome.code, outcome.out) == (1, "")
    assert_one_line(outcome.err, f"cannot write {kept / 'notes.txt' / 'home'}")
    assert outcome.err.endswith("set CURATE_HOME to a folder you can write\n")
    assert tree(kept) == before


# ---- in a process of its own, as a shell sees it


def test_a_shell_sees_one_line_one_object_and_exit_code_one(kept: Path) -> None:
    command = [sys.executable, "-m", "curation.cli", "build", "-d", "new", "--json"]
    # the path is no UTF-8, and the locale could not write it
    done = subprocess.run(
        [*command, os.fsencode(kept) + b"/\xff\xe9"],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1
    value = json.loads(done.stdout)
    assert value["error"].startswith("no such file or folder: ")
    assert done.stdout.count(b"\n") == 1
