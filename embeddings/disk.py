"""What a disk does to a dataset: it fills up, may not be written, or keeps half of a table."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embeddings.errors import CurationError

# Bytes a row, measured on a build of 3,781 photographs (builtin encoder of 639 dimensions, k = 30,
# 61 MB in all = 16.1 kB an image): images 3,150 (3,072 of them the histogram), items 3,210,
# locations 165, vectors 1,305, neighbours 267, atlas 47, fields 27, journal 94. The tables that
# grow stand there twice: as they were appended, and as they were compacted.
IMAGE = 3_200
ITEM = 5_200  # a thumbnail of 128 pixels: 3.1 kB of clothes on white, 4 to 6 kB of dense scenes
LOCATION = 400  # a long path does not compress as well as the measured ones
ID = 32
ATLAS = 50
OTHER = 250  # metadata fields, the journal's item numbers
COPIES = 2  # appended, then compacted; the first is kept seven days for those who still read it
DOWNLOAD = 200_000  # a photograph of the web, when its size is not known
TIGHT = 0.8  # of what is free

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # lance gives the number in its text alone


def need(n_new: int, dim: int, *, known: int = 0, neighbours: int = 30) -> int:
    """Return about how many bytes a run writes that brings `n_new` images of `dim` dimensions.

    `known` is how many images the dataset has: the k-NN graph, the atlas and the fields are
    written anew for all of them.
    """
    whole = (n_new + known) * (ID + 8 * neighbours + ATLAS + OTHER)
    return n_new * _row(dim) * COPIES + whole


def check(
    folder: Path,
    n_new: int,
    dim: int,
    *,
    known: int = 0,
    neighbours: int = 30,
    downloads: int = 0,
) -> str:
    """Return one line that says what a run needs and what is free in `folder`.

    `downloads` are files of unknown size that will be kept there too.

    Raises
    ------
    CurationError
        When it cannot fit.
    """
    wanted = need(n_new, dim, known=known, neighbours=neighbours) + downloads * DOWNLOAD
    free = shutil.disk_usage(_existing(folder)).free
    if wanted > free:
        raise CurationError(
            f"about {size(wanted)} are needed in {folder}, {size(free)} are free; free some space "
            "or set CURATE_HOME to a larger disk"
        )
    # now and then what is known is compacted along: no reason to refuse one image, but to warn
    most = wanted + (known * _row(dim) if n_new else 0)
    tight = "; that is tight, the disk may fill up" if most > TIGHT * free else ""
    return f"needs about {size(wanted)} of {size(free)} free{tight}"


def _row(dim: int) -> int:
    return IMAGE + ITEM + LOCATION + ID + 2 * dim


def size(count: int) -> str:
    """Return bytes as people read them: ``61 MB``, ``12.3 GB``."""
    if count < 1_000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1_000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if unit in ("GB", "TB") else f"{value:.0f} {unit}"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a disk that is full, or may not be written, into one line that says what to do.

    Everything else keeps its traceback. What was committed before is kept: the same command goes
    on from there.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # lance has no class of its own for either
        code = _code(error)
        if code in _FULL:
            raise CurationError(
                f"the disk that holds {folder} is full ({os.strerror(code)}); free some space or "
                "move it to a larger disk and set CURATE_HOME; what was written is kept, the same "
                "command goes on from there"
            ) from error
        if code in _CLOSED:
            raise CurationError(
                f"{folder} cannot be written ({os.strerror(code)}); change its permissions or set "
                "CURATE_HOME to a folder you can write"
            ) from error
        raise


def finished(tables: Path, name: str) -> bool:
    """Say whether a table was ever written to the end of its first commit.

    A process that is killed, or meets a full disk, while it makes a table leaves a folder without
    a manifest, which LanceDB lists but cannot open. Nothing was acknowledged in it.
    """
    return any((tables / f"{name}.lance" / "_versions").glob("*.manifest"))


def _code(error: OSError | RuntimeError) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found.group(1)) if found else 0


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
