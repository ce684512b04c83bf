"""The workspace: acts on real items of a real dataset, kept over restarts."""

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.csv
import pytest

import curation.workspace as workspace_module
from curation.overview import label_names, progress
from curation.schema import Selection
from curation.workspace import Workspace, shared
from embeddings import dataset as datasets
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.samples import scenes


def test_one_act_labels_a_cluster_and_undo_redo_survive_a_restart(digits: str) -> None:
    workspace = Workspace(digits)
    selection = workspace.select("cluster:0")
    workspace.label(selection, "zero")
    assert workspace.labels.counts("category") == {"zero": len(selection.item_ids)}
    reopened = Workspace(digits)
    reopened.undo()
    assert Workspace(digits).labels.counts("category") == {}
    Workspace(digits).redo()
    assert workspace.select("label:zero").item_ids.tolist() == selection.item_ids.tolist()
    assert [decision.action for decision in workspace.log()] == ["redo", "undo", "label"]


def test_a_label_does_not_overwrite_a_persons_label_unasked(digits: str) -> None:
    workspace = Workspace(digits)
    workspace.label(workspace.select("cluster:0"), "zero")
    both = Selection(
        np.union1d(
            workspace.select("cluster:0").item_ids[:5], workspace.select("cluster:1").item_ids[:5]
        ),
        workspace.newest_version(),
    )
    forecast = workspace.forecast(both, "one")
    assert (forecast.overwrites, forecast.relabels) == (5, {"zero": 5})
    with pytest.raises(CurationError, match="5 of 10 items have another category already"):
        workspace.label(both, "one")
    rest = workspace.without_label(both)
    assert rest is not None and len(rest.item_ids) == 5
    workspace.label(both, "one", overwrite=True)
    assert workspace.labels.counts("category")["one"] == 10


def test_category_and_instance_are_two_labels(digits: str) -> None:
    workspace = Workspace(digits)
    selection = workspace.select("cluster:2")
    workspace.label(selection, "digit")
    workspace.label(selection, "writer 7", field="instance")
    assert workspace.forecast(selection, "digit").unchanged == len(selection.item_ids)
    workspace.clear(selection, field="instance")
    assert workspace.labels.counts("instance") == {}
    assert workspace.labels.counts("category") == {"digit": len(selection.item_ids)}


def test_excluded_items_stay_can_be_selected_and_come_back(digits: str) -> None:
    workspace = Workspace(digits)
    selection = workspace.select("cluster:1")
    workspace.flag(selection, "excluded", note="blurred")
    assert workspace.select("flag:excluded").item_ids.tolist() == selection.item_ids.tolist()
    assert workspace.forecast(selection, "x").excluded == len(selection.item_ids)
    workspace.flag(selection, "excluded", remove=True)
    with pytest.raises(CurationError, match="selects no item"):
        workspace.select("flag:excluded")


def test_a_label_is_of_the_remaining_members_only(digits: str) -> None:
    workspace = Workspace(digits)
    selection = workspace.select("cluster:0")
    strays = Selection(selection.item_ids[:4], selection.atlas_version)
    workspace.flag(strays, "excluded")
    forecast = workspace.forecast(selection, "zero")
    assert (forecast.items, forecast.excluded) == (len(selection.item_ids) - 4, 4)
    decision = workspace.label(selection, "zero")
    assert decision.n_items == len(selection.item_ids) - 4
    assert not set(workspace.select("label:zero").item_ids) & set(strays.item_ids)
    with pytest.raises(CurationError, match="all 4 items are excluded; restore them first"):
        workspace.label(strays, "zero")


