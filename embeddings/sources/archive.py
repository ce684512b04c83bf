"""Images in a tar or zip, with what WebDataset's side files say about them.

Files that share a name up to the first dot and follow one another belong together: ``.json`` holds
fields (and ``url``), ``.txt`` a caption, ``.cls`` a class. One such group at a time is held.
"""

import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from embeddings import archives, formats
from embeddings.archives import Member
from embeddings.files import Brought, Candidate
from embeddings.formats import UnreadableImage
from embeddings.metadata import field_name
from embeddings.sources import Context

RANK = 30
SIDES = ("json", "txt", "cls")
MOST_BYTES = 4 << 20  # of a side file
MOST_FIELDS = 256  # of a side file; a table with more columns is of no use to anybody
MOST_MEMBERS = 1000  # of a group
INT64 = 1 << 63
# of bytes before img2dataset resized them, and never of the bytes that are here
RENAMED = {"sha256": "original_sha256"}

TOO_LONG = f"longer than {MOST_BYTES >> 20} MB"
_NO_JSON = "not a JSON object"


def claims(spec: str) -> bool:
    """Say whether `spec` is a tar or zip, by its content."""
    return archives.kind(os.path.expanduser(spec)) is not None


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield the images in an archive; what is cut off or damaged is one that cannot be read."""
    path = os.path.abspath(os.path.expanduser(spec))
    unread: Counter[str] = Counter()
    complete = True
    for group in groups(archives.members(path)):
        images = [member for member in group if may_be_image(member)]
        complete = complete and not any(member.is_rest for member in images)
        record = sides(group, unread) if images else {}
        yield from (candidate(member, path, record) for member in images)
    if complete:
        context.listed(path)
    note_unread(path, unread, context)


def note_unread(path: str, unread: Counter[str], context: Context) -> None:
    """Tell the curator how many side files below `path` were passed over."""
    for why, count in sorted(unread.items()):
        context.note(f"{path}: {count:,} side files passed over: {why}")


def groups(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Yield members that share their name up to the first dot, and follow one another."""
    for _, same in itertools.groupby(members, key=lambda member: key(member.name)):
        while group := list(itertools.islice(same, MOST_MEMBERS)):
            yield group


def key(name: str) -> str:
    """Return a name up to the first dot of its last part: what a group of files shares."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def candidate(member: Member, root: str, record: Mapping[str, Any]) -> Candidate:
    """Return a member of an archive as what may be an image, with what a record says about it."""
    made = brought(record)
    mine = Brought(read=member.read, url=made.url, fields=made.fields)
    return Candidate(member.path, member.size, member.archive.mtime_ns, root, mine)


def may_be_image(member: Member) -> bool:
    """Say whether a member is named like an image or begins like one."""
    suffix = os.path.splitext(member.name)[1].lower()
    if suffix in formats.SUFFIXES or member.is_rest:
        return True
    return suffix[1:] not in SIDES and formats.reader(member.head()) is not None


def sides(group: Iterable[Member], unread: Counter[str]) -> dict[str, Any]:
    """Return what the side files of a group say; `unread` counts those that say nothing, by why."""
    record: dict[str, Any] = {}
    for member in group:
        suffix = os.path.basename(member.name).partition(".")[2].lower()
        if suffix not in SIDES:
            continue
        try:
            if member.size > MOST_BYTES:
                raise UnreadableImage(TOO_LONG)
            said = side(suffix, member.read() if member.size else b"")
        except UnreadableImage as error:
            unread[formats.reason_group(str(error))] += 1
            continue
        # a caption of its own comes before the one in the JSON
        record = {**record, **said} if suffix != "json" else {**said, **record}
    return record


def side(suffix: str, data: bytes) -> dict[str, Any]:
    """Return what a side file says; UnreadableImage when it is no JSON object."""
    if suffix == "json":
        return _json(data) if data else {}
    said = data.decode("utf-8-sig", "replace").strip()
    if not said:
        return {}
    if suffix == "cls":
        plain = said.isascii() and said.removeprefix("-").isdigit() and len(said) < 19
        return {"cls": int(said) if plain else said}
    return {"caption": said}


def _json(data: bytes) -> dict[str, Any]:
    try:
        record = json.loads(data.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise UnreadableImage(_NO_JSON) from error
    if not isinstance(record, dict):
        raise UnreadableImage(_NO_JSON)
    return record


def brought(record: Mapping[str, Any]) -> Brought:
    """Return a record's fields, and its ``url`` as where the image was published."""
    url = record.get("url")
    published = text(url) if isinstance(url, str) and url else None
    named = {
        field_name(text(str(column))): value(one)
        for column, one in itertools.islice(record.items(), MOST_FIELDS)
        if column and (column != "url" or published is None)
    }
    fields = {RENAMED.get(name, name): one for name, one in named.items() if one is not None}
    return Brought(url=published, fields=fields)


def value(one: Any) -> Any:
    """Return a value that a table can hold: a number, a text, or JSON text of anything nested."""
    if one is None or isinstance(one, bool | str):
        return text(one) if isinstance(one, str) else one
    if isinstance(one, int):
        return one if -INT64 <= one < INT64 else str(one)
    if isinstance(one, float):
        return one if math.isfinite(one) else None
    if isinstance(one, bytes):
        return None
    if not isinstance(one, dict | list):
        return text(str(one))
    try:
        return text(json.dumps(one, ensure_ascii=False, default=str))
    except (ValueError, TypeError, RecursionError):
        return None


def text(given: str) -> str:
    """Return a text that can be stored: halves of a letter, as JSON may hold, become ``?``."""
    return given.encode("utf-8", "replace").decode("utf-8")
