"""What the pages show of a workspace: progress, labels to offer, what a selection is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from curation.records import known_rows
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


_imported: WeakKeyDictionary[Workspace, tuple[int, list[str]]] = WeakKeyDictionary()


def _imported_names(workspace: Workspace) -> list[str]:
    """Return the names that metadata brought; the table is read again only when it has changed."""
    version = workspace.store.version("fields")
    found = _imported.get(workspace)
    if found is None or found[0] != version:
        found = _imported[workspace] = (version, _names_in(workspace.store.fields()))
    return found[1]


def _names_in(rows: pa.Table) -> list[str]:
    names: set[str] = set()
    for column in rows.column_names:
        if column.lower() in LABEL_COLUMNS:
            values = rows[column].unique().to_pylist()
            names |= {str(value) for value in values[:OFFERED] if value not in (None, "")}
    return sorted(names)


def flag_counts(workspace: Workspace, selection: Selection) -> dict[str, int]:
    """Return how many items of a selection have each flag; flags that none has are left out."""
    bits = workspace.labels.flags(workspace.nos_of(selection))
    counts = {flag: int((bits >> bit & 1).sum()) for bit, flag in enumerate(FLAGS)}
    return {flag: count for flag, count in counts.items() if count}


def clusters_of(workspace: Workspace, selection: Selection, item_ids: Sequence[str]) -> list[int]:
    """Return the cluster of each of `item_ids` on the atlas of `selection`."""
    atlas = workspace.atlas(selection.atlas_version)
    rows = known_rows(atlas.item_ids, np.array(item_ids, dtype=np.str_))
    found: list[int] = atlas.cluster[rows].tolist()
    return found


def composition(workspace: Workspace, selection: Selection) -> list[tuple[int, int]]:
    """Return how many items of a selection are in each cluster, most first."""
    atlas = workspace.atlas(selection.atlas_version)
    numbers = atlas.cluster[workspace.rows_of(selection)]
    found, counts = np.unique(numbers, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(found[at]), int(counts[at])) for at in order]
