"""The encoder that has no model: vectors that people bring are scaled to unit length, no more."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embeddings.encoders.support import unit_length
from embeddings.errors import CurationError
from embeddings.schema import Float32

if TYPE_CHECKING:
    from PIL import Image

KIND = "given"


class Given:
    """The space called `name`, of vectors with `dim` numbers, told of in `origin`.

    The id holds no digest of values: the rows of another table of the same model belong to the
    same space.
    """

    min_side = 1  # pixels are not looked at
    batch_size = 256

    def __init__(self, name: str, dim: int, origin: str) -> None:
        self.encoder_id = f"{KIND}:{name}"
        self.name, self.dim, self.origin = name, dim, origin

    def prepare(self, image: "Image.Image") -> npt.NDArray[Any]:
        """Refuse: there is no model that could look at an image.

        Raises
        ------
        CurationError
            Always.
        """
        raise CurationError(
            f"{self.encoder_id} has no model to look at images with; give their vectors in a table"
        )

    def encode(self, batch: npt.NDArray[Any]) -> Float32:
        """Scale (b, d) to (b, d) float32 of unit length; one without a direction becomes zeros."""
        rows = np.asarray(batch, np.float64)
        # by the largest number first: its square may be too big, or too small, for any float
        largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
        sound = np.isfinite(largest) & (largest > 0)
        return unit_length(np.where(sound, rows / np.where(sound, largest, 1.0), 0.0))

    def describe(self) -> dict[str, str | int | float]:
        """Tell the name, the dimension and where the first vectors came from."""
        return {
            "model": self.name,
            "dim": self.dim,
            "from": self.origin,
            "preprocess": "none: brought as vectors",
            "device": "cpu",
            "dtype": "float32",
        }