def test_a_label_given_between_forecast_and_act_is_not_overwritten(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, hers = Workspace(digits), Workspace(digits, made_by="her")
    selection = mine.select("cluster:0")
    append = mine.journal.append

    def late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(mine.journal, "append", append)
        hers.label(selection, "hers")
        return append(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(mine.journal, "append", late)
    with pytest.raises(CurationError, match="have another category already"):
        mine.label(selection, "mine")
    assert list(mine.labels.counts("category")) == ["hers"]


def test_undo_of_an_act_that_is_not_the_newest_any_more_is_refused(digits: str) -> None:
    first, second = Workspace(digits), Workspace(digits)
    shown = first.label(first.select("cluster:0"), "zero")
    other = second.label(second.select("cluster:1"), "one")
    with pytest.raises(CurationError, match=f"another act would be meant.*{other.seq}"):
        first.undo(seq=shown.seq)
    assert second.undo(seq=other.seq).undoes == other.seq
    assert first.undo(seq=shown.seq).undoes == shown.seq


def test_members_come_from_the_medoid_outwards(digits: str) -> None:
    workspace = Workspace(digits)
    selection = workspace.select("cluster:0")
    ids, distance = workspace.typical_first(selection)
    assert sorted(ids.tolist()) == selection.item_ids.tolist()
    assert distance[0] == 0 and (np.diff(distance) >= 0).all()
    vectors = workspace.vectors("builtin")
    rows = vectors.rows[np.searchsorted(vectors.item_ids, selection.item_ids)]
    summed = (1 - rows @ rows.T).sum(axis=1)
    assert ids[0] == selection.item_ids[np.argmin(summed)]


def test_a_query_selects_by_metadata_and_by_what_was_decided(digits: str) -> None:
    workspace = Workspace(digits)
    sevens = workspace.select('{"field.digit": 7}')
    assert len(sevens.item_ids) == 179, "so many sevens are in scikit-learn's digits"
    workspace.label(sevens, "seven")
    both = workspace.select('{"category": "seven", "width": {"$gte": 64}}')
    assert both.item_ids.tolist() == sevens.item_ids.tolist()
    ids = ",".join(sevens.item_ids[:2])
    assert workspace.select(f"id:{ids}").item_ids.tolist() == sevens.item_ids[:2].tolist()


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("cluster:999", "selects no item"),
        ("id:nobody", "no item 'nobody'"),
        ("label:zzz' OR '1'='1", "selects no item"),
        ('{"width": {"$what": 1}}', "unknown query operator"),
    ],
)
def test_a_selector_that_names_nothing_is_an_error(
    digits: str, selector: str, message: str
) -> None:
    with pytest.raises(CurationError, match=message):
        Workspace(digits).select(selector)


@pytest.mark.parametrize("label", ["", "   ", "x" * 10_000, "<script>alert(1)</script>", "a\0b"])
def test_what_cannot_be_a_label_is_one_line_and_nothing_is_written(digits: str, label: str) -> None:
    workspace = Workspace(digits)
    with pytest.raises(CurationError) as caught:
        workspace.label(workspace.select("cluster:0"), label)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert workspace.journal.head == 0


def test_findings_are_kept_and_a_dismissed_one_stays_dismissed(home: Path, tmp_path: Path) -> None:
    scenes.generate(tmp_path / "scenes", scenes=60, seed=1)
    build("scenes", [tmp_path / "scenes"], Options(encoder="builtin", layout="pca"))
    workspace = Workspace("scenes")
    found = workspace.check("duplicates")
    assert found, "the generator plants near duplicates"
    kept = [row["finding_id"] for row in workspace.store.findings()]
    assert sorted(kept) == sorted(finding.finding_id for finding in found)
    workspace.dismiss(found[0])
    again = Workspace("scenes").check("duplicates")
    assert [f.finding_id for f in again] == [f.finding_id for f in found[1:]]


def test_an_export_is_what_the_journal_says(digits: str, tmp_path: Path) -> None:
    workspace = Workspace(digits)
    cluster = workspace.select("cluster:0").item_ids
    version = workspace.newest_version()
    workspace.label(Selection(cluster, version), "zero")
    workspace.flag(Selection(cluster[:3], version), "excluded")
    workspace.export("imagefolder", tmp_path / "set")
    files = [path for path in (tmp_path / "set").rglob("*.png")]
    assert {path.parent.name for path in files} == {"zero"}
    stored = {row["item_id"]: row["path"] for row in workspace.records().to_pylist()}
    wanted = sorted(Path(stored[item_id]).read_bytes() for item_id in cluster[3:])
    assert sorted(path.read_bytes() for path in files) == wanted
    workspace.export("csv", tmp_path / "table")
    rows = pyarrow.csv.read_csv(next((tmp_path / "table").glob("*.csv"))).to_pylist()
    assert {row["item_id"] for row in rows if row["category"] == "zero"} == set(cluster)
    manifest = json.loads((tmp_path / "table" / "manifest.json").read_text())
    assert manifest["source"]["head"] == workspace.journal.head == 2


def test_a_manifest_quotes_the_decision_that_its_columns_show(digits: str) -> None:
    workspace, other = Workspace(digits), Workspace(digits)
    everything = workspace.select("all")
    reader = workspace_module.image_reader

    def meanwhile(*arguments: Any) -> Any:
        other.label(everything, "late")
        workspace.labels.refresh()  # as another tab would
        return reader(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "image_reader", meanwhile)
        rows = workspace.export_rows()
    assert set(rows.columns["category"].to_pylist()) == {None}
    assert rows.manifest["head"] == 0


