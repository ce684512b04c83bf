"""The nouns of the people's side: decisions, selections and findings."""

import dataclasses  # not `from`: Decision has a field that is called field
import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from embeddings.errors import CurationError
from embeddings.schema import ID_LENGTH, Atlas, Ids, Int32

FIELDS = ("category", "instance")
FLAGS = ("excluded", "outlier", "duplicate", "unclear")
FLAG_BITS = {flag: 1 << bit for bit, flag in enumerate(FLAGS)}
# Which fields each action may name; undo and redo repeat the field of the act they refer to.
ACTIONS: dict[str, tuple[str, ...]] = {
    "label": FIELDS,
    "flag": ("flag",),
    "unflag": ("flag",),
    "dismiss": ("finding",),
    "refuse": FIELDS,
    "undo": (),
    "redo": (),
}

# How a label came to be, where it was not simply given: a machine's proposal was accepted, a
# reviewer answered, a vote among curators was settled.
SOURCES = ("proposed", "review", "consensus")

LABEL_LENGTH = 200
# NFC takes quadratic time on long runs of combining marks, so a longer text is refused unread.
UNREAD_LENGTH = 10_000
_WHITE = "\t\n\r"  # control characters that people mean as white space
# Cf characters with a use inside one word: the joiners of Persian, Hindi and emoji.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Decision:
    """One appended act of a curator.

    `items` is a bitmap over ``item_no`` with `n_items` members. `undoes` is the seq of the act that
    an ``"undo"`` takes back or a ``"redo"`` brings back; both repeat that act's field, value and
    items, so that a row can be read alone. `made_at` is ISO 8601 UTC. `source` is None or one of
    `SOURCES`. `replaces` is the label that was renamed, merged or deleted. `part_of` is the seq of
    the first act of several that were done, and are undone, as one step.
    """

    seq: int
    decision_id: str
    made_at: str
    made_by: str
    action: str
    field: str | None
    value: str | None
    n_items: int
    items: BitMap = dataclasses.field(repr=False, hash=False)
    atlas_version: str | None = None
    undoes: int | None = None
    note: str | None = None
    source: str | None = None
    replaces: str | None = None
    part_of: int | None = None

    @property
    def words(self) -> str:
        """The act in a few words, such as ``category: t-shirt`` or ``undo of 7``."""
        if self.undoes is not None:
            return f"{self.action} of {self.undoes}"
        if self.action == "refuse":
            return f"{self.field}: not {self.value}"
        if self.replaces is not None:
            now = "deleted" if self.value is None else f"is now {self.value}"
            return f"{self.field}: {self.replaces} {now}"
        if self.action == "label":
            return f"{self.field}: {'cleared' if self.value is None else self.value}"
        return f"{self.action} {self.value}"

    @property
    def is_act(self) -> bool:
        """Whether this changes items by itself, unlike an undo or redo."""
        return self.undoes is None


@dataclass(frozen=True)
class Act:
    """What somebody wants to decide: a `Decision` before it is one."""

    action: str
    items: BitMap = dataclasses.field(repr=False, hash=False)
    field: str | None = None
    value: str | None = None
    atlas_version: str | None = None
    note: str | None = None
    source: str | None = None
    replaces: str | None = None


@dataclass(frozen=True)
class Selection:
    """Items drawn on one version of the atlas: `item_ids` (m,) sorted ascending and unique.

    `rows` (m,) int32 are their row numbers on that atlas where they are known: looking up 100,000
    ids takes as long as everything else that happens to them.
    """

    item_ids: Ids
    atlas_version: str
    rows: Int32 | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.item_ids.dtype.kind != "U":
            raise ValueError(f"item_ids must be strings, got {self.item_ids.dtype}")
        if not (self.item_ids[1:] > self.item_ids[:-1]).all():
            raise ValueError("item_ids must be sorted ascending and unique")
        if self.rows is not None and self.rows.shape != self.item_ids.shape:
            raise ValueError(f"rows must have shape {self.item_ids.shape}, got {self.rows.shape}")

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def of(cls, atlas: Atlas, rows: Int32) -> "Selection":
        """Return the items in these sorted rows of an atlas."""
        return cls(atlas.item_ids[rows], atlas.version, rows)

    def part(self, mask: npt.NDArray[np.bool_]) -> "Selection":
        """Return the items where `mask` (m,) holds."""
        rows = None if self.rows is None else self.rows[mask]
        return Selection(self.item_ids[mask], self.atlas_version, rows)


@dataclass(frozen=True)
class Forecast:
    """What a label would do to a selection, before it is applied.

    `items` are those that are not `excluded`; `relabels` counts by label the ones among them that
    a person has labelled otherwise.
    """

    items: int
    relabels: dict[str, int]
    unchanged: int
    excluded: int

    @property
    def overwrites(self) -> int:
        """How many human labels would change."""
        return sum(self.relabels.values())


@dataclass(frozen=True)
class Finding:
    """What a check suspects: `score` is in [0, 1], 1 = most suspicious."""

    finding_id: str
    check: str
    item_ids: tuple[str, ...]
    score: float
    detail: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score must be in [0, 1], got {self.score}")
        if not self.item_ids:
            raise ValueError("a finding must name at least one item, got none")

    @classmethod
    def of(cls, check: str, item_ids: Iterable[str], score: float, detail: str) -> "Finding":
        """Return the finding of `check` about `item_ids`.

        The id hashes the check and the sorted ids only, not the score: a dismissed finding stays
        dismissed when a rerun finds the same items with another score.
        """
        ids = tuple(sorted({str(item_id) for item_id in item_ids}))
        digest = hashlib.sha256("\0".join((check, *ids)).encode()).hexdigest()
        return cls(digest[:ID_LENGTH], check, ids, min(max(float(score), 0.0), 1.0), detail)


def clean_label(text: str, what: str = "label") -> str:
    """Return `text` in NFC, trimmed, inner white space folded to single spaces.

    Raises
    ------
    CurationError
        For an empty text, more than 200 characters, control or invisible characters, ``<`` or
        ``>``. `what` is how the message calls it.
    """
    if len(text) > UNREAD_LENGTH:
        raise CurationError(_too_long(what, len(text)))
    for character in text:
        _refuse_unprintable(character, what)
    folded = " ".join(unicodedata.normalize("NFC", text).split())
    if not folded.strip(_JOINERS):
        raise CurationError(f"expected a {what}, got an empty text; type at least one character")
    if len(folded) > LABEL_LENGTH:
        raise CurationError(_too_long(what, len(folded)))
    return folded


def _too_long(what: str, length: int) -> str:
    return f"expected a {what} of at most {LABEL_LENGTH} characters, got {length}; shorten it"


def _refuse_unprintable(character: str, what: str) -> None:
    if character in "<>":
        raise CurationError(f"a {what} may not contain {character!r}; leave it out")
    category = unicodedata.category(character)
    # Cc control, Cs half of a surrogate pair (SQLite and Arrow cannot hold it), Cf invisible: with
    # zero-width and direction marks two labels would look the same and be two.
    refused = category in ("Cc", "Cs") and character not in _WHITE
    invisible = category == "Cf" and character not in _JOINERS and not _is_emoji_tag(character)
    if refused or invisible:
        code = f"U+{ord(character):04X}"
        raise CurationError(f"a {what} may not contain the invisible character {code}; retype it")


def _is_emoji_tag(character: str) -> bool:
    return "\U000e0020" <= character <= "\U000e007f"  # spell the flags of England, Scotland, Wales
