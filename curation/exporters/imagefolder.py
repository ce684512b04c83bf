"""A folder for each label with the images in it: what torchvision and most trainers read."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from curation.exporters import MANIFEST, ExportRows, Progress
from curation.exporters.names import folder_names, safe_name
from curation.schema import FIELDS, clean_label
from embeddings import images
from embeddings.errors import CurationError

if TYPE_CHECKING:
    import PIL.Image

ITEMS = "items.csv"
ID_LETTERS = 8  # of the item id in a file name; more where that would not tell two items apart
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Row:
    """One file to write: row number, item, where it comes from, and what is cut out."""

    number: int
    item_id: str
    image_id: str
    path: str | None
    box: Box | None
    label: str


def export(
    rows: ExportRows,
    target: Path,
    *,
    progress: Progress | None = None,
    field: str = "category",
    unlabelled: str | None = None,
    excluded: bool = False,
) -> Mapping[str, Any]:
    """Write ``<label>/<stem>-<id>.<suffix>`` for each labelled item, and `items.csv`.

    Whole images are copied byte for byte; crops are cut out of the image as the atlas saw it
    (upright, 8-bit RGB), box corners rounded outwards, and written as lossless PNG. Items without a
    label go to the folder `unlabelled` if that is given, else nowhere; items flagged excluded only
    if `excluded`.

    Returns
    -------
    Mapping
        ``folders``: the label of each folder, since a label need not be a possible folder name.
    """
    chosen = _choose(rows, field, unlabelled, excluded)
    folders = folder_names((row.label for row in chosen), reserved=(MANIFEST, ITEMS))
    for folder in folders.values():
        (target / folder).mkdir()
    letters = _letters([row.item_id for row in chosen])
    names = {row.number: f"{folders[row.label]}/{_file_name(row, letters)}" for row in chosen}
    if len({name.casefold() for name in names.values()}) < len(names):
        raise ValueError("item ids must differ in letters, digits, '-' or '_', whatever their case")
    # one after the other by image: its crops are then cut from one decoded copy
    done = 0
    for group in _by_image(chosen):
        _write_image(rows, group, target, names)
        done += len(group)
        if progress is not None:
            progress(done, len(chosen))
    _write_items(target / ITEMS, chosen, names)
    return {"folders": {folder: label for label, folder in sorted(folders.items())}}


def _choose(rows: ExportRows, field: str, unlabelled: str | None, excluded: bool) -> list[_Row]:
    if field not in FIELDS:
        raise CurationError(f"unknown field {field!r}; known: {', '.join(FIELDS)}")
    names = ["item_id", "image_id", "path", "x1", "y1", "x2", "y2", "flags", field]
    columns = [rows.columns[name].to_pylist() for name in names]
    rest = None if unlabelled is None else clean_label(unlabelled)
    if rest is not None and rest in columns[-1]:
        raise CurationError(f"{rest!r} is a label already; name the unlabelled items otherwise")
    chosen = []
    for number, row in enumerate(zip(*columns, strict=True)):
        item_id, image_id, path, *box, flags, label = row
        label = rest if label is None else label
        if label is None or ("excluded" in (flags or ()) and not excluded):
            continue
        chosen.append(_Row(number, item_id, image_id, path, _box(box), label))
    return chosen


def _box(corners: Sequence[float | None]) -> Box | None:
    x1, y1, x2, y2 = corners
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return x1, y1, x2, y2


def _letters(item_ids: Sequence[str]) -> int:
    """Return how many letters tell the ids apart, whatever their case."""
    folded = sorted(safe_name(item_id).casefold() for item_id in item_ids)
    shared = [_shared(first, second) for first, second in pairwise(folded)]  # sorted: enough
    return max([ID_LETTERS - 1, *shared]) + 1


def _shared(first: str, second: str) -> int:
    """Return how many letters two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def _file_name(row: _Row, letters: int) -> str:
    source = PurePath(row.path or "")
    suffix = source.suffix if _SUFFIX.fullmatch(source.suffix) else ""
    suffix = suffix if row.box is None else ".png"
    return f"{safe_name(source.stem or 'item')}-{safe_name(row.item_id)[:letters]}{suffix}"


def _by_image(chosen: Sequence[_Row]) -> list[list[_Row]]:
    groups: dict[str, list[_Row]] = {}
    for row in chosen:
        groups.setdefault(row.image_id, []).append(row)
    return list(groups.values())


def _write_image(
    rows: ExportRows, group: Sequence[_Row], target: Path, names: Mapping[int, str]
) -> None:
    data = rows.read_image(group[0].number)
    image = _oriented(data, group[0]) if any(row.box for row in group) else None
    for row in group:
        file = target / names[row.number]
        if row.box is None or image is None:
            file.write_bytes(data)
        else:
            cut(image, row.box, row.item_id).save(file, format="PNG")


def _oriented(data: bytes, row: _Row) -> "PIL.Image.Image":
    try:
        image = images.decode(data).rgb
    except images.UnreadableImage as error:
        raise CurationError(
            f"cannot cut item {row.item_id} out of {row.path}: {error}; exclude the item"
        ) from error
    if image.info.get("icc_profile", b"")[16:20] != b"RGB ":
        image.info.pop("icc_profile", None)  # of CMYK or grey: it describes other channels
    return image


def cut(image: "PIL.Image.Image", box: Box, item_id: str) -> "PIL.Image.Image":
    """Return what of an image is in a box, whole pixels; CurationError where that is nothing."""
    left, top = max(0, floor(box[0])), max(0, floor(box[1]))
    right, bottom = min(image.width, ceil(box[2])), min(image.height, ceil(box[3]))
    if right <= left or bottom <= top:
        size = f"{image.width} x {image.height}"
        raise CurationError(f"item {item_id} has the box {box}, outside its image of {size} pixels")
    return image.crop((left, top, right, bottom))


def _write_items(file: Path, chosen: Sequence[_Row], names: Mapping[int, str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "item_id", "label"])
        writer.writerows([names[row.number], row.item_id, row.label] for row in chosen)
