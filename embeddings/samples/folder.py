"""Write a folder whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embeddings.errors import CurationError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary sibling to write into; it gets the name `folder` when all went well.

    Raises
    ------
    CurationError
        When `folder` exists and is not an empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CurationError(f"{folder} must be absent or empty, it holds something else; move it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as parent:
        # The inner folder gets ordinary permissions; a temporary directory is private.
        fresh = Path(parent) / folder.name
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rmdir()
        os.replace(fresh, folder)
