"""In whose hands the clusters are."""

from dataclasses import replace

import numpy as np
import pytest
from pyroaring import BitMap

from curation.in_hand import clusters_in_hand
from curation.presence import Presence, presence
from curation.viewer.answers import answer
from curation.workspace import Workspace
from embeddings.dataset import now


@pytest.fixture
def workspace(digits: str) -> Workspace:
    return Workspace(digits)


@pytest.fixture
def people(workspace: Workspace) -> Presence:
    return presence(workspace.dataset)


def items(workspace: Workspace, cluster: int, count: int | None = None) -> BitMap:
    """The numbers of a cluster's items in the journal."""
    atlas = workspace.atlas()
    rows = atlas.members(cluster)[:count]
    return BitMap(workspace.item_nos(atlas.version)[rows].astype(np.uint32))


def test_clusters_are_in_the_hands_of_the_other_tabs_that_have_them_on_a_sheet(
    workspace: Workspace, people: Presence
) -> None:
    version = workspace.newest_version()
    assert clusters_in_hand(workspace, version, "mine") == {}
    people.claim("1", "bob", "b", items=items(workspace, 0) | items(workspace, 1), field="category")
    people.claim("2", "ann", "a", items=items(workspace, 0, 40), field="instance")
    people.claim("3", "tester", "mine", items=items(workspace, 2), field="category")
    people.here("tester", "mine", "Clean")
    wanted = {0: ["ann", "bob"], 1: ["bob"]}
    assert clusters_in_hand(workspace, version, "mine") == wanted
    people.release("b")
    assert clusters_in_hand(workspace, version, "mine") == {0: ["ann"]}
    people.leave("a")
    assert clusters_in_hand(workspace, version, "mine") == {}
    assert clusters_in_hand(workspace, version, "another tab") == {2: ["tester"]}


def test_a_few_strays_on_a_sheet_put_no_cluster_into_anybodys_hands(
    workspace: Workspace, people: Presence
) -> None:
    version = workspace.newest_version()
    sheet = items(workspace, 0) | items(workspace, 1, 3)
    people.claim("1", "bob", "b", items=sheet, field="category")
    assert clusters_in_hand(workspace, version, "mine") == {0: ["bob"]}
    people.claim("1", "bob", "b", items=items(workspace, 0, 2) | items(workspace, 1, 3), field="c")
    assert clusters_in_hand(workspace, version, "mine") == {0: ["bob"], 1: ["bob"]}


def test_an_atlas_that_is_gone_has_no_cluster_in_hand_and_the_page_is_answered(
    workspace: Workspace, people: Presence
) -> None:
    people.claim("1", "bob", "b", items=items(workspace, 0), field="category")
    assert clusters_in_hand(workspace, "0123456789abcdef", "mine") == {}
    signs = {"gone": "0123456789abcdef", "none": "", "newest": workspace.newest_version()}
    held = {
        kind: answer(
            workspace, "here", {}, f'{{"session": "mine", "version": "{version}"}}'.encode()
        ).body
        for kind, version in signs.items()
    }
    assert b'"held": {}' in held["gone"] and b'"held": {}' in held["none"]
    assert b'"held": {"0": ["bob"]}' in held["newest"]


def test_an_older_atlas_is_not_read_for_a_sign_of_life_but_answered_for_where_it_is_open(
    workspace: Workspace, people: Presence
) -> None:
    newest, older = workspace.atlas(), "0123456789abcdef"
    workspace.store.save_atlas(replace(newest, version=older), now())
    workspace.store.save_atlas(newest, now())  # asked for last
    people.claim("1", "bob", "b", items=items(workspace, 0), field="category")
    assert workspace.newest_version() == newest.version
    assert clusters_in_hand(workspace, older, "mine") == {} and not workspace.is_open(older)
    workspace.atlas(older)
    assert clusters_in_hand(workspace, older, "mine") == {0: ["bob"]}
    fresh = Workspace(workspace.dataset.name)
    assert clusters_in_hand(fresh, newest.version, "mine") == {0: ["bob"]}
