"""An .npz file as a table: each array a column. Nothing in it is ever run."""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embeddings.errors import CurationError
from embeddings.precomputed.columns import PLURAL

MOST_BYTES = 1 << 34  # unpacked: 5 million vectors of 768 numbers
BOMB_BYTES, BOMB_RATIO = 1 << 28, 200  # beyond both no vectors are packed
MOST_AXES = 2
# what zipfile, zlib and numpy's header parser raise for bytes that are no .npz
_DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError, SyntaxError),
    *(RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def names(path: Path) -> list[str]:
    """Return the names of the arrays, as a table calls its columns; none when it is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            return [_column(info.filename) for info in file.infolist()]
    except _DAMAGED:
        return []


def read(path: Path) -> pa.Table:
    """Return the arrays of an .npz as columns of one length; those of several axes are lists.

    Raises
    ------
    CurationError
        When it is damaged, too big, holds Python objects, or arrays of different lengths.
    """
    try:
        arrays = _arrays(path)
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {count:,}" for name, count in lengths.items())
            raise CurationError(f"the arrays of {path.name} must be of one length, got {told}")
        columns = {_column(name): _as_column(array) for name, array in arrays.items()}
        return pa.table(columns)
    except _DAMAGED as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CurationError(f"{path} cannot be read as an .npz file: {why[:200]}") from error
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise CurationError(f"{path} holds arrays that fit no table: {why[:200]}") from error


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        for info in members:
            if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
                raise CurationError(f"{path.name} is a decompression bomb ({info.filename})")
        size = sum(info.file_size for info in members)
        if size > MOST_BYTES:
            raise CurationError(
                f"{path.name} unpacks to {size:,} bytes; at most {MOST_BYTES:,}: split it"
            )
        found: dict[str, npt.NDArray[Any]] = {}
        for info in members:
            array = _array(file, info, path)
            if array is not None:
                found[info.filename.removesuffix(".npy")] = array
    return found


def _array(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> npt.NDArray[Any] | None:
    """Return one array; None for a single number, which says nothing of any image."""
    name = info.filename.removesuffix(".npy")
    with file.open(info) as stream:
        shape, dtype = _header(stream)
    if dtype.hasobject:
        raise CurationError(
            f"{path.name}: {name!r} holds Python objects, and loading those could run any program; "
            f"save it as np.array({name}, dtype=str), or as numbers"
        )
    if not shape or dtype.kind not in "biufSU":
        return None
    if len(shape) > MOST_AXES:
        raise CurationError(f"{path.name}: {name!r} must have shape (n,) or (n, d), got {shape}")
    if prod(shape) * dtype.itemsize > info.file_size:  # before memory is asked for
        raise CurationError(f"{path.name}: {name!r} is cut off; save the file again")
    with file.open(info) as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    reads: Mapping[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in reads:
        raise ValueError(f"an array of format {version}; save it with a numpy of today")
    shape, _, dtype = reads[version](stream)
    return shape, dtype


def _column(name: str) -> str:
    name = name.removesuffix(".npy")
    return PLURAL.get(name.lower(), name)


def _as_column(array: npt.NDArray[Any]) -> pa.Array:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "U":
        return pa.array(array.reshape(len(array), -1)[:, 0].tolist(), pa.string())
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
