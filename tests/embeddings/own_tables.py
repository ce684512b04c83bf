"""Small tables of vectors, places and clusters, and the pictures that they are about."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

DIM = 8
COUNT = 24


def pictures(tmp_path: Path) -> Path:
    """Return a folder of 24, 0.png to 23.png, no two alike; late.png lies beside it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT + 1):
        picture = PIL.Image.linear_gradient("L").rotate(7 * number).resize((40, 30))
        picture.convert("RGB").save(folder / f"{number}.png")
    (folder / f"{COUNT}.png").rename(tmp_path / "late.png")
    return folder


def vectors(count: int = COUNT, seed: int = 0, dim: int = DIM) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    rows[:, 0] += np.where(np.arange(count) % 2, 4, -4)  # two clumps
    return rows


def paths(count: int = COUNT) -> list[str]:
    return [f"photos/{number}.png" for number in range(count)]


def write(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None) -> Path:
    """Write columns, matrices as lists, as the kind of file that the name says."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return path
    arrays = {name: as_column(values) for name, values in columns.items()}
    whole = pa.table(arrays)
    if path.suffix == ".parquet":
        pq.write_table(whole.replace_schema_metadata(metadata), path)
    else:
        pyarrow.csv.write_csv(whole, path)
    return path


def as_column(values: Any) -> Any:
    return list(values) if isinstance(values, np.ndarray) and values.ndim == 2 else values
