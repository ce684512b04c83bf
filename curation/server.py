"""Read-only HTTP routes beside the app: points, columns and thumbnails (docs/protocol.md).

Ids, versions and fields are looked up, never joined into a path or a query. `Guard` stands before
these and all of Streamlit's own routes: a page that the curator happens to visit must not be able
to read the pictures.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from curation.schema import FIELDS, FLAGS
from curation.settings import LOCAL_HOSTS
from curation.viewer import payload
from curation.workspace import Workspace, shared
from embeddings import thumbnails
from embeddings.errors import CurationError
from embeddings.schema import Atlas

MAIN = Path(__file__).resolve().parent / "app" / "main.py"
FOR_EVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
BYTES = "application/octet-stream"
SHEET_ITEMS = 4096  # cells of one sheet: 1024 x 16384 pixels, the most that a texture holds

OURS = ("same-origin", "none")  # Sec-Fetch-Site of this page, and of what a person typed

Answer = Callable[[Request], Response]


class Refused(Exception):
    """A request that gets an HTTP status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def routes() -> list[Route]:
    """Return the routes for `st.App(..., routes=routes())`."""
    base = "/api/v1/{dataset}"
    return [
        Route(f"{base}/points/{{version}}", _answered(points)),
        Route(f"{base}/column/{{version}}/{{field}}", _answered(column)),
        Route(f"{base}/thumb/{{item_id}}", _answered(thumb)),
        Route(f"{base}/thumb_at/{{version}}/{{index}}", _answered(thumb_at)),
        Route(f"{base}/sheet/{{version}}", _sheet, methods=["POST"]),
    ]


def points(request: Request) -> Response:
    """Return the geometry and clusters of one atlas: bytes that never change."""
    workspace, atlas = _atlas(request)
    tag = payload.etag(workspace.dataset.dataset_id, atlas.version)
    if _has(request, tag):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": FOR_EVER})
    return _bytes(payload.pack_points(atlas), tag, FOR_EVER)


def column(request: Request) -> Response:
    """Return what people decided about each item of an atlas: whole, or since a decision."""
    workspace, atlas = _atlas(request)
    field = request.path_params["field"]
    if field not in (*FIELDS, "flags"):
        raise Refused(404, f"no column {field[:40]!r}; there are: {', '.join(FIELDS)}, flags")
    since = _since(request)
    head = workspace.labels.refresh()
    tag = payload.etag(workspace.dataset.dataset_id, atlas.version, field, head, since)
    if _has(request, tag):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": ASK_AGAIN})
    item_nos = workspace.item_nos(atlas.version)
    changed = None
    if since is not None and since <= head:
        touched = np.array(workspace.labels.changed_since(since), dtype=np.int64)
        changed = np.flatnonzero(np.isin(item_nos, touched))
    whole = _column(workspace, field, item_nos, head)
    return _bytes(payload.pack_column(atlas, whole, since=since, changed=changed), tag, ASK_AGAIN)


def thumb(request: Request) -> Response:
    """Return one item's thumbnail by its id."""
    return _thumbnail(_workspace(request), request.path_params["item_id"])


def thumb_at(request: Request) -> Response:
    """Return one item's thumbnail by its wire index."""
    workspace, atlas = _atlas(request)
    rows = payload.rows_at(atlas, [_number(request.path_params["index"])])
    return _thumbnail(workspace, str(atlas.item_ids[rows[0]]))


def sheet(request: Request, body: bytes) -> Response:
    """Return the thumbnails of the wire indices in `body` (uint32) as one JPEG sheet."""
    workspace, atlas = _atlas(request)
    if not body or len(body) % 4 or len(body) > 4 * SHEET_ITEMS:
        raise Refused(400, f"send 1 to {SHEET_ITEMS} wire indices as little-endian uint32")
    rows = payload.rows_at(atlas, np.frombuffer(body, "<u4"))
    item_ids = [str(item_id) for item_id in atlas.item_ids[rows]]
    found = workspace.store.thumbnails(item_ids)
    picture = thumbnails.sheet([found.get(item_id) for item_id in item_ids])
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


