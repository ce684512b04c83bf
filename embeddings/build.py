"""The staged pipeline: a folder of images becomes a dataset with an atlas; resumable throughout."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from embeddings import cluster as clusters
from embeddings import dataset as datasets
from embeddings import encoders, metadata, neighbours, project
from embeddings.dataset import REPORT, Dataset, now, write_json
from embeddings.encoders import precision
from embeddings.errors import CurationError
from embeddings.ingest import Ingest, Ingested, scan
from embeddings.schema import Atlas, Location, Neighbours, Vectors
from embeddings.stages import Progress, Timings, silent
from embeddings.store import Store, vectors_digest

REVISION = 1  # rises when our own code would give another atlas for the same input
LIBRARIES = ("umap-learn", "hdbscan", "scikit-learn", "numpy", "numba", "torch")


@dataclass(frozen=True)
class Options:
    """What a build is asked for. `neighbours` is k of the k-NN graph, `seed` decides chance."""

    encoder: str = encoders.DEFAULT
    layout: str = "umap"
    dims: int = 2
    cluster: str = "hdbscan"
    neighbours: int = 30
    seed: int = 0
    batch: str | None = None
    device: str = "auto"
    metadata: tuple[Path, ...] = ()


Placer = Callable[[Store, str, Options, Timings, Progress], Atlas]


@dataclass(frozen=True)
class Report:
    """What a build did: counts, seconds per stage, and the atlas it ended with."""

    dataset: str
    space: str
    encoder: str
    files: int
    images: int
    new_images: int
    new_vectors: int
    unchanged: int
    duplicates: int
    unreadable: dict[str, int]
    missing: int
    metadata: list[dict[str, Any]]
    atlas_version: str
    clusters: int
    noise: int
    device: str
    timings: dict[str, Any]
    made_at: str = field(default_factory=now)


def build(
    name: str, sources: Sequence[Path], options: Options, progress: Progress = silent
) -> Report:
    """Bring the images below `sources` into the dataset `name` and lay out its atlas.

    What is there already is not computed again: files whose size and time of change are known,
    vectors, the k-NN graph and the atlas of the same vectors and parameters.

    Raises
    ------
    CurationError
        For a source, encoder, layout, clusterer or metadata table that cannot be used, before
        anything is written; and when no file at all can be read.
    """
    return run(name, sources, options, lay_out, progress)


def run(
    name: str,
    sources: Sequence[Path],
    options: Options,
    place: Placer,
    progress: Progress,
    check: Callable[[str], None] | None = None,
) -> Report:
    """Ingest `sources`, let `place` make the atlas, and keep the report: `build` and `add`.

    `check` is given the encoder's id, before anything is written.
    """
    timings = Timings()
    precision.choose_device(options.device)
    project.LAYOUTS.get(options.layout)
    clusters.CLUSTERERS.get(options.cluster)
    tables = [(path, metadata.read(path)) for path in options.metadata]
    candidates = scan(sources, timings, progress)
    if not candidates:
        places = ", ".join(str(source) for source in sources)
        raise CurationError(f"no images below {places}; give a folder that holds image files")
    encoder = encoders.load(options.encoder, device=options.device)
    if check is not None:
        check(encoder.encoder_id)
    dataset = datasets.create_dataset(name)
    with building(dataset):
        new = not (dataset.path / REPORT).is_file()
        store = Store(dataset.tables)
        ingest = Ingest(
            store, encoder, timings, spec=options.encoder, batch=options.batch, progress=progress
        )
        result = ingest.run(candidates)
        if not store.count("items"):
            if new and not dataset.journal.exists():
                shutil.rmtree(dataset.path)
            raise CurationError(_all_unreadable(result))
        ingest.mark_missing(sources)
        joined = _join_metadata(store, tables)
        atlas = place(store, ingest.space, options, timings, progress)
        store.compact()
        report = _report(dataset, store, encoder, ingest, result, joined, atlas, timings)
        write_json(dataset.path / REPORT, asdict(report))
    return report


def lay_out(
    store: Store, space: str, options: Options, timings: Timings, progress: Progress = silent
) -> Atlas:
    """Return the atlas of one space under `options`: the stored one, or a new one that is kept.

    Either is the newest then: what was asked for last is what people see.
    """
    vectors = store.vectors(space)
    digest = vectors_digest(vectors)
    params = {
        "layout": options.layout,
        "dims": options.dims,
        "cluster": options.cluster,
        "neighbours": options.neighbours,
        "seed": options.seed,
        "encoder": vectors.encoder,
        "revision": REVISION,
        "libraries": {library: installed(library) for library in LIBRARIES},
    }
    key = json.dumps([digest, space, params], sort_keys=True)
    version = hashlib.sha256(key.encode()).hexdigest()[:16]
    if version in {run["version"] for run in store.atlas_runs()}:
        atlas = store.atlas(version)
        store.save_atlas(atlas, now())
        return atlas
    graph = stored_graph(store, space, vectors, options, timings, progress)
    progress("project", 0, len(vectors))
    with timings.stage("project", items=len(vectors)):
        xy = project.project(
            options.layout, vectors, graph, dims=options.dims, random_state=options.seed
        )
    progress("project", len(vectors), len(vectors))
    with timings.stage("cluster", items=len(vectors)):
        found, membership = clusters.cluster(options.cluster, xy, random_state=options.seed)
    progress("cluster", len(vectors), len(vectors))
    outlier = neighbours.outlier_score(graph)
    atlas = Atlas(vectors.item_ids, xy, found, membership, outlier, version, space, params)
    store.save_atlas(atlas, now())
    return atlas


def stored_graph(
    store: Store,
    space: str,
    vectors: Vectors,
    options: Options,
    timings: Timings,
    progress: Progress,
) -> Neighbours:
    """Return the k-NN graph of one space: the stored one, or a new one that is kept."""
    key = f"{vectors_digest(vectors)}-{options.neighbours}"
    graph = store.neighbours(space, key)
    if graph is not None:
        return graph
    with timings.stage("neighbours", items=len(vectors)):
        graph = neighbours.knn_graph(
            vectors,
            options.neighbours,
            device=options.device,
            progress=lambda done, total: progress("neighbours", done, total),
        )
    if graph.k:
        store.save_neighbours(space, graph, key)
    return graph


@contextmanager
def building(dataset: Dataset) -> Iterator[None]:
    """Hold the dataset for one build at a time; a second is refused with who holds it."""
    import filelock

    holder = dataset.path / "build.holder"
    lock = filelock.FileLock(dataset.path / "build.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        who = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise CurationError(
            f"dataset {dataset.name!r} is being built by {who}; wait for it to end"
        ) from error
    try:
        holder.write_text(f"process {os.getpid()} since {now()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _all_unreadable(result: Ingested) -> str:
    reasons = "; ".join(f"{count} x {reason}" for reason, count in result.unreadable.most_common(3))
    return (
        f"none of the {result.files} files can be read as an image ({reasons}); "
        "give a folder that holds image files"
    )


def _join_metadata(store: Store, tables: Sequence[tuple[Path, Any]]) -> list[dict[str, Any]]:
    locations: list[Location] = store.locations()
    layers = [metadata.folders(locations)]
    joined = []
    for path, table in tables:
        found = metadata.join(table, path.absolute().parent, locations)
        layers.append(found.columns)
        joined.append(
            {
                "table": str(path),
                "rows": found.rows,
                "unmatched": found.unmatched,
                "conflicts": found.conflicts,
            }
        )
    store.save_fields(metadata.merge(store.fields(), layers))
    return joined


def _report(
    dataset: Dataset,
    store: Store,
    encoder: encoders.Encoder,
    ingest: Ingest,
    result: Ingested,
    joined: list[dict[str, Any]],
    atlas: Atlas,
    timings: Timings,
) -> Report:
    return Report(
        dataset=dataset.name,
        space=ingest.space,
        encoder=encoder.encoder_id,
        files=result.files,
        images=store.count("images"),
        new_images=result.new_images,
        new_vectors=result.new_vectors,
        unchanged=result.unchanged,
        duplicates=result.duplicates,
        unreadable=dict(result.unreadable.most_common()),
        missing=result.missing,
        metadata=joined,
        atlas_version=atlas.version,
        clusters=int((atlas.clusters >= 0).sum()),
        noise=int((atlas.cluster < 0).sum()),
        device=str(encoder.describe().get("device", "cpu")),
        timings=timings.report(),
    )
