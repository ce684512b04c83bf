"""Which column of a table means what: the image, its vector, its place, its cluster."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from embeddings.errors import CurationError
from embeddings.metadata import HASH_COLUMNS, PATH_COLUMNS

URL_COLUMNS = ("url", "image_url")
CLUSTER_COLUMNS = ("cluster", "clusters", "cluster_id", "cluster_label")
PLURAL = {  # what arrays are called in an .npz, and the column that each one is
    **dict.fromkeys(("paths", "files", "filenames", "file_names", "filepaths"), "path"),
    **dict.fromkeys(("images", "image_paths", "names", "ids", "keys"), "path"),
    "urls": "url",
    "hashes": "hash",
}
VECTOR = re.compile(
    r"(.*[_\W])?(vec|vector|emb|embed|embedding|feat|feature|latent|encoding|clip|siglip|dino(v\d)?)s?"
    r"([_\W].*)?"
)
SPOKEN = ("vector", "vectors", "embedding", "embeddings")  # said so, whatever they hold
LIST_PLACE = re.compile(
    r"(xyz?|umap|t_?sne|pca|projection|coords?|coordinates|positions?|places?)([_\W].*)?"
)
_NUMBERED = re.compile(r"(|v|e|d|f|dim|emb|embedding|vec|vector|feat|feature|clip)[_ ]?(\d{1,6})")
FEWEST_NUMBERED = 3  # two numbered columns are more likely a place or a box
_PREFIXES = ("", "umap", "tsne", "t_sne", "pca", "projection", "embedding", "atlas", "map", "coord")
_AXES = ("xyz", "012", "123")


@dataclass(frozen=True)
class Roles:
    """Names of columns: `vector` and `place` are one column of lists, or one column a number."""

    path: str | None
    url: str | None
    sha256: str | None
    vector: tuple[str, ...]
    place: tuple[str, ...]
    cluster: str | None

    @property
    def brings(self) -> bool:
        """Whether there is a vector, a place or a cluster."""
        return bool(self.vector or self.place or self.cluster)

    @property
    def taken(self) -> set[str]:
        """The columns that have a role."""
        single = (self.path, self.url, self.sha256, self.cluster)
        return {name for name in (*single, *self.vector, *self.place) if name is not None}


def roles(names: Sequence[str], lists: Collection[str], opaque: Collection[str] = ()) -> Roles:
    """Return what the columns called `names` mean; case does not matter.

    `lists` are those that hold lists of numbers, `opaque` those that can be no image's name: other
    nested ones, and bytes.

    Raises
    ------
    CurationError
        When two columns have one name.
    """
    lower: dict[str, str] = {}
    for name in names:
        if name.lower() in lower and name:
            raise CurationError(f"two columns are called {name!r}; rename one of them")
        lower[name.lower()] = name
    flat = {key: name for key, name in lower.items() if name not in (*lists, *opaque)}
    listed = {key: name for key, name in lower.items() if name in lists}
    place = _first(key for key in listed if LIST_PLACE.fullmatch(key))
    vector = _vector_column(key for key in listed if key != place)
    spoken = _first(key for key in flat if key in SPOKEN)
    axes = () if place else _axes(flat)
    numbered = _numbered(key for key in flat if key not in axes)
    if vector or spoken:
        vectors: tuple[str, ...] = (lower[vector or spoken or ""],)
    else:
        vectors = tuple(flat[key] for key in numbered)
    return Roles(
        path=_named(flat, PATH_COLUMNS),
        url=_named(flat, URL_COLUMNS),
        sha256=_named(flat, HASH_COLUMNS),
        vector=vectors,
        place=(listed[place],) if place else tuple(flat[key] for key in axes),
        cluster=_named(flat, CLUSTER_COLUMNS),
    )


def _first(keys: Iterable[str]) -> str | None:
    return next(iter(keys), None)


def _named(flat: dict[str, str], wanted: Iterable[str]) -> str | None:
    return next((flat[key] for key in wanted if key in flat), None)


def _vector_column(keys: Iterable[str]) -> str | None:
    found = [key for key in keys if VECTOR.fullmatch(key)]
    spoken = [key for key in SPOKEN if key in found]
    return _first([*spoken, *found])


def _axes(flat: Collection[str]) -> tuple[str, ...]:
    for prefix in _PREFIXES:
        for between in ("", "_") if prefix else ("",):
            for axes in _AXES if prefix in ("umap", "tsne", "t_sne") else _AXES[:1]:
                keys = [f"{prefix}{between}{axis}" for axis in axes]
                if keys[0] in flat and keys[1] in flat:
                    return tuple(key for key in keys if key in flat)
    return ()


def _numbered(keys: Iterable[str]) -> list[str]:
    """Return the longest run of columns that are numbered from 0 or 1 without a gap."""
    groups: dict[str, dict[int, str]] = {}
    for key in keys:
        match = _NUMBERED.fullmatch(key)
        if match is not None:
            groups.setdefault(match[1], {}).setdefault(int(match[2]), key)
    longest = max(filter(_whole, groups.values()), key=len, default={})
    return [longest[number] for number in sorted(longest)]


def _whole(group: Collection[int]) -> bool:
    low = min(group)
    return low <= 1 and max(group) - low + 1 == len(group) >= FEWEST_NUMBERED
