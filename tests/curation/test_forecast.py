"""The forecast of a set's purity, on sets whose purity is known."""

import numpy as np
import pytest

from curation.learning.classifier import Proposals
from curation.learning.forecast import MOST, SHOWN, forecast, updated
from curation.learning.likeness import likeness
from embeddings.neighbours import knn_graph
from embeddings.schema import Vectors

KINDS, EACH, DIM = 8, 100, 16


class World:
    """Blobs of one kind each, `EACH` items of every kind in order, and the tree over them."""

    def __init__(self):
        chance = np.random.default_rng(0)
        middles = chance.normal(size=(KINDS, DIM))
        rows = np.repeat(middles, EACH, axis=0) + 0.35 * chance.normal(size=(KINDS * EACH, DIM))
        self.truth = np.repeat(np.arange(KINDS), EACH).astype(np.int32)
        self.vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        ids = np.array([f"{row:04d}" for row in range(len(rows))])
        graph = knn_graph(Vectors(ids, self.vectors, "blobs"), device="cpu")
        self.near, self.similarity = graph.rows, graph.similarity
        self.tree = likeness(self.vectors, self.near, self.similarity)
        self.bare = np.full(len(rows), -1, np.int32)

    def forecast(self, rows, codes=None, proposals=None, **options):
        codes = self.bare if codes is None else codes
        return forecast(rows, self.tree, self.near, self.vectors, codes, proposals, **options)

    def answers(self, purity, kind):
        return self.truth[purity.samples] == kind

    def mixed(self, seed, size=200):
        """Rows of two kinds, and what share the greater has."""
        chance = np.random.default_rng(seed)
        first, second = chance.permutation(KINDS)[:2]
        count = int(chance.integers(size // 2, size - 5))
        pool = [np.flatnonzero(self.truth == kind) for kind in (first, second)]
        rows = np.concatenate([pool[0][: min(count, EACH)], pool[1][: max(size - count, 5)]])
        counts = np.bincount(self.truth[rows])
        return np.sort(rows).astype(np.int32), int(counts.argmax()), counts.max() / len(rows)


@pytest.fixture(scope="module")
def world():
    return World()


def of_kind(world, *kinds):
    return np.flatnonzero(np.isin(world.truth, kinds)).astype(np.int32)


def test_without_a_label_a_blob_looks_purer_than_two_halves(world):
    pure = world.forecast(of_kind(world, 3))
    mixed = world.forecast(of_kind(world, 3, 5))
    assert pure.estimate > 0.85
    assert mixed.estimate < pure.estimate - 0.2
    assert mixed.low <= 0.5 <= mixed.high


def sure_of(world, confidence=0.97):
    return Proposals(world.truth, np.full(len(world.truth), confidence, np.float32))


def test_proposals_say_which_label_most_have_and_how_many(world):
    rows = of_kind(world, 3, 5)[:150]  # two thirds are of kind 3
    said = world.forecast(rows, proposals=sure_of(world))
    assert said.label == 3
    assert said.low <= 2 / 3 <= said.high
    whole = world.forecast(rows[:100], proposals=sure_of(world))
    assert whole.estimate > max(0.9, said.estimate + 0.1)


def test_a_label_that_the_set_does_not_seem_to_have_is_forecast_low(world):
    codes = world.bare.copy()
    codes[of_kind(world, 5)[0]] = 5
    rows = of_kind(world, 3)
    assert world.forecast(rows, codes, sure_of(world), label=3).estimate > 0.9
    assert world.forecast(rows, codes, sure_of(world), label=5).estimate < 0.1


def test_a_new_label_is_forecast_like_the_most_common_one(world):
    rows = of_kind(world, 3)
    usual = world.forecast(rows, proposals=sure_of(world))
    fresh = world.forecast(rows, proposals=sure_of(world), label=99)
    assert (fresh.label, fresh.estimate) == (99, usual.estimate)


def test_samples_bring_the_estimate_to_the_truth_and_narrow_the_interval(world):
    errors, covered, widths = [], [], []
    for seed in range(40):
        rows, kind, truth = world.mixed(seed)
        before = world.forecast(rows)
        after = updated(before, world.answers(before, kind))
        assert after.high - after.low < before.high - before.low
        errors.append(abs(after.estimate - truth))
        covered.append(after.low - 1e-9 <= truth <= after.high + 1e-9)
        widths.append(after.high - after.low)
    assert np.mean(errors) <= 0.03
    assert np.mean(covered) >= 0.88
    assert np.median(widths) <= 0.18  # 30 at random: 0.28


def test_samples_without_any_structure_err_as_little_as_random_ones(world):
    chance = np.random.default_rng(1)
    errors = []
    for share in np.linspace(0.5, 1.0, 20):
        rows = np.arange(400, dtype=np.int32)
        said = world.forecast(rows)
        carries = chance.random(len(world.truth)) < share
        said = updated(said, carries[said.samples])
        errors.append(abs(said.estimate - carries[rows].mean()))
    assert np.mean(errors) < 0.09  # the standard error of 30 at random is 0.09 at even odds


def test_answers_outweigh_a_wrong_guess(world):
    said = world.forecast(of_kind(world, 2), proposals=sure_of(world))
    assert said.estimate > 0.9
    for _ in range(2):
        said = updated(said, np.zeros(len(said.samples), bool))
    assert said.estimate < 0.1


def test_what_is_answered_is_not_asked_again_until_all_is_known(world):
    rows, kind, truth = world.mixed(3, size=100)
    said, seen = world.forecast(rows), []
    while len(said.samples):
        seen += said.samples.tolist()
        said = updated(said, world.answers(said, kind))
        assert said.answered == len(seen)
    assert sorted(seen) == rows.tolist()
    assert said.low == pytest.approx(truth) and said.high == pytest.approx(truth)
    assert said.estimate == pytest.approx(truth)


def test_a_sample_that_nobody_was_sure_of_stays_open(world):
    said = world.forecast(of_kind(world, 1))
    answers = np.ones(len(said.samples), np.int8)
    answers[3] = -1
    after = updated(said, answers)
    assert after.answered == len(answers) - 1
    everything = after
    asked = set(said.samples.tolist()) - {int(said.samples[3])}
    while len(everything.samples):
        assert not asked & set(everything.samples.tolist())
        asked |= set(everything.samples.tolist())
        everything = updated(everything, np.ones(len(everything.samples)))
    assert int(said.samples[3]) in asked


def test_labelled_items_are_counted_and_not_shown(world):
    rows = of_kind(world, 4, 6)
    codes = world.bare.copy()
    codes[rows[:90]] = 0
    codes[rows[110:]] = 1
    said = world.forecast(rows, codes, label=0)
    assert not set(said.samples.tolist()) & set(np.flatnonzero(codes >= 0).tolist())
    assert 90 / 200 <= said.low <= said.estimate <= said.high <= 110 / 200
    known = codes.copy()
    known[rows[90:110]] = 1
    done = world.forecast(rows, known, label=0)
    assert (done.low, done.estimate, done.high) == (0.45, 0.45, 0.45)
    assert not len(done.samples)


def test_every_part_of_a_set_is_asked_in_proportion_to_its_size(world):
    rows = np.concatenate([of_kind(world, 0, 1, 2, 3), of_kind(world, 4)[:50]])
    spread = world.forecast(rows).samples[:-6]
    asked = np.bincount(world.truth[spread], minlength=5)[:5]
    assert np.abs(asked - 24 * np.array([100, 100, 100, 100, 50]) / 450).max() <= 1.5


def test_suspected_strays_are_the_last_samples(world):
    rows = np.append(of_kind(world, 0), of_kind(world, 7)[:3]).astype(np.int32)
    said = world.forecast(rows)
    assert len(said.samples) == SHOWN
    assert len(set(said.samples.tolist())) == SHOWN
    assert set(rows[-3:].tolist()) <= set(said.samples[-6:].tolist())


def test_strays_alone_do_not_speak_for_the_rest(world):
    rows = np.append(of_kind(world, 0), of_kind(world, 7)[:6]).astype(np.int32)
    said = world.forecast(rows)
    after = updated(said, world.answers(said, 0))
    assert after.estimate == pytest.approx(100 / 106, abs=0.02)


def test_the_same_question_gets_the_same_answer(world):
    rows = of_kind(world, 1, 2)
    first, again = world.forecast(rows), world.forecast(rows)
    assert (first.estimate, first.low, first.high) == (again.estimate, again.low, again.high)
    assert first.samples.tolist() == again.samples.tolist()


def test_float16_vectors_do(world):
    half = world.vectors.astype(np.float16)
    tree = likeness(half, world.near, world.similarity)
    said = forecast(of_kind(world, 3), tree, world.near, half, world.bare)
    assert said.estimate > 0.85


def test_one_item_is_pure(world):
    said = world.forecast(np.array([5], np.int32))
    assert said.samples.tolist() == [5]
    assert updated(said, np.array([True])).low == 1.0


def test_of_very_many_rows_an_even_sample_is_judged():
    n = MOST + 2_000
    vectors = np.ones((n, 1), np.float32)
    near = np.zeros((n, 0), np.int32)
    tree = likeness(vectors, near, np.zeros((n, 0), np.float32))
    said = forecast(np.arange(n), tree, near, vectors, np.full(n, -1, np.int32))
    assert said.samples.max() > MOST
    assert updated(said, np.ones(len(said.samples))).low > 0.8


def test_nothing_and_half_an_answer_are_refused(world):
    with pytest.raises(ValueError, match="at least one item"):
        world.forecast(np.zeros(0, np.int32))
    said = world.forecast(of_kind(world, 0))
    with pytest.raises(ValueError, match=r"shape \(30,\), one a sample, got \(29,\)"):
        updated(said, np.ones(29))
    with pytest.raises(ValueError, match="1, 0 or -1"):
        updated(said, np.full(30, 2))


# ---- the tree


def test_alike_items_stand_together_on_the_line(world):
    order = world.truth[np.argsort(world.tree.line, kind="stable")]
    assert np.count_nonzero(np.diff(order)) <= KINDS + 4  # 7 changes if every kind is one stretch
    assert world.tree.groups.max(axis=1).tolist() == [9, 39]


def test_many_items_are_joined_into_cells_along_their_strongest_edges():
    chance = np.random.default_rng(2)
    kind = np.repeat(np.arange(4), 1500)
    vectors = chance.normal(size=(4, 8))[kind] + 0.1 * chance.normal(size=(6000, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    graph = knn_graph(
        Vectors(np.array([f"{row:05d}" for row in range(6000)]), vectors, "x"), 10, device="cpu"
    )
    tree = likeness(vectors, graph.rows, graph.similarity)
    assert 4 <= len(np.unique(tree.line)) <= 2000
    assert np.count_nonzero(np.diff(kind[np.argsort(tree.line, kind="stable")])) == 3


def test_pairs_without_any_edge_between_them_are_joined_along_the_main_axis():
    n = 6000
    angle = np.linspace(0, 1.5, n)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    near = (np.arange(n) ^ 1).astype(np.int32)[:, None]
    tree = likeness(vectors, near, np.ones((n, 1), np.float32))
    assert 100 <= len(np.unique(tree.line)) <= 2000
    line = tree.line.astype(int)
    assert np.abs(np.diff(line)).mean() < 5  # neighbours along the arc are neighbours on the line


def test_a_neighbour_that_is_not_on_the_atlas_joins_nothing():
    n = 3000
    vectors = np.random.default_rng(3).normal(size=(n, 4)).astype(np.float32)
    near = np.full((n, 2), -1, np.int32)
    tree = likeness(vectors, near, np.zeros((n, 2), np.float32))
    assert len(tree) == n and len(np.unique(tree.line)) <= 2000
