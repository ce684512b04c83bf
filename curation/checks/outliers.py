"""Items far from everything else."""

import numpy as np

from curation.checks import CheckContext
from curation.schema import Finding
from embeddings.errors import CurationError

MODERATE, SEVERE = 1.5, 3.0  # interquartile ranges above the third quartile: Tukey 1977, 2D
FLAT = 1e-4  # cosine distance: a narrower range is the noise of arithmetic


def run(context: CheckContext, *, strength: str = "moderate") -> list[Finding]:
    """Return the items whose mean cosine distance to their neighbours lies beyond Tukey's fences.

    With u interquartile ranges above the third quartile, an item is moderate from u = 1.5 and
    severe from u = 3; its score is ``u / (1.5 + u)``, so from 0.5 and from 0.667. `strength` is
    the least that is returned, ``"moderate"`` or ``"severe"``.
    """
    fences = {"moderate": MODERATE, "severe": SEVERE}
    if strength not in fences:
        raise CurationError(f"strength must be moderate or severe, got {strength!r}")
    graph = context.graph
    if not len(graph) or not graph.k:
        return []
    distance = 1.0 - graph.similarity.mean(axis=1, dtype=np.float64)
    lower, upper = np.quantile(distance, [0.25, 0.75])
    above = (distance - upper) / max(upper - lower, FLAT)
    return [
        Finding.of(
            "outliers",
            [graph.item_ids[row]],
            above[row] / (MODERATE + above[row]),
            f"{'severe' if above[row] >= SEVERE else 'moderate'}: mean cosine distance "
            f"{distance[row]:.3f} to {graph.k} neighbours, {upper:.3f} in the third quartile",
        )
        for row in np.flatnonzero(above >= fences[strength])
    ]
