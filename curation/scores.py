"""How well a space agrees with labels: the first line of the scorecard."""

from typing import Any

import numpy as np

from curation.records import FIELD
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.purity import knn_accuracy
from embeddings.schema import rows_of


def knn_scores(workspace: Workspace, truth: str = "category") -> list[dict[str, Any]]:
    """Return for each space the leave-one-out accuracy of 1-NN and 5-NN, beside chance.

    Scored in the original space, never on the map. `truth` is ``category``, ``instance`` or a
    metadata field ``field.NAME``; items without it are left out. Chance is the share of the most
    common label.

    Raises
    ------
    CurationError
        When nothing is labelled, or the field does not exist.
    """
    rows = workspace.records().select(["item_id", *_columns(workspace, truth)])
    names = np.array(rows["item_id"].to_pylist(), dtype=np.str_)
    labels = rows[truth].to_pylist()
    found = []
    for space in workspace.store.spaces():
        graph = workspace.graph(space)
        if graph is None:
            continue
        at = rows_of(names, graph.item_ids)
        aligned = [
            None if row < 0 or labels[row] is None else str(labels[row]) for row in at.tolist()
        ]
        if not any(aligned):
            raise CurationError(f"no item has {truth!r} yet; label some, or give --truth field.X")
        first, chance, n = knn_accuracy(graph, aligned, 1)
        fifth, _, _ = knn_accuracy(graph, aligned, 5)
        found.append(
            {
                "space": space,
                "items": n,
                "k1": round(first, 4),
                "k5": round(fifth, 4),
                "chance": round(chance, 4),
            }
        )
    return found


def _columns(workspace: Workspace, truth: str) -> list[str]:
    known = ["category", "instance"]
    known += [FIELD + name for name in workspace.store.fields().column_names if name != "item_id"]
    if truth not in known:
        raise CurationError(f"no field {truth!r}; there are: {', '.join(known)}")
    return [truth]
