"""The bytes of an image that a dataset knows, wherever they are: a file, an archive, a download."""

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from embeddings import archives, files, images
from embeddings.files import WEB as WEB
from embeddings.formats import UnreadableImage
from embeddings.schema import ID_LENGTH
from embeddings.store import Store


class Originals:
    """The bytes of a dataset's images, each read from the first place that still has them.

    Parameters
    ----------
    store : Store
    downloads : Path
        Where the dataset keeps what it downloaded.
    """

    def __init__(self, store: Store, downloads: Path) -> None:
        self.store, self.downloads = store, downloads

    @cached_property
    def _places(self) -> dict[str, list[str]]:
        return self.store.places()

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes with this SHA-256 (64 hex digits); None when they are nowhere."""
        places = self._places.get(sha256[:ID_LENGTH])
        if places is None:
            return None
        return read(places, self.downloads, sha256)


def read(places: Iterable[str], downloads: Path, sha256: str) -> bytes | None:
    """Return the bytes with this SHA-256 from the first of `places` that has them, or None."""
    # last what was downloaded: a record's place, or HTTP://, does not tell that it was
    for path in (*places, str(kept(downloads, sha256))):
        try:
            data = files.read(path) if os.path.lexists(path) else archives.read(path)
        except UnreadableImage:
            continue  # it may have been met in another place too
        if images.sha256(data) == sha256:
            return data
    return None


def kept(downloads: Path, sha256: str) -> Path:
    """Return where the download with this SHA-256 is kept."""
    return downloads / sha256[:2] / sha256
