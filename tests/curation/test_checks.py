"""What each check finds, on neighbours whose answer is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.checks import CHECKS, CheckContext, run
from curation.checks.duplicates import connected
from curation.schema import Finding
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Neighbours, Vectors

NAMES = CHECKS.names()


def context(
    vectors: np.ndarray, categories: list[str | None] | None = None, k: int = 10
) -> CheckContext:
    """Return the context of unit vectors with their exact neighbours."""
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    n = len(vectors)
    ids = np.array([f"item-{number:06d}" for number in range(n)])
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -2)
    rows = np.argsort(-cosine, axis=1, kind="stable")[:, : min(k, n - 1)].astype(np.int32)
    graph = Neighbours(ids, rows, np.take_along_axis(cosine, rows, axis=1))
    flat = np.zeros(n, np.float32)
    atlas = Atlas(ids, np.zeros((n, 2), np.float32), np.zeros(n, np.int32), flat, flat, "v1", "s")
    labels = np.array([None] * n if categories is None else categories, dtype=object)
    return CheckContext(Vectors(ids, vectors, "test"), graph, atlas, labels)


def numbers(finding: Finding) -> list[int]:
    return [int(item_id.split("-")[1]) for item_id in finding.item_ids]


def scattered(n: int, d: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def lumps(n: int, centres: int, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors around some centres, and which centre each belongs to."""
    of = np.arange(n) % centres
    return scattered(centres, seed=1)[of] + spread * scattered(n), of


# -- the contract that every check keeps -------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_findings_are_about_known_items_and_come_worst_first(name: str) -> None:
    vectors, of = lumps(200, 4)
    vectors[7] = vectors[3]
    labels = [f"label {number}" for number in of]
    labels[11] = "label 0"
    given = context(np.vstack([vectors, 9 * scattered(1, seed=5)]), [*labels, None])
    found = run(name, given)
    assert found
    assert all(finding.check == name and finding.detail for finding in found)
    assert {item for finding in found for item in finding.item_ids} <= set(given.graph.item_ids)
    scores = [finding.score for finding in found]
    assert scores == sorted(scores, reverse=True)
    assert len({finding.finding_id for finding in found}) == len(found)
    assert run(name, given) == found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2])
def test_hardly_any_items_are_no_reason_to_fail(name: str, n: int) -> None:
    assert run(name, context(scattered(n), ["shirt"] * n)) == []


@pytest.mark.parametrize("name", NAMES)
def test_unlabelled_items_are_checked_without_complaint(name: str) -> None:
    assert isinstance(run(name, context(scattered(30))), list)


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_that_a_check_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(CurationError, match=f"check '{name}' has no parameter 'colour'; known: "):
        run(name, context(scattered(5)), colour="red")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("duplicates", {"threshold": 0.0}),
        ("duplicates", {"threshold": 1.5}),
        ("labels", {"threshold": 0.2}),
        ("labels", {"neighbours": 2}),
        ("outliers", {"strength": "mild"}),
    ],
)
def test_a_parameter_out_of_its_range_is_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(CurationError, match=f"{next(iter(params))} must be .*, got"):
        run(name, context(scattered(5)), **params)


def test_a_finding_keeps_its_id_when_only_its_score_changes() -> None:
    first = Finding.of("duplicates", ["b", "a"], 0.9, "x")
    second = Finding.of("duplicates", ("a", "b", "a"), 1.0000001, "y")
    assert first.finding_id == second.finding_id
    assert first.item_ids == second.item_ids == ("a", "b")
    assert second.score == 1.0
    others = [Finding.of("outliers", ["a", "b"], 0, ""), Finding.of("duplicates", ["a"], 0, "")]
    assert len({first.finding_id, *(other.finding_id for other in others)}) == 3


@pytest.mark.parametrize(("ids", "score"), [((), 0.5), (("a",), 1.5), (("a",), float("nan"))])
def test_a_finding_without_items_or_score_is_refused(ids: tuple[str, ...], score: float) -> None:
    with pytest.raises(ValueError, match="must"):
        Finding("id", "check", ids, score, "")


def test_an_atlas_of_fewer_items_leaves_the_rest_unlabelled() -> None:
    given = context(scattered(4))
    part = Atlas(
        given.graph.item_ids[1:3],
        np.zeros((2, 2), np.float32),
        *(np.zeros(2, kind) for kind in (np.int32, np.float32, np.float32)),
        version="old",
        space="s",
    )
    older = CheckContext(given.vectors, given.graph, part, np.array(["a", "b"], dtype=object))
    assert older.graph_categories().tolist() == [None, "a", "b", None]
    with pytest.raises(ValueError, match=r"categories must have shape \(2,\), got \(4,\)"):
        CheckContext(given.vectors, given.graph, part, given.categories)


# -- duplicates --------------------------------------------------------------------------------


def test_duplicates_come_in_groups_with_their_strongest_link() -> None:
    vectors = scattered(100)
    vectors[[40, 70]] = vectors[10]
    vectors[90] = vectors[20] + 0.05 * scattered(1, seed=3)[0]
    found = run("duplicates", context(vectors))
    assert [numbers(finding) for finding in found] == [[10, 40, 70], [20, 90]]
    assert found[0].score == pytest.approx(1.0)
    assert 0.97 <= found[1].score < 0.9999
    assert found[0].detail == "3 items, cosine 1.000"


