"""What the browser may ask of a dataset, whichever host carries the question (docs/protocol.md).

Nothing here knows HTTP: `curation.server` answers with it over the routes, a notebook over its
messages. Ids, versions and fields are looked up, never joined into a path or a query.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from curation import fields
from curation.in_hand import clusters_in_hand
from curation.presence import presence
from curation.viewer import payload, pictures
from curation.workspace import Workspace
from embeddings import thumbnails
from embeddings.errors import CurationError
from embeddings.schema import Atlas

FOR_EVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
NEVER = "no-store"
PACKED, JPEG, JSON = "application/octet-stream", "image/jpeg", "application/json"
CELLS = (64, 128)  # pixels of one thumbnail on a sheet
TALLEST = 16_384  # pixels of a sheet: the most that a texture holds
SIGN = 2_000  # bytes of a sign of life
GROW_BY, GROW_MOST = 5, 100  # neighbours that a selection grows by


class Refused(CurationError):
    """A question that is not answered: an HTTP status, and one line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """Bytes, their content type, and how long a browser may keep them.

    `tag` is an HTTP entity tag, empty where there is none; `status` is 200, or 304 with no bytes
    where the asker has them already.
    """

    body: bytes
    kind: str
    tag: str = ""
    cache: str = NEVER
    status: int = 200


@dataclass(frozen=True)
class Question:
    """One thing asked: `parts` of the path after its first, the query, a body, tags known."""

    workspace: Workspace
    parts: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes = b""
    known: str = ""

    def atlas(self) -> Atlas:
        """Return the atlas that the path names."""
        return self.workspace.atlas(self.parts[0])

    @property
    def journal(self) -> str:
        """Return what tells this dataset's journal from one made anew under the same name."""
        return self.workspace.dataset.dataset_id

    def number(self, name: str, otherwise: int) -> int:
        """Return a number of the query."""
        return _number(self.query.get(name, str(otherwise)))

    def cell(self) -> int:
        """Return how many pixels the thumbnails of a sheet have."""
        cell = self.number("cell", CELLS[0])
        if cell not in CELLS:
            raise Refused(400, f"expected a cell of {' or '.join(map(str, CELLS))} pixels")
        return cell


def answer(
    workspace: Workspace,
    path: str,
    query: Mapping[str, str],
    body: bytes = b"",
    known: str = "",
) -> Answer:
    """Return what a browser asked for.

    Parameters
    ----------
    path : str
        Below ``/api/v1/{dataset}/``, decoded; `parsed` makes path and query of an address.
    body : bytes
        What a ``POST`` brought; at most `most_bytes` were read.
    known : str
        The entity tags that the asker has (``If-None-Match``).

    Raises
    ------
    Refused
        With a status and one line, for everything that is not there or cannot be read.
    """
    try:
        _, reply, question = _asked(workspace, path, query, body, known)
        return reply(question)
    except Refused:
        raise
    except CurationError as error:
        raise Refused(404, str(error)) from error


def most_bytes(workspace: Workspace, path: str, query: Mapping[str, str]) -> int:
    """Return how long the body of a question may be; 0 for what takes none. Raises `Refused`."""
    try:
        kind, _, question = _asked(workspace, path, query)
        if kind == "sheet":
            return 4 * _sheet_items(question.cell())
        if kind == "here":
            return SIGN
        if kind == "grow":
            return payload.most_squeezed(len(question.atlas()))
        return 0
    except Refused:
        raise
    except CurationError as error:
        raise Refused(404, str(error)) from error


def takes_body(path: str) -> bool:
    """Return whether a question is asked with a body (``POST``)."""
    return path.split("/", 1)[0] in ("sheet", "grow", "here")


def parsed(address: str) -> tuple[str, dict[str, str]]:
    """Return path and query of an address below the base, as `answer` takes them."""
    parts = urlsplit(address)
    return unquote(parts.path), dict(parse_qsl(parts.query))


# ---- the answers


def points(asked: Question) -> Answer:
    """Return the geometry and clusters of one atlas: bytes that never change."""
    atlas = asked.atlas()
    tag = payload.etag(asked.workspace.dataset.dataset_id, atlas.version)
    return _packed(asked, tag, FOR_EVER, lambda: payload.pack_points(atlas))


