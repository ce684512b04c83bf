"""The whole log on disk, and the commands for several curators."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError

Curate = Callable[..., Any]


@pytest.fixture
def told(digits: str) -> Workspace:
    """A dataset in which two people did one of everything."""
    ann, bob = (Workspace(digits, made_by=who) for who in ("ann", "bob"))

    def rows(*wanted: int) -> Selection:
        return Selection.of(ann.atlas(), np.array(wanted, np.int32))

    ann.label(rows(0, 1, 2), "=1+1", note="a formula, and a comma")
    bob.label(rows(2, 3), "two", overwrite=True, source="proposed")
    bob.flag(rows(4), "excluded", note="unscharf „grün“")
    ann.refuse(rows(5), "two")
    ann.rename("=1+1", "one")
    ann.undo()
    return ann


def as_written(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json":
        loaded = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(loaded, list)
        return loaded
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row.update({key: value or None for key, value in row.items()})
        for key in ("seq", "n_items", "undoes", "part_of"):
            row[key] = row[key] and int(row[key])
        for key in ("before", "after"):
            row[key] = row[key] and json.loads(row[key])
        row["item_ids"] = row["item_ids"].split()
    return rows


@pytest.mark.parametrize("format", ["csv", "json"])
def test_the_log_is_written_whole_with_before_after_and_why(
    curate: Curate, told: Workspace, tmp_path: Path, format: str
) -> None:
    path = tmp_path / f"log.{format}"
    outcome = curate("log", "-d", told.name, "--as", format, "--to", path)
    assert (outcome.code, outcome.out) == (0, f"6 decisions in {path}\n")
    rows = as_written(path)
    decisions = told.log()[::-1]
    for row, decision in zip(rows, decisions, strict=True):
        assert {name: row[name] for name in row if hasattr(decision, name)} == {
            name: getattr(decision, name) for name in row if hasattr(decision, name)
        }
        assert row["item_ids"] == told.journal.item_ids(decision.items).tolist()
    assert [row["note"] for row in rows[:3]] == ["a formula, and a comma", None, "unscharf „grün“"]
    assert rows[1]["source"] == "proposed" and rows[4]["replaces"] == "=1+1"
    changes = [(row["before"], row["after"]) for row in rows]
    assert changes == [
        ({"": 3}, {"=1+1": 3}),
        ({"=1+1": 1, "": 1}, {"two": 2}),
        ({"": 1}, {"excluded": 1}),
        (None, None),
        ({"=1+1": 2}, {"one": 2}),
        ({"one": 2}, {"=1+1": 2}),
    ]


def test_the_log_of_one_person_is_shown_and_written_alone(
    curate: Curate, told: Workspace, tmp_path: Path
) -> None:
    shown = curate("log", "-d", told.name, "--by", "bob", "--json").value["decisions"]
    assert [row["made_by"] for row in shown] == ["bob", "bob"]
    path = tmp_path / "bob.json"
    assert curate("log", "-d", told.name, "--by", "bob", "--as", "json", "--to", path).code == 0
    assert [row["seq"] for row in as_written(path)] == [2, 3]
    assert as_written(path)[0]["before"] == {"=1+1": 1, "": 1}, "what others did before counts"
    text = curate("log", "-d", told.name).out
    assert "[proposed]" in text and "unscharf „grün“" in text
    assert "category: =1+1 is now one" in text


def test_a_file_that_is_there_is_kept_until_it_may_be_replaced(
    curate: Curate, told: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("mine")
    refused = curate("log", "-d", told.name, "--to", path)
    assert refused.code == 1 and "is there already; say overwrite" in refused.err
    assert path.read_text() == "mine"
    assert curate("log", "-d", told.name, "--to", path, "--overwrite").code == 0
    assert len(as_written(path)) == 6
    nowhere = curate("log", "-d", told.name, "--to", tmp_path / "no" / "log.csv")
    assert nowhere.code == 1 and "there is no folder" in nowhere.err
    assert curate("log", "-d", told.name, "--as", "csv").code == 2
    assert [item.name for item in tmp_path.glob(".log*")] == []


def test_a_log_that_cannot_be_read_to_its_end_leaves_nothing(
    told: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation import audit

    def broken(*_: object, **__: object) -> Any:
        yield {name: None for name in (*audit.COLUMNS, "before", "after")} | {"item_ids": []}
        raise CurationError("the journal is damaged")

    monkeypatch.setattr(audit, "audit", broken)
    with pytest.raises(CurationError, match="damaged"):
        audit.export_log(told, "csv", tmp_path / "log.csv")
    assert [item.name for item in tmp_path.iterdir() if "log" in item.name] == []
    with pytest.raises(CurationError, match="unknown format 'xml'; known: csv, json"):
        audit.export_log(told, "xml", tmp_path / "log.xml")


# -- the commands ------------------------------------------------------------------------------


def test_whole_labels_are_renamed_merged_and_deleted(curate: Curate, digits: str) -> None:
    for cluster, label in ((0, "zreo"), (1, "one"), (2, "uno")):
        assert curate("label", f"cluster:{cluster}", label, "-d", digits).code == 0
    workspace = Workspace(digits)
    sizes = [len(workspace.select(f"cluster:{cluster}")) for cluster in range(3)]
    renamed = curate("rename", "zreo", "zero", "-d", digits, "--note", "a slip", "--json").value
    assert (renamed["replaces"], renamed["value"], renamed["note"]) == ("zreo", "zero", "a slip")
    merged = curate("merge", "one", "uno", "--into", "1", "-d", digits, "--json").value
    assert [part["replaces"] for part in merged["parts"]] == ["one", "uno"]
    assert Workspace(digits).labels.counts("category") == {"zero": sizes[0], "1": sum(sizes[1:])}
    preview = curate("undo", "--preview", "-d", digits, "--json").value
    assert preview["changes"] == [
        {"field": "category", "before": "1", "after": "one", "items": sizes[1]},
        {"field": "category", "before": "1", "after": "uno", "items": sizes[2]},
    ]
    assert Workspace(digits).labels.counts("category") == {"zero": sizes[0], "1": sum(sizes[1:])}
    assert curate("undo", "-d", digits).code == 0
    assert set(Workspace(digits).labels.counts("category")) == {"zero", "one", "uno"}
    assert curate("redo", "--preview", "-d", digits).out.splitlines()[1:] == [
        f"  {sizes[1]:,} items: category one -> 1",
        f"  {sizes[2]:,} items: category uno -> 1",
    ]
    assert curate("unlabel", "one", "-d", digits).out.startswith("category: one deleted: ")
    assert set(Workspace(digits).labels.counts("category")) == {"zero", "uno"}
    assert curate("redo", "--preview", "-d", digits).out == "nothing to redo\n"
    assert curate("rename", "one", "x", "-d", digits).code == 1


def test_what_items_are_not_is_kept(curate: Curate, digits: str) -> None:
    outcome = curate("refuse", "cluster:3", "seven", "-d", digits)
    workspace = Workspace(digits)
    count = len(workspace.select("cluster:3"))
    assert outcome.out == f"category: not seven: {count:,} items (decision 1)\n"
    assert len(workspace.labels.refused("category")["seven"]) == count


def test_conflicts_agreement_and_review_of_three_people(
    curate: Curate, digits: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert curate("conflicts", "-d", digits).out == "no conflicts\n"
    assert "nothing is reviewed" in curate("review", "-d", digits).out
    ids = [str(item) for item in Workspace(digits).atlas().item_ids[:4]]
    for who, labels in {"ann": "1122", "bob": "1121", "eve": "1112"}.items():
        monkeypatch.setenv("CURATE_USER", who)
        for item, label in zip(ids, labels, strict=True):
            assert curate("label", f"id:{item}", label, "-d", digits, "--overwrite").code == 0
    monkeypatch.setenv("CURATE_USER", "tom")
    listed = curate("conflicts", "-d", digits, "--json").value["conflicts"]
    assert [row["item_id"] for row in listed] == ids[2:]
    assert listed[0]["said"] == {"ann": "2", "bob": "2", "eve": "1"}
    assert f"{ids[2]}  ann: 2, bob: 2, eve: 1" in curate("conflicts", "-d", digits).out
    found = curate("agreement", "-d", digits, "--json").value
    assert found["items"] == 4 and len(found["pairs"]) == 3
    assert -1 <= found["alpha"] <= 1 and -1 <= found["fleiss"] <= 1
    assert "Krippendorff's alpha" in curate("agreement", "-d", digits).out
    drawn = curate("review", "-d", digits, "--sample", 2, "--seed", 3).out.split()
    assert set(drawn) <= set(ids)
    for item in ids[2:]:
        assert curate("label", f"id:{item}", "2", "-d", digits, "--review").code == 0
    scores = curate("review", "-d", digits, "--json").value["scores"]
    right = {score["person"]: score["precision"] for score in scores if score["label"] == "2"}
    assert right == {"ann": 1.0, "bob": 1.0, "eve": 1.0}
    recall = {score["person"]: score["recall"] for score in scores if score["label"] == "2"}
    assert recall == {"ann": 1.0, "bob": 0.5, "eve": 0.5}
    assert "recall" in curate("review", "-d", digits).out
    assert curate("conflicts", "-d", digits).out == "no conflicts\n", "the reviewer has spoken"
    assert curate("conflicts", "--vote", "-d", digits).out == "nothing to decide\n"
