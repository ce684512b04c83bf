"""Vectors to k-NN graph: exact, once per space, reused by everything that needs neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from embeddings.errors import CurationError
from embeddings.schema import Float32, Neighbours, Vectors

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]

# Queries x columns of one similarity tile. On the CPU a tile should stay near the last-level
# cache (256 x 32768 float32 = 32 MiB); a GPU wants work to hide its launches.
CPU_TILE = (256, 32_768)
CUDA_TILE = (4_096, 32_768)
SPARE = {"bfloat16": 96, "float32": 16}  # candidates beyond k, by how coarse the arithmetic is
RERANK_BYTES = 1 << 20  # float64 products held at once: within the second-level cache, 2.5 x faster
UNIT_TOLERANCE = 0.01  # float16 storage moves a length by less than 0.001


def knn_graph(
    vectors: Vectors, k: int = 30, *, device: str = "auto", progress: Progress | None = None
) -> Neighbours:
    """Find the `k` nearest neighbours of every item by cosine, exactly.

    Candidates come from a coarse matrix product and are ranked again in float64. A row whose
    candidates cannot be proved complete (an error bound says so) goes to finer arithmetic, the
    last of which breaks every tie by row number. The answer is therefore exact and the same
    whatever the tiles, the number of threads and the speed of the machine.

    Parameters
    ----------
    vectors : Vectors
        (n, d) float32 of unit length.
    k : int
        Neighbours per item, at least 1; clipped to n - 1.
    device : str
        ``"auto"`` (CUDA where there is any), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of items.

    Returns
    -------
    Neighbours
        Nearest first, ties by row number, never the item itself; similarity in [-1, 1].

    Raises
    ------
    ValueError
        When `k` < 1 or a row is not finite and of unit length.
    CurationError
        When CUDA is asked for and there is none.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    n = len(vectors)
    k = min(k, n - 1)
    _check_unit_length(vectors.rows)
    if k < 1:
        return Neighbours(vectors.item_ids, np.zeros((n, 0), np.int32), np.zeros((n, 0), "f4"))
    rows = np.empty((n, k), np.int32)
    similarity = np.empty((n, k), np.float32)
    with _full_precision():
        search = _Search(vectors.rows, k, _device(device))
        for start in range(0, n, search.tile[0]):
            stop = min(start + search.tile[0], n)
            rows[start:stop], similarity[start:stop] = search.nearest(start, stop)
            if progress is not None:
                progress(stop, n)
    return Neighbours(vectors.item_ids, rows, similarity)


def outlier_score(graph: Neighbours) -> Float32:
    """Mean cosine distance to the neighbours, clipped to [0, 1], (n,) float32; alone = 0.

    It finds scattered odd items; junk that forms a clump of its own has near neighbours and
    scores low.
    """
    if graph.k == 0:
        return np.zeros(len(graph), np.float32)
    distance = 1.0 - graph.similarity.mean(axis=1, dtype=np.float64)
    return np.asarray(np.clip(distance, 0.0, 1.0), np.float32)


