"""Tar and zip: every member readable by any thread, every damage a reason, nothing unpacked."""

import gzip
import hashlib
import io
import os
import random
import stat
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import archives, files
from embeddings.archives import packed, unpack
from embeddings.errors import CurationError
from embeddings.formats import UnreadableImage
from embeddings.sources import archive

from .packers import PACKINGS, REST, Heard, jpeg, listed, read, tar, zipped


@pytest.mark.parametrize("suffix", [*PACKINGS, ".zip"])
def test_every_member_is_read_whatever_the_packing_and_the_files_name(tmp_path, suffix):
    content = [(f"d/{seed}.jpg", jpeg(seed)) for seed in range(30)]
    path = tmp_path / "named_like_nothing"
    write = zipped if suffix == ".zip" else lambda at, what: tar(at, what, PACKINGS[suffix])
    write(path, content)
    before = (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
    assert listed(path) == dict(content)
    for name, data in reversed(content):
        assert archives.read(f"{path}/{name}") == data
    assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_each_method_of_zip_is_unpacked_exactly(tmp_path, method):
    content = [("a.jpg", jpeg(1)), ("flat.bmp", b"BM" + bytes(50_000)), ("one.jpg", b"\xff")]
    assert listed(zipped(tmp_path / "a.zip", content, method)) == dict(content)


def test_what_is_compressed_and_does_not_unpack_is_one_member_with_a_reason(tmp_path):
    path = tmp_path / "a.tgz"
    for data, reason in ((gzip.compress(b"")[:12], unpack.EARLY), (b"BZh" * 99, unpack.DAMAGED)):
        path.write_bytes(data)
        assert listed(path) == {REST: f"{reason} (after 0 files)"}


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", jpeg(1), b"\0" * 10240, gzip.compress(b"no tar" * 200)],
    ids=["empty", "short", "jpeg", "zeros", "gzip of text"],
)
def test_what_is_no_archive_is_not_claimed(tmp_path, data):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    assert not archive.claims(str(path))
    with pytest.raises(CurationError, match="not a tar or zip"):
        list(archives.members(str(path)))


def test_a_photograph_with_a_zip_behind_it_stays_a_photograph(tmp_path):
    behind = zipped(tmp_path / "a.zip", [("a.txt", b"x")]).read_bytes()
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(1) + behind)
    assert zipfile.is_zipfile(path)
    assert not archive.claims(str(path))


def test_folders_pipes_and_absent_files_are_not_claimed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent", "nul\0byte"):
        assert not archive.claims(str(path))


# ---- names


def test_names_of_every_script_and_of_none_are_kept(tmp_path):
    names = ["日本/ß.jpg", "a\nb.jpg", "e\u0301.jpg", "é.jpg", "x" * 300 + ".jpg", "#.jpg"]
    content = [(name, jpeg(seed)) for seed, name in enumerate(names)]
    assert listed(tar(tmp_path / "a.tar", content)) == dict(content)
    assert listed(zipped(tmp_path / "a.zip", content)) == dict(content)
    odd = tarfile.TarInfo("\udcff.jpg")
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.GNU_FORMAT) as out:
        odd.size = 3
        out.addfile(odd, io.BytesIO(b"abc"))
    assert listed(tmp_path / "b.tar") == {"\\xff.jpg": b"abc"}
    assert archives.read(f"{tmp_path}/b.tar/\\xff.jpg") == b"abc"


def test_zip_names_without_the_utf8_mark_are_read_as_the_mac_or_dos_wrote_them(tmp_path):
    path = zipped(tmp_path / "a.zip", [("AAAA.jpg", b"mac"), ("BBB.jpg", b"dos")])
    data = path.read_bytes().replace(b"AAAA.jpg", "éé.jpg".encode()).replace(b"BBB", b"\x81\x81B")
    path.write_bytes(data)
    assert listed(path) == {"éé.jpg": b"mac", "üüB.jpg": b"dos"}


def test_a_member_without_a_name_is_read_too(tmp_path):
    path = zipped(tmp_path / "a.zip", [("Xa.jpg", b"x"), ("b.jpg", b"y")])
    path.write_bytes(path.read_bytes().replace(b"Xa.jpg", b"\0a.jpg"))
    assert listed(path) == {"_": b"x", "b.jpg": b"y"}


