"""What a set of items may be called: by labels nearby, imported names, the encoder's words."""

import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.learning.classifier import NONE
from curation.learning.words import COMMON
from embeddings import encoders
from embeddings.encoders import Encoder, TextEncoder
from embeddings.errors import CurationError
from embeddings.schema import Float32, Int32

PROMPT = "a photo of a {}"  # what CLIP was judged with (Radford et al. 2021)
VOTERS = 400  # items of a set that choose among the words
NEAR = 15
AGREED = 0.2  # of the voters: a word that fewer are nearest to is not told
DOUBT = 3  # items' worth of doubt: a name that one item has is hardly a suggestion

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Name:
    """A suggested name, and `why`.

    `score` in [0, 1] is the share of the items that speak for it; few count for less than many.
    """

    name: str
    score: float
    why: str


@dataclass(frozen=True)
class Vocabulary:
    """Words in the space of one encoder: `rows` (t, d) float32 of unit length, one a word."""

    words: tuple[str, ...]
    rows: Float32
    encoder_id: str

    def __post_init__(self) -> None:
        if len(self.words) != len(self.rows):
            raise ValueError(
                f"rows must be one for each of {len(self.words)} words, got {len(self.rows)}"
            )

    def __len__(self) -> int:
        return len(self.words)


def suggest(
    rows: npt.NDArray[np.integer[Any]],
    vectors: npt.NDArray[np.floating[Any]],
    near: Int32,
    codes: Int32,
    legend: Sequence[str],
    *,
    imported: npt.NDArray[np.object_] | None = None,
    vocabulary: Vocabulary | None = None,
    limit: int = 5,
) -> list[Name]:
    """Return a few names for the items in `rows`, the best first, those from words last.

    Parameters
    ----------
    rows : (m,) int
        Rows of the atlas.
    vectors : (n, d) float16 or float32
        Of unit length.
    near : (n, k) int32
        Neighbours by row, nearest first, -1 = none.
    codes : (n,) int32
        Labels that people gave, by place in `legend`, -1 = none.
    imported : (m,) object, optional
        What metadata or a detector called each of them, None = nothing.
    vocabulary : Vocabulary, optional
        Words of the encoder that made `vectors`.

    Raises
    ------
    CurationError
        When the words are of another length than the vectors.
    """
    if not len(rows):
        return []
    found = _nearby(rows, near, codes, legend)
    if imported is not None:
        found += _imported([str(name) for name in imported if name is not None], len(rows))
    said = {one.name.casefold() for one in found}
    if vocabulary is not None and len(vocabulary):
        found += _worded(vectors, rows, vocabulary)
    # what people call things comes before what the encoder knows
    return sorted(_merged(found), key=lambda one: one.name.casefold() not in said)[:limit]


def text_encoder(name: str, encoder_id: str) -> TextEncoder:
    """Return the encoder called `name`, which has words and made the space of `encoder_id`.

    Raises
    ------
    CurationError
        When it has no text tower, or is another than the one that made the space.
    """
    found = encoders.load(name)
    if found.encoder_id != encoder_id:
        raise CurationError(
            f"words must go through the encoder of the space: expected {encoder_id}, got "
            f"{found.encoder_id}; name that encoder"
        )
    return _with_words(found)


def _with_words(encoder: Encoder) -> TextEncoder:
    if not isinstance(encoder, TextEncoder):
        raise CurationError(
            f"{encoder.encoder_id} knows no words: expected an encoder with a text tower, such as "
            f"--encoder fast; names still come from labels and imported names"
        )
    return encoder


def vocabulary(
    encoder: Encoder, words: Sequence[str], *, prompt: str = PROMPT, folder: Path | None = None
) -> Vocabulary:
    """Return `words` as vectors; read from `folder` when they were made before.

    Raises
    ------
    CurationError
        When the encoder has no text tower, or `prompt` has no place for the word.
    """
    words = tuple(dict.fromkeys(words))
    able = _with_words(encoder)
    made = kept(able.encoder_id, able.dim, words, prompt=prompt, folder=folder)
    return _encoded(able, words, prompt, folder) if made is None else made


def _encoded(
    able: TextEncoder, words: tuple[str, ...], prompt: str, folder: Path | None
) -> Vocabulary:
    rows = able.encode_text([prompt.replace("{}", word) for word in words])
    if folder is not None:
        _keep(_file(folder, able.encoder_id, prompt, words), rows)
    return Vocabulary(words, rows, able.encoder_id)


def kept(
    encoder_id: str,
    dim: int,
    words: Sequence[str],
    *,
    prompt: str = PROMPT,
    folder: Path | None,
) -> Vocabulary | None:
    """Return what `vocabulary` made of these words before and left whole in `folder`, if anything.

    `dim` is the length of the encoder's vectors.

    Raises
    ------
    CurationError
        When `prompt` has no place for the word.
    """
    if "{}" not in prompt:
        raise CurationError(f"expected a prompt with {{}} where the word goes, got {prompt[:80]!r}")
    words = tuple(dict.fromkeys(words))
    file = None if folder is None else _file(folder, encoder_id, prompt, words)
    rows = None if file is None else _read(file, (len(words), dim))
    return None if rows is None else Vocabulary(words, rows, encoder_id)


def _read(file: Path, shape: tuple[int, int]) -> Float32 | None:
    """Return the rows in `file`; None where there are none of this shape, which are made anew."""
    try:
        rows = np.load(file)
        if rows.shape != shape or rows.dtype != np.float32:
            raise ValueError(f"expected {shape} float32, got {rows.shape} {rows.dtype}")
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError) as error:
        _log.warning("%s is damaged and is made anew: %s", file, error)
        return None
    return np.asarray(rows, np.float32)