def test_identical_vectors_reach_the_highest_threshold() -> None:
    # in float32 the cosine of some of these pairs is a little less than 1
    vectors = np.vstack([scattered(50, d=512)] * 2)
    found = run("duplicates", context(vectors), threshold=1.0)
    assert sorted(numbers(finding) for finding in found) == [[n, n + 50] for n in range(50)]


def test_duplicates_say_when_people_labelled_them_differently() -> None:
    vectors = scattered(20)
    vectors[4] = vectors[3]
    vectors[9] = vectors[8]
    labels: list[str | None] = [None] * 20
    labels[3], labels[4], labels[8], labels[9] = "skirt", "shorts", "shirt", None
    details = {
        tuple(numbers(found)): found.detail for found in run("duplicates", context(vectors, labels))
    }
    assert details[3, 4] == "2 items, cosine 1.000; labelled differently: shorts, skirt"
    assert "labelled" not in details[8, 9]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_linked_rows_get_the_smallest_row_they_reach(links: list[tuple[int, int]]) -> None:
    reach = np.eye(20, dtype=bool)
    for first, second in links:
        reach[first, second] = reach[second, first] = True
    for via in range(20):
        reach |= np.outer(reach[:, via], reach[via])
    first, second = np.array(links, dtype=np.int64).reshape(-1, 2).T
    assert connected(20, first, second).tolist() == reach.argmax(axis=1).tolist()


# -- outliers ----------------------------------------------------------------------------------


def test_outliers_are_what_lies_beyond_the_fences() -> None:
    vectors, _ = lumps(300, 3)
    odd = scattered(2, seed=8)
    given = context(np.vstack([vectors, odd]))
    found = run("outliers", given, strength="severe")
    assert sorted(number for finding in found for number in numbers(finding)) == [300, 301]
    assert all(finding.score >= 2 / 3 and "severe: " in finding.detail for finding in found)
    everyone = run("outliers", given)
    assert {finding.finding_id for finding in found} <= {f.finding_id for f in everyone}
    distance = 1 - given.graph.similarity.mean(axis=1)
    lower, upper = np.percentile(distance, [25, 75])
    beyond = np.flatnonzero(distance >= upper + 1.5 * (upper - lower))
    assert sorted(number for f in everyone for number in numbers(f)) == beyond.tolist()
    assert all(finding.score >= 0.5 for finding in everyone)


def test_items_that_are_all_alike_have_no_outliers() -> None:
    alike = np.repeat(scattered(1, d=512), 50, axis=0)
    assert run("outliers", context(alike)) == []
    assert [numbers(f) for f in run("outliers", context(np.vstack([alike, -alike[:1]])))] == [[50]]


# -- labels ------------------------------------------------------------------------------------


def test_a_label_that_the_neighbours_contradict_is_found() -> None:
    vectors, of = lumps(200, 4)
    labels: list[str | None] = [f"label {number}" for number in of]
    labels[12], labels[33] = "label 2", "label 3"  # their neighbours are 0 and 1
    found = run("labels", context(vectors, labels))
    assert sorted(numbers(finding) for finding in found) == [[12], [33]]
    (first,) = (finding for finding in found if numbers(finding) == [12])
    assert first.detail == "labelled label 2, but 10 of 10 labelled neighbours are label 0"
    assert first.score == 1.0


def test_unlabelled_items_neither_vote_nor_are_judged() -> None:
    vectors, of = lumps(200, 4)
    labels: list[str | None] = [f"label {number}" for number in of]
    labels[12] = "label 2"
    given = context(vectors, labels)
    neighbours = given.graph.rows[12]
    for row in neighbours[4:]:
        labels[row] = None
    (found,) = run("labels", context(vectors, labels))
    assert "4 of 4 labelled neighbours" in found.detail
    for row in neighbours[2:]:
        labels[row] = None
    assert run("labels", context(vectors, labels)) == [], "two neighbours are too few to judge by"


def test_neighbours_that_disagree_among_themselves_say_nothing() -> None:
    vectors = np.repeat(scattered(1), 8, axis=0) + 0.01 * scattered(8)
    labels = ["a", *"bbcc", *"ddd"]
    assert run("labels", context(vectors, labels, k=7)) == []
    labels = ["a", *"bbbbb", *"dd"]
    assert [0] in [numbers(found) for found in run("labels", context(vectors, labels, k=7))]


def test_a_photograph_under_two_labels_is_found(real_data: Callable[[str], Path]) -> None:
    """The set is known to hold one photograph twice, as shorts and as skirt."""
    folder = real_data("photos_clothing")
    from PIL import Image

    twins = [*folder.rglob("6075b4a5*.jpg"), *folder.rglob("637a56e4*.jpg")]
    others = sorted({*folder.rglob("*.jpg")} - set(twins))[:150]
    pixels = [Image.open(file).convert("RGB").resize((16, 16)) for file in [*twins, *others]]
    vectors = np.stack([np.asarray(image, np.float64).ravel() for image in pixels])
    labels = ["shorts", "skirt", *["other"] * len(others)]
    found = run("duplicates", context(vectors - vectors.mean(axis=0), labels))
    (pair,) = (finding for finding in found if "shorts, skirt" in finding.detail)
    assert numbers(pair) == [0, 1]
