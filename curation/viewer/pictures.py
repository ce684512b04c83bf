"""One item as large as a screen shows it, from where its image was met; nothing is fetched."""

import io
import os
from threading import Semaphore

import PIL.Image
import pyarrow.compute as pc

from curation import aligned
from curation.exporters.imagefolder import cut
from curation.workspace import Workspace
from embeddings import images, originals
from embeddings.errors import CurationError
from embeddings.schema import Atlas
from embeddings.store import Store

LONGEST = 1600  # pixels of the longest side
QUALITY = 88
_BOX = ("x1", "y1", "x2", "y2")
# So many at once: a large file needs much of RAM, and the page asks other things too.
_making = Semaphore(2)


def picture(workspace: Workspace, atlas: Atlas, row: int) -> bytes:
    """Return the image of one row of an atlas, of a crop what is in its box, as a JPEG.

    Its longest side is at most 1,600 pixels; it is never made larger than it is.

    Raises
    ------
    CurationError
        When the file is nowhere where it was met, has changed, or cannot be read.
    """
    with _making:
        return _made(workspace, atlas, row)


def _made(workspace: Workspace, atlas: Atlas, row: int) -> bytes:
    item_id = str(atlas.item_ids[row])
    item = aligned.one(workspace, atlas, row, "items", _BOX)
    known = aligned.one(workspace, atlas, row, "images", ("image_id", "sha256"))
    if not item or not known:
        raise CurationError("no such item")
    box = tuple(item[name] for name in _BOX)
    crop = None if None in box else box
    sha256 = known["sha256"]
    data = _original(workspace, atlas, row, known["image_id"], sha256)
    # of a whole JPEG no more is decoded than twice what is shown
    enough = LONGEST // 2 if crop is None else None
    try:
        image = images.decode(data, min_side=enough, digest=sha256).rgb
    except images.UnreadableImage as error:
        raise CurationError(f"the image of item {item_id} cannot be read: {error}") from error
    profile = image.info.get("icc_profile", b"")
    if crop is not None:
        image = cut(image, crop, item_id)
    return _jpeg(image, profile if profile[16:20] == b"RGB " else None)


def _original(workspace: Workspace, atlas: Atlas, row: int, image_id: str, sha256: str) -> bytes:
    place = aligned.one(workspace, atlas, row, "locations", ("path_bytes",)).get("path_bytes")
    places = [] if place is None else [os.fsdecode(place)]
    downloads = workspace.dataset.downloads
    data = originals.read(places, downloads, sha256)
    if data is None:  # all its places are asked for only now: a million take their time
        data = originals.read(_places(workspace.store, image_id), downloads, sha256)
    if data is None:
        raise CurationError(
            f"the file is not at {images.printable(places[0]) if places else 'any known place'} "
            "any more, or has changed; put it back, or tell where it is: curate relocate OLD NEW"
        )
    return data


def _places(store: Store, image_id: str) -> list[str]:
    """Return where one image was met and should still be, as `Store.places` does for all."""
    rows = store.read("locations", ["path_bytes", "image_id", "status"])
    met = rows.filter(pc.equal(rows["image_id"], image_id))["path_bytes"].combine_chunks()
    told = rows.filter(pc.is_in(rows["path_bytes"], value_set=met)).to_pylist()
    newest = {row["path_bytes"]: row for row in told}  # of a path met again the last row counts
    return [
        os.fsdecode(path)
        for path, row in newest.items()
        if row["status"] == "ok" and row["image_id"] == image_id
    ]


def _jpeg(image: PIL.Image.Image, profile: bytes | None) -> bytes:
    image.thumbnail((LONGEST, LONGEST), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, comment=b"", icc_profile=profile)
    return buffer.getvalue()
