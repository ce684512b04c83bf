"""`curate agreement, conflicts, review`: several curators, one dataset."""

from dataclasses import asdict
from typing import Any

import click

from curation.cli.decide import done, kind_of_label, opened
from curation.cli.output import as_json, dataset, show, table


@click.command()
@dataset
@kind_of_label
@as_json
def agreement(name: str, field: str, as_json: bool) -> None:
    """Show how far the curators agree: Cohen, Fleiss, Krippendorff."""
    from curation.agreement import agreement

    found = agreement(opened(name), field)
    lines = [
        f"{found.items:,} items with labels of two or more of {len(found.people)} people",
        f"Krippendorff's alpha {_number(found.alpha)} ({found.alpha_items:,} items)",
        f"Fleiss' kappa {_number(found.fleiss)} ({found.fleiss_items:,} items that "
        f"{found.fleiss_raters} people labelled)",
    ]
    rows = [
        (pair.first, pair.second, pair.items, f"{pair.agreed:.1%}", _number(pair.kappa))
        for pair in found.pairs
    ]
    if rows:
        lines.append(table(rows, ("one", "other", "items", "agree", "Cohen's kappa")))
    show(asdict(found), "\n".join(lines), as_json)


@click.command()
@dataset
@kind_of_label
@click.option("--vote", is_flag=True, help="Settle those with a majority by it; ties stay.")
@as_json
def conflicts(name: str, field: str, vote: bool, as_json: bool) -> None:
    """List the items about which curators differ, the most divided first."""
    from curation.opinions import conflicts, settle_by_vote

    workspace = opened(name)
    if vote:
        done(settle_by_vote(workspace, field), as_json)
        return
    found = conflicts(workspace, field)
    atlas = workspace.atlas()
    rows: list[dict[str, Any]] = [
        {"item_id": str(atlas.item_ids[row]), "said": found.said(at)}
        for at, row in enumerate(found.rows.tolist())
    ]
    lines = [
        f"{row['item_id']}  " + ", ".join(f"{who}: {label}" for who, label in row["said"].items())
        for row in rows
    ]
    show({"field": field, "conflicts": rows}, "\n".join(lines) or "no conflicts", as_json)


@click.command()
@dataset
@kind_of_label
@click.option("--sample", type=click.IntRange(1), help="Draw so many labels of each other person.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same draws the same.")
@as_json
def review(name: str, field: str, sample: int | None, seed: int, as_json: bool) -> None:
    """Show how right each curator is on reviewed items; or draw a random sample to review.

    A sample is one item id a line. Answer with: curate label id:ID LABEL --review
    """
    from curation import review

    workspace = opened(name)
    if sample is not None:
        drawn = review.sample(workspace, field, each=sample, seed=seed)
        ids = [str(item_id) for item_id in workspace.atlas().item_ids[drawn.rows]]
        show({"drawn": drawn.drawn, "item_ids": ids}, "\n".join(ids), as_json)
        return
    scores = review.scores(workspace, field)
    rows = [
        (
            score.person,
            "(all)" if score.label is None else score.label,
            score.given,
            score.true,
            *(_number(value) for value in (score.precision, score.recall, score.f1)),
        )
        for score in scores
    ]
    heads = ("who", "label", "given", "true", "precision", "recall", "F1")
    text = table(rows, heads) if rows else "nothing is reviewed; draw some with --sample 50"
    show({"field": field, "scores": [asdict(score) for score in scores]}, text, as_json)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