def places(asked: Question) -> Answer:
    """Return where the items stand in another layout: a grid, or columns by a field."""
    from curation.viewer import layouts

    atlas, (_, layout) = asked.atlas(), asked.parts
    field = asked.query.get("field") if layout == "by" else None
    return _told(asked, layouts.places(asked.workspace, atlas, layout, field))


def column(asked: Question) -> Answer:
    """Return one field of each item of an atlas: whole, or what changed since a decision."""
    atlas, name = asked.atlas(), asked.parts[1]
    if name not in fields.DECIDED:
        return _told(asked, payload.pack_column(atlas, _column(asked, atlas, name)))
    since = asked.number("since", 0) if "since" in asked.query else None
    if asked.query.get("journal", asked.journal) != asked.journal:
        since = None  # counted in a journal that was made anew under the same name
    head = asked.workspace.labels.refresh()
    tag = payload.etag(asked.journal, atlas.version, name, head, since)
    return _packed(asked, tag, ASK_AGAIN, lambda: _decided(asked, atlas, name, since))


def item(asked: Question) -> Answer:
    """Return what the hover card says of one item."""
    atlas = asked.atlas()
    row = int(payload.rows_at(atlas, [_number(asked.parts[1])])[0])
    return _json(fields.details(asked.workspace, atlas.version, row))


def grow(asked: Question) -> Answer:
    """Return the selection of the body and the nearest of each of its items."""
    k = asked.number("k", GROW_BY)
    if not 1 <= k <= GROW_MOST:
        raise Refused(400, f"expected k from 1 to {GROW_MOST}, got {k}")
    atlas = asked.atlas()
    try:
        rows = payload.rows_in(asked.body, atlas)
    except CurationError as error:
        raise Refused(400, str(error)) from error
    grown = asked.workspace.grown(rows, atlas, k)
    return Answer(payload.squeezed_rows(grown, atlas), PACKED)


def thumb(asked: Question) -> Answer:
    """Return one item's thumbnail by its id."""
    return _thumbnail(asked.workspace, asked.parts[0])


def thumb_at(asked: Question) -> Answer:
    """Return one item's thumbnail by its wire index."""
    atlas = asked.atlas()
    row = int(payload.rows_at(atlas, [_number(asked.parts[1])])[0])
    return _thumbnail(asked.workspace, str(atlas.item_ids[row]))


def picture(asked: Question) -> Answer:
    """Return one item's own image by its id, for a larger look."""
    atlas, item_id = asked.atlas(), asked.parts[1]
    row = int(atlas.rows_of(np.array([item_id]))[0])
    if row < 0:
        raise Refused(404, "no such item")
    # asked again each time: whoever may no longer look gets it from no browser's cache
    tag = payload.etag(asked.journal, "picture", item_id, pictures.LONGEST, pictures.QUALITY)
    return _packed(
        asked, tag, ASK_AGAIN, lambda: pictures.picture(asked.workspace, atlas, row), JPEG
    )


def sheet(asked: Question) -> Answer:
    """Return the thumbnails of the wire indices in the body (uint32) as one JPEG sheet."""
    cell = asked.cell()
    if not asked.body or len(asked.body) % 4 or len(asked.body) > 4 * _sheet_items(cell):
        raise Refused(400, f"send 1 to {_sheet_items(cell)} wire indices as little-endian uint32")
    atlas = asked.atlas()
    rows = payload.rows_at(atlas, np.frombuffer(asked.body, "<u4"))
    item_ids = [str(item_id) for item_id in atlas.item_ids[rows]]
    found = asked.workspace.store.thumbnails(item_ids)
    return Answer(thumbnails.sheet([found.get(one) for one in item_ids], cell), JPEG)


def head(asked: Question) -> Answer:
    """Return what is newest.

    Nothing is folded here; a page that learns of something new asks for it.
    """
    return _json(news(asked.workspace))


