"""Bring your own: what a table or an .npz brings, and what of it cannot be used."""

import io
import os
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given as with_examples
from hypothesis import settings
from hypothesis import strategies as st

from embeddings import precomputed, sources
from embeddings.build import Options, build
from embeddings.dataset import home as datasets_home
from embeddings.dataset import open_dataset
from embeddings.downloads import Limits
from embeddings.errors import CurationError
from embeddings.files import Candidate
from embeddings.formats import UnreadableImage
from embeddings.sources import Context, table
from embeddings.stages import silent
from embeddings.store import Store

from .own_tables import COUNT, DIM, paths, pictures, vectors, write

OWN = Options(layout="pca")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return pictures(tmp_path)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, notes: list[str]) -> Context:
    return Context(
        tmp_path / "keep", silent, lambda sha256: None, [].append, notes.append, Limits()
    )


def store(name: str) -> Store:
    return Store(open_dataset(name).tables)


def reasons(found: list[Candidate]) -> dict[str, str]:
    told = {}
    for candidate in found:
        try:
            candidate.read()
        except UnreadableImage as error:
            told[os.path.basename(candidate.path)] = str(error)
    return told


# ---- reading


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("a.parquet", {"filename": paths(), "clip_embedding": vectors()}),
        ("b.csv", {"path": paths(), **{f"e{n}": vectors()[:, n] for n in range(DIM)}}),
        ("c.tsv.csv", {"path": paths(), **{str(n): vectors()[:, n] for n in range(DIM)}}),
        ("d.parquet", {"image": paths(), **{f"dim_{n + 1}": vectors()[:, n] for n in range(DIM)}}),
        ("e.npz", {"ids": np.array(paths()), "embeddings": vectors().astype(np.float64)}),
        ("f.npz", {"paths": np.char.encode(paths()), "features": vectors()}),
        ("g.parquet", {"path": paths(), "embedding": vectors().astype(np.float16)}),
    ],
)  # fmt: skip
def test_vectors_are_found_under_their_usual_names(
    name: str, columns: dict[str, Any], photos: Path, context: Context
) -> None:
    own = write(photos.parent / name, columns)
    assert table.claims(str(own))
    found = list(sources.find([str(own)], context))
    assert [os.path.basename(one.path) for one in found] == [f"{n}.png" for n in range(COUNT)]
    brought = np.stack([one.brought.vector for one in found])
    assert brought.dtype == np.float32
    np.testing.assert_allclose(brought, vectors(), atol=2e-2)
    assert found[3].read() == (photos / "3.png").read_bytes()


@pytest.mark.parametrize(
    "columns",
    [
        {"x": [0.0, 1, 2], "y": [3.0, 4, 5]},
        {"umap_1": [0.0, 1, 2], "umap_2": [3.0, 4, 5]},
        {"UMAP1": [0.0, 1, 2], "UMAP2": [3.0, 4, 5]},
        {"tsne_x": [0, 1, 2], "tsne_y": [3, 4, 5]},
        {"projection_x": [0.0, 1, 2], "projection_y": [3.0, 4, 5]},
        {"xy": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]},
    ],
)
def test_places_are_found_under_their_usual_names(
    columns: dict[str, Any], photos: Path, context: Context
) -> None:
    own = write(
        photos.parent / "own.parquet", {"path": paths(3), "kind": ["a", "b", "c"], **columns}
    )
    found = list(sources.find([str(own)], context))
    assert [one.brought.place for one in found] == [(0, 3), (1, 4), (2, 5)]
    assert [one.brought.fields for one in found] == [{"kind": "a"}, {"kind": "b"}, {"kind": "c"}]


def test_boxes_are_no_vectors_and_a_list_of_addresses_is_left_to_its_source(
    photos: Path,
) -> None:
    boxes = {f"{axis}{n}": [1.0, 2, 3] for n in (1, 2) for axis in "xy"}
    assert not table.claims(str(write(photos.parent / "a.parquet", {"path": paths(3), **boxes})))
    listed = {"url": ["https://a.example/1.jpg"], "caption": ["one"]}
    assert not table.claims(str(write(photos.parent / "b.parquet", listed)))
    assert not table.claims(str(photos))


@pytest.mark.parametrize(
    ("values", "numbers", "names"),
    [
        ([4, -1, None], [4, -1, None], None),
        ([4.0, -1.0, float("nan")], [4, -1, None], None),
        (["4", "-1", ""], [4, -1, None], None),
        (["cat", "dog", "dog"], [1, 0, 0], ["cat", "dog", "dog"]),
        (["cat", "Noise", None], [0, -1, None], ["cat", "Noise", None]),
        ([20240101, 20240102, 20240102], [1, 0, 0], ["20240101", "20240102", "20240102"]),
    ],
)
def test_clusters_are_numbers_or_names(
    values: list[Any], numbers: list[int], names: list[str] | None, photos: Path, context: Context
) -> None:
    own = write(photos.parent / "own.parquet", {"path": paths(3), "cluster": values})
    found = [one.brought for one in sources.find([str(own)], context)]
    assert [one.cluster for one in found] == numbers
    assert [one.fields.get("cluster_name") for one in found] == (names or [None] * 3)


