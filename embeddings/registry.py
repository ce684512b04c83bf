"""Named things that can be plugged in: encoders, layouts, clusterers, checks, exporters.

A registry is a group of entry points. The built-ins are entry points of this distribution, so a
plug-in in another distribution is found the same way and is their equal.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from embeddings.errors import CurationError

T = TypeVar("T")


class Registry(Generic[T]):
    """The entry points of one group, by name, imported only when asked for.

    Parameters
    ----------
    kind : str
        What one entry is called in messages, e.g. ``"encoder"``.
    group : str
        Entry-point group, e.g. ``"curation_atlas.encoders"``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group

    @cached_property
    def _entries(self) -> Mapping[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            other = found.get(entry.name)
            if other is not None and other.value != entry.value:
                raise CurationError(
                    f"two {self.kind}s are called {entry.name!r}: {other.value} and {entry.value}; "
                    f"uninstall one of them"
                )
            found[entry.name] = entry
        return found

    def names(self) -> list[str]:
        """Return the known names, sorted; imports nothing."""
        return sorted(self._entries)

    def get(self, name: str) -> T:
        """Import and return the entry called `name`.

        Raises
        ------
        CurationError
            When the name is unknown (the message lists the known ones) or its module needs
            something that is not installed.
        """
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(self.names()) or "none are installed"
            raise CurationError(f"unknown {self.kind} {name!r}; known: {known}")
        try:
            loaded: Any = entry.load()
        except ModuleNotFoundError as error:
            raise CurationError(
                f"{self.kind} {name!r} needs the module {error.name!r}; install it and try again"
            ) from error
        return cast(T, loaded)
