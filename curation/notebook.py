"""A dataset as a notebook holds it: `curation.open("birds").map()` (docs/notebook.md)."""

from typing import TYPE_CHECKING

from curation.workspace import Workspace
from embeddings.errors import CurationError

if TYPE_CHECKING:
    from curation.viewer.widget import AtlasMap


class OpenDataset(Workspace):
    """A workspace that can show its map in a notebook."""

    def __repr__(self) -> str:
        return f"<dataset {self.name!r}: {self.journal.n_items:,} items, {self.made_by} decides>"

    def map(
        self, version: str | None = None, *, color_by: str = "cluster", height: int = 640
    ) -> "AtlasMap":
        """Return the map as a Jupyter widget; a cell that ends in it shows it.

        Every call makes one more map, which follows the journal until its ``close()``.

        Parameters
        ----------
        version : str, optional
            Which atlas; default the newest.
        color_by : str
            ``"cluster"``, or another field of the items such as ``"category"``.
        height : int
            Pixels.

        Raises
        ------
        CurationError
            Where anywidget is not installed, there is no such atlas or no such field.
        """
        try:
            from curation.viewer.widget import AtlasMap
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("anywidget", "traitlets"):
                raise
            raise CurationError(
                'the map in a notebook needs anywidget: pip install "curation-atlas[notebook]", '
                "then restart the kernel"
            ) from error
        return AtlasMap(self, version, color_by=color_by, height=height)
