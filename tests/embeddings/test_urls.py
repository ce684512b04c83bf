"""Lists of URLs become images, bad lines become reasons, and nothing leads into the own network."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from embeddings.downloads import Limits, download, network
from embeddings.downloads.network import is_public
from embeddings.errors import CurationError
from embeddings.files import Candidate
from embeddings.formats import UnreadableImage, reason_group
from embeddings.sources import Context, urls
from embeddings.stages import silent

from .test_downloads import OPEN, Handler, Web

STRICT = Limits(backoff=0.01, timeout=5)
INSIDE = "refused: leads to a private address"


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, notes: list[str]) -> Context:
    keep = tmp_path / "downloads"
    return Context(keep, silent, lambda _: None, lambda _: None, notes.append, OPEN)


def error_of(url: str, keep: Path, limits: Limits = STRICT) -> str | None:
    (got,) = download([url], keep, limits)
    assert (got.error is None) == (got.path is not None)
    return got.error


# -- where downloads may lead ----------------------------------------------------------------------

INSIDERS = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.192 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
::ffff:a9fe:a9fe ::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1
2001:0:7f00:1::1 2001:db8::1 2002:7f00:1:: 2002:c0a8:101::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254
fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 100.63.255.255 100.128.0.1 172.32.0.1 192.0.1.1 193.0.0.1
223.255.255.255 2606:4700::1111 2a00:1450:4001::200e ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1
""".split()


@pytest.mark.parametrize("address", INSIDERS)
def test_an_address_of_the_own_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


HOSTS = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost", "LOCALHOST.", "0x7f.1", "0x7f000001",
         "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1",
         "2130706433", "017700000001", "127.1", "[::1]", "[::]"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_no_spelling_of_this_machine_is_connected_to(web: Web, tmp_path: Path, host: str) -> None:
    error = error_of(web.url("a", host), tmp_path)
    assert error is not None
    # the lookup itself refuses some spellings, depending on the system
    assert error.startswith((INSIDE, "not a URL", "no such host")), error
    assert not web.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_the_refusal_says_where_it_leads(web: Web, tmp_path: Path, host: str) -> None:
    error = error_of(web.url("a", host), tmp_path) or ""
    assert reason_group(error) == INSIDE
    assert "127.0.0.1" in error or "::1" in error or "7f00:1" in error


