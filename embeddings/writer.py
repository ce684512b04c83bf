"""What ingest keeps: rows of images, items, vectors and locations, written in that order.

A location is therefore the receipt: where it is present everything before it is too, and a run
that was killed goes on where the receipts end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings import cortex
from embeddings.dataset import now
from embeddings.files import Candidate
from embeddings.schema import Image, Item, Location
from embeddings.stages import Timings
from embeddings.store import Store

# formats.worth_retrying: another encoder may
VECTORLESS = "not readable yet: the encoder makes no usable vector of it; look at the picture"


@dataclass(frozen=True)
class Read:
    """One file, read: an image that needs storing, one that is stored already, or a reason.

    The decoded pixels are not among it: many of these wait to be written.
    """

    candidate: Candidate
    image_id: str | None = None
    error: str | None = None
    image: Image | None = None
    thumbnail: bytes = b""
    prepared: npt.NDArray[Any] | None = None


Ready = tuple[Read, npt.NDArray[Any] | None]  # with its vector, when it is new


class Writer:
    """Knows what the store holds of one space, and adds to it.

    Parameters
    ----------
    store : Store
    space : str
    details : dict
        What made the space; kept with it when it is new.
    timings : Timings

    Attributes
    ----------
    receipts : dict
        The locations that the store held at first, by path.
    vectors : set
        Ids of the items that have a vector.
    vectorless : set
        Ids of images that the encoder makes no usable vector of: told by who encodes.
    """

    def __init__(self, store: Store, space: str, details: dict[str, Any], timings: Timings) -> None:
        self.store, self.space, self.details, self.timings = store, space, details, timings
        self.receipts = {location.path: location for location in store.locations()}
        self._images = store.ids("images", "image_id")
        self._items = store.ids("items", "item_id")
        known = space in store.spaces()
        self.vectors = store.ids(f"vectors_{space}", "item_id") if known else set()
        self.vectorless: set[str | None] = set()
        self.new_images = self.new_vectors = self.new_vectorless = 0
        self._records = cortex.Kept(store)

    def complete(self) -> set[str]:
        """Return the ids of the images of which nothing is missing."""
        return self._images & self._items & self.vectors

    def write(self, ready: list[Ready], records: Iterable[tuple[str, str, str]] = ()) -> None:
        """Write what is ready, and Cortex records as (image id, path, JSON)."""
        seen = now()
        self._records.add(records, seen)
        if not ready:
            return
        rows = [self._with_reason(read, row) for read, row in ready]
        with self.timings.stage("store", items=len(rows)):
            self._write_images(rows)
            self._write_vectors(rows, seen)
            locations = [self._location(read, seen) for read, _ in rows]
            new = [row for row in locations if row != self.receipts.get(row.path)]
            self.store.add_locations(new)

    def _with_reason(self, read: Read, row: npt.NDArray[Any] | None) -> Ready:
        """Return what is to be written: a picture without a vector is a row with its reason."""
        if read.image_id is None or read.image_id not in self.vectorless:
            return read, row
        self.new_vectorless += 1
        return Read(read.candidate, error=VECTORLESS), None

    def _write_images(self, rows: list[Ready]) -> None:
        reads = [read for read, _ in rows if read.image is not None]
        fresh = [read.image for read in reads if read.image and read.image_id not in self._images]
        self.store.add_images(fresh)
        items = [read for read in reads if read.image_id not in self._items]
        self.store.add_items(
            [Item(str(read.image_id), str(read.image_id)) for read in items],
            [read.thumbnail for read in items],
        )
        self._images |= {image.image_id for image in fresh}
        self._items |= {str(read.image_id) for read in items}
        self.new_images += len(fresh)

    def _write_vectors(self, rows: list[Ready], seen: str) -> None:
        encoded = [(str(read.image_id), row) for read, row in rows if row is not None]
        if not encoded:
            return
        vectors = np.stack([row for _, row in encoded]).astype(np.float32)
        ids = [item_id for item_id, _ in encoded]
        self.store.add_vectors(self.space, ids, vectors, {**self.details, "made_at": seen})
        self.vectors |= set(ids)
        self.new_vectors += len(ids)

    def _location(self, read: Read, seen: str) -> Location:
        job = read.candidate
        receipt = self.receipts.get(job.path)
        if read.error is not None and receipt is not None and _same_bytes(receipt, job):
            return receipt  # what this space lacks is no news of the file
        return Location(
            path=job.path,
            size=job.size,
            mtime_ns=job.mtime_ns,
            status="ok" if read.error is None else "unreadable",
            first_seen=seen if receipt is None else receipt.first_seen,
            image_id=read.image_id,
            error=read.error,
            source=job.root,
            url=job.brought.url,
        )


def _same_bytes(receipt: Location, job: Candidate) -> bool:
    known = (receipt.status, receipt.size, receipt.mtime_ns)
    return known == ("ok", job.size, job.mtime_ns)
