"""A folder of images, or one image file."""

import os
from collections.abc import Iterator
from pathlib import Path

from embeddings import files
from embeddings.files import Candidate
from embeddings.sources import Context

RANK = 90  # after every kind of folder that has a meaning of its own


def claims(spec: str) -> bool:
    """Take everything that is there: `find` says what is wrong with it."""
    return os.path.lexists(os.path.expanduser(spec))


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield the files below a folder that may be images, or the one file."""
    path = Path(spec).expanduser().absolute()
    yield from files.find(path)
    context.listed(str(path))
