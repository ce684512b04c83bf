"""The folded journal kept in a file, so that opening a long one reads its tail alone.

The file is never the truth: it is checked against the journal, and where it does not match, or is
damaged, it is as if it were not there.
"""

import hashlib
import io
import json
import logging
import os
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.folding import CHANNELS, Channel, Folded
from curation.journal import Journal
from curation.mentions import Mentions

FORMAT = 3  # of the file; one of another format is not read
DIGEST = 32  # bytes at the beginning: the SHA-256 of all that follows, an .npz of arrays
ABANDONED = 3600  # seconds after which a file that was never finished is nobody's
_BY_SEQ = ("codes", "people", "times", "kinds", "sources", "undone")
_log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]


class Snapshot:
    """The file that a state is kept in; `head` is the newest decision it is known to hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = 0
        self._writing = threading.Lock()

    def load(self, folded: Folded, journal: Journal) -> None:
        """Fill a state that has folded nothing yet, where the file is one of this journal."""
        self.head = 0
        try:
            data = self.path.read_bytes()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("%s cannot be read: %s", self.path, error)
            return
        if data[:DIGEST] != _digest(data[DIGEST:]):
            _log.warning("%s is damaged and is made anew", self.path)
            return
        with np.load(io.BytesIO(data[DIGEST:]), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(arrays.pop("told").tobytes())
        if told["format"] != FORMAT:
            return
        # the decision at the head has a random id: a journal that was made anew, or restored from
        # a backup and gone on from there, holds another one
        if told["identity"] == journal.identity(told["head"]):
            _fill(folded, told, arrays)
            self.head = folded.head

    def save(self, folded: Folded) -> None:
        """Keep a state: copied now, written by a thread of its own."""
        if not self._writing.acquire(blocking=False):
            return  # the one before is still being written
        self.head = folded.head
        told, arrays = _copied(folded)
        threading.Thread(target=self._write, args=(told, arrays)).start()

    def wait(self) -> None:
        """Return once nothing is being written."""
        with self._writing:
            pass

    def _write(self, told: dict[str, Any], arrays: Arrays) -> None:
        fresh = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            arrays["told"] = _bytes(json.dumps(told).encode())
            packed = io.BytesIO()
            np.savez(packed, **cast(Any, arrays))
            with fresh.open("xb") as file:
                file.write(_digest(packed.getbuffer()))
                file.write(packed.getbuffer())
            os.replace(fresh, self.path)
            self._sweep()
        except OSError as error:  # a full or a read-only disk: the journal has everything
            _log.warning("%s cannot be written: %s", self.path, error)
            fresh.unlink(missing_ok=True)
        finally:
            self._writing.release()

    def _sweep(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for left in self.path.parent.glob(f".{self.path.name}.*"):
            if left.stat().st_mtime < time.time() - ABANDONED:
                left.unlink(missing_ok=True)


def _copied(folded: Folded) -> tuple[dict[str, Any], Arrays]:
    """Return what is said of a state in words, and its arrays; channels of no act left out."""
    end = folded.head + 1
    arrays: Arrays = {name: getattr(folded, name)[:end].copy() for name in _BY_SEQ}
    arrays["named"] = folded.named.copy()
    for name, channel in folded.channels.items():
        if channel.acts.any() or channel.winner.any():
            arrays[f"winner.{name}"] = channel.winner.copy()
            arrays[f"acts.{name}"] = channel.acts.copy()
        if channel.giver.any():
            arrays[f"giver.{name}"] = channel.giver.copy()
    if folded.index is not None:
        arrays |= {f"index.{at}": part for at, part in enumerate(folded.index.arrays())}
    for at, items in enumerate(folded.refused.values()):
        arrays[f"refused.{at}"] = _bytes(items.serialize())
    told = {
        "format": FORMAT,
        "head": folded.head,
        "identity": folded.identity,  # as it was folded: the journal may be another by now
        "names": list(folded.names),
        "legends": {name: list(channel.legend) for name, channel in folded.channels.items()},
        "dismissed": dict(folded.dismissed),
        "refused": list(folded.refused),
        "stale": sorted(folded.stale),
        "replaced": list(folded.replaced.items()),
    }
    return told, arrays


def _fill(folded: Folded, told: dict[str, Any], arrays: Arrays) -> None:
    for name in _BY_SEQ:
        setattr(folded, name, arrays[name])
    folded.named = arrays["named"]
    for name in CHANNELS:
        empty = np.zeros((3, len(folded.named)), np.int32)
        legend = {value: code for code, value in enumerate(told["legends"][name])}
        winner, acts, giver = (
            arrays.get(f"{what}.{name}", none)
            for what, none in zip(("winner", "acts", "giver"), empty, strict=True)
        )
        folded.channels[name] = Channel(winner, acts, giver, legend)
    if "index.0" in arrays:
        folded.index = Mentions.of_arrays(*(arrays[f"index.{at}"] for at in range(4)))
    folded.names = {name: number for number, name in enumerate(told["names"])}
    folded.dismissed = Counter(told["dismissed"])
    folded.refused = {
        (field, value): BitMap.deserialize(arrays[f"refused.{at}"].tobytes())
        for at, (field, value) in enumerate(told["refused"])
    }
    folded.stale, folded.replaced = set(told["stale"]), dict(told["replaced"])
    folded.head, folded.identity = told["head"], told["identity"]


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def _bytes(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)
