"""Scan to store: every image decoded once, in a pool beside the encoder, and kept at once.

Four kinds of threads run side by side: a pool that reads and decodes, the caller's, which deals
out, one that encodes and one that writes. Encoder and disk never wait for each other.
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

from embeddings import formats, images, nvjpeg, sources, thumbnails
from embeddings.dataset import now
from embeddings.downloads import Limits
from embeddings.encoders import Encoder, space_name
from embeddings.files import NOTHING
from embeddings.images import Candidate, Decoded, JpegDecoder, UnreadableImage
from embeddings.schema import ID_LENGTH, Image
from embeddings.stages import Progress, Timings
from embeddings.store import Store
from embeddings.writer import VECTORLESS, Read, Ready, Writer

WRITE_ITEMS = 1000  # small appends leave many fragments behind
BATCHES_AHEAD = 2  # handed to the encoder while it works, so that it never waits for us
WRITE_SECONDS = 15.0  # what a pulled plug may cost
GONE = ("missing", "moved")
MANY_GONE = 20  # files that vanish at once are more likely a disk that is not mounted

Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass
class Ingested:
    """What became of a scan. `unreadable` counts by reason, `seconds` is the wall clock."""

    files: int = 0
    unchanged: int = 0
    new_images: int = 0
    new_vectors: int = 0
    duplicates: int = 0
    missing: int = 0
    seconds: float = 0.0
    unreadable: Counter[str] = field(default_factory=Counter)


@dataclass
class Scan:
    """What the sources hold: candidates, the places that were listed to the end, and notes."""

    candidates: list[Candidate] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    jpegs : callable, optional
        Decodes JPEGs elsewhere than in Pillow, see `images.decode`.
    room : callable, optional
        Told how many files will be read, before anything is; raises when the disk cannot hold them.
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
        jpegs: JpegDecoder | None = None,
        room: Callable[[int], None] | None = None,
        progress: Progress,
    ) -> None:
        self.store, self.encoder, self.timings = store, encoder, timings
        self.batch, self.jpegs, self.room, self.progress = batch, jpegs, room, progress
        self.space = space_name(encoder.encoder_id)
        self.result = Ingested()
        details = {**encoder.describe(), "encoder": encoder.encoder_id}
        details["spec"] = spec or encoder.encoder_id
        self.writer = Writer(store, self.space, details, timings)
        self._complete = self.writer.complete()
        self._waiting: list[Read] = []
        self._encoding: deque[Future[list[Ready]]] = deque()
        self._ready: list[Ready] = []
        self._new_records: list[tuple[str, str, str]] = []
        self._writing: Future[None] | None = None
        self._written = time.monotonic()
        # one thread each: batches are encoded, and rows written, in the order they were read
        self._encoder_thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="write")

    def run(self, candidates: Sequence[Candidate]) -> Ingested:
        """Bring every candidate into the store; an unreadable file is a row with its reason."""
        started = time.perf_counter()
        self.result.files = len(candidates)
        todo = [job for job in candidates if not self._settled(job)]
        self.result.unchanged = len(candidates) - len(todo)
        if self.room is not None:
            self.room(len(todo))
        self.progress("encode", self.result.unchanged, len(candidates))
        threads = workers() if self.jpegs is None else nvjpeg.THREADS * workers()
        ahead = 2 * self.encoder.batch_size + 2 * threads
        try:
            for done, read in enumerate(ordered(self._read, todo, threads, ahead), start=1):
                self._take(read)
                self.progress("encode", self.result.unchanged + done, len(candidates))
            self._write()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._encoder_thread.shutdown(wait=True, cancel_futures=True)
            self._writer_thread.shutdown(wait=True)  # what was handed over is kept
        self.result.new_images, self.result.new_vectors = (
            self.writer.new_images,
            self.writer.new_vectors,
        )
        if self.writer.new_vectorless:
            self.result.unreadable[VECTORLESS] += self.writer.new_vectorless
        self.result.seconds = time.perf_counter() - started
        return self.result

    def _settled(self, job: Candidate) -> bool:
        """Say whether nothing is left to do for a file, and count it if so."""
        receipt = self.writer.receipts.get(job.path)
        if receipt is None or receipt.status in GONE:
            return False
        if (receipt.size, receipt.mtime_ns) != (job.size, job.mtime_ns):
            return False
        if receipt.status == "unreadable":
            reason = receipt.error or "unknown"
            if formats.worth_retrying(reason) or not job.mtime_ns:
                return False  # where there are no bytes, reading costs nothing
            self.result.unreadable[formats.reason_group(reason)] += 1
            return True
        if receipt.image_id not in self._complete:
            return False
        self._keep_record(job, receipt.image_id)
        return True

    def _keep_record(self, job: Candidate, image_id: str | None) -> None:
        if image_id is not None and job.brought.record is not None:
            self._new_records.append((image_id, job.path, job.brought.record))

    def mark_missing(self, scan: Scan) -> None:
        """Mark what is known below a place that was listed to the end, and is gone.

        Images and labels stay. A member of an archive is gone when its archive is, or when the
        archive was listed and lacks it.
        """
        met = {candidate.path for candidate in scan.candidates}
        roots = frozenset(scan.listed)
        known = [row for row in self.writer.receipts.values() if _below(row.path, roots)]
        gone = [
            replace(row, status="missing", error="the file is gone; curate relocate, if it moved")
            for row in known
            if row.status not in GONE and row.mtime_ns  # without it there never were bytes
            if row.path not in met and _gone(row.path, roots)
        ]
        self.store.add_locations(gone)
        self.result.missing = len(gone)
        if len(gone) > max(MANY_GONE, len(known) // 10):
            scan.notes.append(
                f"{len(gone):,} of {len(known):,} known files are gone: if a disk is not mounted, "
                "mount it and build again; labels stay either way"
            )

    # ---- in the pool

    def _read(self, job: Candidate) -> Read:
        try:
            with self.timings.stage("decode"):
                data = job.read()
            with self.timings.stage("fingerprint"):
                digest = images.sha256(data)
            if digest[:ID_LENGTH] in self._complete:
                return Read(job, digest[:ID_LENGTH])
            with self.timings.stage("decode", items=0):
                need = max(self.encoder.min_side, thumbnails.SIDE)
                decoded = images.decode(
                    data, min_side=need, digest=digest, name=job.path, jpegs=self.jpegs
                )
        except UnreadableImage as error:
            return Read(job, error=str(error))
        with self.timings.stage("thumbnail"):
            thumbnail = thumbnails.make(decoded.rgb)
        with self.timings.stage("prepare"):
            vector = job.brought.vector
            prepared = self.encoder.prepare(decoded.rgb) if vector is None else vector
        return Read(job, decoded.image_id, None, self._image(job, decoded), thumbnail, prepared)

    # ---- in the caller's thread

    def _take(self, read: Read) -> None:
        self._keep_record(read.candidate, read.image_id)
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
        # a batch that is split costs the device two: wait for its end, but not for ever
        late = time.monotonic() - self._written
        due = len(self._ready) >= WRITE_ITEMS or late > WRITE_SECONDS / 2
        overdue = len(self._ready) >= 2 * WRITE_ITEMS or late > WRITE_SECONDS
        if overdue or (due and not self._waiting):
            self._write()

    def _encode(self) -> None:
        """Hand the waiting images to the encoder, which may be busy with those before them."""
        if self._waiting:
            batch, self._waiting = self._waiting, []
            self._encoding.append(self._encoder_thread.submit(self._encoded, batch))
        while len(self._encoding) > BATCHES_AHEAD:
            self._ready += self._encoding.popleft().result()

    def _encoded(self, batch: list[Read]) -> list[Ready]:
        need = [read for read in batch if read.image_id not in self.writer.vectors]
        rows: dict[str | None, npt.NDArray[Any]] = {}
        if need:
            stacked = np.stack([read.prepared for read in need if read.prepared is not None])
            with self.timings.stage("encode", items=len(need)):
                encoded = self.encoder.encode(stacked)
            sound = np.isfinite(encoded).all(axis=1) & encoded.any(axis=1)
            self.writer.vectorless |= {need[row].image_id for row in np.flatnonzero(~sound)}
            rows = {read.image_id: row for read, row in zip(need, encoded, strict=True)}
        return [(replace(read, prepared=None), rows.get(read.image_id)) for read in batch]

    def _write(self) -> None:
        """Hand everything taken so far to the writer: a duplicate never comes before its image."""
        self._encode()
        while self._encoding:
            self._ready += self._encoding.popleft().result()
        if self._writing is not None:
            self._writing.result()
        ready, self._ready = self._ready, []
        records, self._new_records = self._new_records, []
        self._writing = self._writer_thread.submit(self.writer.write, ready, records)
        self._written = time.monotonic()

    def _image(self, job: Candidate, decoded: Decoded) -> Image:
        return Image(
            image_id=decoded.image_id,
            sha256=decoded.sha256,
            width=decoded.width,
            height=decoded.height,
            bytes=decoded.bytes,
            format=decoded.format,
            first_seen=job.brought.first_seen or now(),
            taken_at=decoded.taken_at,
            source=job.brought.source or images.printable(job.root),
            url=job.brought.url,
            batch=self.batch,
            note=decoded.note,
            histogram=decoded.histogram,
        )


def scan(
    specs: Sequence[str],
    timings: Timings,
    progress: Progress,
    *,
    keep: Path,
    stored: Callable[[str], bytes | None],
    limits: Limits | None = None,
) -> Scan:
    """Return what the sources hold, each place once, in a stable order; URLs are downloaded.

    `keep` is the folder of downloaded bytes; `stored` gives the bytes of an image that the dataset
    knows, by its SHA-256.
    """
    result = Scan()
    found: dict[str, Candidate] = {}
    watch = _Watch(progress)

    def note(line: str) -> None:
        result.notes.append(images.printable(line))  # a path in it may be no UTF-8

    context = sources.Context(keep, watch, stored, result.listed.append, note, limits or Limits())
    started = time.perf_counter()
    passed = 0
    for candidate in sources.find(specs, context):
        known = found.setdefault(candidate.path, candidate)
        if known.brought is NOTHING and candidate.brought is not NOTHING:
            found[candidate.path] = candidate  # a table beside its folder says more than the folder
        elif candidate.brought is not NOTHING and candidate.root != known.root:
            passed += 1
        if len(found) % 1000 == 0:
            progress("scan", len(found), None)
    if passed:
        note(
            f"{passed:,} images are told of by two sources, and the first counts: put what both "
            "say into one table"
        )
    watch.stop(timings)
    waited = timings.seconds.get("download", 0.0)
    timings.add("scan", time.perf_counter() - started - waited, len(found))
    progress("scan", len(found), len(found))
    result.candidates = list(found.values())
    return result


class _Watch:
    """Passes progress on, and times downloads by it: they run while a source is listed."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.first = self.last = 0.0
        self.items = self.done = 0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        self.progress(stage, done, total)
        if stage == "download":
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.items += max(done - self.done, 0)  # a long list is downloaded in several parts
            self.done = done

    def stop(self, timings: Timings) -> None:
        """Keep what was seen, if anything was downloaded."""
        if self.items:
            timings.add("download", self.last - self.first, self.items)


def _below(path: str, places: frozenset[str]) -> bool:
    # upwards and not place by place: a glob lists as many places as it has files
    above = os.path.dirname(path)
    while above not in places:
        path, above = above, os.path.dirname(above)
        if path == above:
            return False
    return True


def _there(path: str) -> bool:
    """Say whether something is at `path`, or may be: a folder without permission hides it."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _gone(path: str, listed: frozenset[str]) -> bool:
    if _there(path):
        return False
    above = os.path.dirname(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    return os.path.isdir(above) or above in listed


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
