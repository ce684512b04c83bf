"""One item as large as a screen shows it, from where its image was met; nothing is fetched."""

import io
import os

import PIL.Image

from curation import aligned
from curation.exporters.imagefolder import cut
from curation.workspace import Workspace
from embeddings import images, originals
from embeddings.errors import CurationError
from embeddings.schema import Atlas

LONGEST = 1600  # pixels of the longest side
QUALITY = 88
_BOX = ("x1", "y1", "x2", "y2")


def picture(workspace: Workspace, atlas: Atlas, row: int) -> bytes:
    """Return the image of one row of an atlas, of a crop what is in its box, as a JPEG.

    Its longest side is at most 1,600 pixels; it is never made larger than it is.

    Raises
    ------
    CurationError
        When the file is not where it was met, has changed, or cannot be read.
    """
    item_id = str(atlas.item_ids[row])
    box = tuple(aligned.one(workspace, atlas, row, "items", _BOX).values())
    crop = None if None in box else box
    data = _original(workspace, atlas, row)
    try:
        # of a whole JPEG no more is decoded than twice what is shown
        image = images.decode(data, min_side=LONGEST // 2 if crop is None else None).rgb
    except images.UnreadableImage as error:
        raise CurationError(f"the image of item {item_id} cannot be read: {error}") from error
    profile = image.info.get("icc_profile", b"")
    if crop is not None:
        image = cut(image, crop, item_id)
    return _jpeg(image, profile if profile[16:20] == b"RGB " else None)


def _original(workspace: Workspace, atlas: Atlas, row: int) -> bytes:
    sha256 = aligned.one(workspace, atlas, row, "images", ("sha256",))["sha256"]
    place = aligned.one(workspace, atlas, row, "locations", ("path_bytes",)).get("path_bytes")
    places = [] if place is None else [os.fsdecode(place)]
    data = originals.read(places, workspace.dataset.downloads, sha256)
    if data is None:
        raise CurationError(
            f"the file is not at {images.printable(places[0]) if places else 'any known place'} "
            "any more, or has changed; put it back, or tell where it is: curate relocate OLD NEW"
        )
    return data


def _jpeg(image: PIL.Image.Image, profile: bytes | None) -> bytes:
    image.thumbnail((LONGEST, LONGEST), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, comment=b"", icc_profile=profile)
    return buffer.getvalue()
