"""Archives as tests need them, and a context that remembers what a source told it."""

import io
import tarfile
import zipfile

import numpy as np
import PIL.Image

from embeddings import archives
from embeddings.archives import packed
from embeddings.downloads import Limits
from embeddings.formats import UnreadableImage
from embeddings.sources import Context
from embeddings.stages import silent

REST = packed.THE_REST
PACKINGS = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def jpeg(seed, side=24):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    data = io.BytesIO()
    PIL.Image.fromarray(pixels).save(data, "JPEG")
    return data.getvalue()


def tar(path, content, mode="w"):
    with tarfile.open(path, mode) as out:
        for name, data in content:
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(data, tarfile.TarInfo):
                info.size = len(data)
            out.addfile(info, None if info is data else io.BytesIO(data))
    return path


def zipped(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as out:
        for name, data in content:
            out.writestr(name, data)
    return path


def listed(path):
    """Return name -> bytes, or the reason why not."""
    found = {}
    for member in archives.members(str(path)):
        assert member.name not in found
        found[member.name] = read(member)
    return found


def read(source):
    try:
        return source.read()
    except UnreadableImage as error:
        return str(error)


class Heard:
    """A context, and what a source told it."""

    def __init__(self, keep):
        self.listed, self.notes = [], []
        self.context = Context(
            keep, silent, lambda sha256: None, self.listed.append, self.notes.append, Limits()
        )