def test_the_loopback_of_ipv6_is_not_connected_to(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        web = Web("::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    assert error_of(web.url("a", "[::1]"), tmp_path) == f"{INSIDE} (::1)"
    assert error_of(web.url("a", "[::1]"), tmp_path / "open", OPEN) is None
    web.shutdown()
    web.server_close()


def test_a_redirect_to_a_private_address_is_refused(web: Web, tmp_path: Path) -> None:
    inside = Web("127.0.0.2")
    web.answers["go"] = lambda handler: handler.send(302, Location=inside.url("a", "127.0.0.2"))
    limits = replace(STRICT, allow=frozenset({("127.0.0.1", web.server_port)}))
    assert error_of(web.url("go"), tmp_path, limits) == f"{INSIDE} (127.0.0.2)"
    assert web.asked == {"/go": 1}, "it may pass the gate, and is not sent there twice"
    assert not inside.asked
    inside.shutdown()
    inside.server_close()


def test_only_the_port_that_is_allowed_is_open(web: Web, tmp_path: Path) -> None:
    limits = replace(STRICT, allow=frozenset({("127.0.0.1", web.server_port + 1)}))
    assert error_of(web.url("a"), tmp_path, limits) == f"{INSIDE} (127.0.0.1)"
    limits = replace(STRICT, allow=frozenset({("127.0.0.1", web.server_port)}))
    assert error_of(web.url("a"), tmp_path, limits) is None, "other rules, so it is asked again"


def test_a_name_that_changes_its_mind_is_judged_by_where_the_socket_leads(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the first question is answered with an address that is open, the second with one that is not;
    # both are on this machine: a test sends nothing to strangers
    told: list[str] = []

    def lookup(host: str, port: int, *_: object, **__: object) -> list[Any]:
        told.append("127.0.0.2" if told else "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (told[-1], port))]

    inside = Web("127.0.0.2")
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    limits = replace(STRICT, per_host=1, allow=frozenset({("127.0.0.1", web.server_port)}))
    ports = (web.url("a", "rebind.example"), inside.url("a", "rebind.example"))
    first, second = download(ports, tmp_path, limits)
    assert (first.error, second.error) == (None, f"{INSIDE} (127.0.0.2)")
    assert told == ["127.0.0.1", "127.0.0.2"] and not inside.asked
    inside.shutdown()
    inside.server_close()


def test_a_name_with_an_open_and_a_private_address_never_leads_to_the_private_one(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(host: str, port: int, *_: object, **__: object) -> list[Any]:
        both = ("127.0.0.3", "127.0.0.1", "127.0.0.2")  # nobody listens at the open one
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in both]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    limits = replace(STRICT, tries=1, allow=frozenset({("127.0.0.3", web.server_port)}))
    assert error_of(web.url("a", "both.example"), tmp_path, limits) is not None
    assert not web.asked


def test_a_name_that_does_not_exist_is_said_so(tmp_path: Path) -> None:
    assert error_of(f"http://{'a' * 64}.invalid/", tmp_path) in (
        "no such host",
        "not a URL that leads anywhere",
    )
    missing = error_of("http://nowhere.invalid/", tmp_path)
    assert missing in ("no such host", "its name cannot be looked up now")


ODD = st.text(
    st.sampled_from("a1.:/@[]%?#\\\"' ;&=+é。\u202e\U0001f600-_~<>{}|^`,!$*()"), max_size=12
)


@settings(max_examples=25)
@given(tails=st.lists(ODD, min_size=30, max_size=30))
def test_however_a_url_or_a_redirect_is_spelled_it_is_one_result(
    tmp_path_factory: pytest.TempPathFactory, tails: list[str]
) -> None:
    spelled = list(dict.fromkeys(f"http://{tail}" for tail in tails))
    with pytest.MonkeyPatch.context() as patch:

        def nobody(*_: object, **__: object) -> list[Any]:
            raise socket.gaierror(socket.EAI_NONAME, "not known")

        patch.setattr(socket, "getaddrinfo", nobody)
        # nothing is allowed, so that not even a spelling of an address of the internet is asked
        patch.setattr("embeddings.downloads.network.is_public", lambda _: False)
        results = list(download(spelled, tmp_path_factory.mktemp("odd"), STRICT))
    assert [got.url for got in results] == spelled
    assert all(got.error for got in results)


@given(tail=ODD)
def test_wherever_a_redirect_points_nothing_but_a_reason_comes_of_it(tail: str) -> None:
    try:
        target = network._target(URL("http://example.org/a"), tail)
    except network.Failure as failure:
        assert failure.reason
    else:
        assert target.scheme in ("http", "https") and target.host and not target.user


# -- lists -----------------------------------------------------------------------------------------


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write `rows` as the kind of table that the name of `path` says."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [list(rows[0]), *(row.values() for row in rows)]
        path.write_text("\n".join(mark.join(map(str, line)) for line in lines))
    return path


def found(spec: Path | str, context: Context) -> list[Candidate]:
    return list(urls.find(str(spec), context))


def reason(candidate: Candidate) -> str:
    with pytest.raises(UnreadableImage) as caught:
        candidate.read()
    assert (candidate.size, candidate.mtime_ns) == (0, 0)
    return str(caught.value)


TABLES = [".csv", ".tsv", ".parquet", ".jsonl"]


@pytest.mark.parametrize("suffix", TABLES)
def test_a_table_of_urls_brings_images_with_fields(
    web: Web, tmp_path: Path, context: Context, suffix: str
) -> None:
    rows = [{"name": f"no {n}", "URL": web.url(f"{n}"), "score": n + 0.5} for n in range(5)]
    path = write(tmp_path / f"list{suffix}", rows)
    assert urls.claims(str(path))
    candidates = found(path, context)
    assert [candidate.path for candidate in candidates] == [row["URL"] for row in rows]
    for number, candidate in enumerate(candidates):
        assert candidate.read() == f"/{number}".encode()
        assert candidate.size == 2 and candidate.mtime_ns > 0
        assert candidate.root == str(path)
        assert candidate.brought.url == candidate.path
        assert candidate.brought.fields == {"name": f"no {number}", "score": number + 0.5}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_lists_urls_line_by_line(
    web: Web, tmp_path: Path, context: Context, notes: list[str], encoding: str
) -> None:
    lines = [
        "# mine",
        "",
        web.url("a"),
        f"  {web.url('b')}\r",
        "bad",
        web.url("a"),
        "bad",
    ]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines), encoding=encoding, newline="")
    assert urls.claims(str(path))
    a, b, bad, worse = found(path, context)
    assert (a.read(), b.read()) == (b"/a", b"/b")
    assert reason(bad) == "not a URL (line 5: 'bad')"
    assert (bad.path, worse.path) == (f"{path}:5", f"{path}:7")
    assert bad.brought.url is None
    assert notes == [f"2 of 4 URLs of {path} brought nothing: 2 not a URL"]


def test_a_url_by_itself_is_a_source(web: Web, context: Context) -> None:
    assert urls.claims(web.url("a")) and urls.claims("HTTPS://example.org/a.jpg")
    (candidate,) = found(web.url("a"), context)
    assert candidate.read() == b"/a"
    assert (candidate.path, candidate.root) == (web.url("a"), "127.0.0.1")
    with pytest.raises(CurationError, match="this address cannot be downloaded: not a URL"):
        found("http://", context)


def test_what_failed_is_a_candidate_with_its_reason_and_is_counted(
    web: Web, tmp_path: Path, context: Context, notes: list[str]
) -> None:
    def gone(handler: Handler) -> None:
        handler.send(404 if handler.path < "/gone/3" else 410)

    web.answers["gone"] = gone
    path = tmp_path / "list.urls"
    secret = web.url("a").replace("//", "//ann:secret@")
    path.write_text("\n".join([*(web.url(f"gone/{n}") for n in range(4)), web.url("a"), secret]))
    candidates = found(path, context)
    assert [reason(candidate) for candidate in candidates[:4:3]] == [
        "not found (404)",
        "not found (410)",
    ]
    assert candidates[4].read() == b"/a"
    assert reason(candidates[5]) == "a URL with a user name or password; take them out (line 6)"
    assert "secret" not in repr(candidates)
    (note,) = notes
    assert note.startswith("5 of 6 URLs") and "4 not found; 1 a URL with a user name" in note


def test_a_download_that_is_not_what_the_list_says_is_kept_and_noted(
    web: Web, tmp_path: Path, context: Context
) -> None:
    right = "9c8a0f0b5c0b3f4d" * 4
    rows = [{"url": web.url("a"), "sha256": right}, {"url": web.url("b"), "sha256": "n/a"}]
    first, second = found(write(tmp_path / "list.csv", rows), context)
    assert first.brought.fields["sha256_note"] == "the download differs from what the list says"
    assert first.read() == b"/a"
    assert second.brought.fields == {"sha256": "n/a"}


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize(
    ("row", "ours"),
    [({"image_url": "http://a/b"}, True), ({"image": "http://a/b"}, True),
     ({"link": "https://a/b", "x": 1}, True), ({"image": "a.jpg"}, False),
     ({"a": "http://b/"}, False),
     ({"url": "http://a/b", "key": "1", "status": "success"}, False),
     ({"url": "http://a/b", "x": 1, "y": 2}, False), ({"url": "http://a/b", "vector": 1}, False)],
)  # fmt: skip
def test_tables_of_another_kind_are_left_to_others(
    tmp_path: Path, suffix: str, row: dict[str, Any], ours: bool
) -> None:
    assert urls.claims(str(write(tmp_path / f"t{suffix}", [row]))) is ours


@pytest.mark.parametrize("spec", ["nowhere.csv", "~nobody/a.txt", "a\0.txt", "photos", "", "a.jpg"])
def test_what_is_not_there_is_not_claimed(spec: str) -> None:
    assert urls.claims(spec) is False


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl", "none.parquet", "none.txt", "a.jpg"])
def test_a_list_that_cannot_be_used_is_a_plain_error(
    tmp_path: Path, context: Context, name: str
) -> None:
    with pytest.raises(CurationError, match="no such file|is no list"):
        found(tmp_path / name, context)
    (tmp_path / name).write_bytes(b"\xff\x00,\n" * 3)
    if name != "none.txt":
        with pytest.raises(CurationError):
            found(tmp_path / name, context)


def test_odd_values_become_fields_that_a_table_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"url": "http://a/1", "big": 99999999999999999999, "nan": NaN, "list": [1, "b"],'
        ' "half": "\\ud800", "none": null, "a.b": true, "": 1}\n'
        + "[" * 100_000
        + '\n{"url": 7}\n{"other": 1}\n'
    )
    first, *bad = urls.parse(path)
    assert first.fields == {
        "big": "99999999999999999999", "list": '[1, "b"]', "half": "?", "a_b": True
    }  # fmt: skip
    assert [row.line for row in bad] == [2, 3, 4]
    assert [row.url for row in bad[1:]] == ["7", ""]
    pa.Table.from_pylist([dict(first.fields)])


def test_numbers_in_a_csv_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("url;id;n;x;e\nhttp://a/1;007;12;-0.5;\n")
    (row,) = urls.parse(path)
    assert row.fields == {"id": "007", "n": 12, "x": -0.5}


def test_a_parquet_list_with_pictures_inside_is_read_without_them(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    rows = [{"url": "http://a/1", "jpg": b"\xff\xd8", "when": pa.scalar(0, pa.date32()).as_py()}]
    write(path, rows)
    (row,) = urls.parse(path)
    assert row.fields == {"when": "1970-01-01"}


PIECES = st.sampled_from(
    [b"url", b"http://a/b", b",", b";", b"\t", b"\n", b"\r", b'"', b"{", b"}", b":", b"[", b"\0",
     b'{"url":"http://a/b"}\n', b'{"url": 1', b"\xff\xfe", b"\xef\xbb\xbf", b"http://[", b"http://a:x"]
)  # fmt: skip
BYTES = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join))


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl", ".parquet"])
@given(data=BYTES)
def test_whatever_a_list_holds_comes_out_as_rows_or_a_plain_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(data)
    assert urls.claims(str(path)) in (True, False)
    try:
        rows = list(urls.parse(path))
    except CurationError as error:
        assert "\n" not in str(error)
        return
    assert len({row.line for row in rows}) == len(rows)
    pa.Table.from_pylist([{str(k): str(v) for k, v in row.fields.items()} for row in rows])


@given(data=BYTES)
def test_whatever_a_list_holds_comes_out_as_candidates_or_a_plain_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    base = tmp_path_factory.getbasetemp()
    path = base / "fuzz.jsonl"
    path.write_bytes(data.replace(b"http://a", b"http://127.1.2.3"))
    context = Context(base / "fuzzed", silent, lambda _: None, lambda _: None, list, STRICT)
    try:
        candidates = list(urls.find(str(path), context))
    except CurationError:
        return
    assert len({candidate.path for candidate in candidates}) == len(candidates)
    for candidate in candidates:
        assert "\n" not in reason(candidate)