def test_absolute_and_climbing_names_are_only_names(tmp_path):
    names = ["/etc/passwd.jpg", "../../up.jpg", "./a/./b.jpg", "a//c.jpg"]
    content = [(name, name.encode()) for name in names]
    wanted = {
        "etc/passwd.jpg": b"/etc/passwd.jpg",
        "__/__/up.jpg": b"../../up.jpg",
        "a/b.jpg": b"./a/./b.jpg",
        "a/c.jpg": b"a//c.jpg",
    }
    assert listed(tar(tmp_path / "a.tar", content)) == wanted
    assert listed(zipped(tmp_path / "a.zip", content)) == wanted
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar", "a.zip"]


def test_a_name_used_twice_loses_nothing(tmp_path):
    content = [("d/a.v1.jpg", b"1"), ("d/a.v1.jpg", b"2"), ("d/a#2.v1.jpg", b"3")]
    content += [("d/a.v1.jpg", b"4")]
    found = listed(tar(tmp_path / "a.tar", content))
    assert found["d/a.v1.jpg"] == b"1"  # as it was before somebody appended the second
    assert sorted(found.values()) == [b"1", b"2", b"3", b"4"]
    assert all(name.endswith(".v1.jpg") for name in found)
    assert archives.read(f"{tmp_path}/a.tar/d/a#2.v1.jpg") == b"2"


