"""The HTTP face of `curation.viewer.answers`, beside the app (docs/protocol.md).

`Guard` stands before these and all of Streamlit's own routes: a page that the curator happens to
visit must not be able to read the pictures, nor may somebody who should log in first and did not.
"""

import ipaddress
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from curation import fields
from curation.people import Person, acting_as
from curation.roles import roles
from curation.schema import clean_label
from curation.settings import LOCAL_HOSTS
from curation.viewer import answers, payload
from curation.viewer.answers import Refused
from curation.workspace import shared
from embeddings import dataset as datasets
from embeddings.errors import CurationError

MAIN = Path(__file__).resolve().parent / "app" / "main.py"
PRIVATE = ("/api/", "/media/")  # ours, and what Streamlit keeps for downloads
FIRST_PAGE = 6.0  # seconds that the first page has the machine to itself
SECRET = 32  # characters that a cookie is signed with, at least
OURS = ("same-origin", "none")  # Sec-Fetch-Site of this page, and of what a person typed


def routes() -> list[Route]:
    """Return the routes for `st.App(..., routes=routes())`."""
    return [Route("/api/v1/{dataset}/{path:path}", _answered, methods=["GET", "POST"])]


class Guard:
    """Refuses requests for another host's name, from another site, or from somebody unknown.

    Streamlit looks at hosts and origins for its WebSocket alone, and before it refuses a foreign
    origin it asks a web service for this machine's address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 403."""
        if scope["type"] in ("http", "websocket"):
            reason = _foreign(Headers(scope=scope))
            if reason is not None:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008, "reason": reason})
                else:
                    await _error(403, reason)(scope, receive, send)
                return
        if scope["type"] == "http" and scope["path"].startswith(PRIVATE) and login_needed():
            try:
                scope["person"] = admitted(HTTPConnection(scope).cookies)
            except Refused as refused:
                await _error(refused.status, str(refused))(scope, receive, send)
                return
            except CurationError as error:  # of the roles: nobody is let in by mistake
                await _error(403, str(error))(scope, receive, send)
                return
        await self.app(scope, receive, send)


def middleware() -> list[Middleware]:
    """Return the middleware for `st.App(..., middleware=middleware())`."""
    return [Middleware(Guard)]


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Run `warm` beside the server as it starts, for `st.App(..., lifespan=lifespan)`.

    A server that could be reached from elsewhere without a login does not start.
    """
    from streamlit import config

    check_door(config.get_option("server.address"))  # also where `curate serve` was not the way in
    config.set_option("server.allowedHosts", sorted(allowed_hosts() | login_host()))
    threading.Thread(target=warm, args=(FIRST_PAGE,), name="warm", daemon=True).start()
    yield


def warm(pause: float = 0.0) -> None:
    """Read what the first page is going to show: of 1,000,000 items it would wait for seconds.

    What only a card at the pointer needs takes as long again: it comes `pause` seconds later.
    """
    try:
        known, wanted = datasets.names(), os.environ.get("CURATE_DATASET")
        if not known:
            return
        workspace = shared(wanted if wanted in known else datasets.newest())
        atlas = workspace.atlas()
        payload.order_of(atlas)
        fields.fields(workspace, atlas.version)
        time.sleep(pause)
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


# ---- logins: Streamlit's own, by OpenID Connect (docs/people.md)


@cache
def login_needed() -> bool:
    """Whether people log in here: Streamlit's secrets have a section ``[auth]``.

    Asked once, so that a file that vanishes opens no door.
    """
    return bool(_auth())


def check_door(host: str | None) -> None:
    """Check that only those who log in come in from elsewhere.

    Raises
    ------
    CurationError
        Where `host`, the address to listen at (None: all), is not this machine's own and no login
        is configured, or only half of one.
    """
    if host is not None and _is_loopback(host):
        return
    if not _auth():
        raise CurationError(
            f"whoever reaches {host or 'this machine'} could look and label: configure a login "
            "first ([auth] in .streamlit/secrets.toml and roles.toml, see docs/people.md), or "
            "serve on 127.0.0.1 only"
        )
    login_providers()


def login_providers() -> list[str]:
    """Return the names of those one can log in with; Streamlit calls a nameless one ``default``.

    Raises
    ------
    CurationError
        When the configuration lacks something.
    """
    from streamlit import auth_util
    from streamlit.errors import StreamlitAuthError

    auth = _auth()
    if not auth_util.is_authlib_installed():
        raise CurationError('a login needs Authlib; run: pip install "curation-atlas[login]"')
    if len(str(auth.get("cookie_secret", ""))) < SECRET:
        raise CurationError(
            f"cookie_secret in [auth] must have at least {SECRET} characters: whoever guesses it "
            "can be anybody; take the output of: openssl rand -hex 32"
        )
    tables = {name for name, value in auth.items() if isinstance(value, Mapping)}
    names = sorted(tables - {"client_kwargs"})
    names = ["default"] * ("client_id" in auth or not names) + names
    try:
        for name in names:
            auth_util.validate_auth_credentials(name)
    except StreamlitAuthError as error:
        raise CurationError(" ".join(str(error).split())) from error
    roles()
    return names


def login_host() -> set[str]:
    """Return the host name that people log in at, if they do."""
    host = urlsplit(str(_auth().get("redirect_uri", ""))).hostname
    return {host} if host else set()


def admitted(cookies: Mapping[str, str]) -> Person:
    """Return who sends these cookies.

    Raises
    ------
    Refused
        401 for somebody who is not logged in, 403 for somebody who has no role here.
    """
    from streamlit import auth_util
    from streamlit.web.server.server_util import get_cookie_secret
    from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    def one(name: str) -> bytes | None:
        signed = cookies.get(name, "").encode("latin-1")
        return decode_signed_value(get_cookie_secret(), name, signed)

    said = auth_util.get_cookie_with_chunks(one, USER_COOKIE_NAME)
    claims = json.loads(said) if said else {}
    origin = auth_util.get_origin_from_redirect_uri()
    if not claims.get("is_logged_in") or claims.get("origin") != origin:
        raise Refused(401, "log in first: open the app's page")
    person = person_of(claims)
    if not person.may("view"):
        raise Refused(403, f"{person.name} has no role here; ask an admin")
    return person


def person_of(claims: Mapping[str, Any]) -> Person:
    """Return whom a provider's claims speak of.

    A person is the e-mail address that the provider says it has verified; without one, the name
    that they gave themselves and the provider's own id of them: nobody is taken for another.
    """
    email = claims.get("email")
    if email and str(claims.get("email_verified")).lower() == "true":
        name = str(email).lower()
    else:
        where = urlsplit(str(claims.get("iss") or "")).hostname
        given = claims.get("name") or "somebody"
        name = f"{given} ({claims.get('sub')}{f' at {where}' if where else ''})"
    name = clean_label(name, "name of the login")
    return Person(name, roles().of(name))


# ---- inside


def _auth() -> dict[str, Any]:
    from streamlit.auth_util import get_secrets_auth_section

    return dict(get_secrets_auth_section())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    with acting_as(request.scope["person"] if login_needed() else None):
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
