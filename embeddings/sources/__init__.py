"""Where images come from: a registry of sources, each a module with `RANK`, `claims` and `find`.

What is typed as a source is a *spec*: a folder, a file, a glob, a URL, or ``kind:spec`` to say
which source is meant. Source files are only ever read.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embeddings.errors import CurationError
from embeddings.files import Candidate
from embeddings.registry import Registry
from embeddings.stages import Progress

if TYPE_CHECKING:
    from embeddings.downloads import Limits


@dataclass(frozen=True)
class Context:
    """What a source may need of the build that asks it.

    Attributes
    ----------
    keep : Path
        Folder of downloaded bytes, each under the SHA-256 of its bytes; kept for good.
    progress : Progress
    stored : callable
        SHA-256 -> the bytes of an image that the dataset knows, or None.
    listed : callable
        Told a path when everything below it has been listed: what is known there and was not
        yielded is gone.
    note : callable
        Told one line for the curator, shown in the report.
    limits : Limits
        Of downloads.
    """

    keep: Path
    progress: Progress
    stored: Callable[[str], bytes | None]
    listed: Callable[[str], None]
    note: Callable[[str], None]
    limits: "Limits"


class Source(Protocol):
    """One kind of place that images come from."""

    @property
    def RANK(self) -> int:
        """Lower is asked first."""

    def claims(self, spec: str) -> bool:
        """Take a cheap look: is `spec` of this kind? Never raises."""

    def find(self, spec: str, context: Context) -> Iterator[Candidate]:
        """Yield what may be images, in a stable order.

        Raises
        ------
        CurationError
            When nothing of `spec` can be used. One bad member is a candidate that cannot be read.
        """


SOURCES: Registry[Source] = Registry("source", "curation_atlas.sources")


def resolve(spec: str) -> tuple[Source, str]:
    """Return the source that `spec` is of, and the spec without the kind's name.

    Raises
    ------
    CurationError
        When no source claims it: the message says what there is.
    """
    kind, colon, rest = spec.partition(":")
    if colon and kind in SOURCES.names():
        return SOURCES.get(kind), rest
    ranked = sorted((SOURCES.get(name).RANK, name) for name in SOURCES.names())
    for _, name in ranked:
        source = SOURCES.get(name)
        if source.claims(spec):
            return source, spec
    raise CurationError(_unclaimed(spec))


def find(specs: Sequence[str], context: Context) -> Iterator[Candidate]:
    """Yield what may be images in all of `specs`; a place met twice is yielded twice."""
    for source, spec in [resolve(spec) for spec in specs]:
        yield from source.find(spec, context)


def _unclaimed(spec: str) -> str:
    if os.path.exists(os.path.expanduser(spec)):
        known = ", ".join(SOURCES.names())
        return f"{spec} is not an image, nor a source of another kind; known kinds: {known}"
    return f"no such file or folder: {spec or repr(spec)}; check the path"
