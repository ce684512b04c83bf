"""People's decisions about an atlas: label, flag, check, gather, export."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curation.notebook import OpenDataset


def open(name: str, made_by: str | None = None) -> "OpenDataset":
    """Return a dataset of this machine, open: its `map` in a notebook, and a curator's acts.

    Nothing heavy is loaded before the first call. `made_by` is who decides; default ``CURATE_USER``
    or the system's user. CurationError when there is no such dataset.
    """
    from curation.notebook import OpenDataset

    return OpenDataset(name, made_by)
