"""Items whose neighbours carry another label."""

import numpy as np

from curation.checks import CheckContext
from curation.schema import Finding
from embeddings.errors import CurationError

FEWEST = 3  # labelled neighbours below which nothing is said


def run(context: CheckContext, *, threshold: float = 0.6, neighbours: int = 15) -> list[Finding]:
    """Return the labelled items of which at least `threshold` of the labelled neighbours disagree.

    They must agree on one other category: the score is its share of the votes, one vote for each
    of the nearest `neighbours`. Unlabelled items neither vote nor are judged.
    """
    if not 0.5 <= threshold <= 1.0:
        raise CurationError(f"threshold must be between 0.5 and 1, got {threshold}")
    if neighbours < FEWEST:
        raise CurationError(f"neighbours must be at least {FEWEST}, got {neighbours}")
    graph, categories = context.graph, context.graph_categories()
    labelled = np.flatnonzero(categories != None)  # noqa: E711  an array compared item by item
    if not len(labelled):
        return []
    legend, own = np.unique(categories[labelled].astype(np.str_), return_inverse=True)
    codes = np.full(len(graph), -1)
    codes[labelled] = own
    votes = codes[graph.rows[labelled, :neighbours]]
    voter, _ = np.nonzero(votes >= 0)
    voters = np.bincount(voter, minlength=len(labelled))
    # one number a pair of item and category: counting them counts the votes
    pairs, counts = np.unique(voter * len(legend) + votes[votes >= 0], return_counts=True)
    item, category = np.divmod(pairs, len(legend))
    share = counts / voters[item]
    doubtful = (category != own[item]) & (share >= threshold) & (voters[item] >= FEWEST)
    # threshold 0.5 lets two categories share the votes of one item: the first is named
    _, once = np.unique(item[doubtful], return_index=True)
    return [
        Finding.of(
            "labels",
            [graph.item_ids[labelled[item[at]]]],
            share[at],
            f"labelled {legend[own[item[at]]]}, but {counts[at]} of {voters[item[at]]} labelled "
            f"neighbours are {legend[category[at]]}",
        )
        for at in np.flatnonzero(doubtful)[once]
    ]
