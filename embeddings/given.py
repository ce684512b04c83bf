"""What sources bring of an atlas: vectors become a space, places a layout, and clusters stay."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings import images, precomputed
from embeddings.encoders import space_name
from embeddings.encoders.given import KIND, Given
from embeddings.errors import CurationError
from embeddings.files import Candidate
from embeddings.grow import grow
from embeddings.ingest import Scan
from embeddings.precomputed import CLUSTER_NAME, NONE
from embeddings.project import unit_box
from embeddings.schema import (
    ID_LENGTH,
    NOISE,
    Atlas,
    Float32,
    Ids,
    Int32,
    Location,
    Vectors,
    rows_of,
)
from embeddings.store import Store

NO_VECTOR = "not readable yet: nothing brings a vector for it, and the space has no model"
SAME = 0.9999  # cosine of a vector with itself after float16
CHUNK = 4096  # vectors compared at a time
_PREFIX = f"{KIND}:"

Float64 = npt.NDArray[np.float64]


# ---- vectors


def encoder(found: Scan, store: Store, wanted: str) -> Given | None:
    """Return the encoder of brought vectors; None when the images are to be encoded.

    `wanted` is the encoder that was asked for, or empty. In a space without a model an image that
    brings no vector cannot be used: its candidate is replaced by one that says so.

    Raises
    ------
    CurationError
        When another encoder was asked for, the vectors are of several models or lengths or are not
        those that the space holds, or there is none at all.
    """
    bringing = [candidate for candidate in found.candidates if candidate.brought.vector is not None]
    if not bringing and not wanted.startswith(_PREFIX):
        return None
    roots = list(dict.fromkeys(candidate.root for candidate in bringing))
    name = _name(roots, wanted)
    space = space_name(f"{_PREFIX}{name}")
    kept = store.spaces().get(space)
    dim = _dim(bringing, space if kept is None else name, kept)
    known = set() if kept is None else store.ids(f"vectors_{space}", "item_id")
    places = {row.path: row for row in store.locations()} if known else {}
    _refuse_changed(found, store, space, bringing, places, known)
    _refuse_none(bringing, found.candidates, places, known)
    found.candidates = [
        candidate if candidate.brought.vector is not None else _only_if_known(candidate, known)
        for candidate in found.candidates
    ]
    return Given(name, dim, roots[0] if roots else name)


def _name(roots: Sequence[str], wanted: str) -> str:
    """Return what the space is called: as asked for, as a table says, or as the table is called."""
    said = {root: precomputed.encoder_name(Path(root)) for root in roots}
    if wanted and not wanted.startswith(_PREFIX):
        raise CurationError(
            f"{_listed(roots)} brings vectors of its own, which do not mix with those of "
            f"{wanted}: build a dataset of it without --encoder, or take its vector column out"
        )
    names = list(dict.fromkeys(said[root] or Path(root).stem for root in roots))
    if wanted:
        name = wanted.removeprefix(_PREFIX)
        others = [other for other in said.values() if other not in (None, name)]
        if others or not name:
            raise CurationError(
                f"{_listed(roots)} says that its vectors are of {others or names}, not {name!r}; "
                "vectors of two models do not mix"
            )
        return name
    if len(names) > 1:
        raise CurationError(
            f"{_listed(roots)} bring vectors; if one model made them all, name it: "
            f"--encoder {_PREFIX}NAME"
        )
    return names[0]


def _listed(roots: Iterable[str]) -> str:
    return ", ".join(images.printable(Path(root).name) for root in roots)[:200]


def _dim(bringing: Sequence[Candidate], name: str, kept: dict[str, Any] | None) -> int:
    lengths: dict[int, str] = {}
    for candidate in bringing:
        if candidate.brought.vector is not None:
            lengths.setdefault(len(candidate.brought.vector), candidate.root)
    if kept is not None:
        lengths = {int(kept["dim"]): f"the space {_PREFIX}{name}", **lengths}
    if not lengths:
        raise CurationError(
            f"there is no space {_PREFIX}{name} yet; give a table that brings its vectors"
        )
    if len(lengths) > 1:
        told = " and ".join(f"{dim:,} in {root}" for dim, root in list(lengths.items())[:2])
        raise CurationError(
            f"vectors of one space must have one length, got {told}; another model's make another "
            "space: give its table another name"
        )
    return next(iter(lengths))


def _refuse_changed(
    found: Scan,
    store: Store,
    space: str,
    bringing: Sequence[Candidate],
    places: dict[str, Location],
    known: set[str],
) -> None:
    """Refuse vectors most of which are not those that the space holds; note a few."""
    first: dict[str, Float32] = {}
    for candidate in bringing:
        row = places.get(candidate.path)
        if row is not None and row.image_id in known and candidate.brought.vector is not None:
            first.setdefault(str(row.image_id), candidate.brought.vector)
    if not first:
        return
    held = store.vectors(space)
    other = _differing(held, first)
    if other > len(first) // 2:
        raise CurationError(
            f"{_listed({bringing[0].root})} brings other vectors for {other:,} of {len(first):,} "
            f"images than the space {held.encoder} holds, and a space never changes: give the "
            "table another name, and it makes another space"
        )
    if other:
        found.notes.append(
            f"{other:,} images have other vectors now; those that {held.encoder} holds stay"
        )


def _differing(held: Vectors, brought: dict[str, Float32]) -> int:
    """Count the items whose vector points elsewhere than the one that the space holds."""
    at = rows_of(held.item_ids, np.array(list(brought), np.str_))
    unit = Given(held.encoder, held.rows.shape[1], "").encode
    values = list(brought.values())
    count = 0
    for start in range(0, len(values), CHUNK):
        rows = unit(np.stack(values[start : start + CHUNK]))
        cosine = np.einsum("ij,ij->i", rows, held.rows[at[start : start + CHUNK]])
        count += int((cosine < SAME).sum())
    return count


def _refuse_none(
    bringing: Sequence[Candidate],
    candidates: Sequence[Candidate],
    places: dict[str, Location],
    known: set[str],
) -> None:
    if bringing:
        return
    met = (places.get(candidate.path) for candidate in candidates)
    if not any(row is not None and row.image_id in known for row in met):
        raise CurationError(
            "the space of this atlas was brought, and has no model to encode images with: give a "
            "table that brings their vectors, or build them with an --encoder"
        )


def _only_if_known(candidate: Candidate, known: set[str]) -> Candidate:
    read = partial(_read_known, candidate, known)
    return replace(candidate, brought=replace(candidate.brought, read=read))


def _read_known(candidate: Candidate, known: set[str]) -> bytes:
    data = candidate.read()
    if images.sha256(data)[:ID_LENGTH] not in known:
        raise images.UnreadableImage(NO_VECTOR)
    return data


# ---- places and clusters


@dataclass(frozen=True)
class Places:
    """Where sources say that items stand, and with whom.

    `item_ids` (n,) sorted; `xy` (n, 2 or 3) float64, NaN where nothing was said; `cluster` (n,)
    int32, -2 where nothing was said; `origin` names the files.
    """

    item_ids: Ids
    xy: Float64
    cluster: Int32
    origin: str

    @property
    def placed(self) -> npt.NDArray[np.bool_]:
        """Which items have a place, (n,)."""
        return np.asarray(np.isfinite(self.xy).all(axis=1))

    @property
    def clustered(self) -> npt.NDArray[np.bool_]:
        """Which items have a cluster, noise being one, (n,)."""
        return np.asarray(self.cluster != NONE)

    @property
    def params(self) -> dict[str, Any]:
        """What an atlas says of it: a layout, a clusterer, and a digest of what was brought."""
        digest = hashlib.sha256("\n".join(self.item_ids.tolist()).encode())
        digest.update(self.xy.tobytes() + self.cluster.tobytes())
        found: dict[str, Any] = {"given": digest.hexdigest()[:16], "given_by": self.origin}
        if self.placed.any():
            found |= {"layout": KIND, "dims": self.xy.shape[1]}
        if self.clustered.any():
            found["cluster"] = KIND
        return found


def check(found: Scan, *, layout: str | None, dims: int | None, cluster: str | None) -> None:
    """Refuse a layout or a clusterer that was asked for where a table brings its own.

    What was not asked for is None.

    Raises
    ------
    CurationError
        For that, for places of 2 and of 3 numbers in one build, and for clusters by name from two
        tables, whose numbers would clash.
    """
    placed = [one for one in found.candidates if one.brought.place is not None]
    clustered = [one for one in found.candidates if one.brought.cluster is not None]
    numbers = {len(one.brought.place) for one in placed if one.brought.place is not None}
    if len(numbers) > 1:
        raise CurationError("some places have 2 numbers and some 3; give all of them as many")
    asked: list[tuple[str, str, Sequence[Candidate]]] = []
    if layout is not None:
        asked.append((f"--layout {layout}", "places", placed))
    if dims is not None and dims not in numbers:
        asked.append((f"--dims {dims}", "places", placed))
    if cluster is not None:
        asked.append((f"--cluster {cluster}", "clusters", clustered))
    for option, what, bringing in asked:
        if bringing:
            raise CurationError(
                f"{_listed({bringing[0].root})} brings {what} of its own: leave {option} away, or "
                "take those columns out"
            )
    roots = {one.root for one in clustered}
    if len(roots) > 1 and any(CLUSTER_NAME in one.brought.fields for one in clustered):
        raise CurationError(
            f"{_listed(sorted(roots))} bring clusters by name, and each numbers them by itself: "
            "put them into one table"
        )


def places(found: Scan, store: Store) -> Places | None:
    """Return what the candidates bring of places and clusters, now that they have ids; or None."""
    bringing = [
        one
        for one in found.candidates
        if one.brought.place is not None or one.brought.cluster is not None
    ]
    if not bringing:
        return None
    met = {row.path: row.image_id for row in store.locations() if row.status == "ok"}
    first: dict[str, Candidate] = {}
    for candidate in bringing:
        image_id = met.get(candidate.path)
        if image_id is not None:
            first.setdefault(image_id, candidate)
    if not first:
        return None
    item_ids = sorted(first)
    dims = max(len(one.brought.place or (0, 0)) for one in first.values())
    nowhere = (np.nan,) * dims
    brought = [first[item_id].brought for item_id in item_ids]
    return Places(
        np.array(item_ids, np.str_),
        np.array([one.place or nowhere for one in brought], np.float64),
        np.array([NONE if one.cluster is None else one.cluster for one in brought], np.int32),
        _listed(dict.fromkeys(one.root for one in bringing)),
    )


def layout(given: Places | None, vectors: Vectors) -> Float32 | None:
    """Return coordinates (n, dims) in the unit box; None when no item of the space brings any.

    An item without stands at the median of its nearest neighbours that have.
    """
    rows, at = _those(given, vectors, "placed")
    if given is None or not len(rows):
        return None
    xy = given.xy[at]
    scaled = unit_box((xy - (xy.min(axis=0) + xy.max(axis=0)) / 2).astype(np.float32))
    return _spread(vectors, rows, scaled, np.full(len(rows), NOISE, np.int32)).xy


def clusters(given: Places | None, vectors: Vectors) -> tuple[Int32, Float32] | None:
    """Return cluster and membership (n,); None when no item of the space brings a cluster.

    An item without goes with the majority of its nearest neighbours that have, else to noise.
    """
    rows, at = _those(given, vectors, "clustered")
    if given is None or not len(rows):
        return None
    atlas = _spread(vectors, rows, np.zeros((len(rows), 2), np.float32), given.cluster[at])
    return atlas.cluster, atlas.membership


def _those(given: Places | None, vectors: Vectors, which: str) -> tuple[Int32, Int32]:
    """Return the rows of the space that have what is asked for, ascending, and where it is."""
    if given is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    at = np.flatnonzero(getattr(given, which)).astype(np.int32)
    rows = rows_of(vectors.item_ids, given.item_ids[at])
    return rows[rows >= 0], at[rows >= 0]


def _spread(vectors: Vectors, rows: Int32, xy: Float32, cluster: Int32) -> Atlas:
    membership = (cluster != NOISE).astype(np.float32)
    nothing = np.zeros(len(rows), np.float32)
    base = Atlas(vectors.item_ids[rows], xy, cluster, membership, nothing, KIND, KIND)
    return grow(base, vectors)


def notes(given: Places | None, atlas: Atlas) -> list[str]:
    """Return what the curator should know of the places and clusters that were brought."""
    if given is None:
        return []
    counts = {"places": int(given.placed.sum()), "clusters": int(given.clustered.sum())}
    told = " and ".join(f"{what} of {count:,}" for what, count in counts.items() if count)
    what = f"{given.origin} brings {told} of {len(atlas):,} images"
    if atlas.params.get("given") != given.params["given"]:
        return [
            f"{what}, which are not used: adding moves nobody, and new images stand among their "
            "neighbours; curate build with all your tables uses them"
        ]
    if all(count in (0, len(atlas)) for count in counts.values()):
        return [f"{what}: they are used as they are"]
    return [f"{what}: they are used as they are, and the others go with their nearest neighbours"]