class _Search:
    """The rows on one device, and the ladder of arithmetics from the fastest to the exact."""

    def __init__(self, rows: Float32, k: int, device: torch.device) -> None:
        import torch

        self.k = k
        self.tile = CUDA_TILE if device.type == "cuda" else CPU_TILE
        # torch warns about read-only memory (a memory map, Arrow); nothing here writes to it.
        self.rows = torch.tensor(rows) if not rows.flags.writeable else torch.from_numpy(rows)
        self.rows = self.rows.contiguous().to(device)
        self.ladder: list[tuple[torch.Tensor, float, int]] = []
        if _bfloat16_is_faster(self.rows):
            self._add_rung(torch.bfloat16)
        self._add_rung(torch.float32)

    def _add_rung(self, dtype: torch.dtype) -> None:
        """Keep the rows as `dtype` with how far a product of two can be from the truth."""
        coarse = self.rows.to(dtype)
        # Cauchy-Schwarz on both roundings, then float32 sums in any order (Higham 2002, 3.1).
        lost = max(
            float((self.rows[s : s + 65_536] - coarse[s : s + 65_536].float()).norm(dim=1).max())
            for s in range(0, len(self.rows), 65_536)
        )
        error = 2.02 * lost + 2.0 * self.rows.shape[1] * 2.0**-24
        if lost:
            error += 2.0**-8  # the product itself comes back rounded to bfloat16
        spare = SPARE[str(dtype).removeprefix("torch.")]
        self.ladder.append((coarse, error, self.k + spare))

    def nearest(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and similarities (m, k) of the neighbours of the rows in [start, stop)."""
        import torch

        queries = torch.arange(start, stop, device=self.rows.device)
        keys = torch.empty((len(queries), self.k), dtype=torch.int64, device=queries.device)
        open_ = torch.arange(len(queries), device=queries.device)
        for coarse, error, m in self.ladder:
            keys[open_], proved = self._approximately(queries[open_], coarse, error, m)
            open_ = open_[~proved]
            if not len(open_):
                break
        if len(open_):
            keys[open_] = self._exactly(queries[open_])
        similarity, rows = _unpack(keys)
        return rows.cpu().numpy(), similarity.cpu().numpy()

    def _approximately(
        self, queries: torch.Tensor, coarse: torch.Tensor, error: float, m: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys (q, k) of the best of `m` candidates, and for which queries none can be missing."""
        import torch

        m = min(m, len(self.rows) - 1)
        best = torch.empty((len(queries), 0), dtype=coarse.dtype, device=coarse.device)
        at = torch.empty((len(queries), 0), dtype=torch.int64, device=coarse.device)
        for start in range(0, len(coarse), self.tile[1]):
            tile = coarse[queries] @ coarse[start : start + self.tile[1]].T
            _blank_self(tile, queries, start, float("-inf"))
            values, columns = tile.topk(min(m, tile.shape[1]), dim=1, sorted=False)
            best = torch.cat([best, values], dim=1)
            at = torch.cat([at, columns + start], dim=1)
            best, kept = best.topk(min(m, best.shape[1]), dim=1, sorted=False)
            at = at.gather(1, kept)
        keys = self._rank(queries, at)
        if m == len(self.rows) - 1:
            return keys, torch.ones(len(queries), dtype=torch.bool, device=keys.device)
        kth = _unpack(keys[:, -1])[0]
        return keys, kth > best.min(dim=1).values.float() + error

    def _rank(self, queries: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Keys of the k best candidates, similarities summed in float64, (q, k) sorted.

        Products and sums are per pair, so that equal vectors get equal bits wherever they stand;
        a matrix product does not promise that.
        """
        import torch

        q, m, d = len(queries), candidates.shape[1], self.rows.shape[1]
        step = q if self.rows.is_cuda and q * m * d < 2**28 else max(1, RERANK_BYTES // (8 * m * d))
        keys = []
        with _one_thread():
            for start in range(0, q, step):
                columns = candidates[start : start + step]
                mine = self.rows[queries[start : start + step]].double()
                # index_select copies whole rows, twice as fast as indexing with a matrix.
                theirs = self.rows.index_select(0, columns.reshape(-1)).view(len(columns), m, d)
                similarity = (theirs.double() * mine[:, None, :]).sum(dim=2)
                keys.append(_pack(similarity, columns).topk(self.k, dim=1).values)
        return torch.cat(keys)

    def _exactly(self, queries: torch.Tensor) -> torch.Tensor:
        """Keys of the k nearest among all rows in float64, (q, k): ties cost nothing but time."""
        import torch

        width = self.tile[1] // 4  # float64 and the keys are four times as wide as float32
        mine = self.rows[queries].double()
        keys = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
        for start in range(0, len(self.rows), width):
            tile = self.rows[start : start + width].double()
            columns = torch.arange(start, start + len(tile), device=queries.device)
            packed = _pack(mine @ tile.T, columns)
            _blank_self(packed, queries, start, torch.iinfo(torch.int64).min)
            keys = torch.cat([keys, packed.topk(min(self.k, len(tile)), dim=1).values], dim=1)
            keys = keys.topk(min(self.k, keys.shape[1]), dim=1).values
        return keys


def _blank_self(tile: torch.Tensor, queries: torch.Tensor, start: int, value: float) -> None:
    inside = ((queries >= start) & (queries < start + tile.shape[1])).nonzero()[:, 0]
    tile[inside, queries[inside] - start] = value


def _pack(similarity: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """One int64 per pair that sorts by similarity (as float32), then by lower row number."""
    import torch

    # Adding 0 turns -0.0 into 0.0, which must tie with it.
    bits = (similarity.clamp(-1.0, 1.0).float() + 0.0).view(torch.int32)
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).long()
    return ordered * 2**32 + (2**32 - 1 - columns)


def _unpack(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    ordered = (keys >> 32).int()
    similarity = torch.where(ordered >= 0, ordered, ordered ^ 0x7FFFFFFF).view(torch.float32)
    return similarity, (2**32 - 1 - (keys & 0xFFFFFFFF)).int()


def _bfloat16_is_faster(rows: torch.Tensor) -> bool:
    """Time one tile in both: some CPUs have instructions for it, others emulate it slowly."""
    import torch

    if rows.device.type == "cuda":
        return True
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = rows[:256].to(dtype), rows[:4096].to(dtype).T
        left @ right  # the first call chooses and compiles its kernel
        started = time.perf_counter()
        left @ right
        seconds[dtype] = time.perf_counter() - started
    return seconds[torch.bfloat16] < 0.5 * seconds[torch.float32]


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise CurationError(f"no CUDA device for device {name!r}; use device 'cpu' or 'auto'")
    return torch.device(name)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep float32 products at float32: the error bound counts on it, other code may not."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch's other threads out of thousands of small products.

    On a loaded machine they spin for each other: 28 s instead of 1.2 s for 3,781 items.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_unit_length(rows: Float32) -> None:
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    bad = np.flatnonzero(~(np.abs(length - 1.0) <= UNIT_TOLERANCE))
    if len(bad):
        raise ValueError(
            f"rows must have unit length, row {bad[0]} has {length[bad[0]]:.4g} "
            f"({len(bad)} of {len(rows)} rows are off)"
        )
