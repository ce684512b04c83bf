"""Every exporter keeps one contract; each then has its own format to answer for."""

import csv as stdlib_csv
import hashlib
import io
import json
import os
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.exporters import COLUMNS, EXPORTERS, MANIFEST, ExportRows, export, verify
from curation.exporters.names import NAME_BYTES, folder_names, safe_name
from embeddings.errors import CurationError

NAMES = EXPORTERS.names()
TYPES = {
    **dict.fromkeys(("width", "height", "cluster"), pa.int32()),
    **dict.fromkeys(("x1", "y1", "x2", "y2", "confidence"), pa.float64()),
    **dict.fromkeys(("membership", "outlier_score", "x", "y"), pa.float32()),
    "flags": pa.list_(pa.string()),
}
MANIFEST_OF_ROWS = {"dataset": "Wäsche", "head": 7, "atlas_version": "v1"}

Row = dict[str, Any]


def photograph(path: Path, seed: int, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def row(path: Path, label: str | None = None, **more: Any) -> Row:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "item_id": digest[:32],
        "image_id": digest[:32],
        "sha256": digest,
        "path": str(path),
        "url": f"https://example.org/{path.name}",
        "width": 32,
        "height": 24,
        "category": label,
        "flags": [],
        "cluster": -1,
        "x": 0.5,
        "y": 0.25,
        **more,
    }


def crop(path: Path, label: str, box: tuple[float, float, float, float]) -> Row:
    identity = hashlib.sha256(f"{path}{box}".encode()).hexdigest()[:32]
    corners = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    return row(path, label, item_id=identity, **corners)


