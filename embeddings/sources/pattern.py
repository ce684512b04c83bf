"""A glob: ``photos/2024-*/*.jpg`` or ``shards/*.tar``; each match is a source of its own kind."""

import glob
import os
from collections.abc import Iterator

from embeddings import sources
from embeddings.errors import CurationError
from embeddings.files import Candidate
from embeddings.sources import Context

RANK = 80


def claims(spec: str) -> bool:
    """Say whether `spec` has wildcards and is not itself the name of something that is there."""
    path = os.path.expanduser(spec)
    return glob.has_magic(path) and "://" not in spec and not os.path.lexists(path)


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield what the matches hold, in the order of their names; ``**`` goes any depth down."""
    matches = sorted(glob.glob(os.path.expanduser(spec), recursive=True), key=os.fsencode)
    if not matches:
        raise CurationError(f"nothing matches {spec}; check the pattern, and quote it in the shell")
    passed: list[CurationError] = []
    for match in matches:
        try:
            yield from sources.find([match], context)
        except CurationError as error:
            if len(matches) == 1:
                raise
            passed.append(error)
    if passed:
        context.note(f"{spec}: passed over {len(passed):,} of the matches; the first: {passed[0]}")