def _file(folder: Path, encoder_id: str, prompt: str, words: tuple[str, ...]) -> Path:
    """Return where they are; the words are in its name: another release may have others."""
    digest = hashlib.sha256("\0".join((encoder_id, prompt, *words)).encode()).hexdigest()
    return folder / f"words-{digest[:32]}.npy"


def _keep(file: Path, rows: Float32) -> None:
    """Write under another name first; where it cannot be written, the next process makes it."""
    temporary = file.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as out:
                np.save(out, rows)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be written: %s", file, error)


class Words:
    """The words of the encoder that made one space, made ready while people work.

    They are those of `curation.learning.words`. The text tower is loaded once, in the background
    and only where its weights are on this machine; from then on they are read from `folder`.

    Parameters
    ----------
    spec, encoder_id : str
        How to load the encoder, and which one it must be.
    dim : int
        The length of its vectors.
    """

    def __init__(self, spec: str, encoder_id: str, dim: int, folder: Path) -> None:
        self._wanted = spec, encoder_id, dim, folder
        self._found: Vocabulary | None = None
        self.why = ""  # there are no words, once it is known
        self._thread = threading.Thread(target=self._make, name="words", daemon=True)
        self._thread.start()

    def ready(self, seconds: float = 0.0) -> Vocabulary | None:
        """Return the words, waiting for them so long; None while there are none."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return self._found

    def _make(self) -> None:
        spec, encoder_id, dim, folder = self._wanted
        try:
            self._found = kept(encoder_id, dim, COMMON, folder=folder)
            if self._found is None:
                _at_hand(spec)
                self._found = _encoded(text_encoder(spec, encoder_id), COMMON, PROMPT, folder)
        except (CurationError, OSError) as error:
            self.why = str(error)
            _log.info("no names from words: %s", error)


def _at_hand(spec: str) -> None:
    """Refuse weights that would have to be downloaded: nobody asked for them."""
    kind, source = encoders.kind_of(spec)
    model, _, tag = source.partition("/")
    if kind == "open_clip":
        from embeddings.encoders import hub
        from embeddings.encoders.torchvision_fix import import_open_clip

        open_clip = import_open_clip()
        tags = open_clip.list_pretrained_tags_by_model(model)
        if tag in tags and not hub.cached(open_clip, open_clip.get_pretrained_cfg(model, tag)):
            raise CurationError(f"the weights of {spec} are not on this machine")


# ---- who speaks for a name


def _nearby(
    rows: npt.NDArray[np.integer[Any]], near: Int32, codes: Int32, legend: Sequence[str]
) -> list[Name]:
    """Each item votes for its own label, or else for the most common one of its neighbours."""
    held = codes[rows]
    around = np.where(near[rows, :NEAR] >= 0, codes[near[rows, :NEAR]], NONE)
    own = held != NONE
    at, column = np.nonzero((around != NONE) & ~own[:, None])
    several = max(len(legend), 1)
    said, votes = np.unique(at * several + around[at, column], return_counts=True)
    item, code = np.divmod(said, several)
    order = np.lexsort((code, -votes, item))  # of each item the most common code, then the lowest
    best = order[np.unique(item[order], return_index=True)[1]]
    counts = np.bincount(np.concatenate([held[own], code[best]]), minlength=len(legend))
    carry = np.bincount(held[own], minlength=len(legend))
    return [
        Name(legend[code], _score(counts[code], len(rows)), _why(carry[code], counts[code]))
        for code in np.flatnonzero(counts).tolist()
    ]


def _why(carry: int, counts: int) -> str:
    beside = counts - carry
    said = [f"{carry:,} of these carry it"] if carry else []
    return ", ".join([*said, f"{beside:,} lie beside it"] if beside else said)


def _imported(names: list[str], items: int) -> list[Name]:
    found, counts = np.unique(np.array(names, np.str_), return_counts=True)
    return [
        Name(name, _score(count, items), f"{count:,} of {items:,} were imported with it")
        for name, count in zip(found.tolist(), counts.tolist(), strict=True)
    ]


def _worded(
    vectors: npt.NDArray[np.floating[Any]],
    rows: npt.NDArray[np.integer[Any]],
    vocabulary: Vocabulary,
) -> list[Name]:
    """Each item, of many an even sample, votes for its nearest word; few votes say nothing."""
    if vocabulary.rows.shape[1] != vectors.shape[1]:
        raise CurationError(
            f"expected words of {vectors.shape[1]} numbers, got {vocabulary.rows.shape[1]}; "
            f"make the vocabulary with the encoder of this space"
        )
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), VOTERS)).astype(np.int64)]
    nearest = (vectors[some].astype(np.float32) @ vocabulary.rows.T).argmax(axis=1)
    words, counts = np.unique(nearest, return_counts=True)
    return [
        Name(
            vocabulary.words[word],
            _score(count, len(some)),
            f"the nearest word of {count / len(some):.0%}",
        )
        for word, count in zip(words.tolist(), counts.tolist(), strict=True)
        if count >= AGREED * len(some)
    ]


def _score(count: int, items: int) -> float:
    return float(count / (items + DOUBT))


def _merged(found: list[Name]) -> list[Name]:
    """One of each name whatever its case, spelled as the first that has it, best first."""
    names: dict[str, Name] = {}
    for one in found:
        key = one.name.casefold()
        held = names.get(key)
        if held is None:
            names[key] = one
        else:
            score = max(held.score, one.score)
            names[key] = Name(held.name, score, f"{held.why}; {one.why}")
    return sorted(names.values(), key=lambda one: -one.score)