def table(rows: list[Row]) -> ExportRows:
    rows = sorted(rows, key=lambda one: str(one["item_id"]))
    fields = sorted({name for one in rows for name in one if name not in COLUMNS})
    columns = {
        name: pa.array([one.get(name) for one in rows], TYPES.get(name, pa.string()))
        for name in (*COLUMNS, *fields)
    }
    return ExportRows(
        pa.table(columns),
        MANIFEST_OF_ROWS,
        lambda number: Path(rows[number]["path"]).read_bytes(),
        lambda image_ids: ({"_id": image_id} for image_id in image_ids),
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
def rows(photos: Path) -> ExportRows:
    files = [photograph(photos / folder / f"{n}.png", n) for n, folder in enumerate("aabbcc")]
    files.append(photograph(photos / "d" / "été 3.jpg", 6))
    labels = ["shirt", "shirt", 'T-shirt, "red"', "skirt", None, "skirt", "été"]
    given = [row(file, label) for file, label in zip(files, labels, strict=True)]
    given[5]["flags"] = ["excluded", "unclear"]
    return table([*given, crop(files[0], "button", (4, 5, 12, 20))])


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# -- the contract that every exporter keeps ----------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_export_lists_and_proves_every_file_it_wrote(
    name: str, rows: ExportRows, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    to = export(name, rows, tmp_path / "out", progress=lambda *step: told.append(step))
    assert to == tmp_path / "out"
    files = tree(to)
    manifest = json.loads(files.pop(MANIFEST))
    assert manifest["format"] == name
    assert manifest["rows"] == len(rows) == 8
    assert manifest["source"] == MANIFEST_OF_ROWS
    assert files, "nothing was exported"
    assert manifest["files"] == {
        file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for file, data in files.items()
    }
    verify(to)
    assert told, "no progress was told"
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("name", NAMES)
def test_an_export_of_nothing_is_complete_too(name: str, tmp_path: Path) -> None:
    to = export(name, table([]), tmp_path / "out")
    verify(to)
    assert json.loads((to / MANIFEST).read_text())["rows"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_give_the_same_bytes(name: str, rows: ExportRows, tmp_path: Path) -> None:
    first, second = (tree(export(name, rows, tmp_path / to)) for to in ("one", "two"))
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_is_not_overwritten_unless_said(
    name: str, rows: ExportRows, tmp_path: Path
) -> None:
    to = export(name, table([]), tmp_path / "out")
    before = tree(to)
    with pytest.raises(CurationError, match="exists; choose another folder or say overwrite"):
        export(name, rows, to)
    assert tree(to) == before
    export(name, rows, to, overwrite=True)
    verify(to)
    assert json.loads((to / MANIFEST).read_text())["rows"] == 8
    assert sorted(os.listdir(tmp_path)) == ["out", "photos"]


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_an_exporter_does_not_have_is_refused(
    name: str, rows: ExportRows, tmp_path: Path
) -> None:
    with pytest.raises(CurationError, match=f"exporter '{name}' has no option 'colour'"):
        export(name, rows, tmp_path / "out", colour="red")
    assert not (tmp_path / "out").exists()


# -- failing -----------------------------------------------------------------------------------


def breaks_off(rows: ExportRows, target: Path, *, progress: object = None) -> None:
    """Begin an export and meet a file that has vanished."""
    (target / "half").mkdir()
    (target / "half" / "written.txt").write_text("half")
    raise CurationError("the image is gone")


def fills_the_disk(rows: ExportRows, target: Path, *, progress: object = None) -> None:
    (target / "half.txt").write_text("half")
    raise OSError(28, "No space left on device")


def is_interrupted(rows: ExportRows, target: Path, *, progress: object = None) -> None:
    (target / "half.txt").write_text("half")
    raise KeyboardInterrupt


def writes_the_manifest(rows: ExportRows, target: Path, *, progress: object = None) -> None:
    (target / MANIFEST).write_text("{}")


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ("breaks_off", CurationError, "the image is gone"),
        ("fills_the_disk", CurationError, r"cannot write .*out: No space left on device; free"),
        ("is_interrupted", KeyboardInterrupt, None),
        ("writes_the_manifest", ValueError, "must not write manifest.json"),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_a_failed_export_leaves_everything_as_it_was(
    rows: ExportRows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    error: type[BaseException],
    message: str | None,
    there: bool,
) -> None:
    to = tmp_path / "new" / "folders" / "out"
    if there:
        export("csv", rows, to)
    before, around = tree(tmp_path), sorted(tmp_path.rglob("*"))
    entry = EntryPoint("broken", f"{__name__}:{broken}", EXPORTERS.group)
    monkeypatch.setitem(EXPORTERS._entries, "broken", entry)  # type: ignore[index]
    with pytest.raises(error, match=message):
        export("broken", rows, to, overwrite=there)
    assert tree(tmp_path) == before
    assert sorted(tmp_path.rglob("*")) == around


def test_a_failed_swap_puts_the_old_export_back(
    rows: ExportRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = export("csv", table([]), tmp_path / "out")
    before, rename = tree(to), Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CurationError, match="Permission denied"):
        export("csv", rows, to, overwrite=True)
    assert tree(to) == before
    assert sorted(os.listdir(tmp_path)) == ["out", "photos"]


def test_overwriting_removes_an_export_and_nothing_else(rows: ExportRows, tmp_path: Path) -> None:
    holiday = photograph(tmp_path / "holiday" / "1.png", 9).parent
    with pytest.raises(CurationError, match="holiday is not an export"):
        export("csv", rows, holiday, overwrite=True)
    (holiday / MANIFEST).write_text('{"files": {}}')
    with pytest.raises(CurationError, match="is not an export of curation-atlas"):
        export("csv", rows, holiday, overwrite=True)
    assert (holiday / "1.png").exists()
    with pytest.raises(CurationError, match="is not a folder"):
        export("csv", rows, holiday / "1.png", overwrite=True)
    (tmp_path / "empty").mkdir()
    verify(export("csv", rows, tmp_path / "empty", overwrite=True))


def test_overwriting_keeps_what_people_put_beside_an_export(
    rows: ExportRows, tmp_path: Path
) -> None:
    to = export("csv", rows, tmp_path / "out")
    (to / ".DS_Store").touch()
    export("csv", rows, to, overwrite=True)
    (to / "models").mkdir()
    (to / "models" / "best.pt").write_text("a week of training")
    with pytest.raises(CurationError, match=r"best\.pt is not part of the export"):
        export("csv", rows, to, overwrite=True)
    assert (to / "models" / "best.pt").exists()


def test_overwriting_the_sources_of_an_export_is_refused(rows: ExportRows, tmp_path: Path) -> None:
    first = export("imagefolder", rows, tmp_path / "first")
    again = table([row(file, "shirt") for file in first.rglob("*.png")])
    with pytest.raises(CurationError, match="a source of this export"):
        export("imagefolder", again, first, overwrite=True)
    verify(first)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda to: (to / "items.csv").write_bytes(b"other"), r"items\.csv differs"),
        (lambda to: (to / "items.csv").unlink(), r"items\.csv is missing"),
        (lambda to: (to / "more.txt").touch(), r"more\.txt is not part of the export"),
        (lambda to: (to / MANIFEST).unlink(), r"its manifest\.json cannot be read"),
        (lambda to: (to / MANIFEST).write_text("{"), r"its manifest\.json cannot be read"),
    ],
)
def test_a_changed_export_is_noticed(
    rows: ExportRows, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    to = export("csv", rows, tmp_path / "out")
    damage(to)
    with pytest.raises(CurationError, match=message):
        verify(to)


def test_rows_out_of_order_are_refused(rows: ExportRows) -> None:
    with pytest.raises(ValueError, match="sorted by item_id"):
        ExportRows(rows.columns.take([1, 0]), {}, rows.read_image, rows.cortex_records)
    with pytest.raises(ValueError, match="columns must hold flags"):
        ExportRows(rows.columns.drop_columns(["flags"]), {}, rows.read_image, rows.cortex_records)


# -- csv and parquet ---------------------------------------------------------------------------


def test_parquet_gives_every_value_back(rows: ExportRows, tmp_path: Path) -> None:
    to = export("parquet", rows, tmp_path / "out")
    read = pq.read_table(to / "items.parquet")
    assert read.equals(rows.columns)
    about = json.loads(read.schema.metadata[b"curation_atlas"])
    assert about == MANIFEST_OF_ROWS


def test_csv_gives_every_value_back_as_text(photos: Path, tmp_path: Path) -> None:
    odd = ["=1+1", 'say "a, b"', "two\nlines", "קפה", "", None, "-5", "'quoted'"]
    files = [photograph(photos / f"{n}.png", n) for n in range(len(odd))]
    given = [
        row(file, text, **{"field.note": text, "flags": ["excluded", "unclear"]})
        for file, text in zip(files, odd, strict=True)
    ]
    rows = table(given)
    to = export("csv", rows, tmp_path / "out")
    data = (to / "items.csv").read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    read = list(stdlib_csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
    assert list(read[0]) == rows.columns.column_names
    for name in ("item_id", "category", "field.note"):
        expected = rows.columns[name].to_pylist()
        assert [one[name] for one in read] == [text or "" for text in expected]
    assert {one["flags"] for one in read} == {"excluded;unclear"}
    assert {one["x1"] for one in read} == {""}
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    typed = pyarrow.csv.read_csv(
        io.BytesIO(data),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=options,
    )
    assert typed["category"].to_pylist() == rows.columns["category"].to_pylist()


def test_csv_for_a_spreadsheet_runs_no_formula(photos: Path, tmp_path: Path) -> None:
    odd = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1", "a=1", "été"]
    files = [photograph(photos / f"{n}.png", n) for n in range(len(odd))]
    rows = table([row(f, **{"field.note": text}) for f, text in zip(files, odd, strict=True)])
    to = export("csv", rows, tmp_path / "out", spreadsheet=True)
    data = (to / "items.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    read = stdlib_csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    expected = [text if text in ("a=1", "été") else f"'{text}" for text in odd]
    assert sorted(one["field.note"] for one in read) == sorted(expected)
    assert json.loads((to / MANIFEST).read_text())["options"] == {"spreadsheet": True}


def test_csv_writes_nested_fields_as_json(photos: Path, tmp_path: Path) -> None:
    rows = table([row(photograph(photos / "1.png", 1))])
    nested = pa.array([{"näme": "x", "sizes": [1, 2]}])
    columns = rows.columns.append_column("field.nested", nested)
    to = export(
        "csv", ExportRows(columns, {}, rows.read_image, rows.cortex_records), tmp_path / "out"
    )
    read = next(stdlib_csv.DictReader((to / "items.csv").open(encoding="utf-8")))
    assert json.loads(read["field.nested"]) == {"näme": "x", "sizes": [1, 2]}


# -- imagefolder -------------------------------------------------------------------------------


def items(to: Path) -> dict[str, tuple[str, str]]:
    with (to / "items.csv").open(encoding="utf-8", newline="") as stream:
        read = list(stdlib_csv.DictReader(stream))
    return {one["item_id"]: (one["file"], one["label"]) for one in read}


def pictures(to: Path) -> set[str]:
    return set(tree(to)) - {MANIFEST, "items.csv"}


def test_imagefolder_holds_the_labelled_items_and_no_others(
    rows: ExportRows, tmp_path: Path
) -> None:
    to = export("imagefolder", rows, tmp_path / "out")
    written = items(to)
    chosen = {
        one["item_id"]: one
        for one in rows.columns.to_pylist()
        if one["category"] is not None and "excluded" not in one["flags"]
    }
    assert set(written) == set(chosen)
    assert pictures(to) == {file for file, _ in written.values()}
    folders = json.loads((to / MANIFEST).read_text())["folders"]
    for item_id, (file, label) in written.items():
        one = chosen[item_id]
        assert label == one["category"] == folders[file.split("/")[0]]
        assert Path(file).stem == f"{Path(one['path']).stem}-{item_id[:8]}"
        if one["x1"] is None:
            assert (to / file).read_bytes() == Path(one["path"]).read_bytes()
            assert Path(file).suffix == Path(one["path"]).suffix


def test_imagefolder_takes_the_rest_when_asked(rows: ExportRows, tmp_path: Path) -> None:
    to = export("imagefolder", rows, tmp_path / "out", unlabelled="rest", excluded=True)
    assert len(items(to)) == len(rows)
    assert [label for _, label in items(to).values()].count("rest") == 1
    with pytest.raises(CurationError, match="'shirt' is a label already"):
        export("imagefolder", rows, tmp_path / "more", unlabelled="shirt")
    with pytest.raises(CurationError, match="unknown field 'colour'; known: category, instance"):
        export("imagefolder", rows, tmp_path / "more", field="colour")


def test_imagefolder_cuts_crops_without_loss(photos: Path, tmp_path: Path) -> None:
    file = photograph(photos / "1.png", 1)
    inside, rounded, beyond = (4, 5, 12, 20), (4.4, 5.6, 11.2, 19.1), (-3, 20, 40, 30)
    rows = table([crop(file, "button", box) for box in (inside, rounded, beyond)])
    to = export("imagefolder", rows, tmp_path / "out")
    pixels = np.asarray(PIL.Image.open(file))
    expected = {
        crop(file, "", inside)["item_id"]: pixels[5:20, 4:12],
        crop(file, "", rounded)["item_id"]: pixels[5:20, 4:12],
        crop(file, "", beyond)["item_id"]: pixels[20:24, :],
    }
    for item_id, (name, _) in items(to).items():
        with PIL.Image.open(to / name) as cut:
            assert cut.format == "PNG"
            np.testing.assert_array_equal(np.asarray(cut), expected[item_id])


def test_imagefolder_cuts_crops_from_the_upright_image(photos: Path, tmp_path: Path) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    sideways = PIL.Image.fromarray(np.rot90(upright).copy())
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    photos.mkdir()
    sideways.save(photos / "phone.png", exif=exif)
    rows = table([crop(photos / "phone.png", "button", (2, 30, 20, 38))])
    to = export("imagefolder", rows, tmp_path / "out")
    (file,) = pictures(to)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(to / file)), upright[30:38, 2:20])


def test_a_box_outside_its_image_names_the_item(photos: Path, tmp_path: Path) -> None:
    one = crop(photograph(photos / "1.png", 1), "button", (40, 0, 50, 10))
    with pytest.raises(CurationError, match=f"item {one['item_id']} has the box"):
        export("imagefolder", table([one]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_crop_of_what_cannot_be_decoded_names_the_item(photos: Path, tmp_path: Path) -> None:
    photos.mkdir()
    (photos / "1.png").write_bytes(b"no image")
    one = crop(photos / "1.png", "button", (0, 0, 5, 5))
    with pytest.raises(CurationError, match=f"cannot cut item {one['item_id']}"):
        export("imagefolder", table([one]), tmp_path / "out")


def test_images_of_one_name_do_not_meet(photos: Path, tmp_path: Path) -> None:
    files = [photograph(photos / str(n) / "image.png", n) for n in range(5)]
    alike = [row(file, "shirt", item_id=f"{'0' * 20}{n:012x}") for n, file in enumerate(files)]
    to = export("imagefolder", table(alike), tmp_path / "out")
    assert len(pictures(to)) == 5
    assert {file for file, _ in items(to).values()} == pictures(to)


ODD_LABELS = [
    "../../x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a_b",
    ".",
    "..",
    ".hidden",
    "-rf",
    "CON",
    "con",
    "nul.txt",
    "COM1",
    "shirt",
    "Shirt",
    "SHIRT",
    "trailing...",
    "trailing",
    "x" * 200,
    "x" * 199,
    "🧦" * 200,
    "👩‍👩‍👧",
    "👍🏽",
    "قميص أزرق",
    "caf\u00e9",
    "cafe\u0301",
    "ﬁne",
    "fine",
    "straße",
    "STRASSE",
    "zzz' OR '1'='1",
    "$(reboot)",
    "a:b|c?*",
    "~",
    "_",
    "manifest.json",
    "items.csv",
    "ITEMS.CSV",
]


def test_no_label_leaves_the_folder_or_meets_another(photos: Path, tmp_path: Path) -> None:
    files = [photograph(photos / f"{n}.png", n) for n in range(len(ODD_LABELS))]
    rows = table([row(file, label) for file, label in zip(files, ODD_LABELS, strict=True)])
    before = tree(photos)
    to = export("imagefolder", rows, tmp_path / "a" / "b" / "out")
    verify(to)
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["out"]
    assert tree(photos) == before
    folders = json.loads((to / MANIFEST).read_text())["folders"]
    assert sorted(folders.values()) == sorted(ODD_LABELS)
    on_disk = {path.name for path in to.iterdir() if path.is_dir()}
    assert on_disk == set(folders)
    assert len({name.upper().casefold() for name in on_disk}) == len(ODD_LABELS)
    for file, label in items(to).values():
        assert folders[file.split("/")[0]] == label
    for kept in ("👩‍👩‍👧", "👍🏽", "قميص أزرق", "a_b", "trailing"):
        assert kept in on_disk, "a label that is safe should be its own folder's name"


@settings(deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=300), max_size=20))
def test_folder_names_are_safe_and_as_different_as_labels(labels: list[str]) -> None:
    labels = [label.encode(errors="ignore").decode() for label in labels]
    named = folder_names(labels, reserved=("manifest.json",))
    assert set(named) == set(labels)
    assert len({name.upper().casefold() for name in named.values()}) == len(set(labels))
    for name in named.values():
        assert 0 < len(name.encode()) <= 255
        assert not set(name) & set('/\\:*?"<>|\0\n\r\t')
        assert name[0] not in ".- "
        assert name[-1] not in ". "
        assert name.casefold() != "manifest.json"


@given(st.text(max_size=300))
def test_a_safe_name_is_left_alone(text: str) -> None:
    name = safe_name(text.encode(errors="ignore").decode())
    assert safe_name(name) == name
    assert len(name.encode()) <= NAME_BYTES + 1


def test_a_thousand_photographs_are_exported_as_they_are(
    real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = real_data("photos_clothing")
    files = sorted(path for path in folder.rglob("*.jpg"))[:1000]
    unique = {one["item_id"]: one for one in (row(f, f.parent.name) for f in files)}
    rows = table(list(unique.values()))
    to = export("imagefolder", rows, tmp_path / "out")
    verify(to)
    for item_id, (file, label) in items(to).items():
        source = Path(unique[item_id]["path"])
        assert (to / file).read_bytes() == source.read_bytes()
        assert label == source.parent.name
    assert len(pictures(to)) == len(rows) > 0
