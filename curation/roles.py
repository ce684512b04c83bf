"""What those who log in may do: `roles.toml` beside the datasets (docs/people.md)."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.people import ROLES, allow
from curation.schema import clean_label
from embeddings import dataset as datasets
from embeddings.errors import CurationError

FILE = "roles.toml"
_KNOWN = ", ".join(ROLES)
_LINE = re.compile(r'^\s*(?P<key>"(?:[^"\\]|\\.)*"|[\w-]+)\s*=\s*"[^"]*"(?P<rest>.*)$')


@dataclass(frozen=True)
class Roles:
    """The role of each person by lower-case name, and of those who are not named."""

    people: Mapping[str, str]
    default: str = ROLES[0]

    def of(self, name: str) -> str:
        """Return the role of a person."""
        return self.people.get(name.lower(), self.default)


def path() -> Path:
    """Return where the roles are kept: the folder of all datasets."""
    return datasets.home() / FILE


def roles() -> Roles:
    """Return the roles as the file says now.

    Raises
    ------
    CurationError
        When there is no such file, or it cannot be read: nobody is let in by mistake.
    """
    return _parsed(_text())


def give(name: str, role: str) -> None:
    """Give a person a role; all else in the file, comments too, stays as it is.

    Raises
    ------
    CurationError
        For somebody who is no admin, an unknown role, where no admin would be left, and for a file
        that is not as docs/people.md shows it.
    """
    import filelock

    from embeddings import disk

    allow("admin")
    name, role = clean_label(name, "name").lower(), _role(role)
    with disk.writing(path()), filelock.FileLock(path().with_name(f".{FILE}.lock"), timeout=10):
        before = _text()
        after, found = _with(before, name, role), _parsed(before)
        wanted = Roles({**found.people, name: role}, found.default)
        if "admin" not in {*wanted.people.values(), wanted.default}:
            raise CurationError(f"{name} is the last admin; make somebody else admin first")
        if not _says(after, wanted):
            raise CurationError(f"{path()} is not as docs/people.md shows it; edit it by hand")
        scratch = path().with_name(f".{FILE}.new")
        scratch.write_text(after, encoding="utf-8")
        os.replace(scratch, path())


# ---- inside


def _text() -> str:
    try:
        return path().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CurationError(
            f"people log in here, and {path()} does not say what they may do; write into it: "
            '[people] and below that a line "YOUR E-MAIL" = "admin"'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CurationError(f"{path()} cannot be read ({error}); mend it") from error


def _parsed(text: str) -> Roles:
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CurationError(f"{path()} is not TOML ({error}); mend it") from error
    people = said.get("people", {})
    if not isinstance(people, dict) or said.keys() - {"people", "default"}:
        raise CurationError(f"{path()} may hold default = ROLE and a table [people]; mend it")
    found = {name.lower(): _role(role) for name, role in people.items()}
    return Roles(found, _role(said.get("default", ROLES[0])))


def _says(text: str, wanted: Roles) -> bool:
    try:
        return _parsed(text) == wanted
    except CurationError:  # what was added landed elsewhere than in [people]
        return False


def _role(role: object) -> str:
    if role not in ROLES:
        raise CurationError(f"expected one of the roles {_KNOWN}, got {str(role)[:40]!r} ({FILE})")
    return str(role)


def _with(text: str, name: str, role: str) -> str:
    """Return the file's text with one role changed, or added at its end."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        found = _LINE.match(line)
        if found and found["key"].strip('"').lower() == name:
            lines[at] = f"{found['key']} = {json.dumps(role)}{found['rest']}"
            break
    else:
        lines.append(f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(role)}")
    return "\n".join(lines) + "\n"
