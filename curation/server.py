"""The HTTP face of `curation.viewer.answers`, beside the app (docs/protocol.md).

`Guard` stands before these and all of Streamlit's own routes: a page that the curator happens to
visit must not be able to read the pictures.
"""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from curation import fields
from curation.settings import LOCAL_HOSTS
from curation.viewer import answers, payload
from curation.viewer.answers import Refused
from curation.workspace import shared
from embeddings import dataset as datasets
from embeddings.errors import CurationError

MAIN = Path(__file__).resolve().parent / "app" / "main.py"
OURS = ("same-origin", "none")  # Sec-Fetch-Site of this page, and of what a person typed


def routes() -> list[Route]:
    """Return the routes for `st.App(..., routes=routes())`."""
    return [Route("/api/v1/{dataset}/{path:path}", _answered, methods=["GET", "POST"])]


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


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Run `warm` beside the server as it starts, for `st.App(..., lifespan=lifespan)`."""
    threading.Thread(target=warm, name="warm", daemon=True).start()
    yield


def warm() -> None:
    """Read what the first page is going to show: of 1,000,000 items it would wait for seconds."""
    try:
        known, wanted = datasets.names(), os.environ.get("CURATE_DATASET")
        if not known:
            return
        workspace = shared(wanted if wanted in known else datasets.newest())
        atlas = workspace.atlas()
        payload.order_of(atlas)
        fields.fields(workspace, atlas.version)
        fields.details(workspace, atlas.version, 0)
    except CurationError:
        return  # the page meets the same trouble, and says it


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


def allowed_hosts() -> set[str]:
    """Return the host names that are answered: this machine's, and those Streamlit allows."""
    from streamlit import config

    more = config.get_option("server.allowedHosts") or []
    more = more.split(",") if isinstance(more, str) else list(more)
    return {*LOCAL_HOSTS, "::1", *(name.strip() for name in more if name.strip())}


# ---- inside


async def _answered(request: Request) -> Response:
    posted = request.method == "POST"
    if posted != answers.takes_body(request.path_params["path"]):
        return _error(405, "this is asked with POST" if not posted else "this is asked with GET")
    try:
        body = b""
        if posted:
            # how much may come depends on the atlas, which may have to be read from the disk
            body = await _body(request, await run_in_threadpool(_most_bytes, request))
        return await run_in_threadpool(_answer, request, body)
    except Refused as refused:
        return _error(refused.status, str(refused))
    except CurationError as error:
        return _error(404, str(error))


async def _body(request: Request, most: int) -> bytes:
    """Return the body; nothing beyond `most` bytes is read, whatever length was announced."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > most:
            raise Refused(413, f"send at most {most} bytes")
    return bytes(read)


def _most_bytes(request: Request) -> int:
    workspace = shared(request.path_params["dataset"])
    return answers.most_bytes(workspace, request.path_params["path"], request.query_params)


def _answer(request: Request, body: bytes) -> Response:
    workspace = shared(request.path_params["dataset"])
    known = request.headers.get("if-none-match", "")
    path, query = request.path_params["path"], request.query_params
    found = answers.answer(workspace, path, query, body, known)
    headers = {"Cache-Control": found.cache}
    if found.tag:
        headers["ETag"] = found.tag
    if found.kind == answers.PACKED:
        # identity: Streamlit's middleware would compress the same megabytes at every request
        headers["Content-Encoding"] = "identity"
    return Response(found.body, found.status, headers=headers, media_type=found.kind)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status, headers={"Cache-Control": "no-store"})
