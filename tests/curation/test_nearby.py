"""Growing a selection and ordering it outwards, against plain NumPy."""

import numpy as np
import pytest

from curation import nearby
from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Neighbours

ID = [f"item{number:03d}" for number in range(12)]


def atlas_of(ids: list[str]) -> Atlas:
    n = len(ids)
    zero, xy = np.zeros(n, np.float32), np.zeros((n, 2), np.float32)
    return Atlas(np.array(ids), xy, np.zeros(n, np.int32), zero, zero, "v", "space")


def graph_of(ids: list[str], rows: list[list[int]]) -> Neighbours:
    found = np.array(rows, np.int32)
    return Neighbours(np.array(ids), found, np.ones(found.shape, np.float32))


def test_a_graph_of_the_same_items_is_taken_as_it_is() -> None:
    graph = graph_of(ID[:3], [[1, 2], [0, 2], [1, 0]])
    assert nearby.near_rows(atlas_of(ID[:3]), graph) is graph.rows


def test_a_graph_of_other_items_is_read_by_the_rows_of_the_atlas() -> None:
    # the graph knows items 0 to 4; the atlas lacks 1 and has 7, which the graph does not know
    graph = graph_of(ID[:5], [[1, 2], [0, 3], [4, 1], [4, 2], [3, 0]])
    near = nearby.near_rows(atlas_of([ID[0], ID[2], ID[3], ID[4], ID[7]]), graph)
    assert near.tolist() == [[-1, 1], [3, -1], [3, 1], [2, 0], [-1, -1]]


def test_growing_is_the_union_with_the_nearest() -> None:
    random = np.random.default_rng(3)
    near = random.integers(-1, 300, (300, 8)).astype(np.int32)
    rows = np.sort(random.choice(300, 40, replace=False)).astype(np.int32)
    for k in (1, 3, 8, 50):
        union = np.union1d(rows, near[rows, :k])
        assert nearby.grown(rows, near, k).tolist() == union[union >= 0].tolist()
    assert nearby.grown(np.zeros(0, np.int32), near, 3).tolist() == []


@pytest.mark.parametrize("n", [1, 7, 400])
def test_members_are_ordered_by_their_distance_to_the_exact_medoid(n: int) -> None:
    vectors = np.random.default_rng(n).normal(size=(500, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.random.default_rng(1).choice(500, n, replace=False).astype(np.int32)
    order, distance = nearby.outwards(vectors, rows)
    pairs = 1 - vectors[rows] @ vectors[rows].T
    medoid = np.argmin(pairs.sum(axis=1))
    assert order[0] == medoid and sorted(order.tolist()) == list(range(n))
    np.testing.assert_allclose(distance, np.sort(pairs[medoid]), atol=1e-5)


def test_a_sample_finds_the_middle_of_very_many_members() -> None:
    random = np.random.default_rng(5)
    vectors = random.normal(size=(70_000, 8)).astype(np.float32) + 2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(70_000, dtype=np.int32)
    order, distance = nearby.outwards(vectors, rows)
    middle = vectors.mean(axis=0)
    exact = np.argsort(-(vectors @ middle))
    assert order[0] in exact[:20], "nearly the medoid of all"
    assert len(np.unique(order)) == 70_000 and (np.diff(distance) >= 0).all()


def test_the_graph_is_read_again_when_it_was_made_anew(digits: str) -> None:
    workspace = Workspace(digits)
    atlas, graph = workspace.atlas(), workspace.graph("builtin")
    assert graph is not None
    one = np.array([5], np.int32)
    assert workspace.grown(one, atlas, 3).tolist() == sorted([5, *graph.rows[5, :3].tolist()])
    turned = Neighbours(graph.item_ids, graph.rows[:, ::-1].copy(), graph.similarity)
    workspace.store.save_neighbours("builtin", turned, "other")
    assert workspace.grown(one, atlas, 1).tolist() == sorted([5, int(graph.rows[5, -1])])


def test_a_space_without_a_graph_is_said(digits: str) -> None:
    store = Workspace(digits).store
    with pytest.raises(CurationError, match="too few images"):
        nearby.Nearby(store).rows(atlas_of(ID))


def test_a_selection_knows_its_rows_and_numbers_however_it_was_made(digits: str) -> None:
    workspace = Workspace(digits)
    atlas = workspace.atlas()
    rows = np.array([3, 5, 900], np.int32)
    by_rows = Selection.of(atlas, rows)
    by_ids = Selection(by_rows.item_ids, atlas.version)
    assert by_ids.rows is None
    for selection in (by_rows, by_ids):
        assert workspace.rows_of(selection).tolist() == rows.tolist()
        numbers = workspace.nos_of(selection)
        assert numbers.tolist() == workspace.journal.item_nos(by_rows.item_ids).tolist()
        part = selection.part(np.array([True, False, True]))
        assert workspace.rows_of(part).tolist() == [3, 900]
    decision = workspace.label(by_rows, "x")
    assert workspace.rows_with(decision.items, atlas.version).tolist() == rows.tolist()


def test_rows_must_be_one_for_each_item() -> None:
    with pytest.raises(ValueError, match="rows must have shape"):
        Selection(np.array(["a", "b"]), "v", np.zeros(3, np.int32))
