"""In whose hands the clusters are: who has them on a sheet of the Clean page."""

import numpy as np
from pyroaring import BitMap, FrozenBitMap

from curation.aligned import Kept
from curation.presence import presence
from curation.workspace import Workspace
from embeddings.errors import CurationError

SHARE = 0.1  # of a sheet, or of a cluster; of other clusters there are only strays on the sheet
SHEETS_KEPT = 64  # whose clusters are known: every page asks once a second

_clusters = Kept(SHEETS_KEPT)


def clusters_in_hand(workspace: Workspace, version: str, session: str) -> dict[int, list[str]]:
    """Return who cleans each cluster of an atlas in other tabs than `session`, by cluster.

    Names are sorted, each once; noise is -1. Only the newest atlas, and one that is open already,
    have clusters: a question asked once a second reads no other from the disk.
    """
    newest = [run["version"] for run in workspace.runs()[:1]]
    if not workspace.is_open(version) and version not in newest:
        return {}
    found: dict[int, set[str]] = {}
    for claim in presence(workspace.dataset).claims().values():
        if claim.bars(workspace.made_by, session):
            for cluster in _of_sheet(workspace, version, claim.items):
                found.setdefault(cluster, set()).add(claim.person)
    return {cluster: sorted(names) for cluster, names in sorted(found.items())}


def _of_sheet(workspace: Workspace, version: str, items: BitMap) -> list[int]:
    """Return the clusters that a sheet is mostly made of, or holds a good part of."""
    key = (str(workspace.dataset.path), version, FrozenBitMap(items))

    def look() -> list[int]:
        clusters = workspace.atlas(version).cluster
        on_sheet = clusters[workspace.rows_with(items, version)]
        numbers, counts = np.unique(on_sheet, return_counts=True)
        sizes = np.bincount(clusters + 1)[numbers + 1]
        return [int(one) for one in numbers[counts >= SHARE * np.minimum(len(on_sheet), sizes)]]

    try:
        return _clusters.get(key, look)
    except CurationError:
        return []
