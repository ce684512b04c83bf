"""Scan to store: every image decoded once, in a pool beside the encoder, and kept at once.

Rows are written in the order images, items, vectors, locations. A location is therefore the
receipt: where it is present everything before it is too, and a run that was killed goes on where
the receipts end.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from embeddings import formats, images, thumbnails
from embeddings.dataset import now
from embeddings.encoders import Encoder, space_name
from embeddings.images import Candidate, Decoded, UnreadableImage
from embeddings.schema import ID_LENGTH, Image, Item, Location
from embeddings.stages import Progress, Timings
from embeddings.store import Store

WRITE_ITEMS = 1000  # small appends leave many fragments behind
VECTORLESS = "the encoder makes no usable vector of it; look at the picture"
WRITE_SECONDS = 15.0  # what a pulled plug may cost

Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Read:
    """One file, read: an image that needs storing, one that is stored already, or a reason.

    The decoded pixels are not among it: up to `WRITE_ITEMS` of these wait to be written.
    """

    candidate: Candidate
    image_id: str | None = None
    error: str | None = None
    image: Image | None = None
    thumbnail: bytes = b""
    prepared: npt.NDArray[Any] | None = None


@dataclass
class Ingested:
    """What a scan met. `unreadable` counts files by reason."""

    files: int = 0
    unchanged: int = 0
    new_images: int = 0
    new_vectors: int = 0
    duplicates: int = 0
    missing: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)


class Ingest:
    """One pass over candidate files, into one store and one space.

    Parameters
    ----------
    store : Store
    encoder : Encoder
    timings : Timings
    spec : str, optional
        How the encoder was asked for, kept with a new space so that `add` can ask for it again.
    batch : str, optional
        Name of this delivery, kept with every new image, so that deliveries can be compared.
    progress : Progress
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        timings: Timings,
        *,
        spec: str | None = None,
        batch: str | None = None,
        progress: Progress,
    ) -> None:
        self.store, self.encoder, self.timings = store, encoder, timings
        self.spec, self.batch, self.progress = spec, batch, progress
        self.space = space_name(encoder.encoder_id)
        self.result = Ingested()
        self._images = store.ids("images", "image_id")
        self._items = store.ids("items", "item_id")
        self._vectors = store.ids(f"vectors_{self.space}", "item_id") if self._known() else set()
        self._complete = self._images & self._items & self._vectors
        self._receipts: dict[str, Location] = {}
        self._waiting: list[Read] = []
        self._ready: list[tuple[Read, npt.NDArray[Any] | None]] = []
        self._vectorless: set[str | None] = set()
        self._written = time.monotonic()

    def _known(self) -> bool:
        return self.space in self.store.spaces()

    def run(self, candidates: Sequence[Candidate]) -> Ingested:
        """Bring every candidate into the store; an unreadable file is a row with its reason."""
        self.result.files = len(candidates)
        self._receipts = {location.path: location for location in self.store.locations()}
        todo = [job for job in candidates if not self._settled(job)]
        self.result.unchanged = len(candidates) - len(todo)
        self.progress("encode", self.result.unchanged, len(candidates))
        ahead = 2 * self.encoder.batch_size + 2 * workers()
        for done, read in enumerate(ordered(self._read, todo, workers(), ahead), start=1):
            self._take(read)
            self.progress("encode", self.result.unchanged + done, len(candidates))
        self._encode()
        self._write()
        return self.result

    def _settled(self, job: Candidate) -> bool:
        receipt = self._receipts.get(job.path)
        if receipt is None or receipt.status == "missing":
            return False
        if (receipt.size, receipt.mtime_ns) != (job.size, job.mtime_ns):
            return False
        if receipt.status == "unreadable":
            reason = receipt.error or "unknown"
            if formats.worth_retrying(reason):
                return False
            self.result.unreadable[formats.reason_group(reason)] += 1
            return True
        return receipt.image_id in self._complete

    def mark_missing(self, sources: Iterable[Path]) -> None:
        """Mark the known files below `sources` that are gone; their images and labels stay."""
        roots = [f"{os.path.abspath(source.expanduser())}{os.sep}" for source in sources]
        gone = [
            replace(row, status="missing", error="the file is gone; curate relocate, if it moved")
            for row in self.store.locations()
            if row.status != "missing"
            and any(row.path.startswith(root) for root in roots)
            and not os.path.lexists(row.path)
        ]
        self.store.add_locations(gone)
        self.result.missing = len(gone)

    # ---- in the pool

    def _read(self, job: Candidate) -> Read:
        try:
            with self.timings.stage("decode"):
                data = images.read(job.path)
            with self.timings.stage("fingerprint"):
                digest = images.sha256(data)
            if digest[:ID_LENGTH] in self._complete:
                return Read(job, digest[:ID_LENGTH])
            with self.timings.stage("decode", items=0):
                need = max(self.encoder.min_side, thumbnails.SIDE)
                decoded = images.decode(data, min_side=need, digest=digest, name=job.path)
        except UnreadableImage as error:
            return Read(job, error=str(error))
        with self.timings.stage("thumbnail"):
            thumbnail = thumbnails.make(decoded.rgb)
        with self.timings.stage("prepare"):
            prepared = self.encoder.prepare(decoded.rgb)
        return Read(job, decoded.image_id, None, self._image(job, decoded), thumbnail, prepared)

    # ---- in the caller's thread

    def _take(self, read: Read) -> None:
        if read.error is not None:
            self.result.unreadable[formats.reason_group(read.error)] += 1
            self._ready.append((read, None))
        elif read.image is None or read.image_id in self._complete:
            self.result.duplicates += 1
            self._ready.append((Read(read.candidate, read.image_id), None))
        else:
            self._complete.add(read.image.image_id)
            self._waiting.append(read)
        if len(self._waiting) >= self.encoder.batch_size:
            self._encode()
        if len(self._ready) >= WRITE_ITEMS or time.monotonic() - self._written > WRITE_SECONDS:
            self._encode()
            self._write()

    def _encode(self) -> None:
        need = [read for read in self._waiting if read.image_id not in self._vectors]
        rows: dict[str | None, npt.NDArray[Any]] = {}
        if need:
            with self.timings.stage("encode", items=len(need)):
                batch = np.stack([read.prepared for read in need if read.prepared is not None])
                encoded = self.encoder.encode(batch)
            sound = np.isfinite(encoded).all(axis=1) & encoded.any(axis=1)
            self._vectorless |= {need[row].image_id for row in np.flatnonzero(~sound)}
            rows = {read.image_id: row for read, row in zip(need, encoded, strict=True)}
        self._ready += [
            (replace(read, prepared=None), rows.get(read.image_id)) for read in self._waiting
        ]
        self._waiting = []

    def _write(self) -> None:
        if not self._ready:
            return
        self._ready = [self._with_vector(read, row) for read, row in self._ready]
        with self.timings.stage("store", items=len(self._ready)):
            self._write_rows(now())
        self._ready = []
        self._written = time.monotonic()

    def _with_vector(
        self, read: Read, row: npt.NDArray[Any] | None
    ) -> tuple[Read, npt.NDArray[Any] | None]:
        """Return what is to be written: a picture without a vector is a row with its reason."""
        if read.image_id is None or read.image_id not in self._vectorless:
            return read, row
        self.result.unreadable[VECTORLESS] += 1
        return Read(read.candidate, error=VECTORLESS), None

    def _write_rows(self, seen: str) -> None:
        reads = [read for read, _ in self._ready if read.image is not None]
        fresh = [read.image for read in reads if read.image and read.image_id not in self._images]
        self.store.add_images(fresh)
        items = [read for read in reads if read.image_id not in self._items]
        self.store.add_items(
            [Item(str(read.image_id), str(read.image_id)) for read in items],
            [read.thumbnail for read in items],
        )
        encoded = [(str(read.image_id), row) for read, row in self._ready if row is not None]
        if encoded:
            rows = np.stack([row for _, row in encoded]).astype(np.float32)
            details = {**self.encoder.describe(), "encoder": self.encoder.encoder_id}
            details |= {"spec": self.spec or self.encoder.encoder_id, "made_at": seen}
            self.store.add_vectors(self.space, [name for name, _ in encoded], rows, details)
        locations = [self._location(read, seen) for read, _ in self._ready]
        self.store.add_locations(row for row in locations if row != self._receipts.get(row.path))
        self._images |= {image.image_id for image in fresh}
        self._items |= {str(read.image_id) for read in items}
        self._vectors |= {name for name, _ in encoded}
        self.result.new_images += len(fresh)
        self.result.new_vectors += len(encoded)

    def _image(self, job: Candidate, decoded: Decoded) -> Image:
        return Image(
            image_id=decoded.image_id,
            sha256=decoded.sha256,
            width=decoded.width,
            height=decoded.height,
            bytes=decoded.bytes,
            format=decoded.format,
            first_seen=now(),
            taken_at=decoded.taken_at,
            source=images.printable(job.root),
            batch=self.batch,
            note=decoded.note,
            histogram=decoded.histogram,
        )

    def _location(self, read: Read, seen: str) -> Location:
        job = read.candidate
        receipt = self._receipts.get(job.path)
        return Location(
            path=job.path,
            size=job.size,
            mtime_ns=job.mtime_ns,
            status="ok" if read.error is None else "unreadable",
            first_seen=seen if receipt is None else receipt.first_seen,
            image_id=read.image_id,
            error=read.error,
            source=job.root,
        )


def scan(sources: Iterable[Path], timings: Timings, progress: Progress) -> list[Candidate]:
    """Return the files below `sources` that may be images, each once, in a stable order."""
    found: dict[str, Candidate] = {}
    with timings.stage("scan", items=0):
        for source in sources:
            for candidate in images.find(source.expanduser().absolute()):
                found.setdefault(candidate.path, candidate)
                if len(found) % 1000 == 0:
                    progress("scan", len(found), None)
    timings.add("scan", 0.0, len(found))
    progress("scan", len(found), len(found))
    return list(found.values())


def workers() -> int:
    """Return how many decoding threads to use: one a core that this process may run on."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


def ordered(
    function: Callable[[Job], Done], jobs: Iterable[Job], threads: int, ahead: int
) -> Iterator[Done]:
    """Apply `function` in a pool and yield the results in order, at most `ahead` under way."""
    pending: deque[Future[Done]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for job in jobs:
            pending.append(pool.submit(function, job))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
