"""Who is at the keyboard."""

import getpass
import os


def whoami() -> str:
    """Return the name that decisions are made under.

    ``CURATE_USER`` where it is set, else the system's user, else ``"curator"``.
    """
    chosen = os.environ.get("CURATE_USER", "").strip()
    if chosen:
        return chosen[:100]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "curator"