def test_one_state_of_the_labels_can_be_held_while_several_questions_are_asked(digits: str) -> None:
    workspace = Workspace(digits)
    everything = workspace.select("all")
    other = threading.Thread(target=lambda: workspace.label(everything, "late"))
    with workspace.labels.still() as head:
        other.start()
        other.join(0.2)
        assert (head, workspace.labels.counts("category")) == (0, {})
    other.join()
    assert workspace.labels.counts("category") == {"late": len(everything)}


def test_tables_built_anew_over_an_old_journal_get_their_numbers(
    home: Path, tmp_path: Path
) -> None:
    def photograph(seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{seed}.png")

    options = Options(encoder="builtin", layout="pca", cluster="kmeans")
    for seed in range(6):
        photograph(seed)
    build("photos", [tmp_path], options)
    Workspace("photos")
    shutil.rmtree(datasets.open_dataset("photos").tables)
    for seed in (0, 1):
        (tmp_path / f"{seed}.png").unlink()
    photograph(9)
    build("photos", [tmp_path], options)
    workspace = Workspace("photos")
    assert workspace.label(workspace.select("all"), "x").n_items == 5


def test_a_source_that_changed_is_found_out_at_export(digits: str, tmp_path: Path) -> None:
    workspace = Workspace(digits)
    row = workspace.records().to_pylist()[0]
    path = Path(row["path"])
    original = path.read_bytes()
    workspace.label(workspace.select(f"id:{row['item_id']}"), "x")
    try:
        path.write_bytes(b"something else")
        with pytest.raises(CurationError, match="is not at .* any more, or has changed"):
            workspace.export("imagefolder", tmp_path / "set")
        assert not (tmp_path / "set").exists()
    finally:
        path.write_bytes(original)


def test_progress_counts_every_item_once_with_noise_as_its_own_group(digits: str) -> None:
    workspace = Workspace(digits)
    workspace.label(workspace.select("cluster:0"), "zero")
    rows = progress(workspace)
    assert sum(row.items for row in rows) == 1797
    by_cluster = {row.cluster: row for row in rows}
    assert by_cluster[0].labelled == by_cluster[0].items
    assert by_cluster[0].labels == ("zero",)
    assert by_cluster[1].labelled == 0


def test_labels_offered_are_those_in_use_most_used_first(digits: str) -> None:
    workspace = Workspace(digits)
    big, small = workspace.select("cluster:0"), workspace.select("cluster:1")
    workspace.label(Selection(small.item_ids[:2], small.atlas_version), "rare")
    workspace.label(big, "common")
    assert label_names(workspace) == ["common", "rare"]


def test_an_unknown_dataset_lists_those_there_are(digits: str) -> None:
    with pytest.raises(CurationError, match="no dataset 'x' in .*; there are: digits"):
        Workspace("x")


def test_pages_and_routes_share_one_workspace_until_the_dataset_is_built_anew(
    digits: str, home: Path
) -> None:
    first = shared(digits)
    assert shared(digits) is first
    card = home / digits / "dataset.json"
    value = json.loads(card.read_text())
    datasets.write_json(card, {**value, "dataset_id": "another"})
    assert shared(digits) is not first


def test_a_journal_put_back_from_a_backup_is_read_anew_without_a_restart(
    digits: str, tmp_path: Path
) -> None:
    """By another file under its name, or in place as `sqlite3 .restore` does it."""
    served = shared(digits)
    path, backup = served.dataset.journal, tmp_path / "backup.sqlite"
    served.label(served.select("cluster:0"), "zero")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    served.label(served.select("cluster:1"), "one")
    assert shared(digits) is served

    for part in path.parent.glob("decisions.sqlite*"):  # its log too: SQLite would replay it
        part.rename(tmp_path / part.name)
    path.touch()  # a copy that has only begun
    assert shared(digits) is served
    path.unlink()
    shutil.copy(backup, path)
    moved = shared(digits)
    assert moved is not served and set(moved.labels.counts("category")) == {"zero"}
    moved.label(moved.select("cluster:2"), "two")
    assert shared(digits) is moved
    assert set(Workspace(digits).labels.counts("category")) == {"zero", "two"}

    with closing(sqlite3.connect(path)) as place, closing(sqlite3.connect(backup)) as source:
        source.backup(place)
    restored = shared(digits)
    assert restored is not moved and set(restored.labels.counts("category")) == {"zero"}
    assert shared(digits) is restored
