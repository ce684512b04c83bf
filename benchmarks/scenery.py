"""A made-up dataset of any size, ready to serve: ``python -m benchmarks.scenery N HOME NAME``.

It is written as a build writes it (tables, k-NN graph, atlas, journal), without pictures to read:
ids, places and vectors are drawn by chance, thumbnails are 64 coloured pictures shared by all.
"""

import hashlib
import io
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embeddings import tables
from embeddings.schema import Atlas, Neighbours
from embeddings.store import Store

CLUSTERS = 200
DIM = 16
K = 15
PICTURES = 64
CHUNK = 50_000  # rows written at a time
SPACE = "scenery"
LABELS = "dress hat longsleeve outwear pants shirt shoes shorts skirt t-shirt".split()
SOURCES = [f"camera {number}" for number in range(1, 7)]
MADE_AT = "2026-01-01T00:00:00.000000+00:00"
BEFORE = "2025-12-31T00:00:00.000000+00:00"


def synthetic_atlas(n: int, seed: int = 0) -> Atlas:
    """Round clusters of unequal size, a tenth of the items strewn as noise."""
    random = np.random.default_rng(seed)
    cluster = random.choice(CLUSTERS, n, p=random.dirichlet(np.ones(CLUSTERS))).astype(np.int32)
    centres = random.uniform(0.05, 0.95, (CLUSTERS, 2))
    xy = centres[cluster] + random.normal(0, 0.015, (n, 2))
    noise = random.random(n) < 0.1
    xy[noise] = random.random((int(noise.sum()), 2))
    cluster[noise] = -1
    away = np.where(noise, 1.0, np.linalg.norm(xy - centres[cluster], axis=1) / 0.06)
    return Atlas(
        item_ids=_ids(n, seed),
        xy=np.clip(xy, 0, 1).astype(np.float32),
        cluster=cluster,
        membership=np.where(noise, 0, np.clip(1 - away, 0, 1)).astype(np.float32),
        outlier_score=np.clip(away, 0, 1).astype(np.float32),
        version=hashlib.sha256(f"scenery {n} {seed}".encode()).hexdigest()[:16],
        space=SPACE,
        params={"encoder": SPACE, "layout": "random", "cluster": "random"},
    )


def solid(atlas: Atlas) -> Atlas:
    """The same items with a third coordinate: each cluster at a height of its own."""
    random = np.random.default_rng(len(atlas))
    height = random.uniform(0.05, 0.95, CLUSTERS + 1)[atlas.cluster]  # the last is the noise's
    spread = np.where(atlas.cluster < 0, 0.3, 0.015)
    z = np.clip(height + random.normal(0, 1, len(atlas)) * spread, 0, 1)
    return replace(
        atlas,
        xy=np.column_stack([atlas.xy, z]).astype(np.float32),
        version=hashlib.sha256(f"solid {atlas.version}".encode()).hexdigest()[:16],
    )


def make(n: int, name: str, seed: int = 0) -> Atlas:
    """Write a dataset of `n` items called `name` below ``CURATE_HOME``; return its newest atlas.

    There is an older one in three dimensions, `solid` of it.
    """
    from curation.workspace import Workspace
    from embeddings.dataset import create_dataset

    store = Store(create_dataset(name).tables)
    atlas = synthetic_atlas(n, seed)
    for start in range(0, n, CHUNK):
        _write(store, atlas, start, seed)
    rows = _vectors(atlas.xy, seed)
    store.add_vectors(SPACE, atlas.item_ids.tolist(), rows, _details())
    store.save_neighbours(SPACE, _graph(atlas, rows), "scenery")
    store.save_fields(_fields(atlas, seed))
    store.save_atlas(solid(atlas), BEFORE)
    store.save_atlas(atlas, MADE_AT)
    workspace = Workspace(name)  # gives every item its number in the journal
    workspace.journal.close()
    return atlas


def pictures() -> list[bytes]:
    """Return 64 small JPEGs, each of its own colour and shape."""
    return [_picture(number) for number in range(PICTURES)]


