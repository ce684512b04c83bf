"""What a dataset was fed: counts, grouped reasons, and where they are shown."""

import json
from pathlib import Path

import PIL.Image
import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from curation.cli import curate
from curation.intake import files, intake, last_build
from curation.workspace import Workspace
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.relocate import relocate

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans")


@pytest.fixture
def messy(tmp_path: Path, home: Path) -> Workspace:
    """Eight good files (two the same), three that are cut short, two empty, one gone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        tone = 30 * min(number, 6)
        PIL.Image.new("RGB", (40, 30), (tone, 20, 200 - tone)).save(folder / f"good{number}.png")
    for number in range(3):
        part = (folder / f"good{number}.png").read_bytes()
        (folder / f"cut{number}.png").write_bytes(part[: -30 - number])
    for number in range(2):
        (folder / f"empty{number}.jpg").touch()
    build("messy", [folder], QUICK)
    (folder / "good2.png").unlink()
    build("messy", [folder], QUICK)
    return Workspace("messy")


def test_files_are_counted_and_reasons_grouped_the_most_common_first(messy: Workspace) -> None:
    found = intake(messy)
    assert (found.files, found.images, found.duplicates) == (13, 7, 1)
    assert (found.unreadable_files, len(found.missing)) == (5, 1)
    assert [len(each.files) for each in found.unreadable] == [3, 2]
    assert found.unreadable[1].reason == "empty file"
    assert {Path(row.path).name for row in found.unreadable[1].files} == {
        "empty0.jpg", "empty1.jpg",
    }  # fmt: skip


def test_a_later_build_is_seen(messy: Workspace, tmp_path: Path) -> None:
    assert intake(messy).unreadable_files == 5
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "empty0.jpg")
    build("messy", [tmp_path / "photos"], QUICK)
    assert intake(messy).unreadable_files == 4


def test_files_that_moved_are_counted_once_and_are_not_missing(
    messy: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    relocate("messy", tmp_path / "photos", tmp_path / "elsewhere")
    found = intake(messy)
    assert (found.files, found.images, found.duplicates) == (13, 7, 1)
    assert len(files(messy, "moved")) == 7


def test_an_unknown_status_lists_the_known_ones(messy: Workspace) -> None:
    with pytest.raises(CurationError, match="known: ok, unreadable, missing, moved"):
        files(messy, "lost")


def test_a_dataset_without_a_report_has_no_last_build(messy: Workspace) -> None:
    assert last_build(messy) is not None
    (messy.dataset.path / "last_build.json").write_text("{half")
    assert last_build(messy) is None
    (messy.dataset.path / "last_build.json").unlink()
    assert last_build(messy) is None
    assert intake(messy).files == 13


def test_the_command_line_lists_files_and_tells_stages(messy: Workspace) -> None:
    listed = CliRunner().invoke(curate, ["files", "-d", "messy", "--json"])
    found = json.loads(listed.stdout)["files"]
    assert len(found) == 5 and all(row["reason"] for row in found)
    assert "empty0.jpg\tempty file" in CliRunner().invoke(curate, ["files", "-d", "messy"]).stdout
    gone = CliRunner().invoke(curate, ["files", "-d", "messy", "--status", "missing"]).stdout
    assert gone.count("\n") == 1 and "good2.png" in gone
    told = json.loads(CliRunner().invoke(curate, ["info", "-d", "messy", "--json"]).stdout)
    stages = told["dataset"]["stages"]
    assert stages["decoded"] == [7, 12]
    assert stages["embedded:builtin"] == [7, 7]
    words = CliRunner().invoke(curate, ["info", "-d", "messy"]).stdout
    assert "embedded:builtin 7 of 7" in words
    assert "2 x empty file" in words


def test_the_encoder_s_share_is_reported_where_it_had_work(
    messy: Workspace, tmp_path: Path
) -> None:
    assert (last_build(messy) or {})["encoder_busy"] is None, "nothing was new"
    PIL.Image.new("RGB", (9, 9), "red").save(tmp_path / "photos" / "new.png")
    report = build("messy", [tmp_path / "photos"], QUICK)
    assert report.encoder_busy is not None and 0 < report.encoder_busy <= 1
    words = CliRunner().invoke(curate, ["info", "-d", "messy"]).stdout
    assert f"encoder busy {report.encoder_busy:.0%} of scan to store" in words


def draw() -> None:
    """The Files page as main.py draws it; AppTest runs this function's source as a script."""
    from curation.app import state
    from curation.app.components import frame
    from curation.app.views import files

    workspace = state.workspace()
    assert workspace is not None
    frame.guarded(files.page, workspace)


def test_the_page_shows_counts_reasons_and_what_is_gone(messy: Workspace) -> None:
    page = AppTest.from_function(draw, default_timeout=60).run()
    assert not page.exception
    counts = {metric.label: metric.value for metric in page.metric}
    assert counts == {
        "Files": "13", "Images": "7", "Exact duplicates": "1", "Unreadable": "5", "Missing": "1",
    }  # fmt: skip
    reasons, gone = page.dataframe[0].value, page.dataframe[1].value
    assert reasons["files"].tolist() == [3, 2]
    assert gone["file"].tolist()[0].endswith("good2.png")


def test_the_page_of_a_clean_dataset_says_so(digits: str) -> None:
    page = AppTest.from_function(draw, default_timeout=60).run()
    assert not page.exception
    assert [box.value for box in page.success] == ["Every file could be read."]
