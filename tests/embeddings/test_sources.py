"""Sources: what a curator types becomes candidates, and what is gone is known to be gone."""

import os
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from embeddings import sources
from embeddings.build import Options, build
from embeddings.dataset import home as datasets_home
from embeddings.dataset import open_dataset
from embeddings.downloads import Limits
from embeddings.errors import CurationError
from embeddings.sources import SOURCES, Context
from embeddings.stages import silent
from embeddings.store import Store

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(6):
        path = tmp_path / "photos" / f"day{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.linear_gradient("L").rotate(15 * number).convert("RGB").save(path)
    return tmp_path / "photos"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path / "keep", silent, lambda sha256: None, [].append, [].append, Limits())


def names(spec: str, context: Context) -> list[str]:
    return [os.path.basename(candidate.path) for candidate in sources.find([spec], context)]


def rows(name: str) -> dict[str, str]:
    locations = Store(open_dataset(name).tables).locations()
    return {os.path.basename(row.path): row.status for row in locations}


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_has_a_rank_and_claims_nothing_that_is_not_there(name: str) -> None:
    source = SOURCES.get(name)
    assert isinstance(source.RANK, int)
    assert not source.claims("/no/such/place")
    assert not source.claims("")
    assert not source.claims("\0")


def test_a_glob_takes_only_what_it_matches(photos: Path, context: Context) -> None:
    assert names(f"{photos}/*/[0-2].png", context) == ["0.png", "2.png", "1.png"]
    assert names(f"{photos}/**/*.png", context) == names(str(photos), context)
    assert names(f"{photos}/day*", context) == names(str(photos), context)


def test_a_file_whose_name_looks_like_a_glob_is_that_file(photos: Path, context: Context) -> None:
    (photos / "day0" / "0.png").rename(photos / "a[1].png")
    assert names(f"{photos}/a[1].png", context) == ["a[1].png"]


def test_a_kind_may_be_named(photos: Path, context: Context) -> None:
    assert names(f"folder:{photos}", context) == names(str(photos), context)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("gone", "no such file or folder: gone"), ("gone/*.jpg", "nothing matches gone"),
     ("", "no such file or folder")],
)  # fmt: skip
def test_what_is_no_source_is_refused_before_anything_is_written(
    spec: str, message: str, home: Path
) -> None:
    with pytest.raises(CurationError, match=message):
        build("none", [spec], QUICK)
    assert not (datasets_home() / "none").exists()


def test_matches_that_are_no_images_are_passed_over_with_a_note(photos: Path, home: Path) -> None:
    (photos / "notes.txt").write_text("nothing to see")
    report = build("globbed", [f"{photos}/*"], QUICK)
    assert report.images == 6
    assert [note for note in report.notes if "passed over 1 of the matches" in note]


def test_a_glob_never_says_that_what_it_does_not_match_is_gone(photos: Path, home: Path) -> None:
    build("photos", [photos], QUICK)
    (photos / "day1" / "1.png").unlink()
    assert build("photos", [f"{photos}/day0/*.png"], QUICK).missing == 0
    assert build("photos", [f"{photos}/day*"], QUICK).missing == 1
    assert rows("photos")["1.png"] == "missing"


def test_when_many_files_vanish_at_once_the_curator_is_asked_about_the_disk(
    photos: Path, home: Path, tmp_path: Path
) -> None:
    for number in range(40):
        PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(photos / "day1" / f"n{number}.png")
    build("photos", [photos], QUICK)
    (photos / "day1").rename(tmp_path / "unmounted")
    report = build("photos", [photos], QUICK)
    assert report.missing == 43
    assert any("43 of 46 known files are gone" in note for note in report.notes)
    (tmp_path / "unmounted").rename(photos / "day1")
    assert build("photos", [photos], QUICK).missing == 0
    assert set(rows("photos").values()) == {"ok"}


def test_a_source_of_another_distribution_is_asked_too(
    photos: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Attic:
        RANK = 1

        def claims(self, spec: str) -> bool:
            return spec == "the attic"

        def find(self, spec: str, context: Context) -> object:
            return sources.find([str(photos / "day0")], context)

    get: Callable[[str], object] = SOURCES.get
    known = SOURCES.names()
    monkeypatch.setattr(SOURCES, "names", lambda: [*known, "attic"])
    monkeypatch.setattr(SOURCES, "get", lambda name: Attic() if name == "attic" else get(name))
    assert names("the attic", context) == ["0.png", "2.png", "4.png"]
