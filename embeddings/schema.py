"""The nouns of the machine's side: frozen dataclasses that check themselves."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Ids = npt.NDArray[np.str_]

ID_LENGTH = 32  # hex digits of the SHA-256 that make an id: 128 bits never collide
NOISE = -1  # the cluster number of items that belong to no cluster


@dataclass(frozen=True)
class Image:
    """One picture, identified by the SHA-256 of its bytes.

    `width` and `height` are pixels in the EXIF-oriented frame. `histogram` has shape (3, 256),
    int64: red, green and blue counts that each sum to ``width * height``. Times are ISO 8601 UTC.
    """

    image_id: str
    sha256: str
    width: int
    height: int
    bytes: int
    format: str
    first_seen: str
    taken_at: str | None = None
    source: str | None = None
    url: str | None = None
    batch: str | None = None
    note: str | None = None
    histogram: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((3, 256), np.int64), compare=False
    )

    def __post_init__(self) -> None:
        _expect(self.image_id == self.sha256[:ID_LENGTH], "image_id must begin the sha256")
        _expect(self.width > 0 and self.height > 0, f"empty image {self.width} x {self.height}")
        _shape("histogram", self.histogram, (3, 256))


@dataclass(frozen=True)
class Location:
    """Where bytes were met. An unreadable file is a location with a reason and no image.

    `path` is a file, a member of an archive (``/abs/shard.tar/inner/a.jpg``) or a URL; `url` is
    where these bytes were published. `status` is ``"ok"``, ``"unreadable"``, ``"missing"``
    or ``"moved"`` (found again in another place); `size` is in bytes.
    """

    path: str
    size: int
    mtime_ns: int
    status: str
    first_seen: str
    image_id: str | None = None
    error: str | None = None
    source: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Item:
    """One point on the atlas: a whole image (no box, ``item_id == image_id``) or a crop.

    `xyxy` is half-open, 0-based, in pixels of the EXIF-oriented frame.
    """

    item_id: str
    image_id: str
    xyxy: tuple[float, float, float, float] | None = None
    class_name: str | None = None
    confidence: float | None = None
    track_id: str | None = None


@dataclass(frozen=True)
class Vectors:
    """One space: what one encoder made of the items.

    `item_ids` (n,) sorted ascending and unique; `rows` (n, d) float32 of unit length.
    """

    item_ids: Ids
    rows: Float32
    encoder: str

    def __post_init__(self) -> None:
        _sorted_ids(self.item_ids)
        _expect(self.rows.ndim == 2, f"rows must have 2 dimensions, got {self.rows.ndim}")
        _shape("rows", self.rows, (len(self.item_ids), self.rows.shape[1]))
        _dtype("rows", self.rows, np.float32)

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class Neighbours:
    """The k-NN graph of one space, nearest first, without the item itself.

    `rows` (n, k) int32 are row numbers into `item_ids`; `similarity` (n, k) float32 is the cosine.
    """

    item_ids: Ids
    rows: Int32
    similarity: Float32

    def __post_init__(self) -> None:
        _sorted_ids(self.item_ids)
        _expect(self.rows.ndim == 2, f"rows must have 2 dimensions, got {self.rows.ndim}")
        _shape("rows", self.rows, (len(self.item_ids), self.rows.shape[1]))
        _shape("similarity", self.similarity, self.rows.shape)
        _dtype("rows", self.rows, np.int32)
        _dtype("similarity", self.similarity, np.float32)

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def k(self) -> int:
        """How many neighbours each item has."""
        return int(self.rows.shape[1])


@dataclass(frozen=True)
class Atlas:
    """Where every item of one space stands, and with whom.

    `item_ids` (n,) sorted; `xy` (n, 2) or (n, 3) float32 in the unit box; `cluster` (n,) int32
    with -1 = noise; `membership` (n,) float32 in [0, 1]; `outlier_score` (n,) float32 in [0, 1],
    1 = most suspicious. `version` is a content hash of vectors, parameters and library versions,
    `space` the name of the space, `params` what made it.
    """

    item_ids: Ids
    xy: Float32
    cluster: Int32
    membership: Float32
    outlier_score: Float32
    version: str
    space: str
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _sorted_ids(self.item_ids)
        n = len(self.item_ids)
        _expect(
            self.xy.ndim == 2 and self.xy.shape[1] in (2, 3),
            f"xy must have shape ({n}, 2) or ({n}, 3), got {self.xy.shape}",
        )
        _shape("xy", self.xy, (n, self.xy.shape[1]))
        for name in ("cluster", "membership", "outlier_score"):
            _shape(name, getattr(self, name), (n,))
        _dtype("xy", self.xy, np.float32)
        _dtype("cluster", self.cluster, np.int32)

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def dims(self) -> int:
        """2 or 3."""
        return int(self.xy.shape[1])

    @cached_property
    def clusters(self) -> Int32:
        """The cluster numbers that occur, ascending, noise (-1) first where there is any."""
        return np.unique(self.cluster)

    def members(self, cluster: int) -> Int32:
        """Row numbers of one cluster's items, (m,) int32."""
        return np.flatnonzero(self.cluster == cluster).astype(np.int32)

    def rows_of(self, item_ids: Ids) -> Int32:
        """Row numbers of `item_ids`, (m,) int32; -1 where an id is not on this atlas."""
        return rows_of(self.item_ids, item_ids)


def rows_of(sorted_ids: Ids, item_ids: Ids) -> Int32:
    """Row numbers of `item_ids` in `sorted_ids`, (m,) int32; -1 where an id is not among them."""
    item_ids = np.asarray(item_ids, dtype=np.str_)
    if not len(sorted_ids) or not len(item_ids):
        return np.full(len(item_ids), -1, np.int32)
    at = np.minimum(np.searchsorted(sorted_ids, item_ids), len(sorted_ids) - 1)
    return np.where(sorted_ids[at] == item_ids, at, -1).astype(np.int32)


def _expect(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


def _shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    _expect(array.shape == shape, f"{name} must have shape {shape}, got {array.shape}")


def _dtype(name: str, array: npt.NDArray[Any], dtype: Any) -> None:
    _expect(array.dtype == dtype, f"{name} must be {np.dtype(dtype)}, got {array.dtype}")


def _sorted_ids(item_ids: Ids) -> None:
    _expect(item_ids.dtype.kind == "U", f"item_ids must be strings, got {item_ids.dtype}")
    _expect(
        bool(np.all(item_ids[1:] > item_ids[:-1])),
        "item_ids must be sorted ascending and unique",
    )
