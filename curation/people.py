"""Who is at the keyboard."""

import getpass
import os

from curation.schema import clean_label


def whoami() -> str:
    """Return the name that decisions are made under.

    ``CURATE_USER`` where it is set, else the system's user, else ``"curator"``; CurationError for a
    name that a decision could not carry.
    """
    chosen = os.environ.get("CURATE_USER", "").strip()
    if chosen:
        return clean_label(chosen, "name in CURATE_USER")
    try:
        return clean_label(getpass.getuser(), "name of the system's user")
    except (KeyError, OSError):  # a container's user without a name
        return "curator"