class Guard:
    """Refuses HTTP and WebSocket requests for another host's name or from another site.

    Streamlit looks at hosts and origins for its WebSocket alone, and before it refuses a foreign
    origin it asks a web service for this machine's address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] in ("http", "websocket"):
            reason = _foreign(Headers(scope=scope))
            if reason is not None:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008, "reason": reason})
                else:
                    await _error(403, reason)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def middleware() -> list[Middleware]:
    """Return the middleware for `st.App(..., middleware=middleware())`."""
    return [Middleware(Guard)]


def _foreign(headers: Headers) -> str | None:
    """Return why a request is not this machine's own page's, or None."""
    try:
        host = urlsplit(f"//{headers.get('host', '')}")
        origin = urlsplit(headers.get("origin", f"//{host.netloc}"))
    except ValueError:  # brackets that hold no address
        return "the Host or Origin header cannot be read"
    if host.hostname not in allowed_hosts():
        return "this host name is not served; use http://127.0.0.1"
    if origin.netloc != host.netloc:
        return "other sites may not read this"
    document = headers.get("sec-fetch-dest") == "document"  # a link that the curator followed
    if headers.get("sec-fetch-site", "none") not in OURS and not document:
        return "other sites may not read this"
    return None


# ---- inside


def _answered(answer: Answer) -> Answer:
    @wraps(answer)
    def answered(request: Request) -> Response:
        try:
            return answer(request)
        except Refused as refused:
            return _error(refused.status, str(refused))
        except CurationError as error:
            return _error(404, str(error))

    return answered


async def _sheet(request: Request) -> Response:
    if int(request.headers.get("content-length", "0") or 0) > 4 * SHEET_ITEMS:
        return _error(413, f"a sheet has at most {SHEET_ITEMS} items")
    body = await request.body()
    return await run_in_threadpool(_answered(lambda inner: sheet(inner, body)), request)


def allowed_hosts() -> set[str]:
    """Return the host names that are answered: this machine's, and those Streamlit allows."""
    from streamlit import config

    more = config.get_option("server.allowedHosts") or []
    more = more.split(",") if isinstance(more, str) else list(more)
    return {*LOCAL_HOSTS, "::1", *(name.strip() for name in more if name.strip())}


def _workspace(request: Request) -> Workspace:
    return shared(request.path_params["dataset"])


def _atlas(request: Request) -> tuple[Workspace, Atlas]:
    workspace = _workspace(request)
    return workspace, workspace.atlas(request.path_params["version"])


def _column(workspace: Workspace, field: str, item_nos: Any, head: int) -> payload.LabelColumn:
    if field == "flags":
        bits = workspace.labels.flags(item_nos).astype(np.int32)
        return payload.LabelColumn(field, bits, FLAGS, head, "bits")
    codes, legend = workspace.labels.codes(field)
    return payload.LabelColumn(field, codes[item_nos], legend, head)


def _thumbnail(workspace: Workspace, item_id: str) -> Response:
    found = workspace.store.thumbnails([item_id]).get(item_id)
    if found is None:
        raise Refused(404, "no such item")
    return Response(found, media_type="image/jpeg", headers={"Cache-Control": FOR_EVER})


def _since(request: Request) -> int | None:
    text = request.query_params.get("since")
    return None if text is None else _number(text)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Refused(400, f"expected a whole number, got {text[:20]!r}")
    return int(text)


def _has(request: Request, tag: str) -> bool:
    return tag in request.headers.get("if-none-match", "")


def _bytes(data: bytes, tag: str, cache: str) -> Response:
    # identity: Streamlit's middleware would compress the same megabytes at every request
    headers = {"ETag": tag, "Cache-Control": cache, "Content-Encoding": "identity"}
    return Response(data, media_type=BYTES, headers=headers)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status, headers={"Cache-Control": "no-store"})
