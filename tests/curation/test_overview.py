"""What the pages show, against answers that can be counted by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.overview import (
    ClusterProgress,
    composition,
    flag_counts,
    label_names,
    likely_labels,
    progress,
)
from curation.schema import Selection
from curation.workspace import Workspace


@pytest.fixture
def workspace(digits: str) -> Workspace:
    return Workspace(digits)


def part(workspace: Workspace, cluster: int, start: int, stop: int) -> Selection:
    """Some items of one cluster, in the order of their ids."""
    members = workspace.select(f"cluster:{cluster}")
    return Selection(members.item_ids[start:stop], members.atlas_version)


def with_fields(workspace: Workspace, **columns: list[object]) -> None:
    """Give the first items of the dataset these metadata fields."""
    ids = workspace.store.item_ids()
    rows = {"item_id": ids[: len(next(iter(columns.values())))].tolist(), **columns}
    workspace.store.save_fields(pa.table(rows))


def test_labels_come_most_used_first_and_alike_ones_by_name(workspace: Workspace) -> None:
    for cluster, count, name in ((0, 2, "b"), (1, 5, "c"), (2, 2, "a")):
        workspace.label(part(workspace, cluster, 0, count), name)
    assert label_names(workspace) == ["c", "a", "b"]
    assert label_names(workspace, "instance") == []
    workspace.undo()
    assert label_names(workspace) == ["c", "b"]


def test_names_in_the_metadata_are_offered_after_those_in_use(workspace: Workspace) -> None:
    with_fields(workspace, Label=["shoe", "hat", "", None], price=["7", "8", "9", "10"])
    assert label_names(workspace) == ["hat", "shoe"], "prices are no labels, nor is an empty cell"
    workspace.label(part(workspace, 0, 0, 1), "shoe")
    assert label_names(workspace) == ["shoe", "hat"]


def test_a_name_that_nearly_is_a_label_is_met_with_that_label(workspace: Workspace) -> None:
    for at, name in enumerate(("trousers", "t-shirt", "Hat")):
        workspace.label(part(workspace, 0, at, at + 1), name)
    assert likely_labels(workspace, "trouser") == ["trousers"]
    assert likely_labels(workspace, "tshirt") == ["t-shirt"]
    assert likely_labels(workspace, "hat") == ["Hat"]
    assert likely_labels(workspace, "T") == ["t-shirt", "trousers"]
    assert likely_labels(workspace, "Hat") == [], "it is one"
    assert likely_labels(workspace, "") == []
    assert likely_labels(workspace, "bicycle") == []
    assert likely_labels(workspace, "trouser", "instance") == []


def test_a_selection_is_made_of_clusters_most_first(workspace: Workspace) -> None:
    ids = [part(workspace, *bounds).item_ids for bounds in ((0, 0, 2), (3, 0, 7), (1, 0, 2))]
    selection = Selection(np.sort(np.concatenate(ids)), workspace.newest_version())
    assert composition(workspace, selection) == [(3, 7), (0, 2), (1, 2)]
    assert sum(count for _, count in composition(workspace, workspace.select("all"))) == 1797


def test_progress_counts_labels_and_exclusions_of_each_cluster(workspace: Workspace) -> None:
    sizes = Counter(workspace.atlas().cluster.tolist())
    for start, stop, name in ((0, 4, "d"), (4, 7, "c"), (7, 10, "b"), (10, 11, "a")):
        workspace.label(part(workspace, 1, start, stop), name)
    workspace.label(part(workspace, 2, 0, 6), "writer", field="instance")
    workspace.flag(part(workspace, 1, 3, 8), "excluded")
    workspace.flag(part(workspace, 1, 8, 9), "unclear")
    rows = {row.cluster: row for row in progress(workspace)}
    assert {cluster: row.items for cluster, row in rows.items()} == sizes
    assert rows[1] == ClusterProgress(1, sizes[1], 11, 5, ("d", "b", "c"))
    assert rows[2] == ClusterProgress(2, sizes[2], 0, 0, ()), "an instance is no category"


def test_progress_sees_what_another_process_decided(workspace: Workspace, digits: str) -> None:
    assert sum(row.labelled for row in progress(workspace)) == 0
    Workspace(digits).label(part(workspace, 0, 0, 3), "zero")
    assert sum(row.labelled for row in progress(workspace)) == 3


def test_noise_comes_first_as_a_group_of_its_own(home: Path, built_home: Path) -> None:
    from embeddings.build import Options, build

    images = sorted((built_home.parent / "images").glob("*.png"))[:60]
    options = Options(encoder="builtin", layout="pca", cluster="dbscan", neighbours=5)
    build("few", images, options)
    workspace = Workspace("few")
    noise = int((workspace.atlas().cluster == -1).sum())
    assert noise > 0, "the sample must have some"
    first = progress(workspace)[0]
    assert (first.cluster, first.items) == (-1, noise)


def test_flags_of_a_selection_are_counted_and_absent_ones_left_out(workspace: Workspace) -> None:
    workspace.flag(part(workspace, 0, 0, 4), "excluded")
    workspace.flag(part(workspace, 0, 2, 5), "unclear")
    assert flag_counts(workspace, part(workspace, 0, 0, 4)) == {"excluded": 4, "unclear": 2}
    assert flag_counts(workspace, part(workspace, 0, 5, 9)) == {}
