"""The sheets that a curator sees next, on blobs whose answers are known."""

import dataclasses

import numpy as np
import pytest

from curation.learning import batches, parts
from curation.learning.batches import MODES, SCREEN, Batch, Pool, queue
from curation.learning.classifier import NONE, Classifier, Proposals
from embeddings.errors import CurationError

KINDS = ("ant", "bee", "cat")


def pool(each: int = 150, known: int = 0, spread: float = 0.5, seed: int = 0) -> Pool:
    """Three blobs, which are the clusters too; the first `known` of each are labelled."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(3, dtype=np.int32), each)
    rows = np.eye(8)[truth] + spread * random.normal(size=(3 * each, 8)) / 2
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    alike = rows @ rows.T
    np.fill_diagonal(alike, -2)
    near = np.argsort(-alike, axis=1, kind="stable")[:, :10].astype(np.int32)
    codes = np.where(np.arange(3 * each) % each < known, truth, NONE).astype(np.int32)
    model = Classifier(rows, near, truth)
    model.tell(codes)
    names = KINDS if known else ()
    return Pool(rows, near, truth, codes == NONE, codes, model.proposals(), names)


def proposing(confidence: np.ndarray, code: int = 0, known: int = 1000) -> Pool:
    """A pool that proposes one label with these confidences, of which `known` items have it."""
    sure = np.concatenate([np.ones(known), confidence]).astype(np.float32)
    n = len(sure)
    labelled = np.where(np.arange(n) < known, code, NONE).astype(np.int32)
    codes = np.full(n, code, np.int32)
    rows = np.tile(np.eye(4, dtype=np.float32)[0], (n, 1))
    near, one = np.zeros((n, 0), np.int32), np.zeros(n, np.int32)
    return Pool(rows, near, one, labelled == NONE, labelled, Proposals(codes, sure), KINDS)


def test_the_first_sheets_are_the_untouched_clusters_to_be_named_the_largest_first() -> None:
    everything = pool()
    smaller = dataclasses.replace(everything, open=everything.open.copy())
    smaller.open[:100] = False  # 50 of the first cluster remain
    found = queue(smaller)
    assert [batch.title for batch in found] == ["cluster 1", "cluster 2", "cluster 0"]
    assert [batch.proposed for batch in found] == [None] * 3
    assert all((smaller.cluster[batch.rows] == smaller.cluster[batch.rows[0]]).all()
               for batch in found)  # fmt: skip
    assert [len(batch) for batch in found] == [SCREEN, SCREEN, 50]


def test_the_suspected_strays_of_an_untouched_cluster_stand_behind_the_cut() -> None:
    some = pool(each=40, spread=0.3)
    strays = np.arange(80, 84)  # of the third blob, on the map they lie in the first
    cluster = some.cluster.copy()
    cluster[strays] = 0
    mixed = dataclasses.replace(some, cluster=cluster)
    sheet = next(one for one in queue(mixed) if one.title == "cluster 0")
    assert len(sheet) == 44 and sheet.cut >= 38
    assert set(strays.tolist()) <= set(sheet.rows[sheet.cut :].tolist())
    rest = next(one for one in queue(mixed.without(sheet.rows[:10])) if one.title == "cluster 0")
    assert len(rest) == 34 and set(strays.tolist()) <= set(rest.rows[rest.cut :].tolist())


def test_an_untouched_cluster_comes_before_every_proposal() -> None:
    some = pool(known=20)
    codes = np.where(some.cluster == 2, NONE, some.labelled).astype(np.int32)
    found = queue(dataclasses.replace(some, labelled=codes, open=codes == NONE))
    assert found[0].title == "cluster 2" and found[0].proposed is None
    assert {batch.proposed for batch in found[1:]} == {"ant", "bee", "cat"}


def test_a_sheet_holds_one_proposed_label_surest_first_and_only_open_items() -> None:
    some = pool(known=70)
    for sheet in queue(some):
        assert sheet.proposed in KINDS
        sure = some.proposals.confidence[sheet.rows]
        assert (np.diff(sure) <= 0).all()
        assert some.open[sheet.rows].all()
        assert len(np.unique(sheet.rows)) == len(sheet)
        assert (some.cluster[sheet.rows] == KINDS.index(sheet.proposed)).mean() > 0.9


def test_tiny_untouched_clusters_wait_for_their_turn_by_gain() -> None:
    some = pool(known=70, spread=0.3)
    cluster = np.where(np.arange(450) >= 440, 3, some.cluster).astype(np.int32)
    codes = np.where(cluster == 3, NONE, some.labelled).astype(np.int32)
    tiny = dataclasses.replace(some, cluster=cluster, labelled=codes, open=codes == NONE)
    found = queue(tiny)
    assert [batch.proposed for batch in found].index(None) == len(found) - 1
    assert found[-1].title == "cluster 3"
    gains = [batch.gain for batch in found]
    assert gains == sorted(gains, reverse=True)


def test_the_sheets_are_ordered_by_gain() -> None:
    gains = [batch.gain for batch in queue(pool(known=30, spread=1.2))]
    assert gains == sorted(gains, reverse=True) and len(gains) == 3


def test_a_surer_sheet_wins_more_labels_an_act() -> None:
    sure, unsure = (queue(proposing(np.full(300, share)))[0].gain for share in (0.99, 0.7))
    assert sure > 3 * unsure > 3


def test_strays_stand_behind_the_cut() -> None:
    sheet = queue(proposing(np.linspace(0.55, 0.46, 60)))[0]
    assert len(sheet) == 60
    assert sheet.cut == 33 or sheet.cut == 34  # where 0.5 is


def test_a_sheet_ends_where_its_items_get_much_less_sure() -> None:
    confidence = np.concatenate([np.full(130, 0.99), np.full(400, 0.6)])
    assert len(queue(proposing(confidence))[0]) == 2 * SCREEN
    assert len(queue(proposing(np.full(500, 0.99)))[0]) == 500


def test_a_sheet_is_no_larger_than_what_is_known_of_its_label() -> None:
    confidence = np.full(1000, 0.99)
    sizes = [len(queue(proposing(confidence, known=known))[0]) for known in (10, 150, 5000)]
    assert sizes == [SCREEN, 2 * SCREEN, batches.MOST]
    assert len(queue(proposing(confidence), size=100)[0]) == SCREEN


def test_a_handful_that_would_be_left_is_taken_along() -> None:
    assert len(queue(proposing(np.full(80, 0.99)))[0]) == 80


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("known", [0, 30])
def test_every_mode_shows_open_items_the_same_ones_each_time(mode: str, known: int) -> None:
    some = pool(known=known)
    some.open[-20:] = False  # excluded
    first, second = (queue(some, mode, random_state=4) for _ in range(2))
    assert first and [batch.key for batch in first] == [batch.key for batch in second]
    for sheet in first:
        assert some.open[sheet.rows].all() and len(np.unique(sheet.rows)) == len(sheet)


@pytest.mark.parametrize("mode", MODES)
def test_when_all_is_done_no_mode_shows_anything(mode: str) -> None:
    some = pool(known=150)
    assert not some.open.any() and queue(some, mode) == []


def test_uncertain_shows_the_least_sure() -> None:
    some = pool(known=30, spread=1.2)
    shown = np.concatenate([batch.rows for batch in queue(some, "uncertain", size=60)])
    others = np.setdiff1d(np.flatnonzero(some.open), shown)
    sure = some.proposals.confidence
    assert len(shown) == 60 and sure[shown].max() <= sure[others].min()


def test_diverse_shows_every_blob_and_what_is_far_from_the_labelled() -> None:
    some = pool(known=30)
    bare = np.where(some.cluster == 1, NONE, some.labelled).astype(np.int32)
    lonely = dataclasses.replace(some, labelled=bare, open=bare == NONE)
    sheet = queue(lonely, "diverse")[0]
    assert (some.cluster[sheet.rows[:1]] == 1).all()
    assert set(some.cluster[sheet.rows].tolist()) == {0, 1, 2}


def test_representative_shows_the_middles_of_every_blob() -> None:
    some = pool()
    sheet = queue(some, "representative")[0]
    counts = np.bincount(some.cluster[sheet.rows], minlength=3)
    assert (counts >= 10).all()


def test_representative_items_stand_for_the_others_better_than_chance_does() -> None:
    random = np.random.default_rng(1)
    kind = random.integers(0, 30, 3_000)
    rows = random.normal(size=(3_000, 8)) + 3 * random.normal(size=(30, 8))[kind]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    some = proposing(np.zeros(3_000), known=0)
    some = dataclasses.replace(some, vectors=rows)
    far = []  # how far an item is from the nearest that is shown
    for mode in ("representative", "random"):
        shown = [queue(some, mode, random_state=seed)[0].rows for seed in range(3)]
        far.append(np.mean([1 - (rows @ rows[one].T).max(axis=1).mean() for one in shown]))
    assert far[0] < 0.85 * far[1]


def test_random_differs_by_its_seed() -> None:
    some = pool()
    first, second = (queue(some, "random", random_state=seed)[0].key for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("mode", ["diverse", "representative", "random"])
def test_modes_without_kinds_have_the_next_sheets_ready_and_no_item_is_on_two(mode: str) -> None:
    some = pool()
    found = queue(some, mode)
    shown = np.concatenate([sheet.rows for sheet in found])
    assert len(found) == batches.AT_ONCE and len(np.unique(shown)) == len(shown)
    assert [sheet.key for sheet in queue(some, mode, limit=1)] == [found[0].key]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_passed_over_is_on_no_sheet_and_every_item_gets_its_turn(mode: str) -> None:
    some = pool(known=30)
    passed = np.zeros(0, np.int32)
    for _ in range(40):
        found = queue(some.without(passed), mode)
        if not found:
            break
        assert not np.isin(found[0].rows, passed).any()
        passed = np.union1d(passed, found[0].rows)
    assert passed.tolist() == np.flatnonzero(some.open).tolist()


def test_the_rest_of_a_cluster_that_was_passed_over_comes_after_the_others() -> None:
    some = pool()
    first = queue(some)[0]
    titles = [sheet.title for sheet in queue(some.without(first.rows))]
    assert titles == ["cluster 1", "cluster 2", "cluster 0"]


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CurationError, match="unknown mode .* 'best'; known: gain, uncertain"):
        queue(pool(), "best")


def test_a_key_stays_while_the_sheet_does() -> None:
    some = pool(known=30)
    assert queue(some)[0].key == queue(some)[0].key
    keys = [batch.key for batch in queue(some)]
    assert len(set(keys)) == len(keys)


def test_a_cut_outside_the_sheet_is_refused() -> None:
    with pytest.raises(ValueError, match="cut must be in 0 to 2, got 3"):
        Batch("key", "title", np.zeros(2, np.int32), 3, None, 0.0, 0.0)


# ---- parts of sheets


def test_the_core_is_of_one_kind_where_the_mean_lies_between_two() -> None:
    some = pool(spread=0.3)
    both = np.flatnonzero(some.cluster < 2)
    ordered = batches.core_first(some.vectors, both)
    assert sorted(ordered) == both.tolist()
    assert len(set(some.cluster[ordered[:100]].tolist())) == 1


def test_strays_of_any_selection_are_gathered_behind_the_cut() -> None:
    some = pool(spread=0.3)
    strays = np.flatnonzero(some.cluster == 2)[:4]
    rows = np.concatenate([np.flatnonzero(some.cluster == 0), strays]).astype(np.int32)
    sheet = parts.sheet(some, rows, "lasso")
    assert set(strays.tolist()) <= set(sheet.rows[sheet.cut :].tolist())
    assert sheet.cut >= 140 and sheet.proposed is None
    assert sorted(sheet.rows.tolist()) == sorted(rows.tolist())


def test_a_selection_with_a_known_label_is_cut_where_another_is_likelier() -> None:
    some = pool(known=20, spread=0.3)
    rows = np.flatnonzero(some.open).astype(np.int32)
    sheet = parts.sheet(some, rows, "lasso", "bee")
    assert (some.cluster[sheet.rows[: sheet.cut]] == 1).all()
    assert not (some.cluster[sheet.rows[sheet.cut :]] == 1).any()


@pytest.mark.parametrize("into", [3, None])
def test_a_mixed_sheet_splits_into_its_kinds(into: int | None) -> None:
    some = pool(spread=0.3)
    found = parts.split(some, np.arange(450, dtype=np.int32), into)
    assert [len(sheet) for sheet in found] == [150, 150, 150]
    assert all(len(set(some.cluster[sheet.rows].tolist())) == 1 for sheet in found)
    assert [sheet.title for sheet in found] == [f"part {at} of 3" for at in (1, 2, 3)]


def test_the_map_splits_a_sheet_by_its_places() -> None:
    some = pool()
    random = np.random.default_rng(0)
    xy = random.normal(size=(450, 2)).astype(np.float32)
    xy[:, 0] += 20 * (np.arange(450) % 3)  # places that have nothing to do with the vectors
    found = parts.split(some, np.arange(450, dtype=np.int32), xy=xy)
    titled = [sheet for sheet in found if sheet.title.startswith("part")]
    assert len(titled) >= 3
    assert all(len(set((sheet.rows % 3).tolist())) == 1 for sheet in titled)
    assert sum(len(sheet) for sheet in found) == 450


def test_what_cannot_be_split_is_refused() -> None:
    some = pool()
    with pytest.raises(CurationError, match="1 items cannot be split into 2"):
        parts.split(some, np.zeros(1, np.int32))
    alike = dataclasses.replace(some, vectors=np.tile(some.vectors[:1], (450, 1)))
    with pytest.raises(CurationError, match="cannot be split into 2 parts"):
        parts.split(alike, np.arange(50, dtype=np.int32))
    with pytest.raises(CurationError, match="no finer parts"):
        parts.split(some, np.arange(50, dtype=np.int32), xy=np.zeros((450, 2), np.float32))


def test_merged_sheets_keep_the_label_that_they_agree_on() -> None:
    some = pool(known=30)
    first = parts.sheet(some, np.arange(40, 60, dtype=np.int32), "a", "ant")
    second = parts.sheet(some, np.arange(50, 80, dtype=np.int32), "b", "ant")
    other = parts.sheet(some, np.arange(200, 210, dtype=np.int32), "c", "bee")
    both = parts.merge(some, [first, second])
    assert sorted(both.rows.tolist()) == list(range(40, 80))
    assert both.proposed == "ant" and both.title == "a + b"
    assert parts.merge(some, [first, other]).proposed is None


def test_the_twin_of_half_a_kind_is_its_other_half() -> None:
    some = pool(spread=0.3)
    halves = np.where(np.arange(450) % 150 < 75, some.cluster, some.cluster + 3).astype(np.int32)
    torn = dataclasses.replace(some, cluster=halves)
    for kind in range(3):
        found = parts.twins(torn, np.flatnonzero(halves == kind).astype(np.int32), limit=1)
        assert found[0].title.startswith(f"cluster {kind + 3},")
        assert (halves[found[0].rows] == kind + 3).all()


def test_more_like_these_are_of_their_kind_and_not_these() -> None:
    some = pool(known=5, spread=0.3)
    these = np.arange(155, 165, dtype=np.int32)
    sheet = parts.more_like(some, these, limit=40)
    assert sheet is not None and len(sheet) == 40
    assert (some.cluster[sheet.rows] == 1).all()
    assert some.open[sheet.rows].all() and not np.isin(sheet.rows, these).any()
    nearest = (some.vectors[sheet.rows] @ some.vectors[these].T).max(axis=1)
    assert (np.diff(nearest) <= 1e-6).all()
    labelled = parts.more_like(some, np.arange(150, 155, dtype=np.int32))
    assert labelled is not None and labelled.proposed == "bee"


def test_where_nothing_is_open_nothing_is_like_these() -> None:
    assert parts.more_like(pool(known=150), np.arange(3, dtype=np.int32)) is None