def here(asked: Question) -> Answer:
    """Take a page's sign of life, and return what is newest and who else is here.

    Asked once a second by every page that is looked at. The body is JSON: ``session``, ``page``,
    ``place``, the ``version`` of the atlas it shows, and ``gone`` where the page is being left.
    """
    sign = _sign(asked.body)
    session, mine = sign["session"], asked.workspace.made_by
    people = presence(asked.workspace.dataset)
    if sign["gone"]:
        people.leave(session)
        return _json({})
    people.here(mine, session, sign["page"], sign["place"])
    others = [{**vars(one), "you": one.person == mine} for one in people.others(session)]
    version = sign["version"]
    held = clusters_in_hand(asked.workspace, version, session) if version else {}
    told = {"others": others, "trouble": people.trouble, "held": held}
    return _json({**news(asked.workspace), **told})


def news(workspace: Workspace) -> dict[str, str | int | None]:
    """Return the journal and its head, the newest atlas, and the tables' stamp: all change alone.

    The head is the journal's own and not what was folded: one restored from a backup has a lower.
    """
    runs = workspace.runs()
    return {
        "journal": workspace.dataset.dataset_id,
        "seq": workspace.journal.head,
        "version": str(runs[0]["version"]) if runs else None,
        "tables": fields.stamp(workspace),
    }


Reply = Callable[[Question], Answer]

# By the first part of the path: the answer, and how many parts follow.
ANSWERS: dict[str, tuple[Reply, int]] = {
    "points": (points, 1),
    "places": (places, 2),
    "column": (column, 2),
    "item": (item, 2),
    "grow": (grow, 1),
    "thumb": (thumb, 1),
    "thumb_at": (thumb_at, 2),
    "picture": (picture, 2),
    "sheet": (sheet, 1),
    "head": (head, 0),
    "here": (here, 0),
}


# ---- inside


def _asked(
    workspace: Workspace,
    path: str,
    query: Mapping[str, str],
    body: bytes = b"",
    known: str = "",
) -> tuple[str, Reply, Question]:
    kind, *rest = path.split("/", 1)
    reply, count = ANSWERS.get(kind, (None, 0))
    # the last part takes what is left: a field may have a slash in its name
    parts = tuple(rest[0].split("/", count - 1)) if rest and count else tuple(rest)
    if reply is None or len(parts) != count or not all(parts):
        raise Refused(404, f"nothing is at {path[:60]!r}; reload the page")
    return kind, reply, Question(workspace, parts, query, body, known)


def _column(asked: Question, atlas: Atlas, name: str) -> fields.CodeColumn | fields.ValueColumn:
    return fields.column(asked.workspace, name, atlas.version)


def _decided(asked: Question, atlas: Atlas, name: str, since: int | None) -> bytes:
    """Pack a decided field. The column comes first: a delta may say too much, never too little."""
    whole, changed = _column(asked, atlas, name), None
    if since is not None and since <= whole.seq:  # else the reader knew another journal
        named = asked.workspace.labels.changed_since(since)
        changed = asked.workspace.rows_with(named, atlas.version)
    return payload.pack_column(atlas, whole, since=since, changed=changed, journal=asked.journal)


def _sheet_items(cell: int) -> int:
    return (thumbnails.SHEET_WIDTH // cell) * (TALLEST // cell)


def _thumbnail(workspace: Workspace, item_id: str) -> Answer:
    found = workspace.store.thumbnails([item_id]).get(item_id)
    if found is None:
        raise Refused(404, "no such item")
    return Answer(found, JPEG, cache=FOR_EVER)


def _packed(
    asked: Question, tag: str, cache: str, pack: Callable[[], bytes], kind: str = PACKED
) -> Answer:
    """Answer with packed bytes, or with none where the asker has them: they are not even made."""
    if tag in asked.known:
        return Answer(b"", kind, tag, cache, 304)
    return Answer(pack(), kind, tag, cache)


def _told(asked: Question, body: bytes) -> Answer:
    """Answer with bytes that nothing but themselves tells to be new: what the machine found."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    return _packed(asked, tag, ASK_AGAIN, lambda: body)


def _sign(body: bytes) -> dict[str, str]:
    """Read a sign of life: its texts, those that are missing empty."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    names = ("session", "page", "place", "version", "gone")
    if not isinstance(said, dict) or not said.get("session"):
        raise Refused(400, "expected a sign of life as JSON with a session; reload the page")
    texts = {name: str(said.get(name) or "")[:200] for name in names}
    # half of a surrogate pair is no text that could be kept
    return {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}


def _json(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), JSON)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Refused(400, f"expected a whole number, got {text[:20]!r}")
    return int(text)
