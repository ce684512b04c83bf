"""The classifier, its confidence and spreading, on blobs whose answers are known."""

import tracemalloc

import numpy as np
import pytest

from curation.learning import classifier as classifiers
from curation.learning import spreading as spreadings
from curation.learning.calibration import Odds, expected_calibration_error, softmax, stack
from curation.learning.classifier import NONE, Classifier, Proposals, most_voted
from curation.learning.spreading import spread
from embeddings.errors import CurationError

NOBODY = np.zeros(0, np.int32)


def blobs(kinds: int = 4, each: int = 60, spread: float = 0.35, seed: int = 0):
    """Unit vectors around `kinds` directions, the kind of each, and their 10 nearest."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(kinds, dtype=np.int32), each)
    centres = np.linalg.qr(random.normal(size=(16, 16)))[0][:kinds]
    rows = centres[truth] + spread * random.normal(size=(len(truth), 16)) / 2
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    alike = rows @ rows.T
    np.fill_diagonal(alike, -2)
    near = np.argsort(-alike, axis=1, kind="stable")[:, :10].astype(np.int32)
    return rows, truth, near


def learner(kinds: int = 4, **more) -> tuple[Classifier, np.ndarray]:
    rows, truth, near = blobs(kinds, **more)
    return Classifier(rows, near, truth), truth


def some(truth: np.ndarray, each: int) -> np.ndarray:
    """The codes when `each` of every kind are labelled."""
    codes = np.full(len(truth), NONE, np.int32)
    for kind in np.unique(truth):
        rows = np.flatnonzero(truth == kind)[:each]
        codes[rows] = kind
    return codes


def test_before_any_label_nothing_is_proposed() -> None:
    model, truth = learner()
    found = model.proposals()
    assert len(found) == len(truth) and (found.codes == NONE).all() and not found.confidence.any()


def test_a_few_labels_of_each_kind_say_the_others() -> None:
    model, truth = learner()
    model.tell(some(truth, 3))
    found = model.proposals()
    assert (found.codes == truth).mean() > 0.98
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
    codes, sure = model.likeliest(np.arange(len(truth)), 3)
    assert codes.shape == sure.shape == (len(truth), 3) and (sure.sum(axis=1) <= 1.001).all()
    np.testing.assert_array_equal(codes[:, 0], found.codes)


def test_a_cluster_that_nobody_touched_gets_no_proposal() -> None:
    model, truth = learner()
    codes = some(truth, 5)
    codes[truth == 3] = NONE
    model.tell(codes)
    lonely = (truth == 3) & ~np.isin(blobs()[2], np.flatnonzero(codes != NONE)).any(axis=1)
    assert lonely.sum() > 40
    assert (model.proposals().codes[lonely] == NONE).all()
    assert (model.proposals().codes[truth < 3] == truth[truth < 3]).mean() > 0.98


def test_one_label_alone_is_proposed_to_neighbours_only() -> None:
    model, truth = learner()
    codes = np.full(len(truth), NONE, np.int32)
    codes[:5] = 0
    model.tell(codes)
    found = model.proposals()
    near = np.isin(blobs()[2], np.arange(5)).any(axis=1)
    assert (found.codes[near] == 0).all()
    assert (found.codes[~near] == NONE).all()


def test_learning_step_by_step_and_taking_back_is_learning_what_stands() -> None:
    model, truth = learner()
    for each in (2, 9, 5):  # 9 are taken back to 5
        model.tell(some(truth, each))
    fresh, _ = learner()
    fresh.tell(some(truth, 5))
    np.testing.assert_allclose(model._gram, fresh._gram, atol=1e-9)
    np.testing.assert_allclose(model._sums, fresh._sums, atol=1e-9)
    np.testing.assert_array_equal(model._votes, fresh._votes)
    assert model.tell(some(truth, 5)) == 0


def test_a_label_that_changed_moves_what_is_proposed() -> None:
    model, truth = learner(2)
    model.tell(some(truth, 20))
    turned = some(truth, 20)
    turned[truth == 1] = np.where(turned[truth == 1] == 1, 2, NONE)
    assert model.tell(turned) == 20
    assert (model.proposals().codes[truth == 1] == 2).all()
    assert not (model.likeliest(np.arange(len(truth)), 3)[0] == 1).any()  # nobody is that any more


@pytest.mark.parametrize("dense", [True, False])
def test_what_was_refused_is_not_proposed_again(dense: bool, monkeypatch) -> None:
    if not dense:
        monkeypatch.setattr(classifiers, "DENSE", 1)
    model, truth = learner(2, spread=1.0)
    codes = some(truth, 20)
    model.tell(codes)
    rows = np.flatnonzero((codes == NONE) & (model.proposals().codes == 0)).astype(np.int32)[:5]
    model.tell(codes, (rows, np.zeros(5, np.int32)))
    assert (model.proposals().codes[rows] != 0).all()
    assert not (model.likeliest(rows, 2)[0] == 0).any()
    model.tell(codes, (NOBODY, NOBODY))  # the refusal was undone
    assert (model.proposals().codes[rows] == 0).all()


def test_with_very_many_labels_the_neighbours_alone_speak(monkeypatch) -> None:
    monkeypatch.setattr(classifiers, "DENSE", 100)
    model, truth = learner()
    model.tell(some(truth, 25))
    found = model.proposals()
    heard = found.codes != NONE
    assert heard.mean() > 0.9 and (found.codes == truth)[heard].mean() > 0.98
    codes, sure = model.likeliest(np.arange(10), 2)
    assert (codes[:, 0] == found.codes[:10])[heard[:10]].all()
    assert (np.diff(sure) <= 0).all() and ((codes == NONE) == (sure == 0)).all()


def test_votes_are_counted_for_each_label_once_and_memory_goes_with_the_rows(monkeypatch) -> None:
    monkeypatch.setattr(classifiers, "DENSE", 1)
    n = 4_000
    near = (np.arange(n)[:, None] + np.array([1, 2, 3, 4, 5])) % n
    model = Classifier(np.ones((n, 1), np.float32), near.astype(np.int32), np.zeros(n, np.int32))
    told = (np.arange(n) // 2).astype(np.int32)  # two items each
    told[::100] = NONE
    model.tell(told)
    tracemalloc.start()
    codes, sure = model.likeliest(np.arange(n), 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000 * n  # a number for each item and label would be 8,000 an item
    assert codes[10].tolist() == [6, 7, 5, NONE]  # of 11 to 15
    np.testing.assert_allclose(sure[10], [0.4, 0.4, 0.2, 0])
    assert codes[98].tolist() == [51, 49, 50, NONE]  # of 99, 101, 102 and 103: 100 has none
    np.testing.assert_allclose(sure[98], [0.4, 0.2, 0.2, 0])


def test_with_very_many_labels_an_item_that_is_refused_several_is_proposed_none_of_them(
    monkeypatch,
) -> None:
    monkeypatch.setattr(classifiers, "DENSE", 1)
    near = np.array([[1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 1], [0, 1, 2]], np.int32)
    model = Classifier(np.eye(5, dtype=np.float32), near, np.zeros(5, np.int32))
    codes = np.array([NONE, 0, 0, 1, 2], np.int32)
    model.tell(codes, (np.array([0, 0], np.int32), np.array([0, 1], np.int32)))
    assert model.proposals().codes.tolist() == [NONE, 0, 1, 2, 0]
    found, _ = model.likeliest(np.array([0, 1, 0]), 2)  # the same row twice
    assert found[0].tolist() == found[2].tolist() == [NONE, NONE] and found[1, 0] == 0


def test_with_very_many_labels_nothing_is_held_of_what_few_needed(monkeypatch) -> None:
    model, truth = learner()
    model.tell(some(truth, 5))
    monkeypatch.setattr(classifiers, "DENSE", 1)
    model.tell(some(truth, 6))
    for array in (model._votes, model._likely, model._sums):
        assert array.base is None and array.nbytes == 0


def test_the_most_voted_code_wins_and_ties_go_to_the_nearest() -> None:
    heard = np.array([[NONE, 4, 2, 2], [3, 1, 1, 3], [NONE] * 4], np.int32)
    codes, votes = most_voted(heard)
    assert codes.tolist() == [2, 3, NONE]
    assert votes.tolist() == [2, 2, 0]


def test_the_same_labels_give_the_same_proposals() -> None:
    first, second = (learner()[0] for _ in range(2))
    for model in (first, second):
        for each in (2, 7):
            model.tell(some(blobs()[1], each))
    np.testing.assert_array_equal(first.proposals().confidence, second.proposals().confidence)


def test_a_cluster_that_is_of_one_label_speaks_for_its_members() -> None:
    rows, truth, near = blobs(3, each=200, spread=1.6)
    shares = []
    for parts in (truth, np.full(len(truth), NONE, np.int32)):
        model = Classifier(rows, near, parts)
        model.tell(some(truth, 40))
        shares.append((model.proposals().codes == truth).mean())
    assert shares[0] > shares[1] + 0.05


def test_items_without_neighbours_are_judged_by_their_vectors() -> None:
    rows, truth, _ = blobs()
    model = Classifier(rows, np.zeros((len(rows), 0), np.int32), truth)
    model.tell(some(truth, 5))
    assert (model.proposals().codes == truth).mean() > 0.98


def test_codes_of_another_length_are_refused() -> None:
    model, _ = learner()
    with pytest.raises(ValueError, match=r"shape \(240,\), got \(3,\)"):
        model.tell(np.zeros(3, np.int32))
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        Proposals(np.zeros(2, np.int32), np.zeros(3, np.float32))


# ---- how sure


def test_confidence_comes_to_say_how_often_proposals_are_right() -> None:
    """Overlapping kinds, decided on in random order: a confidence of 0.7 is right 7 times in 10."""
    rows, truth, near = blobs(3, each=500, spread=1.6)
    model = Classifier(rows, near, np.full(len(truth), NONE, np.int32))  # no cluster tells
    order = np.random.default_rng(1).permutation(len(truth))
    codes = np.full(len(truth), NONE, np.int32)
    for start in range(0, 900, 60):
        some = order[start : start + 60]
        codes[some] = truth[some]
        model.tell(codes)
    rest = order[900:]
    found = model.proposals()
    right = found.codes[rest] == truth[rest]
    said = found.confidence[rest].astype(np.float64)
    assert 0.6 < right.mean() < 0.97  # hard enough to be unsure of
    assert expected_calibration_error(said, right) < 0.05
    judged, came = model.odds.outcomes()
    assert len(judged) == len(came) > 700  # all but those that nothing was proposed for


def test_odds_learn_that_what_was_said_was_too_sure() -> None:
    odds, random = Odds(), np.random.default_rng(0)
    before = odds.corrected(np.array([0.9], np.float32))[0]
    for _ in range(20):
        said = odds.corrected(np.full(200, 0.9, np.float32))
        odds.observe(said, random.random(200) < 0.6)
    after = odds.corrected(np.array([0.9], np.float32))[0]
    assert before == pytest.approx(0.9, abs=1e-3)
    assert after == pytest.approx(0.6, abs=0.03)


def test_odds_keep_their_order_whatever_happened() -> None:
    odds = Odds()
    said = np.linspace(0.05, 0.95, 400).astype(np.float32)
    odds.observe(said, said < 0.5)  # the surer, the more often wrong
    corrected = odds.corrected(said)
    assert (np.diff(corrected) > 0).all()


def test_what_teaches_nothing_still_counts_among_the_outcomes() -> None:
    odds = Odds()
    said = np.full(50, 0.9, np.float32)
    odds.observe(said, np.zeros(50, np.bool_), np.zeros(50, np.bool_))
    assert odds.corrected(said)[0] == pytest.approx(0.9, abs=1e-3)
    assert len(odds.outcomes()[0]) == 50


def test_the_calibration_error_of_known_gaps() -> None:
    said = np.array([0.95] * 10 + [0.55] * 30)
    right = np.array([True] * 10 + [True] * 9 + [False] * 21)
    assert expected_calibration_error(said, right) == pytest.approx(0.25 * 0.05 + 0.75 * 0.25)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, np.bool_)) == 0.0


def test_the_stack_believes_what_is_right() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 3, 600).astype(np.int32)
    truth = np.eye(3, dtype=np.float32)[codes]
    noise = random.random((600, 3)).astype(np.float32)
    for place in range(3):
        kinds = [noise, noise[::-1], noise[:, ::-1]]
        kinds[place] = truth
        weights = stack(kinds, codes)
        assert weights[place] > (6, 2, 2)[place] and (weights >= 0).all()
        assert all(weights[other] < (4, 1, 1)[other] for other in range(3) if other != place)
    np.testing.assert_allclose(softmax(noise).sum(axis=1), 1, atol=1e-6)


# ---- spreading


def test_labels_spread_within_their_blob() -> None:
    _, truth, near = blobs()
    codes = some(truth, 6)
    found = spread(near, codes, at_least=0.8)
    told = found.proposals.codes != NONE
    assert told.sum() > 100 and not told[codes != NONE].any()
    assert (found.proposals.codes == truth)[told].all()
    assert (found.proposals.confidence[told] >= 0.8).all()
    assert found.judged > 0 and found.held_out == 1.0


def test_spreading_stops_where_it_is_not_sure() -> None:
    _, truth, near = blobs(2, each=200, spread=1.3)
    codes = np.full(len(truth), NONE, np.int32)
    chosen = np.random.default_rng(0).permutation(len(truth))[:120]
    codes[chosen] = truth[chosen]
    sure, any_ = (spread(near, codes, at_least=share).proposals for share in (0.8, 0.0))
    assert (any_.codes != NONE).sum() == (codes == NONE).sum()
    assert 0 < (sure.codes != NONE).sum() < (any_.codes != NONE).sum()
    told = sure.codes != NONE
    others = (any_.codes != NONE) & ~told
    assert (sure.codes == truth)[told].mean() > (any_.codes == truth)[others].mean() + 0.1


def test_labels_do_not_cross_to_an_island() -> None:
    _, truth, near = blobs(3, spread=0.1)
    codes = some(truth, 10)
    codes[truth == 2] = NONE
    assert np.array_equal(truth[near[:, 0]], truth)  # no edge leaves a blob
    found = spread(near, codes, at_least=0.0)
    assert (found.proposals.codes[truth == 2] == NONE).all()


def test_labels_flow_as_solved_at_once_in_blocks_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _, truth, near = blobs(spread=0.8)
    codes = np.where(some(truth, 15) == NONE, NONE, some(truth, 15) * 7).astype(np.int32)
    both = np.zeros((len(near), len(near)))
    np.add.at(both, (np.arange(len(near))[:, None], near), 1)
    both = both + both.T
    scale = 1 / np.sqrt(both.sum(axis=1))
    source = (codes[:, None] == np.arange(22)) / np.sqrt(15)
    apart = np.eye(len(near)) - spreadings.REACH * both * scale[:, None] * scale
    solved = np.linalg.solve(apart, source)  # all rounds at once (Zhou et al. 2003)
    shares = solved / solved.sum(axis=1, keepdims=True)
    for block in (10_000, 37):
        monkeypatch.setattr(spreadings, "BLOCK", block)
        reached, share = spreadings._flow(spreadings._graph(near), codes)
        assert (reached == shares.argmax(axis=1)).mean() > 0.98
        np.testing.assert_allclose(share, shares.max(axis=1), atol=0.05)


def test_thousands_of_labels_spread_in_the_memory_of_a_few() -> None:
    pairs = 3_000  # instances of four items each, in a chain; two of each are labelled
    n = 4 * pairs
    truth = np.repeat(np.arange(pairs, dtype=np.int32), 4)
    near = np.stack([np.arange(n) ^ 1, np.arange(n) ^ 2, (np.arange(n) + 4) % n], axis=1)
    codes = np.where(np.arange(n) % 4 < 2, truth, NONE).astype(np.int32)
    tracemalloc.start()
    found = spread(near.astype(np.int32), codes, at_least=0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000 * n  # bytes; a number for each item and label would be 12,000 an item
    told = found.proposals.codes != NONE
    assert told.sum() == n // 2 and (found.proposals.codes == truth)[told].mean() > 0.99


def test_no_more_labels_are_hidden_than_it_takes_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    _, truth, near = blobs()
    all_of_them = spread(near, some(truth, 30), at_least=0.0).judged
    monkeypatch.setattr(spreadings, "ENOUGH", 20)
    assert 20 <= spread(near, some(truth, 30), at_least=0.0).judged < all_of_them


def test_a_map_of_no_items_is_empty() -> None:
    nobody = Classifier(np.zeros((0, 4), np.float32), np.zeros((0, 3), np.int32), NOBODY)
    assert nobody.tell(NOBODY) == 0 and len(nobody.proposals()) == 0


@pytest.mark.parametrize("each", [1, 0])
def test_too_few_labels_do_not_spread(each: int) -> None:
    _, truth, near = blobs()
    with pytest.raises(CurationError, match="label some more"):
        spread(near, some(truth, each))
