"""The tables: what goes in comes out, other processes see it, and nothing is typed into SQL."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embeddings.dataset import now
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Image, Item, Location, Neighbours
from embeddings.store import Store, vectors_digest


def ids(*names: str) -> list[str]:
    return sorted(hashlib.sha256(name.encode()).hexdigest()[:32] for name in names)


def atlas(version: str = "0123456789abcdef", dims: int = 2) -> Atlas:
    item_ids = np.array(ids("a", "b", "c"))
    xy = np.linspace(0, 1, 3 * dims, dtype=np.float32).reshape(3, dims)
    cluster = np.array([0, -1, 0], np.int32)
    scores = np.array([0.25, 0.5, 1.0], np.float32)
    return Atlas(item_ids, xy, cluster, scores, scores, version, "builtin", {"seed": 0})


def test_an_atlas_comes_back_as_it_went_in(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for version, dims in (("0" * 16, 2), ("1" * 16, 3)):
        kept = atlas(version, dims)
        store.save_atlas(kept, now())
        back = Store(tmp_path).atlas(version)
        assert back.item_ids.tolist() == kept.item_ids.tolist()
        assert back.xy.tolist() == kept.xy.tolist()
        assert back.cluster.tolist() == kept.cluster.tolist()
        assert (back.space, back.params) == ("builtin", {"seed": 0})


def test_an_atlas_saved_twice_is_there_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save_atlas(atlas(), now())
    store.save_atlas(atlas(), now())
    assert store.count("atlases") == 3
    assert len(store.atlas_runs()) == 1


def test_an_atlas_that_is_saved_again_becomes_the_newest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for version in ("0" * 16, "1" * 16, "0" * 16):
        store.save_atlas(atlas(version), now())
    assert [run["version"] for run in store.atlas_runs()] == ["1" * 16, "0" * 16]
    assert store.count("atlases") == 6


def test_tables_that_many_replace_at_once_are_whole_and_nobody_fails(tmp_path: Path) -> None:
    def keep(check: str) -> None:
        row = {"item_ids": ["a"], "score": 0.5, "detail": "", "made_at": now()}
        for number in range(5):
            store.save_findings(check, [{**row, "finding_id": str(number), "check": check}])
            Store(tmp_path).save_labels(pa.table({"item_id": [check] * 3}))

    store = Store(tmp_path)
    checks = ["duplicates", "labels", "outliers"]
    with ThreadPoolExecutor(len(checks)) as pool:
        list(pool.map(keep, checks))
    assert sorted(row["check"] for row in store.findings()) == checks
    assert len(set(store.read("labels")["item_id"].to_pylist())) == 1


@pytest.mark.parametrize("version", ["gone", "' OR '1'='1", "0123456789abcdeg"])
def test_an_unknown_version_is_refused_whatever_it_says(tmp_path: Path, version: str) -> None:
    store = Store(tmp_path)
    store.save_atlas(atlas(), now())
    with pytest.raises(CurationError, match="is gone; reload"):
        store.atlas(version)


def test_vectors_are_sorted_by_id_and_of_unit_length(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ids("a", "b", "c")
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store.add_vectors("builtin", [names[2]], rows[2:], {"encoder": "builtin", "made_at": "1"})
    store.add_vectors("builtin", names[:2], rows[:2], {"encoder": "builtin"})
    vectors = store.vectors("builtin")
    assert vectors.item_ids.tolist() == names
    assert np.abs(vectors.rows - rows).max() < 1e-3
    assert np.abs(np.linalg.norm(vectors.rows, axis=1) - 1).max() < 1e-6
    assert store.spaces() == {"builtin": {"encoder": "builtin", "made_at": "1"}}
    assert vectors_digest(vectors) == vectors_digest(Store(tmp_path).vectors("builtin"))


def test_a_graph_of_other_vectors_is_not_given_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    graph = Neighbours(np.array(ids("a", "b", "c")), rows, np.ones((3, 2), np.float32))
    store.save_neighbours("builtin", graph, "digest")
    kept = store.neighbours("builtin", "digest")
    assert kept is not None and kept.rows.tolist() == rows.tolist()
    assert store.neighbours("builtin", "another") is None


def test_another_process_sees_what_was_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = ids("a", "b")
    store.add_items([Item(first, first)], [b"one"])
    script = (
        "import sys; from pathlib import Path\n"
        "from embeddings.store import Store; from embeddings.schema import Item\n"
        f"Store(Path(sys.argv[1])).add_items([Item({second!r}, {second!r})], [b'two'])"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert store.item_ids().tolist() == [first, second]
    assert store.thumbnails([second, first, "unknown"]) == {first: b"one", second: b"two"}


def test_thumbnails_stay_right_after_compaction(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ids(*(str(number) for number in range(30)))
    for name in names[::-1]:
        store.add_items([Item(name, name)], [name.encode()])
    assert store.thumbnails(names[:3]) == {name: name.encode() for name in names[:3]}
    store.compact()
    assert store.thumbnails(names) == {name: name.encode() for name in names}


def test_the_newest_row_of_a_path_counts_and_names_need_not_be_utf8(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = "/photos/caf\udce9.jpg"
    for status, error in (("unreadable", "empty file"), ("ok", None)):
        row = Location(path, 1, 2, status, now(), None, error, "/photos")
        store.add_locations([row])
    (found,) = store.locations()
    assert (found.path, found.status, found.error) == (path, "ok", None)


def test_an_image_row_keeps_its_histogram(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = hashlib.sha256(b"x").hexdigest()
    histogram = np.arange(768).reshape(3, 256)
    store.add_images([Image(digest[:32], digest, 2, 3, 9, "PNG", now(), histogram=histogram)])
    (row,) = store.read("images").to_pylist()
    assert row["histogram"] == list(range(768))
    assert (row["sha256"], row["width"], row["height"]) == (digest, 2, 3)


def test_an_unknown_space_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="no space 'x'; there are: none yet"):
        Store(tmp_path).vectors("x")
