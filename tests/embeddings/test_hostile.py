"""Every kind of file that curators bring: decoded right, or a reason that one can read."""

import ctypes
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embeddings import dataset as datasets
from embeddings import formats, images
from embeddings.build import Options, build
from embeddings.images import UnreadableImage
from embeddings.store import Store

from . import hostile

KINDS = {kind.name: kind for kind in hostile.kinds()}
READABLE = [name for name, kind in KINDS.items() if not kind.reason]
REFUSED = [name for name, kind in KINDS.items() if kind.reason and kind.data]
JARGON = re.compile(r"Error|Exception|None|bytes-like|NoneType|struct|buffer|0x|\bint\b|PIL")


def short(name: str) -> str:
    return ascii(name)[1:60]


def test_the_corpus_has_at_least_sixty_kinds_besides_cuts_and_turns() -> None:
    plain = [name for name in KINDS if not name.startswith(("cut/", "turned/"))]
    assert len(plain) >= 60
    assert len(KINDS) == len(hostile.kinds()), "a name is planted twice"


@pytest.mark.parametrize("name", READABLE, ids=short)
def test_a_readable_kind_shows_its_known_colours(name: str) -> None:
    kind = KINDS[name]
    decoded = images.decode(kind.data, name=name)
    assert decoded.rgb.mode == "RGB"
    assert (decoded.width, decoded.height) == decoded.rgb.size == kind.size
    assert decoded.histogram.sum(axis=1).tolist() == [decoded.width * decoded.height] * 3
    assert decoded.bytes == len(kind.data)
    assert decoded.sha256 == hashlib.sha256(kind.data).hexdigest()
    for place, colour in kind.pixels:
        found = decoded.rgb.getpixel(place)
        assert np.abs(np.subtract(found, colour)).max() <= kind.tolerance, (place, found, colour)
    if kind.note is None:
        assert decoded.note is None or "damaged" in decoded.note or "frame" in decoded.note
    else:
        assert kind.note in str(decoded.note)


@pytest.mark.parametrize("name", REFUSED, ids=short)
def test_an_unreadable_kind_has_a_reason_without_jargon(name: str) -> None:
    kind = KINDS[name]
    with pytest.raises(UnreadableImage) as caught:
        images.decode(kind.data, name=name)
    reason = str(caught.value)
    assert reason.startswith(kind.reason)
    assert not JARGON.search(reason), reason
    assert len(reason) < 120 and "\n" not in reason


def test_what_differs_from_file_to_file_is_left_out_of_a_group() -> None:
    groups = set()
    for name in REFUSED:
        with pytest.raises(UnreadableImage) as caught:
            images.decode(KINDS[name].data)
        groups.add(formats.reason_group(str(caught.value)))
    cuts = [group for group in groups if "cut" in group]
    assert cuts == ["damaged: cut short"], "the same trouble is one line of the report"
    assert not [group for group in groups if re.search(r"\d{3}", group)]


def test_a_cut_file_says_where_it_ends_and_where_it_should() -> None:
    data = KINDS["cut/5.webp"].data
    with pytest.raises(UnreadableImage, match=rf"cut short \(at {len(data):,} of [\d,]+ bytes\)"):
        images.decode(data)


# ---- one build over everything


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict]]:
    folder = tmp_path_factory.mktemp("corpus") / "photographs"
    folder.mkdir()
    yield folder, hostile.plant(folder)
    shutil.rmtree(folder)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            status = os.lstat(path)
            small = stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest() if small else ""
            found[path] = (status.st_mtime_ns, status.st_size, status.st_mode, digest)
    return found


def test_one_build_over_the_whole_corpus_makes_a_row_of_every_file(corpus) -> None:
    folder, expected = corpus
    before = snapshot(folder)
    report = build("corpus", [folder], Options(encoder="builtin", layout="pca", cluster="kmeans"))
    store = Store(datasets.open_dataset("corpus").tables)
    rows = {location.path: location for location in store.locations()}
    wanted = {path: what for path, what in expected.items() if what is not None}
    assert rows.keys() == wanted.keys()
    wrong = {
        path: (rows[path].status, rows[path].error)
        for path, (status, reason) in wanted.items()
        if rows[path].status != status or not str(rows[path].error or "").startswith(reason)
    }
    assert not wrong
    assert report.files == len(wanted)
    unreadable = sum(status == "unreadable" for status, _ in wanted.values())
    assert sum(report.unreadable.values()) == unreadable
    seen = {location.image_id for location in rows.values() if location.status == "ok"}
    assert set(store.item_ids().tolist()) == seen, "every readable file stands on the atlas"
    vectors = store.vectors(report.space)
    lengths = np.linalg.norm(vectors.rows, axis=1)
    assert np.isfinite(vectors.rows).all() and np.allclose(lengths, 1, atol=1e-4)
    assert snapshot(folder) == before, "source files are only ever read"


