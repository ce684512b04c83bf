"""How far curators agree: the figures, and in plain words what they mean."""

from weakref import WeakKeyDictionary

import numpy as np
import streamlit as st

from curation.agreement import Agreement, agreement
from curation.app.components.conflicts import alone
from curation.opinions import Opinions, opinions
from curation.workspace import Workspace

# Krippendorff (2004): rely on data from 0.8 on, draw tentative conclusions from 0.667 on.
MEANINGS = (
    (0.8, "reliable: the curators nearly always mean the same"),
    (0.667, "enough for careful conclusions: settle the conflicts, and agree on the labels"),
    (0.0, "weak: the labels do not mean the same to everybody; describe them, then settle"),
)


def meaning(value: float | None) -> str:
    """Return in words what an agreement beyond chance of this size says."""
    if value is None:
        return "not defined: too few items in common, or only one label"
    for least, words in MEANINGS:
        if value >= least:
            return words
    return "worse than chance: the curators differ in a regular way, perhaps two names are swapped"


def page(workspace: Workspace, field: str) -> None:
    """Draw the figures, each two people, and how many people looked at how many items."""
    with st.spinner("Comparing"):
        found = compared(workspace, field)
    if len(found.people) < 2:
        alone(workspace)
        return
    if not found.items:
        st.info("No item has a label of two people yet: let a second person label some of them.")
    else:
        _figures(found)
    _pairs(found)
    st.subheader("Who looked at how much")
    st.dataframe(voices(workspace, field), hide_index=True, width="content")


_kept: WeakKeyDictionary[Workspace, dict[str, tuple[Opinions, Agreement]]] = WeakKeyDictionary()


def compared(workspace: Workspace, field: str) -> Agreement:
    """Return how far people agree; worked out again only when somebody has decided."""
    said = opinions(workspace, field)
    known = _kept.setdefault(workspace, {})
    if field not in known or known[field][0] is not said:
        known[field] = (said, agreement(workspace, field))
    return known[field][1]


def _figures(found: Agreement) -> None:
    left, right = st.columns(2)
    left.metric("Krippendorff's alpha", _number(found.alpha))
    which = "All" if found.alpha_items == found.items else f"{found.alpha_items:,} drawn of the"
    left.caption(f"{which} {found.items:,} items that two or more people labelled.")
    right.metric("Fleiss' kappa", _number(found.fleiss))
    right.caption(
        f"The {found.fleiss_items:,} items that exactly {found.fleiss_raters} people labelled."
    )
    st.markdown(f"Alpha is **{meaning(found.alpha)}**.")
    st.caption(
        "1 = always the same label, 0 = no more often than by chance. What reviewers and votes "
        "settled counts for nobody."
    )


def _pairs(found: Agreement) -> None:
    st.subheader("Each two people")
    if not found.pairs:
        st.caption("No two people have labelled the same item.")
        return
    st.dataframe(
        [
            {
                "one": pair.first,
                "other": pair.second,
                "items": pair.items,
                "same label": pair.agreed,
                "Cohen's kappa": pair.kappa,
                "that is": meaning(pair.kappa).split(":")[0],
            }
            for pair in found.pairs
        ],
        hide_index=True,
        column_config={
            "same label": st.column_config.ProgressColumn("same label", format="percent"),
            "Cohen's kappa": st.column_config.NumberColumn("Cohen's kappa", format="%.3f"),
        },
    )


def voices(workspace: Workspace, field: str) -> list[dict[str, int]]:
    """Return how many items were labelled by nobody, one person, two ..., as rows of a table."""
    _, counts = np.unique(opinions(workspace, field).item_no, return_counts=True)
    items = np.bincount(counts, minlength=1)
    items[0] = workspace.store.count("items") - len(counts)
    return [
        {"people": people, "items": count}
        for people, count in enumerate(items.tolist())
        if count > 0
    ]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