def _picture(number: int) -> bytes:
    from PIL import Image, ImageDraw

    side = 64
    image = Image.new("HSV", (side, side), (number * 256 // PICTURES, 90, 235)).convert("RGB")
    turn = np.linspace(0, 2 * math.pi, 3 + number % 6, endpoint=False) + number
    corners = [(32 + 24 * math.cos(angle), 32 + 24 * math.sin(angle)) for angle in turn]
    ImageDraw.Draw(image).polygon(corners, fill=(number * 3, 40, 255 - number * 3))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75, optimize=True)
    return buffer.getvalue()


def _ids(n: int, seed: int) -> npt.NDArray[np.str_]:
    """Return `n` sorted hexadecimal ids, the same for the same seed."""
    drawn = np.random.default_rng([seed, 1]).bytes(16 * n)
    ids = np.array([drawn[at : at + 16].hex() for at in range(0, 16 * n, 16)], np.str_)
    return np.unique(ids)  # 128 bits: no two are alike


def _write(store: Store, atlas: Atlas, start: int, seed: int) -> None:
    """Append one chunk of images, locations and items.

    Through the tables and not through the nouns: a million Image objects take longer than the
    rest together.
    """
    ids = atlas.item_ids[start : start + CHUNK].tolist()
    rows = {"images": _images(ids, seed), "locations": _locations(ids), "items": _items(ids, atlas)}
    for name, columns in rows.items():
        store._append(name, _filled(name, len(ids), columns))


def _filled(name: str, n: int, columns: dict[str, Any]) -> pa.Table:
    """Return a table of `n` rows with the schema `name`; columns that are not given are null."""
    schema = tables.SCHEMAS[name]
    given = {
        field.name: pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(n, field.type)
        for field in schema
    }
    return pa.table(given, schema=schema)


def _images(ids: list[str], seed: int) -> dict[str, Any]:
    random = np.random.default_rng([seed, 2, int(ids[0][:8], 16)])
    n = len(ids)
    days = random.integers(0, 1500, n)
    dates = np.datetime64("2022-01-01T12:00:00") + days.astype("timedelta64[D]")
    return {
        "image_id": ids,
        "sha256": [item_id * 2 for item_id in ids],
        "width": random.integers(400, 4000, n),
        "height": random.integers(400, 4000, n),
        "bytes": random.integers(20_000, 4_000_000, n),
        "format": ["JPEG"] * n,
        "first_seen": [MADE_AT] * n,
        "taken_at": np.datetime_as_string(dates).tolist(),
        "source": [SOURCES[at] for at in random.integers(0, len(SOURCES), n).tolist()],
    }


def _locations(ids: list[str]) -> dict[str, Any]:
    paths = [f"/scenery/{item_id[:2]}/{item_id}.jpg" for item_id in ids]
    return {
        "path": paths,
        "path_bytes": [path.encode() for path in paths],
        "size": [100_000] * len(ids),
        "mtime_ns": [0] * len(ids),
        "status": ["ok"] * len(ids),
        "first_seen": [MADE_AT] * len(ids),
        "image_id": ids,
    }


def _items(ids: list[str], atlas: Atlas) -> dict[str, Any]:
    shown = pictures()
    clusters = atlas.cluster[atlas.rows_of(np.array(ids))].tolist()
    return {
        "item_id": ids,
        "image_id": ids,
        "thumbnail": [shown[cluster % PICTURES] for cluster in clusters],
    }


def _vectors(xy: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Random Fourier features of the places: near on the map is near in the space."""
    random = np.random.default_rng([seed, 3])
    turns = xy @ random.normal(0, 6, (2, DIM)) + random.uniform(0, 2 * math.pi, DIM)
    rows = np.cos(turns).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _graph(atlas: Atlas, rows: npt.NDArray[np.float32]) -> Neighbours:
    """The nearest on the map, each with its cosine in the space."""
    from scipy.spatial import cKDTree

    k = min(K, len(atlas) - 1)
    _, found = cKDTree(atlas.xy).query(atlas.xy, k + 1)
    found = found.astype(np.int32)
    found[(found == np.arange(len(atlas))[:, None]).sum(axis=1) == 0, 0] = -1  # many in one place
    itself = found == np.where(found[:, :1] == -1, -1, np.arange(len(atlas))[:, None])
    near = found[~itself].reshape(len(atlas), k)
    cosine = np.empty((len(atlas), k), np.float32)
    for start in range(0, len(atlas), CHUNK):
        part = slice(start, start + CHUNK)
        cosine[part] = np.einsum("nd,nkd->nk", rows[part], rows[near[part]])
    return Neighbours(atlas.item_ids, near, cosine)


def _fields(atlas: Atlas, seed: int) -> pa.Table:
    random = np.random.default_rng([seed, 4])
    drawn = random.integers(0, len(LABELS), len(atlas))
    label = np.where(random.random(len(atlas)) < 0.1, drawn, atlas.cluster % len(LABELS))
    return pa.table(
        {
            "item_id": pa.array(atlas.item_ids.tolist(), pa.string()),
            "label": pa.array(np.array(LABELS)[label].tolist(), pa.string()),
            "price": pa.array(np.round(random.lognormal(3, 0.6, len(atlas)), 2)),
        }
    )


def _details() -> dict[str, Any]:
    return {"encoder": SPACE, "dim": DIM, "made_at": MADE_AT}


def main() -> None:
    """Make the dataset that the command line names."""
    if len(sys.argv) != 4 or not sys.argv[1].isdecimal():
        sys.exit("usage: python -m benchmarks.scenery N HOME NAME")
    count, home, name = sys.argv[1:]
    os.environ["CURATE_HOME"] = str(Path(home).absolute())
    started = time.perf_counter()
    make(int(count), name)
    print(f"{name}: {int(count):,} items in {time.perf_counter() - started:.1f} s below {home}")


if __name__ == "__main__":
    main()
