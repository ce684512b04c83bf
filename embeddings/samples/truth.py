"""What was planted in a folder of scenes: every fact that a test may want to know."""

import csv
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings.schema import Float32, Ids, Int32

KINDS = ("scene", "exact_duplicate", "near_duplicate", "outlier", "drift")


@dataclass(frozen=True)
class Truth:
    """Parallel columns: the first block has one row an image, the second one row a box.

    `path` (n,) is relative to the folder. `kind` (n,) is one of `KINDS`; `of` (n,) the path of
    the image that a duplicate was made from, else ""; `how` (n,) what was done: jpeg, resize,
    crop, flip for near duplicates, noise, card, blank, blur for outliers, else "". `label` (n,)
    is the class of the biggest object ("" for outliers), `given_label` (n,) what ``labels.csv``
    says, which is wrong in places; `identity` (n,) the biggest object's name.

    `box_image` (m,) are row numbers into the images; `xyxy` (m, 4) half-open pixels inside the
    image; `box_class` and `box_identity` (m,) what is in the box.
    """

    path: Ids
    kind: Ids
    of: Ids
    how: Ids
    label: Ids
    given_label: Ids
    identity: Ids
    box_image: Int32
    xyxy: Float32
    box_class: Ids
    box_identity: Ids

    def __post_init__(self) -> None:
        for name in _IMAGE_COLUMNS:
            _same_length(name, getattr(self, name), len(self.path))
        for name in ("xyxy", "box_class", "box_identity"):
            _same_length(name, getattr(self, name), len(self.box_image))

    def __len__(self) -> int:
        return len(self.path)

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Which images ``labels.csv`` names wrongly, (n,)."""
        return np.asarray(self.given_label != self.label)

    def rows(self, kind: str, how: str | None = None) -> Int32:
        """Row numbers of the images of a kind, (m,) int32."""
        match = self.kind == kind
        if how is not None:
            match &= self.how == how
        return np.flatnonzero(match).astype(np.int32)


def write_truth(
    folder: Path, truth: Truth, sizes: list[tuple[int, int]], info: dict[str, Any]
) -> None:
    """Write ``boxes.json`` (COCO), ``labels.csv`` (what a curator is given) and ``truth.csv``."""
    (folder / "boxes.json").write_text(_coco(truth, sizes, info), encoding="utf-8")
    batch = np.where(truth.kind == "drift", "drift", "reference")
    _write_csv(
        folder / "labels.csv", ("path", "label", "batch"), truth.path, truth.given_label, batch
    )
    _write_csv(folder / "truth.csv", _IMAGE_COLUMNS, *(getattr(truth, c) for c in _IMAGE_COLUMNS))


def read_truth(folder: Path) -> tuple[Truth, dict[str, Any]]:
    """Read back what `write_truth` wrote, and the ``info`` it was made with."""
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    coco = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxes = coco["annotations"]
    xywh = np.array([box["bbox"] for box in boxes], np.float32).reshape(-1, 4)
    truth = Truth(
        **{column: _text(row[column] for row in rows) for column in _IMAGE_COLUMNS},
        box_image=np.array([box["image_id"] - 1 for box in boxes], np.int32),
        xyxy=np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
        box_class=_text(names[box["category_id"]] for box in boxes),
        box_identity=_text(box["attributes"]["identity"] for box in boxes),
    )
    return truth, coco["info"]


def _coco(truth: Truth, sizes: list[tuple[int, int]], info: dict[str, Any]) -> str:
    names = sorted(set(truth.box_class.tolist()))
    images = [
        {"id": row + 1, "file_name": path, "width": width, "height": height}
        for row, (path, (width, height)) in enumerate(zip(truth.path.tolist(), sizes, strict=True))
    ]
    annotations = []
    for row, (x1, y1, x2, y2) in enumerate(truth.xyxy.tolist()):
        annotations.append(
            {
                "id": row + 1,
                "image_id": int(truth.box_image[row]) + 1,
                "category_id": names.index(str(truth.box_class[row])) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "attributes": {"identity": str(truth.box_identity[row])},
            }
        )
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(names)]
    parts = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    return json.dumps(parts, indent=1) + "\n"


def _write_csv(path: Path, header: tuple[str, ...], *columns: Ids) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))


def _text(values: Any) -> Ids:
    return np.array(list(values), dtype=np.str_)


def _same_length(name: str, column: npt.NDArray[Any], n: int) -> None:
    if len(column) != n:
        raise ValueError(f"{name} must have {n} rows, got {len(column)}")


_IMAGE_COLUMNS = tuple(f.name for f in fields(Truth))[:7]
