"""The pages draw, and every act on them goes through the journal and says how it went."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from drawn_pages import SECONDS, component, drawn, page, press, told, words
from streamlit.testing.v1 import AppTest

from benchmarks import scenery
from curation.exporters import EXPORTERS
from curation.schema import Selection
from curation.server import MAIN
from curation.viewer import answers
from curation.workspace import Workspace, shared


@pytest.fixture
def workspace(digits: str) -> Workspace:
    """Digits with some labels on cluster 2, so that there are names to choose."""
    opened = Workspace(digits)
    some = opened.select("cluster:2")
    opened.label(Selection(some.item_ids[:5], some.atlas_version), "zero")
    opened.label(Selection(some.item_ids[5:8], some.atlas_version), "one")
    return opened


def labelled(name: str) -> set[str]:
    """The items that carry a label, read from the disk as another process would."""
    counts = Workspace("digits").labels.counts("category")
    return set(Workspace("digits").select(f"label:{name}").item_ids) if name in counts else set()


# ---- the frame


def test_an_empty_home_says_how_to_make_the_first_dataset(home: Path, built_home: Path) -> None:
    test = drawn(AppTest.from_file(str(MAIN), default_timeout=SECONDS))
    assert [title.value for title in test.title] == ["Curation Atlas"]
    assert [code.value.split("  ")[0] for code in test.code] == [
        "curate demo --no-serve",
        "curate build FOLDER -d NAME --encoder builtin",
    ]
    shutil.copytree(built_home, home)
    drawn(test)
    assert "##### Nothing selected" in words(test), "the page finds the dataset by itself"


def test_the_app_opens_on_the_map_of_the_dataset_in_the_address(digits: str, home: Path) -> None:
    shutil.copytree(home / digits, home / "other")
    test = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    test.query_params["dataset"] = "other"
    drawn(test)
    (chooser,) = test.sidebar.selectbox
    assert (chooser.options, chooser.value) == ([digits, "other"], "other")
    handed = component(test, "map")
    version = Workspace(digits).newest_version()
    assert (handed["base"], handed["version"]) == ("/api/v1/other", version)
    names = [field["name"] for field in handed["fields"]]
    assert names[:4] == ["cluster", "category", "instance", "flags"] and "field.digit" in names
    assert set(handed["fields"][0]) == {"name", "title", "coding", "group", "seq"}
    assert "1,797 images · you are **tester**" in words(test)


def test_an_unknown_dataset_in_the_address_shows_one_there_is(digits: str) -> None:
    test = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    test.query_params["dataset"] = "../../etc"
    drawn(test)
    assert component(test, "map")["base"] == f"/api/v1/{digits}"


def test_the_frame_is_drawn_again_when_the_script_runs_again(digits: str) -> None:
    # Streamlit takes a folder pages/ beside the main script for pages of its own, which then
    # answer instead of ours where a tab was open on /labels while the server was restarted
    test = drawn(AppTest.from_file(str(MAIN), default_timeout=SECONDS))
    drawn(test)
    assert component(test, "map")["key"] == f"map-{digits}"


def test_a_dataset_of_a_newer_version_is_one_line_and_the_others_can_be_chosen(
    digits: str, home: Path
) -> None:
    shutil.copytree(home / digits, home / "newer")
    card = json.loads((home / "newer" / "dataset.json").read_text())
    (home / "newer" / "dataset.json").write_text(json.dumps({**card, "schema_version": 99}))
    test = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    test.query_params["dataset"] = "newer"
    drawn(test)
    (error,) = test.error
    assert "was written by a newer version" in error.value
    (chooser,) = test.sidebar.selectbox
    assert digits in chooser.options


def test_a_dataset_without_an_atlas_says_how_to_finish_it(digits: str, home: Path) -> None:
    shutil.rmtree(home / digits / "tables")
    (error,) = page("map").error
    assert "has no atlas yet; finish it with: curate build" in error.value


# ---- others, at the same time


def test_every_page_looks_for_what_others_decide(digits: str) -> None:
    test = drawn(AppTest.from_file(str(MAIN), default_timeout=SECONDS))
    workspace = Workspace(digits)
    wanted = answers.news(workspace)
    live = component(test, "live")
    assert live["url"] == f"/api/v1/{digits}/here" and live["known"] == wanted
    assert live["here"]["page"] == "Map" and live["here"]["session"]
    workspace.label(workspace.select("cluster:0"), "zero")
    drawn(test)
    assert component(test, "live")["known"] == {**wanted, "seq": 1}
    for title in ("labels", "files", "export"):
        test.session_state["turn-to"] = title
        drawn(test)
        assert component(test, "live")["known"]["seq"] == 1


def test_a_journal_put_back_from_a_backup_is_no_news_for_ever(digits: str) -> None:
    workspace = shared(digits)
    for number in range(2):
        workspace.label(workspace.select(f"cluster:{number}"), str(number))
    workspace.labels.refresh()
    with sqlite3.connect(workspace.dataset.journal) as backup:
        for (name,) in backup.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'decisions'"
        ).fetchall():
            backup.execute(f'DROP TRIGGER IF EXISTS "{name}"')
        backup.execute("DELETE FROM decisions WHERE seq = 2")
    test = drawn(AppTest.from_file(str(MAIN), default_timeout=SECONDS))
    answer = json.loads(answers.answer(workspace, "head", {}).body)
    assert component(test, "live")["known"] == answer and answer["seq"] == 1


def test_a_newer_atlas_is_told_once_and_can_be_chosen(digits: str, made_anew) -> None:
    test = drawn(AppTest.from_file(str(MAIN), default_timeout=SECONDS))
    workspace = Workspace(digits)
    old, newer = workspace.atlas(), made_anew(workspace)
    drawn(test)
    assert told(test) == ["There is a newer atlas: choose it on the left."]
    assert component(test, "map")["version"] == old.version
    chooser = test.sidebar.selectbox[1]
    assert (chooser.label, chooser.value) == ("Atlas", old.version)
    drawn(test)
    assert told(test) == []
    test.sidebar.selectbox[1].select(newer.version)
    drawn(test)
    assert component(test, "map")["version"] == newer.version


def test_what_was_drawn_on_an_atlas_that_is_gone_is_refused_and_reload_is_a_way_on(
    digits: str, home: Path, made_anew
) -> None:
    test = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    workspace = Workspace(digits)
    old, newer = workspace.atlas(), made_anew(workspace)
    test.query_params["atlas"] = old.version
    test.session_state["selection"] = Selection.of(old, np.array([1, 2], np.int32))
    test.session_state["message"] = ("gone", f"atlas version {old.version!r} is gone")
    drawn(test)
    assert "is gone" in test.error[0].value
    press(test, "Reload")
    assert component(test, "map")["version"] == newer.version
    assert test.session_state["selection"] is None and not test.error
    assert component(test, "map")["command"]["op"] == "clear"


def test_a_dataset_deleted_and_built_anew_under_an_open_page_is_shown(
    digits: str, home: Path
) -> None:
    test = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    test.session_state["selection"] = Workspace(digits).select("cluster:0")
    old = component(drawn(test), "map")
    shutil.rmtree(home / digits)
    assert not test.run().exception, "no dataset is left: the page says how to make one"
    made = scenery.make(200, digits)
    handed = component(drawn(test), "map")
    assert handed["version"] == made.version != old["version"]
    assert test.session_state["selection"] is None, "none of those items is there any more"
    assert component(test, "live")["known"]["version"] == made.version


# ---- the map page


def test_a_selection_shows_its_members_from_the_most_typical_on(workspace: Workspace) -> None:
    selection = workspace.select("cluster:0")
    test = page("map", selection)
    assert f"##### {len(selection)} selected" in words(test)
    assert f"{len(selection)} in cluster 0" in words(test)
    sheet = component(test, "sheet")
    assert sheet["ids"] == workspace.typical_first(selection)[0].tolist()
    assert sheet["thumb_url"] == "/api/v1/digits/thumb/{id}"
    assert set(sheet["clusters"]) == {0}


def test_without_a_selection_nothing_can_be_done_but_undo(workspace: Workspace) -> None:
    test = page("map")
    can = {button.label.split()[0]: not button.disabled for button in test.button}
    assert can == {"Label": False, "Exclude": False, "Flag": False, "Undo": True, "Redo": False}
    assert test.info[0].value.startswith("Draw around some points")


def test_a_label_goes_to_the_journal_and_clears_the_selection(workspace: Workspace) -> None:
    selection = workspace.select("cluster:0")
    test = page("map", selection)
    test.selectbox(key="label-category").select("zero")
    press(drawn(test), "Label")
    assert labelled("zero") >= set(selection.item_ids)
    newest = Workspace("digits").log(1)[0]
    assert (newest.made_by, newest.atlas_version) == ("tester", selection.atlas_version)
    assert told(test) == [f"category: zero · {len(selection):,} items"]
    assert "##### Nothing selected" in words(test)
    assert test.selectbox(key="label-category").value is None
    handed = component(test, "map")
    assert handed["command"]["op"] == "clear"
    seqs = {field["name"]: field["seq"] for field in handed["fields"]}
    assert (seqs["category"], seqs["flags"], seqs["cluster"]) == (3, 3, 0)


def test_strays_are_left_out_of_the_label(workspace: Workspace) -> None:
    selection = workspace.select("cluster:0")
    strays = frozenset(selection.item_ids[[0, 3]].tolist())
    test = page("map", selection)
    test.session_state["dropped"] = strays
    drawn(test)
    assert f"##### {len(selection) - 2} selected · 2 strays dropped" in words(test)
    test.selectbox(key="label-category").select("zero")
    press(drawn(test), "Label")
    assert labelled("zero") & set(selection.item_ids) == set(selection.item_ids) - strays


def test_undo_and_redo_say_what_they_take_and_take_it(workspace: Workspace) -> None:
    before = labelled("one")
    test = press(page("map"), "Undo category: one (3)")
    assert labelled("one") == set() and told(test) == ["undone: category: one · 3 items"]
    press(test, "Redo category: one (3)")
    assert labelled("one") == before and told(test) == ["done again: category: one · 3 items"]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("![](https://evil.example/x.png)", "!\\[\\](https\\://evil.example/x.png)"),
        ("blue_sky_1 :red[x]", "blue\\_sky\\_1 \\:red\\[x\\]"),
        ("1. size", "1. size"),
    ],
)
def test_a_label_is_shown_as_it_is_and_fetches_nothing(digits: str, label: str, shown: str) -> None:
    workspace = Workspace(digits)
    workspace.label(workspace.select("cluster:0"), label)
    (undo,) = [button.label for button in page("map").button if button.key == "act-undo"]
    assert undo.startswith(f"Undo category: {shown} (")


def test_exclude_keeps_the_reason_and_restore_brings_back(workspace: Workspace) -> None:
    selection = workspace.select("cluster:0")
    test = page("map", selection)
    test.text_input(key="flag-reason").set_value("blurred")
    press(drawn(test), "Exclude")
    newest = Workspace("digits").log(1)[0]
    assert (newest.value, newest.note, newest.n_items) == ("excluded", "blurred", len(selection))
    assert "##### Nothing selected" in words(test)
    assert test.text_input(key="flag-reason").value == ""
    test.session_state["selection"] = selection
    press(drawn(test), f"Restore {len(selection)} excluded")
    assert not Workspace("digits").labels.flagged("excluded")


@pytest.fixture
def asked(workspace: Workspace) -> AppTest:
    """The question that comes before labels of cluster 2 are overwritten with "one"."""
    test = page("map", workspace.select("cluster:2"))
    test.selectbox(key="label-category").select("one")
    press(drawn(test), "Label")
    assert workspace.journal.head == 2, "nothing is written before the answer"
    count = len(workspace.select("cluster:2"))
    assert f"5 of {count} items have another category by hand:" in words(test)
    assert [text.value for text in test.text] == ["5 zero"]
    return test


def test_overwriting_can_be_cancelled(asked: AppTest, workspace: Workspace) -> None:
    press(asked, "Cancel")
    assert workspace.journal.head == 2
    assert not asked.text, "the question is gone"
    assert f"##### {len(workspace.select('cluster:2'))} selected" in words(asked)


@pytest.mark.parametrize(("answer", "zeros"), [("Change them", 0), ("Only the others", 5)])
def test_overwriting_is_done_as_answered(
    asked: AppTest, workspace: Workspace, answer: str, zeros: int
) -> None:
    press(asked, answer)
    count = len(workspace.select("cluster:2"))
    assert (len(labelled("zero")), len(labelled("one"))) == (zeros, count - zeros)
    assert Workspace("digits").journal.head == 3, "one act"
    assert "##### Nothing selected" in words(asked)


def test_where_all_are_labelled_already_there_are_no_others(workspace: Workspace) -> None:
    test = page("map", Selection(np.array(sorted(labelled("zero"))), workspace.newest_version()))
    test.selectbox(key="label-category").select("one")
    press(drawn(test), "Label")
    assert [button.label for button in test.button if button.key.startswith("ask-")] == [
        "Change them",
        "Cancel",
    ]


def test_without_a_name_label_says_what_is_missing(workspace: Workspace) -> None:
    press(page("map", workspace.select("cluster:0")), "Label")
    assert workspace.journal.head == 2


def test_undo_gives_the_items_back_and_leaves_a_selection_in_work_alone(
    workspace: Workspace,
) -> None:
    ones = labelled("one")
    test = press(page("map"), "Undo")
    assert set(test.session_state["selection"].item_ids) == ones
    assert component(test, "map")["command"]["op"] == "select"
    test = press(test, "Undo")
    assert len(test.session_state["selection"]) == 5, "the next undo shows its own items"
    mine = workspace.select("cluster:1")
    test = page("map", mine)
    test = press(test, "Redo")
    press(test, "Undo")
    assert test.session_state["selection"] is mine


def test_the_selection_follows_to_the_atlas_that_is_drawn(workspace: Workspace) -> None:
    held = workspace.select("cluster:0")
    strays = frozenset(held.item_ids[:2].tolist())
    test = page("map")
    test.session_state["selection"] = Selection(held.item_ids, "an older atlas")
    test.session_state["dropped"] = strays
    drawn(test)
    found = test.session_state["selection"]
    assert (set(found.item_ids), found.atlas_version) == (
        set(held.item_ids),
        workspace.newest_version(),
    )
    assert test.session_state["dropped"] == strays
    command = component(test, "map")["command"]
    assert (command["op"], command["version"]) == ("select", workspace.newest_version())


def test_the_sheet_shows_flags_and_that_it_is_a_part(workspace: Workspace) -> None:
    workspace.flag(workspace.select("cluster:0"), "excluded")
    some = component(page("map", workspace.select("cluster:0")), "sheet")
    assert set(some["flags"]) == {"excluded"} and some["total"] == len(some["ids"])
    everything = Selection(workspace.atlas().item_ids, workspace.newest_version())
    part = component(page("map", everything), "sheet")
    assert (len(part["ids"]), part["total"]) == (1200, 1797)


# ---- the other pages


def test_the_labels_page_shows_progress_by_label_and_cluster_and_the_log(
    workspace: Workspace,
) -> None:
    test = page("labels")
    heads = ["Labels", "Clusters", "Change a label", "Log"]
    assert [part.value for part in test.subheader] == heads
    by_label, by_cluster, log = (frame.value for frame in test.dataframe)
    assert by_label["category"].tolist() == ["zero", "one"]
    assert by_label["items"].tolist() == [5, 3]
    assert by_cluster["items"].sum() == 1797
    (two,) = by_cluster[by_cluster["cluster"] == "2"].to_dict("records")
    assert two["labelled"] == 8 / len(workspace.select("cluster:2"))
    assert list(two["labels"]) == ["zero", "one"]
    assert log["seq"].tolist() == [2, 1] and log["act"][0] == "category: one"
    press(test, "Undo")
    assert test.dataframe[2].value["seq"].tolist() == [3, 2, 1]


def test_the_labels_page_of_a_new_dataset_says_where_to_begin(digits: str) -> None:
    test = page("labels")
    assert "lasso a cluster on the Map" in test.info[0].value
    assert "No decision has been made yet." in words(test)


def test_the_export_page_writes_what_it_says_and_does_not_overwrite(
    workspace: Workspace, tmp_path: Path
) -> None:
    test = page("export")
    assert words(test)[0].startswith("1,797 items, 8 labelled in 2 categories, 0 excluded")
    formats = test.radio(key="export-format")
    assert (formats.value, sorted(formats.options)) == ("csv", EXPORTERS.names())
    formats.set_value("imagefolder")
    drawn(test)
    (field,) = test.text_input
    assert field.value == str(Path.home() / "curation-exports" / "digits-imagefolder")
    field.set_value(str(tmp_path / "set"))
    drawn(test)
    formats.set_value("csv")
    drawn(test)
    assert test.text_input[0].value == str(tmp_path / "set")  # what the curator typed stays
    formats.set_value("imagefolder")
    drawn(test)
    press(test, "Export")
    assert test.success[0].value.startswith(f"Written to {tmp_path / 'set'}; manifest.json")
    found = {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / "set").glob("*/")}
    assert found == {"zero": 5, "one": 3}
    press(test, "Export")
    assert "exists; choose another folder" in test.error[0].value


def test_what_is_selected_on_the_map_goes_to_the_clean_page(workspace: Workspace) -> None:
    chosen = workspace.select("cluster:0")
    test = press(page("map", chosen), "Clean these")
    sent, title = test.session_state["to-clean"]
    assert sent.item_ids.tolist() == chosen.item_ids.tolist()
    assert title == "selected on the map"
    assert test.session_state["turn-to"] == "clean"