def test_paths_may_be_absolute_or_addresses_of_files(photos: Path, context: Context) -> None:
    (photos / "0.png").rename(photos / "a b.png")
    values = ["photos/1.png", str(photos / "2.png"), (photos / "a b.png").as_uri()]
    own = write(photos.parent / "own.parquet", {"path": values, "cluster": [0, 0, 1]})
    found = list(sources.find([f"table:{own}"], context))
    assert [os.path.basename(one.path) for one in found] == ["1.png", "2.png", "a b.png"]
    assert reasons(found) == {}


def test_an_image_that_the_dataset_knows_may_be_named_by_its_hash(
    photos: Path, tmp_path: Path
) -> None:
    build("own", [photos], Options(encoder="builtin", layout="pca"))
    hashes = store("own").read("images", ["sha256"])["sha256"].to_pylist()
    hashes[-1] = "0" * 64
    own = write(tmp_path / "own.parquet", {"sha256": hashes, "vector": vectors()})
    report = build("own", [own], OWN)
    assert (report.images, report.new_vectors) == (COUNT, COUNT - 1)
    assert report.unreadable == {table.UNKNOWN: 1}


def test_images_on_the_web_are_downloaded_and_keep_their_address(
    photos: Path, tmp_path: Path
) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(photos))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        limits = Limits(tries=1, allow=frozenset({("127.0.0.1", server.server_port)}))
        urls = [f"{here}/{name}" for name in ("0.png", "gone.png", "2.png", "0.png")]
        columns = {"url": urls, "vector": vectors(4), "caption": list("abcd")}
        own = write(tmp_path / "own.parquet", columns)
        report = build("own", [own], Options(limits=limits, layout="pca"))
        server.shutdown()
    assert (report.encoder, report.images, report.files) == ("given:own", 2, 3)
    assert any("1 rows contradict another" in note for note in report.notes)
    known = {row.path: row for row in store("own").locations()}
    assert known[urls[0]].url == urls[0] and known[urls[0]].status == "ok"
    assert known[urls[1]].status == "unreadable"
    again = build("own", [own], Options(limits=limits, layout="pca"))  # the server is gone
    assert again.atlas_version == report.atlas_version


# ---- rows that cannot be used


def test_bad_rows_are_rows_with_a_reason_and_the_run_goes_on(photos: Path) -> None:
    rows = vectors()
    rows[1], rows[2, 3], rows[3, 0] = 0, np.nan, np.inf
    names = paths()
    names[4], names[5] = "photos/gone.png", ""
    (photos / "6.png").write_bytes(b"no image")
    own = write(photos.parent / "own.parquet", {"path": names, "vector": rows})
    report = build("own", [own], OWN)
    assert report.images == COUNT - 6
    assert report.unreadable[table.NO_VECTOR] == 3
    assert report.unreadable[table.ABSENT] == report.unreadable[table.NO_IMAGE] == 1
    write(own, {"path": paths(), "vector": np.where(np.isfinite(rows), rows, 1) + 0.0})
    mended = build("own", [own], OWN)
    assert mended.images == COUNT - 2  # the row of zeros, and the file that is no image
    assert mended.unreadable[table.NO_VECTOR] == 1


def test_of_two_rows_about_one_image_the_first_counts(
    photos: Path, context: Context, notes: list[str]
) -> None:
    names = ["photos/0.png", "photos/0.png", "photos/../photos/0.png", "photos/1.png"]
    own = write(photos.parent / "own.parquet", {"path": names, "cluster": [3, 3, 4, 5]})
    found = list(sources.find([str(own)], context))
    assert [one.brought.cluster for one in found] == [3, 5]
    assert notes == [
        "own.parquet: 1 rows contradict another about the same image; the first counts"
    ]


def test_what_is_neither_text_nor_number_is_told_and_left_out(
    photos: Path, context: Context, notes: list[str]
) -> None:
    columns = {
        "path": paths(2),
        "cluster": [0, 1],
        "boxes": [[[1, 2]], [[3, 4]]],
        "note": ["a", "b"],
    }
    own = write(photos.parent / "own.parquet", columns)
    found = list(sources.find([str(own)], context))
    assert found[0].brought.fields == {"note": "a"}
    assert notes == ["own.parquet: not kept, being no text and no numbers: boxes"]


