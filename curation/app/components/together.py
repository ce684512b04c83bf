"""Who else is here, and which sheets are in their hands: what keeps two people off one sheet."""

import numpy as np
from pyroaring import BitMap

from curation.app import state
from curation.in_hand import clusters_in_hand
from curation.learning.batches import Batch
from curation.people import acting
from curation.presence import Claim, presence
from curation.workspace import Workspace
from embeddings.schema import Int32

LONGEST = 50_000  # selected items of which it is said in which cluster they are


def sign(workspace: Workspace, page: str) -> dict[str, str]:
    """Return what this tab tells of itself; sheets that the page does not hold are let go."""
    session, place = state.session(workspace), state.value("place")
    state.set_value("place", None)  # a page that has one says so each time
    if place is None:
        presence(workspace.dataset).release(session)
        place = _selected(workspace)
    version = state.value("shown-atlas", "")
    return {"session": session, "page": page, "place": place, "version": version}


def hold(workspace: Workspace, version: str, field: str, sheets: list[Batch]) -> bool:
    """Claim the sheets of this tab and no others; False where somebody came first.

    `state.session` names the tab. The first sheet is where the curator is said to be.
    """
    session, people, who = state.session(workspace), presence(workspace.dataset), acting()
    state.set_value("place", sheets[0].title if sheets else "")
    if who is not None and not who.may("label"):
        return True  # who only looks is in nobody's way
    keys = [f"{field}:{sheet.key}" for sheet in sheets]
    people.release(session, but=frozenset(keys))
    numbers = workspace.item_nos(version)
    held = [
        people.claim(
            key,
            workspace.made_by,
            session,
            items=BitMap(numbers[sheet.rows].astype(np.uint32)),
            field=field,
        )
        for key, sheet in zip(keys, sheets, strict=True)
    ]
    return None not in held


def taken(workspace: Workspace, version: str, field: str) -> Int32:
    """Return the rows of an atlas that are on the sheets of other tabs, (m,) int32, sorted."""
    items = BitMap().union(*(one.items for one in _others(workspace) if one.field == field))
    return workspace.rows_with(items, version)


def holders(workspace: Workspace, version: str) -> dict[int, list[str]]:
    """Return who cleans each cluster in other tabs, by cluster."""
    return clusters_in_hand(workspace, version, state.session(workspace))


def _others(workspace: Workspace) -> list[Claim]:
    session, who = state.session(workspace), workspace.made_by
    claims = presence(workspace.dataset).claims().values()
    return [one for one in claims if one.bars(who, session)]


def _selected(workspace: Workspace) -> str:
    held = state.selection()
    if held is None or len(held) > LONGEST:
        return ""
    atlas = workspace.atlas(held.atlas_version)
    clusters = np.unique(atlas.cluster[workspace.rows_of(held)])
    return f"cluster {clusters[0]}" if len(clusters) == 1 and clusters[0] >= 0 else ""
