"""What the pages show of a workspace: progress, labels to offer, what a selection is made of."""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from curation.schema import FLAGS, Selection
from curation.workspace import Workspace

OFFERED = 500  # names that one metadata column may offer as labels
LABEL_COLUMNS = ("label", "category", "class", "class_name")


@dataclass(frozen=True)
class ClusterProgress:
    """How far one cluster is: counts of its items, and its most given labels."""

    cluster: int
    items: int
    labelled: int
    excluded: int
    labels: tuple[str, ...]


def progress(workspace: Workspace, version: str | None = None) -> list[ClusterProgress]:
    """Return how far each cluster is, noise (-1) first where there is any."""
    atlas = workspace.atlas(version)
    workspace.labels.refresh()
    items = workspace.item_nos(atlas.version)
    category = workspace.labels.category(items)
    excluded = workspace.excluded(items)
    rows = []
    for cluster in atlas.clusters:
        members = atlas.members(cluster)
        held = [str(name) for name in category[members] if name is not None]
        names, counts = np.unique(np.array(held, dtype=np.str_), return_counts=True)
        top = names[np.argsort(-counts, kind="stable")][:3].tolist()
        rows.append(
            ClusterProgress(
                int(cluster), len(members), len(held), int(excluded[members].sum()), tuple(top)
            )
        )
    return rows


def label_names(workspace: Workspace, field: str = "category") -> list[str]:
    """Return the labels in use, most used first, then those the metadata brought."""
    workspace.labels.refresh()
    counts = workspace.labels.counts(field)
    used = sorted(counts, key=lambda name: (-counts[name], name))
    return used + [name for name in _imported_names(workspace) if name not in counts]


def likely_labels(workspace: Workspace, name: str, field: str = "category") -> list[str]:
    """Return up to three known labels that a new `name` is nearly: its beginning, or a slip."""
    known = label_names(workspace, field)
    if not name or name in known:
        return []
    by_folded = {label.casefold(): label for label in reversed(known)}
    begun = [label for label in known if label.casefold().startswith(name.casefold())]
    close = [by_folded[hit] for hit in get_close_matches(name.casefold(), by_folded, n=3)]
    return list(dict.fromkeys([*begun, *close]))[:3]


def _imported_names(workspace: Workspace) -> list[str]:
    rows = workspace.store.fields()
    names: set[str] = set()
    for column in rows.column_names:
        if column.lower() in LABEL_COLUMNS:
            values = rows[column].unique().to_pylist()
            names |= {str(value) for value in values[:OFFERED] if value not in (None, "")}
    return sorted(names)


def flag_counts(workspace: Workspace, selection: Selection) -> dict[str, int]:
    """Return how many items of a selection have each flag; flags that none has are left out."""
    bits = workspace.labels.flags(workspace.journal.item_nos(selection.item_ids))
    counts = {flag: int((bits >> bit & 1).sum()) for bit, flag in enumerate(FLAGS)}
    return {flag: count for flag, count in counts.items() if count}


def composition(workspace: Workspace, selection: Selection) -> list[tuple[int, int]]:
    """Return how many items of a selection are in each cluster, most first."""
    atlas = workspace.atlas(selection.atlas_version)
    numbers = atlas.cluster[atlas.rows_of(selection.item_ids)]
    found, counts = np.unique(numbers, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(found[at]), int(counts[at])) for at in order]
