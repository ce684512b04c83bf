"""What a machine suspects about the items: duplicates, outliers, doubtful labels."""

import inspect
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from curation.schema import Finding
from embeddings.errors import CurationError
from embeddings.registry import Registry
from embeddings.schema import Atlas, Neighbours, Vectors, rows_of

__all__ = ["CHECKS", "Check", "CheckContext", "run"]


@dataclass(frozen=True)
class CheckContext:
    """What a check may look at.

    `graph` is the stored k-NN graph of the space and `vectors` the space itself; `categories` (n,)
    are the curators' labels of the n items of `atlas`, None where there is none.
    """

    vectors: Vectors
    graph: Neighbours
    atlas: Atlas
    categories: npt.NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.categories.shape != (len(self.atlas),):
            raise ValueError(
                f"categories must have shape ({len(self.atlas)},), got {self.categories.shape}"
            )

    def graph_categories(self) -> npt.NDArray[np.object_]:
        """Return the label of each row of the graph: the atlas may be older and hold fewer."""
        at = rows_of(self.atlas.item_ids, self.graph.item_ids)
        found: npt.NDArray[np.object_] = self.categories[at]
        found[at < 0] = None
        return found


class Check(Protocol):
    """One check: a registry entry of the group ``curation_atlas.checks``."""

    def __call__(self, context: CheckContext, **params: Any) -> list[Finding]:
        """Return what is suspected, in any order; parameters are keyword-only."""


CHECKS: Registry[Check] = Registry("check", "curation_atlas.checks")


def run(name: str, context: CheckContext, **params: Any) -> list[Finding]:
    """Run the check `name` and return its findings, most suspicious first.

    Raises
    ------
    CurationError
        When the check or one of `params` is unknown, or a parameter is out of its range.
    """
    check = CHECKS.get(name)
    parameters = inspect.signature(check).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    unknown = [param for param in params if param not in known]
    if unknown:
        raise CurationError(
            f"check {name!r} has no parameter {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
    return sorted(check(context, **params), key=lambda found: (-found.score, found.finding_id))
