"""Exports that point at images: a URL list that can be built from again, Cortex records."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import PIL.Image
import pytest

from curation.workspace import Workspace
from embeddings import cortex
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.files import Brought, Candidate, find
from embeddings.sources import folder

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans")
RECORD = {
    "_id": "PT::0123456789abcdef01234567",
    "url": "https://example.org/0.png",
    "datetime": "2023-01-04 09:58:14.082248",
    "object_analysis_processed": "true",
    "pose_estimation_processed": "false",
    "face_analysis_processed": "false",
    "source": "commoncrawl",
    "type": "image",
    "height": 24,
    "width": 32,
    "hash": "",
    "object_analysis": [[{"classname": "cat", "conf": 0.5, "x1": 1, "y1": 2, "x2": 9, "y2": 8}]],
    "label_quality_estimation": 0.25,
}


@pytest.fixture
def published(tmp_path: Path, home: Path) -> Workspace:
    """Six photographs; four were published, two of them at the same place, one has a record."""
    for number in range(6):
        PIL.Image.new("RGB", (32, 24), (40 * number, 90, 10)).save(tmp_path / f"{number}.png")

    def found(spec: str, context: object) -> list[Candidate]:
        return [_published(candidate) for candidate in find(Path(spec))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "find", found)
        build("published", [tmp_path], QUICK)
    return Workspace("published")


def _published(candidate: Candidate) -> Candidate:
    number = int(Path(candidate.path).stem)
    if number > 3:
        return candidate
    brought = Brought(url=f"https://example.org/{number}.png", source="commoncrawl")
    if number == 0:
        record = {**RECORD, "hash": sha256(Path(candidate.path).read_bytes()).hexdigest()}
        text = cortex.dumps(cortex.from_cortex(record))
        brought = replace(brought, record=text, first_seen="2023-01-04T09:58:14.082248+00:00")
    return replace(candidate, brought=brought)


def test_a_url_list_has_labels_and_leaves_out_what_is_excluded_or_nowhere(
    published: Workspace, tmp_path: Path
) -> None:
    urls = dict(zip(*published.records().select(["item_id", "url"]).columns, strict=True))
    by_url = {str(url): str(item) for item, url in urls.items()}
    published.label(published.select(f"id:{by_url['https://example.org/1.png']}"), "red, dark")
    published.flag(published.select(f"id:{by_url['https://example.org/2.png']}"), "excluded")
    to = published.export("urls", tmp_path / "out")
    lines = (to / "urls.csv").read_text("utf-8").splitlines()
    assert lines[0] == "url,sha256,category,instance"
    assert sorted(line.split(",")[0] for line in lines[1:]) == [
        "https://example.org/0.png", "https://example.org/1.png", "https://example.org/3.png",
    ]  # fmt: skip
    assert any(line.endswith(',"red, dark",') for line in lines)
    manifest = json.loads((to / "manifest.json").read_text())
    assert (manifest["urls"], manifest["without_url"]) == (3, 2)


def test_images_that_were_published_nowhere_make_no_url_list(tmp_path: Path, home: Path) -> None:
    PIL.Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    build("own", [tmp_path], QUICK)
    with pytest.raises(CurationError, match="none of the images has a URL"):
        Workspace("own").export("urls", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cortex_records_are_exported_for_every_image_and_an_imported_one_comes_back(
    published: Workspace, tmp_path: Path
) -> None:
    to = published.export("cortex", tmp_path / "out")
    page = json.loads((to / "records.json").read_text("utf-8"))
    assert page["length"] == len(page["output"]) == 6
    records = {record["_id"]: record for record in page["output"]}
    back = records[str(RECORD["_id"])]
    assert back == {**RECORD, "hash": back["hash"]}
    assert list(back) == list(RECORD)
    others = [record for record in page["output"] if record is not back]
    assert all(record["object_analysis_processed"] == "false" for record in others)
    assert sum(record.get("source") == "commoncrawl" for record in others) == 3
    assert [cortex.from_cortex(record) for record in page["output"]]


def test_first_seen_source_and_url_stay_when_the_image_is_met_again(
    published: Workspace, tmp_path: Path
) -> None:
    columns = ["sha256", "first_seen", "source", "url"]
    before = sorted(map(str, published.records().select(columns).to_pylist()))
    again = tmp_path / "again"
    again.mkdir()
    for path in tmp_path.glob("*.png"):
        (again / f"copy of {path.name}").write_bytes(path.read_bytes())
    build("published", [again], QUICK)
    after = sorted(map(str, Workspace("published").records().select(columns).to_pylist()))
    assert before == after