def test_twins_under_two_spellings_are_two_places_of_one_image(corpus) -> None:
    folder, _ = corpus
    found = {candidate.path for candidate in images.find(folder / "names")}
    twins = [str(folder / "names" / name) for name in ("caf\u00e9.png", "cafe\u0301.png")]
    assert set(twins) <= found and twins[0] != twins[1]


# ---- the file system


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (candidate,) = images.find(tmp_path)
    # opening it for reading would wait for a writer for ever: do it where waiting can be seen
    seen: list[str] = []

    def look() -> None:
        try:
            images.read(candidate.path)
        except UnreadableImage as error:
            seen.append(str(error))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(5)
    assert seen and "a named pipe" in seen[0]
    with pytest.raises(OSError, match="No such device"):  # nobody has it open for reading
        os.open(tmp_path / "pipe.jpg", os.O_WRONLY | os.O_NONBLOCK)


def test_a_file_that_is_gone_since_the_scan_has_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "here.png"
    path.write_bytes(KINDS["png/rgb.png"].data)
    (candidate,) = images.find(tmp_path)
    path.unlink()
    with pytest.raises(UnreadableImage, match="cannot be opened: it is gone since"):
        images.read(candidate.path)


def test_a_file_that_grows_while_it_is_read_is_left_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "arriving.png"
    path.write_bytes(KINDS["png/rgb.png"].data)
    look = os.fstat

    def while_someone_writes(file: int) -> os.stat_result:
        status = look(file)
        with path.open("ab") as writer:
            writer.write(b"more")
        return status

    monkeypatch.setattr(os, "fstat", while_someone_writes)
    with pytest.raises(UnreadableImage, match="changed while it was being read; build again"):
        images.read(str(path))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Let this thread read as nobody does, where it is root's: files only, and only this thread."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.setfsuid(65534)
    try:
        yield
    finally:
        libc.setfsuid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="setfsuid is Linux's")
def test_what_may_not_be_read_is_a_row_and_worth_another_try() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in (folder / "closed.png", folder / "closed folder" / "in it.png"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(KINDS["png/rgb.png"].data)
        (folder / "closed.png").chmod(0)
        (folder / "closed folder").chmod(0)
        with unprivileged():
            found = [candidate.path for candidate in images.find(folder)]
            reasons = []
            for path in found:
                with pytest.raises(UnreadableImage) as caught:
                    images.read(path)
                reasons.append(str(caught.value))
        (folder / "closed folder").chmod(0o755)
    assert [os.path.basename(path) for path in found] == ["closed folder", "closed.png"]
    assert "a folder that may not be listed" in reasons[0]
    assert "no permission to read it" in reasons[1]
    assert all(formats.worth_retrying(reason) for reason in reasons)
    assert not formats.worth_retrying("damaged: cut short (at 3 of 9 bytes)")


def test_folders_deeper_than_a_path_can_name_end_in_a_row(tmp_path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(25):  # 25 x 200 letters: more than a path may have
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
    finally:
        os.fchdir(here)
        os.close(here)
    (candidate,) = images.find(tmp_path)
    with pytest.raises(UnreadableImage, match="cannot be opened: the system says"):
        images.read(candidate.path)
    shutil.rmtree(tmp_path / ("d" * 200))


def test_1500_folders_in_each_other_are_walked(tmp_path: Path) -> None:
    bottom = tmp_path
    for _ in range(1500):
        bottom = bottom / "d"
        bottom.mkdir()
    (bottom / "a.png").write_bytes(KINDS["png/rgb.png"].data)
    found = [candidate.path for candidate in images.find(tmp_path)]
    (bottom / "a.png").unlink()
    while bottom != tmp_path:  # pytest's own tidying would run out of calls here
        bottom.rmdir()
        bottom = bottom.parent
    assert found == [str(tmp_path.joinpath(*["d"] * 1500) / "a.png")]