# ---- files that cannot be used


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("a.parquet", {"vector": vectors(2)}, "one must say which image a row is about"),
        ("b.parquet", {"path": paths(2), "vector": [[1.0, 2.0], [1.0]]}, "one length, got 1 and 2"),
        ("c.parquet", {"path": paths(2), "vector": [[1.0], [2.0]]}, "2 numbers or more, got 1"),
        ("d.parquet", {"path": paths(2), "vector": np.zeros((2, 4))}, "none of its 2 vectors"),
        ("e.parquet", {"path": paths(2), "vector": np.full((2, 4), np.nan)}, "none of its 2 vec"),
        ("f.parquet", {"path": paths(2), "x": [np.nan, 1e300], "y": [1.0, 1]}, "of its 2 places"),
        ("g.parquet", {"path": paths(2), "cluster": [0.5, 1]}, r"got 0\.5 in row 1"),
        ("h.csv", {"path": paths(2), "vector": ["[1 2]", "[3 4]"]}, "numbers, got string"),
        ("i.csv", {"path": paths(2), "x": ["a", "b"], "y": [1, 2]}, "numbers, got string"),
        ("j.parquet", {"path": pa.array([], pa.string()), "x": pa.array([], pa.float32()),
                       "y": pa.array([], pa.float32())}, "has no rows"),
        ("k.npz", {"paths": np.array(paths(3)), "vectors": vectors(2)}, "one length, got path"),
        ("l.npz", {"paths": np.array(paths(2), object), "vectors": vectors(2)}, "Python objects"),
        ("m.npz", {"vectors": vectors(2)}, "one must say which image"),
        ("n.npz", {"paths": np.array(paths(2))}, "one must be a vector, a cluster, or x and y"),
        ("o.npz", {"paths": np.array(paths(2)), "vectors": np.ones((2, 2, 2))}, r"or \(n, d\)"),
        ("p.parquet", {"path": paths(2), "X": [1, 2], "x": [1, 2], "y": [1, 2]}, "two columns"),
        ("q.parquet", {"path": paths(2), "cluster": pa.nulls(2)}, "'cluster' is empty"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    name: str, columns: dict[str, Any], message: str, photos: Path
) -> None:
    own = write(photos.parent / name, columns)
    with pytest.raises(CurationError, match=message) as refused:
        build("own", [f"table:{own}"], OWN)
    assert "\n" not in str(refused.value)
    assert not (datasets_home() / "own").exists()


def test_an_array_that_claims_to_be_huge_is_refused_before_memory_is_asked_for(
    tmp_path: Path,
) -> None:
    head = io.BytesIO()
    shape = (10**12, 512)
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("vectors.npy", head.getvalue())
    with pytest.raises(CurationError, match="'vectors' is cut off"):
        precomputed.read(tmp_path / "own.npz")


# ---- anything at all

cells = st.one_of(
    *(st.none(), st.integers(-5, 2**40), st.floats(width=32), st.text(max_size=6), st.booleans()),
    *(st.lists(st.floats(width=32), max_size=3), st.lists(st.none(), max_size=2)),
)
names = st.sampled_from(
    "path url sha256 vector embedding x y z xy cluster note v0 v1 v2 umap_1 umap_2 hash".split()
)


@settings(max_examples=80)
@with_examples(
    st.integers(0, 4).flatmap(
        lambda n: st.dictionaries(names, st.lists(cells, min_size=n, max_size=n), max_size=5)
    )
)
def test_any_table_gives_candidates_reasons_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, list[Any]]
) -> None:
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            arrays[name] = pa.array([None if value is None else str(value) for value in values])
    folder = tmp_path_factory.mktemp("fuzz")
    pq.write_table(pa.table(arrays), folder / "own.parquet")
    sound_or_refused(folder / "own.parquet")


def sound_or_refused(path: Path) -> None:
    keep = path.parent / "keep"
    context = Context(keep, silent, lambda sha256: None, [].append, [].append, Limits(tries=1))
    table.claims(str(path))
    try:
        found = list(table.find(str(path), context))
    except CurationError as error:
        assert "\n" not in str(error)
        return
    assert len({one.path for one in found}) == len(found)
    for one in found:
        assert one.brought.vector is None or np.isfinite(one.brought.vector).all()
        assert one.brought.place is None or np.isfinite(one.brought.place).all()
    reasons(found)


def npz_bytes() -> bytes:
    file = io.BytesIO()
    np.savez(file, paths=np.array(["a.png", "b.png"]), vectors=vectors(2), clusters=[0, 1])
    return file.getvalue()


WHOLE = npz_bytes()


@settings(max_examples=80)
@with_examples(
    st.one_of(
        st.binary(max_size=300),
        st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end]),
        st.lists(
            st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4
        ).map(lambda changes: changed(WHOLE, changes)),
    )
)
def test_any_bytes_called_npz_give_candidates_reasons_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "own.npz"
    path.write_bytes(data)
    sound_or_refused(path)


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    array = bytearray(data)
    for at, value in changes:
        array[at] = value
    return bytes(array)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_table_that_was_cut_off_is_refused(cut: float, photos: Path) -> None:
    own = write(photos.parent / "own.parquet", {"path": paths(), "vector": vectors()})
    whole = own.read_bytes()
    own.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(CurationError, match="cannot be read as a table"):
        precomputed.read(own)
