"""New images for a dataset that has an atlas: they take their place on it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embeddings import cluster as clusters
from embeddings import neighbours, project
from embeddings.build import Options, Report, run, stored_graph
from embeddings.dataset import now, open_dataset
from embeddings.encoders import space_name
from embeddings.encoders.given import KIND
from embeddings.errors import CurationError
from embeddings.grow import grow, refit
from embeddings.ingest import Scan
from embeddings.schema import Atlas
from embeddings.stages import Progress, Timings, silent
from embeddings.store import Store


def add(
    name: str,
    specs: Sequence[str | Path],
    options: Options,
    *,
    anew: bool = False,
    progress: Progress = silent,
) -> Report:
    """Bring new images into the dataset `name`, onto its newest atlas: nobody moves.

    The encoder, layout and clusterer are those of that atlas, whatever `options` say; an encoder
    that is named by a file that has moved is found by ``options.encoder``. `anew` fits the layout
    again from where everything stands, as a new version that the curator may choose.

    Raises
    ------
    CurationError
        As `build`, and when there is no atlas yet or the encoder is another.
    """
    store = Store(open_dataset(name).tables)
    runs = store.atlas_runs()
    if not runs:
        raise CurationError(f"dataset {name!r} has no atlas yet; make one with: curate build")
    base = runs[-1]
    params, kept = base["params"], store.spaces()[base["space"]]
    if anew:
        _refuse_fixed(params)
    chosen = replace(
        options,
        encoder=options.encoder or str(kept.get("spec", kept["encoder"])),
        layout=params["layout"],
        dims=params["dims"],
        cluster=params["cluster"],
        neighbours=params["neighbours"],
        seed=params["seed"],
    )

    def place(
        store: Store, space: str, options: Options, timings: Timings, progress: Progress
    ) -> Atlas:
        newest = store.atlas_runs()[-1]  # again, now that nobody else can add
        version = newest["version"] if newest["space"] == base["space"] else base["version"]
        return _place(store, version, anew, options, timings, progress)

    def check(encoder_id: str, found: Scan) -> None:
        if space_name(encoder_id) != base["space"]:
            raise CurationError(
                f"the atlas of {name!r} was made with the encoder {kept['encoder']}, not "
                f"{encoder_id}; name that one with --encoder"
            )

    return run(name, specs, chosen, place, progress, check)


def _refuse_fixed(params: dict[str, Any]) -> None:
    """Refuse to fit again what nobody fitted here, or what is no longer installed."""
    if KIND in (params["layout"], params["cluster"]):
        raise CurationError(
            "the places or clusters of this atlas were brought, and cannot be fitted again; "
            "curate build with all your tables, or with a table that brings only vectors"
        )
    project.LAYOUTS.get(params["layout"])
    clusters.CLUSTERERS.get(params["cluster"])


def _place(
    store: Store,
    version: str,
    anew: bool,
    options: Options,
    timings: Timings,
    progress: Progress,
) -> Atlas:
    base = store.atlas(version)
    vectors = store.vectors(base.space)
    with timings.stage("project", items=len(vectors) - len(base)):
        atlas = grow(base, vectors)
    store.save_atlas(atlas, now())
    graph = stored_graph(store, base.space, vectors, options, timings, progress)
    if anew:
        with timings.stage("project", items=len(vectors)):
            xy, cluster, membership = refit(atlas, vectors, graph)
        atlas = replace(
            atlas,
            xy=xy,
            cluster=cluster,
            membership=membership,
            outlier_score=neighbours.outlier_score(graph),
            version=hashlib.sha256(f"{atlas.version} anew".encode()).hexdigest()[:16],
            params={**atlas.params, "base": atlas.version, "anew": True},
        )
        store.save_atlas(atlas, now())
    return atlas
