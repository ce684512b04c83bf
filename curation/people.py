"""Who decides, and what they may do."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from curation.schema import clean_label
from embeddings.errors import CurationError

ROLES = ("none", "view", "label", "admin")  # each may do what those before it may
_MAY = {
    "view": "look at this dataset",
    "label": "decide anything or export; you may look",
    "admin": "change whole labels or roles, or write wherever the server may; you may label",
}


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in, under the name that decisions are made under."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether this person may do what needs a role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def must(self, role: str) -> None:
        """Raise CurationError where this person may not do what needs a role."""
        if not self.may(role):
            raise CurationError(
                f"{self.name} may not {_MAY[role]}; ask an admin for the role {role!r}"
            )


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


# ---- logins: told by whoever knows the session, asked by `curation.acts` at every decision

_told: ContextVar[Person | None] = ContextVar("person", default=None)
_asked: list[Callable[[], Person | None]] = []


def acting() -> Person | None:
    """Return who is logged in where this is asked; None where nobody has to, at one's keyboard."""
    told = _told.get()
    if told is not None:
        return told
    return _asked[-1]() if _asked else None


def allow(role: str) -> None:
    """Raise CurationError where whoever acts may not do what needs `role`."""
    person = acting()
    if person is not None:
        person.must(role)


@contextmanager
def acting_as(person: Person | None) -> Iterator[None]:
    """Do something for a person who was told from a request."""
    token = _told.set(person)
    try:
        yield
    finally:
        _told.reset(token)


def ask(source: Callable[[], Person | None]) -> None:
    """Ask `source` from now on who is logged in: the app knows its sessions."""
    _asked[:] = [source]
