"""The assistant of a real dataset: it follows the journal, and its acts are decisions."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from curation import assistant as assistants
from curation.assistant import Assistant, assistant
from curation.learning.spreading import spread
from curation.workspace import Workspace
from embeddings.errors import CurationError

FIELD = "field.digit"


@pytest.fixture
def workspace(digits: str) -> Workspace:
    return Workspace(digits)


@pytest.fixture
def truth(workspace: Workspace) -> np.ndarray:
    return np.array([str(digit) for digit in workspace.records()[FIELD].to_pylist()])


def teach(helper: Assistant, truth: np.ndarray, each: int = 15) -> None:
    """Label a few of every digit, one decision each."""
    for digit in np.unique(truth).tolist():
        rows = np.flatnonzero(truth == digit)[:each]
        helper.workspace.label(helper.selection(rows), digit)


def proposed(helper: Assistant) -> np.ndarray:
    found, names = helper.proposals()
    return np.array([*names, ""])[found.codes]


def test_it_learns_from_decisions_made_anywhere(workspace: Workspace, truth: np.ndarray) -> None:
    helper = assistant(workspace)
    assert (proposed(helper) == "").all()
    elsewhere = Workspace(workspace.name, "somebody else")  # as another process would
    teach(Assistant(elsewhere, elsewhere.atlas(), "category"), truth)
    assert (proposed(helper) == truth).mean() > 0.9
    assert helper.progress().labelled == 150
    assert helper.progress().seq == workspace.journal.head


def test_an_undo_is_unlearned_and_a_redo_learned(workspace: Workspace, truth: np.ndarray) -> None:
    helper = assistant(workspace)
    teach(helper, truth)
    zeros = np.flatnonzero(truth == "0")
    workspace.label(helper.selection(zeros[15:100]), "nought")
    assert "nought" in proposed(helper)
    workspace.undo()
    assert "nought" not in proposed(helper)
    workspace.redo()
    assert "nought" in proposed(helper)


def test_no_sheet_holds_what_is_labelled_or_excluded(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    teach(helper, truth)
    before = helper.queue()
    away = before[0].rows[:20]
    workspace.flag(helper.selection(away), "excluded")
    shown = np.concatenate([sheet.rows for sheet in helper.queue(limit=100)])
    labelled = workspace.labels.category(workspace.item_nos(helper.version)[shown])
    assert not np.isin(away, shown).any() and all(name is None for name in labelled)
    progress = helper.progress()
    assert (progress.labelled, progress.excluded, progress.open) == (150, 20, 1797 - 170)
    workspace.flag(helper.selection(away), "excluded", remove=True)
    assert helper.progress().open == 1797 - 150


def test_confirming_labels_what_is_before_the_cut_and_refuses_the_strays(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    teach(helper, truth)
    sheet = helper.queue()[0]
    name, strays = sheet.proposed, sheet.rows[3:6]
    decision = helper.confirm(sheet, strays, cut=40)
    assert decision is not None and decision.n_items == 37
    assert (decision.value, decision.source) == (name, "proposed")
    numbers = workspace.item_nos(helper.version)
    held = workspace.labels.category(numbers)
    assert (held[np.setdiff1d(sheet.rows[:40], strays)] == name).all()
    assert (held[strays] == None).all() and (held[sheet.rows[40:]] == None).all()  # noqa: E711
    assert (proposed(helper)[strays] != name).all()
    assert not any(guess.label == name for guesses in helper.guesses(strays) for guess in guesses)
    refused = workspace.labels.refused("category")[str(name)]
    assert sorted(refused) == sorted(numbers[strays].tolist())


def test_what_was_seen_behind_the_cut_is_refused_where_it_is_said(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    teach(helper, truth)
    sheet = helper.queue()[0]
    picked = sheet.rows[50:52]
    decision = helper.confirm(sheet, cut=40, picked=picked, refuse_rest=True)
    assert decision is not None and decision.n_items == 42
    numbers = workspace.item_nos(helper.version)
    refused = workspace.labels.refused("category")[str(sheet.proposed)]
    rest = np.setdiff1d(sheet.rows[40:], picked)
    assert sorted(refused) == sorted(numbers[rest].tolist())


def test_a_sheet_without_a_name_is_confirmed_with_one(workspace: Workspace) -> None:
    helper = assistant(workspace)
    sheet = helper.queue()[0]
    assert sheet.proposed is None
    with pytest.raises(CurationError, match="no label yet; name it"):
        helper.confirm(sheet)
    decision = helper.confirm(sheet, value="three")
    assert decision is not None and decision.value == "three" and decision.source is None
    assert helper.queue()[0].key != sheet.key


def test_a_label_that_somebody_gave_meanwhile_is_kept(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    teach(helper, truth)
    sheet = helper.queue()[0]
    Workspace(workspace.name, "other").label(helper.selection(sheet.rows[:10]), "mine")
    decision = helper.confirm(sheet, cut=30)
    assert decision is not None and decision.n_items == 20
    assert helper.confirm(sheet, cut=30) is None  # a second press finds nothing to do
    held = workspace.labels.category(workspace.item_nos(helper.version)[sheet.rows[:10]])
    assert set(held) == {"mine"}


def test_the_two_fields_are_learned_apart(workspace: Workspace, truth: np.ndarray) -> None:
    category, instance = assistant(workspace), assistant(workspace, field="instance")
    teach(category, truth)
    assert (proposed(instance) == "").all() and instance.progress().labelled == 0
    sheet = instance.queue()[0]
    decision = instance.confirm(sheet, value="first")
    assert decision is not None and decision.field == "instance"
    assert category.progress().labelled == 150
    with pytest.raises(CurationError, match="unknown field 'colour'; known: category, instance"):
        assistant(workspace, field="colour")


def test_the_assistant_is_kept_per_workspace_atlas_and_field(
    digits: str, workspace: Workspace, made_anew
) -> None:
    first = assistant(workspace)
    assert assistant(workspace, first.version) is first
    assert assistant(Workspace(digits)) is not first
    made_anew(workspace)
    newer = assistant(workspace)
    assert newer is not first and newer.version != first.version
    assert assistant(workspace, first.version) is first
    for version in (first.version, newer.version):
        assistant(workspace, version, "instance")
    assert len(assistants._kept[workspace]) == assistants.KEPT


def test_while_one_assistant_is_made_nobody_waits_for_another(workspace: Workspace) -> None:
    first = assistant(workspace)
    key = (first.version, "instance")
    place = assistants._kept[workspace].setdefault(key, assistants._Place())
    with place.lock, ThreadPoolExecutor(2) as pool:  # instance is being made
        assert pool.submit(assistant, workspace).result(timeout=60) is first
        place.found = first
        waits = pool.submit(assistant, workspace, None, "instance")
        assert not waits.done()
        place.lock.release()
        assert waits.result(timeout=60) is first
        place.lock.acquire()


def test_sheets_of_others_are_kept_out_of_the_queue(workspace: Workspace) -> None:
    helper = assistant(workspace)
    for mode in ("gain", "random"):
        theirs = helper.queue(mode)[0].rows
        mine = helper.queue(mode, without=theirs)
        assert mine and not np.isin(np.concatenate([one.rows for one in mine]), theirs).any()


def test_a_new_process_knows_what_was_learned_and_how_sure_it_may_be(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    for sheet_of in range(16):
        sheet = helper.queue()[0]
        kinds, counts = np.unique(truth[sheet.rows], return_counts=True)
        name = sheet.proposed or str(kinds[counts.argmax()])
        helper.confirm(sheet, sheet.rows[truth[sheet.rows] != name], value=name, cut=len(sheet))
        assert helper.progress().labelled > 20 * sheet_of
    anew = Assistant(workspace, workspace.atlas(), "category")
    still = helper.proposals()[0].confidence >= 0.5
    assert (proposed(anew)[still] == proposed(helper)[still]).mean() > 0.97
    gap = np.abs(anew.proposals()[0].confidence - helper.proposals()[0].confidence)
    assert gap[still].mean() < 0.1
    assert anew.calibration().judged > 50


def test_guesses_are_likely_first_and_sum_to_no_more_than_one(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    assert helper.guesses([0, 1]) == [[], []]
    teach(helper, truth)
    found = helper.guesses(np.arange(50), most=4)
    assert {len(mine) for mine in found} == {4}
    for mine in found:
        shares = [guess.confidence for guess in mine]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.001
    assert [mine[0].label for mine in found] == proposed(helper)[:50].tolist()


def test_split_twins_and_more_like_these_show_open_items(
    workspace: Workspace, truth: np.ndarray
) -> None:
    helper = assistant(workspace)
    mixed = np.concatenate([np.flatnonzero(truth == digit)[20:60] for digit in "06"])
    first, second = helper.split(mixed.astype(np.int32), 2)
    assert {len(first), len(second)} == {40}
    assert sorted(helper.merge([first, second]).rows) == sorted(mixed)
    assert len(helper.split(np.flatnonzero(truth == "1").astype(np.int32), on_map=True)) > 1
    cluster = helper.cluster(0)
    assert cluster is not None
    twins = helper.twins(cluster.rows)
    assert 1 <= len(twins) <= 3 and all(twin.title != "cluster 0" for twin in twins)
    like = helper.more_like(first.rows[:5])
    assert like is not None and (truth[like.rows] == truth[first.rows[0]]).mean() > 0.9
    workspace.label(helper.selection(cluster.rows), "done")
    assert helper.cluster(0) is None and helper.sheet(cluster.rows) is None


def test_labels_spread_to_open_items_only(workspace: Workspace, truth: np.ndarray) -> None:
    helper = assistant(workspace)
    teach(helper, truth, each=40)
    found = helper.spread(0.9)
    told = found.proposals.codes >= 0
    names = np.array(helper.proposals()[1])[found.proposals.codes[told]]
    assert told.sum() > 500 and (names == truth[told]).mean() > 0.97
    labelled = workspace.labels.category(workspace.item_nos(helper.version)[told])
    assert all(name is None for name in labelled)


def test_while_labels_spread_others_go_on_and_what_they_gave_is_left_out(
    workspace: Workspace, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = assistant(workspace)
    teach(helper, truth, each=40)
    reached = helper.spread(0.9)
    theirs = np.flatnonzero(reached.proposals.codes >= 0)[:30]
    assert reached.behind == 0 and len(theirs) == 30

    def label() -> int:
        workspace.label(helper.selection(theirs), "theirs", made_by="other")
        return helper.refresh()  # takes the lock

    def and_meanwhile(*given: object, **options: object) -> object:
        ThreadPoolExecutor(1).submit(label).result(timeout=20)
        return spread(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(assistants, "spread", and_meanwhile)
    found = helper.spread(0.9)
    assert found.behind == 30 and (found.proposals.codes[theirs] < 0).all()
    assert (found.proposals.codes >= 0).sum() > 400


def test_many_threads_ask_and_decide_at_once(workspace: Workspace, truth: np.ndarray) -> None:
    helper = assistant(workspace)
    teach(helper, truth)
    mine = np.array_split(np.flatnonzero(truth == "3")[15:], 4)

    def work(rows: np.ndarray) -> None:
        for some in np.array_split(rows, 5):
            workspace.label(helper.selection(some), "3")
            assert helper.queue()
            helper.guesses(some)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, mine))
    assert helper.progress().labelled == 150 + sum(map(len, mine))