def test_hidden_files_folders_devices_and_the_macs_side_files_are_passed_over(tmp_path):
    content = [(name, b"x") for name in ("._a.jpg", ".d/a.jpg", "__MACOSX/a.jpg", "a.jpg")]
    for number, kind in enumerate((tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
        info = tarfile.TarInfo(f"{number}.jpg")
        info.type = kind
        content.append((info.name, info))
    assert listed(tar(tmp_path / "a.tar", content)) == {"a.jpg": b"x"}


def test_links_to_earlier_members_are_followed_and_others_are_refused(tmp_path):
    content = [("d/a.jpg", b"here")]
    links = [
        ("hard.jpg", tarfile.LNKTYPE, "d/a.jpg", b"here"),
        ("d/soft.jpg", tarfile.SYMTYPE, "a.jpg", b"here"),
        ("e/soft.jpg", tarfile.SYMTYPE, "../d/a.jpg", b"here"),
        ("out.jpg", tarfile.SYMTYPE, "/etc/passwd", packed.LINK),
        ("up.jpg", tarfile.SYMTYPE, "../../../../etc/passwd", packed.LINK),
        ("itself.jpg", tarfile.LNKTYPE, "itself.jpg", packed.LINK),
    ]
    for name, kind, target, _ in links:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        content.append((name, info))
    found = listed(tar(tmp_path / "a.tar", content))
    assert found == {"d/a.jpg": b"here", **{name: wanted for name, _, _, wanted in links}}


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("a.jpg")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    path = zipped(tmp_path / "a.zip", [(info, "/etc/passwd")])
    assert listed(path) == {"a.jpg": packed.LINK}


# ---- damage


@pytest.mark.parametrize("suffix", PACKINGS)
def test_of_a_tar_that_ends_early_what_is_there_is_read(tmp_path, suffix):
    content = [(f"{seed}.jpg", random.Random(seed).randbytes(9000)) for seed in range(60)]
    path = tar(tmp_path / "a.tar", content, PACKINGS[suffix])
    whole = path.read_bytes()
    for cut in (0.98, 0.7, 0.5) if suffix == ".tar" else (0.7, 0.3):
        path.write_bytes(whole[: int(len(whole) * cut)])
        found = listed(path)
        reason = found.pop(REST)
        assert "ends early" in reason
        # bzip2 gives nothing of 900,000 bytes before all of them are there
        assert found or suffix == ".tar.bz2"
        assert reason.endswith(f"(after {len(found)} files)")
        assert found == dict(content[: len(found)])


def test_a_tar_cut_between_two_members_is_noticed(tmp_path):
    path = tar(tmp_path / "a.tar", [("a.jpg", bytes(512)), ("b.jpg", bytes(512))])
    os.truncate(path, 1024)
    assert list(listed(path)) == ["a.jpg", REST]


def test_a_tar_damaged_in_the_middle_is_read_up_to_there(tmp_path):
    path = tar(tmp_path / "a.tar", [(f"{n}.jpg", bytes([n + 1]) * 512) for n in range(9)])
    data = bytearray(path.read_bytes())
    data[4 * 1024 : 4 * 1024 + 9] = b"\xff" * 9
    path.write_bytes(data)
    found = listed(path)
    assert list(found) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", REST]
    assert found[REST] == f"{unpack.DAMAGED} (after 4 files)"


def test_tars_written_one_after_the_other_are_all_read(tmp_path):
    first = tar(tmp_path / "a.tar", [("a.jpg", b"1")]).read_bytes()
    second = tar(tmp_path / "b.tar", [("a.jpg", b"2"), ("b.jpg", b"3")]).read_bytes()
    (tmp_path / "both.tar").write_bytes(first + second)
    assert listed(tmp_path / "both.tar") == {"a.jpg": b"1", "a#2.jpg": b"2", "b.jpg": b"3"}
    (tmp_path / "both.tar.gz").write_bytes(gzip.compress(first) + gzip.compress(second))
    assert len(listed(tmp_path / "both.tar.gz")) == 3


def test_a_tar_whose_header_leads_backwards_ends(tmp_path):
    path = tar(tmp_path / "a.tar", [("a.jpg", bytes(2048)), ("b.jpg", b"x")])
    data = bytearray(path.read_bytes())
    info = tarfile.TarInfo("b.jpg")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(-2560, 12, tarfile.GNU_FORMAT)
    header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
    data[2560:3072] = header
    path.write_bytes(data)
    assert list(listed(path)) == ["a.jpg", REST]


def test_a_tar_header_that_asks_for_gigabytes_is_not_read(tmp_path):
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    tracemalloc.start()
    assert list(listed(path)) == [REST]
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_chain_of_headers_without_an_end_is_damage(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    path = tar(tmp_path / "a.tar", [("a.jpg", b"x")])
    path.write_bytes(path.read_bytes()[:1024] + info.tobuf(tarfile.GNU_FORMAT) * 5000)
    assert listed(path) == {"a.jpg": b"x", REST: f"{unpack.DAMAGED} (after 1 files)"}


def test_a_sparse_member_is_refused_alone(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = info.tobuf(tarfile.GNU_FORMAT)
    after = tar(tmp_path / "a.tar", [("b.jpg", b"x")])
    after.write_bytes(header + bytes(512) + after.read_bytes())
    assert listed(after) == {"a.jpg": packed.SPARSE, "b.jpg": b"x"}


def test_a_zip_without_the_list_at_its_end_is_read_from_the_start(tmp_path):
    content = [(f"{seed}.jpg", jpeg(seed)) for seed in range(20)]
    path = zipped(tmp_path / "a.zip", content)
    whole = path.read_bytes()
    for cut in (len(whole) - 1, whole.index(b"PK\1\2"), len(whole) // 2):
        path.write_bytes(whole[:cut])
        found = listed(path)
        assert "download it again (after" in found.pop(REST)
        assert len(found) == 20 or (cut == len(whole) // 2 and 5 < len(found) < 20)
        assert found == dict(content[: len(found)])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_member_whose_checksum_differs_is_refused_alone(tmp_path, method):
    content = [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2))]
    path = zipped(tmp_path / "a.zip", content, method)
    data = bytearray(path.read_bytes())
    data[300] ^= 0xFF
    path.write_bytes(data)
    assert listed(path) == {"a.jpg": packed.CHECKSUM, "b.jpg": content[1][1]}


def test_a_locked_member_and_an_unknown_method_are_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", [("a.jpg", b"x" * 99), ("b.jpg", b"y" * 99)])
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    data[first + 8] |= 1
    data[second + 10 : second + 12] = struct.pack("<H", 9)
    path.write_bytes(data)
    found = listed(path)
    assert "password" in found["a.jpg"]
    assert found["b.jpg"].endswith("ordinary ZIP (method 9)")


def test_bombs_are_refused_without_unpacking_them(tmp_path, monkeypatch):
    zeros = bytes(80 << 20)
    honest = zipped(tmp_path / "honest.zip", [("a.png", zeros)])
    lying = zipped(tmp_path / "lying.zip", [("a.png", zeros)])
    data = lying.read_bytes()
    lying.write_bytes(data.replace(struct.pack("<I", len(zeros)), struct.pack("<I", 1000)))
    swollen = tar(tmp_path / "a.tar.gz", [("a.jpg", b"x"), ("b.png", zeros)], "w:gz")
    monkeypatch.setattr(unpack, "ALWAYS", 1 << 20)
    del zeros, data
    tracemalloc.start()
    assert listed(honest) == {"a.png": unpack.BOMB}
    assert listed(lying) == {"a.png": unpack.BOMB}
    found = listed(swollen)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert found == {"a.jpg": b"x", REST: f"{unpack.BOMB} (after 1 files)"}


def test_a_member_larger_than_any_photograph_is_refused(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tar", [("a.jpg", bytes(5000)), ("b.jpg", b"x")])
    monkeypatch.setattr(files, "MAX_BYTES", 4999)
    assert listed(path) == {
        "a.jpg": "too many bytes for a photograph (5,000 bytes; at most 4,999)",
        "b.jpg": b"x",
    }


def test_an_archive_that_changes_or_goes_away_is_noticed(tmp_path):
    for name, write in (("a.tar", tar), ("a.zip", zipped)):
        path = write(tmp_path / name, [("a.jpg", b"old"), ("empty.jpg", b"")])
        first, empty = archives.members(str(path))
        assert (first.read(), read(empty)) == (b"old", "empty file (0 bytes)")
        path.write_bytes(path.read_bytes() + b"\0")
        assert read(first) == archives.CHANGED
        path.unlink()
        assert read(first).startswith("cannot be opened: its archive is gone")


def test_reading_by_path_says_what_is_wrong(tmp_path):
    path = tar(tmp_path / "a.tar", [("a.jpg", b"x")])
    (tmp_path / "note.txt").write_text("hello")
    for wanted, place in (
        ("does not hold it any more", path / "b.jpg"),
        ("not in a tar or zip", tmp_path / "note.txt/a.jpg"),
        ("not in a tar or zip", path),
        ("so is its archive", tmp_path / "absent.tar/a.jpg"),
        ("so is its archive", "nul\0/a.jpg"),
    ):
        with pytest.raises(UnreadableImage, match=wanted):
            archives.read(str(place))


# ---- room


def test_compressed_tars_take_room_for_two_and_leave_nothing_behind(tmp_path, monkeypatch):
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    paths = [
        tar(tmp_path / f"{n}.tgz", [(f"{k}.jpg", jpeg(100 * n + k)) for k in range(9)], "w:gz")
        for n in range(5)
    ]
    members = [member for path in paths for member in archives.members(str(path))]
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in _open_files()]
    assert 1 <= sum(str(spare) in path for path in held) <= 2
    assert [member.read() for member in members] == [
        jpeg(100 * n + k) for n in range(5) for k in range(9)
    ]
    assert list(spare.iterdir()) == []


def _open_files():
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


def test_zeros_take_no_room_on_the_disk(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tar.gz", [("a.bmp", bytes(32 << 20)), ("b.jpg", b"x")], "w:gz")
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    assert [member.name for member in archives.members(str(path))] == ["a.bmp", "b.jpg"]
    held = [f"/proc/self/fd/{fd}" for fd in _open_files()]
    (copy,) = [os.stat(fd) for fd in held if str(spare) in os.readlink(fd)]
    assert copy.st_size > 32 << 20
    assert copy.st_blocks * 512 < 4 << 20


def test_many_archives_do_not_use_up_the_open_files(tmp_path):
    paths = [tar(tmp_path / f"{n}.tar", [("a.jpg", b"%d" % n)]) for n in range(60)]
    before = len(_open_files())
    members = [member for path in paths for member in archives.members(str(path))]
    assert [member.read() for member in members] == [b"%d" % n for n in range(60)]
    assert len(_open_files()) <= before + archives.KEPT_OPEN + 1


def test_no_room_to_unpack_is_said_and_nothing_is_lost_when_there_is(tmp_path, monkeypatch):
    content = [(f"{n}.jpg", random.Random(n).randbytes(300_000)) for n in range(30)]
    path = tar(tmp_path / "a.tar.gz", content, "w:gz")
    enough = unpack.ROOM
    monkeypatch.setattr(unpack, "ROOM", 1 << 60)
    with pytest.raises(CurationError, match="set TMPDIR to a folder"):
        list(archives.members(str(path)))
    monkeypatch.setattr(unpack, "ROOM", enough)
    walk = archives.members(str(path))
    begun = [next(walk) for _ in range(3)]
    monkeypatch.setattr(unpack, "ROOM", 1 << 60)
    monkeypatch.setattr(unpack, "CHUNK", 1 << 10)  # looks for room at every 64 KiB
    with pytest.raises(CurationError, match="no room"):
        list(walk)
    monkeypatch.setattr(unpack, "ROOM", enough)
    assert listed(path) == dict(content)
    assert [member.read() for member in begun] == [data for _, data in content[:3]]


def test_a_large_compressed_tar_takes_little_memory(tmp_path):
    path = tar(
        tmp_path / "a.tar.gz",
        ((f"{n}.jpg", random.Random(n).randbytes(1 << 20)) for n in range(24)),
        "w:gz",
    )
    tracemalloc.start()
    assert sum(len(member.read()) for member in archives.members(str(path))) == 24 << 20
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_eight_threads_read_the_right_bytes_in_any_order(tmp_path, suffix):
    content = [(f"{n}.jpg", random.Random(n).randbytes(100 + 37 * n)) for n in range(500)]
    path = tmp_path / f"a{suffix}"
    zipped(path, content) if suffix == ".zip" else tar(path, content, PACKINGS[suffix])
    members = list(archives.members(str(path)))
    jobs = [(number, by) for number in range(500) for by in ("member", "path")]
    random.Random(0).shuffle(jobs)

    def job(what):
        number, by = what
        if by == "member":
            return members[number].read()
        return archives.read(f"{path}/{content[number][0]}")

    archives.forget()  # so that the threads open it, all at once
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(job, jobs)) == [content[number][1] for number, _ in jobs]


# ---- whatever the bytes


def _specimens():
    content = [("a.jpg", b"\xff\xd8\xff" + bytes(300)), ("a.json", b'{"url": "https://a.b/c"}')]
    content += [
        ("n" * 200 + ".jpg", bytes(range(256)) * 4),
        ("b.txt", b"text"),
        ("b.jpg", b"x" * 9),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for suffix, mode in PACKINGS.items():
            for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
                path = Path(folder, f"a{suffix}")
                with tarfile.open(path, mode, format=kind, pax_headers={"a": "ä"}) as out:
                    for name, data in content:
                        info = tarfile.TarInfo(name)
                        info.size, info.mtime = len(data), 0.5
                        out.addfile(info, io.BytesIO(data))
                yield path.read_bytes()
        for method in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
            zipfile.ZIP_BZIP2,
            zipfile.ZIP_LZMA,
        ):
            yield zipped(Path(folder, "a.zip"), content, method).read_bytes()


SPECIMENS = list(_specimens())
_BYTES = st.binary(min_size=1, max_size=12)


@settings(max_examples=800)
@given(
    data=st.sampled_from(SPECIMENS),
    changes=st.lists(st.tuples(st.floats(0, 1), _BYTES), max_size=4),
    cut=st.floats(0, 1) | st.just(1.0),
    fixed=st.booleans(),
)
def test_any_damage_gives_candidates_reasons_or_one_error(
    tmp_path_factory, data, changes, cut, fixed
):
    damaged = bytearray(data)
    for place, bytes_ in changes:
        at = int(place * len(damaged))
        damaged[at : at + len(bytes_)] = bytes_
    if fixed:
        _mend_checksums(damaged)
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "a"
    path.write_bytes(damaged[: int(cut * len(damaged))])
    heard = Heard(folder)
    try:
        candidates = list(archive.find(str(path), heard.context))
    except CurationError:
        return
    for candidate in candidates:
        assert isinstance(read(candidate), bytes | str)
        assert candidate.path.startswith(f"{path}/")
        candidate.path.encode("utf-8")
    path.unlink()


def _mend_checksums(data):
    """Let what has changed in the headers of a tar get past its checksums."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            total = tarfile.calc_chksums(bytes(data[at : at + 512]))[0]
            data[at + 148 : at + 156] = b"%06o\0 " % total
