"""Who comes in: the door to other machines, and the cookie that our routes ask for."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import curation.cli.serve
from curation import server
from curation.server import (
    admitted,
    allowed_hosts,
    check_door,
    login_needed,
    login_providers,
    middleware,
    person_of,
    routes,
)
from curation.viewer.answers import Refused
from curation.workspace import Workspace
from embeddings.errors import CurationError

SECRET = "a secret of more than thirty-two characters"
ORIGIN = "http://127.0.0.1:8501"
AUTH = f"""[auth]
redirect_uri = "{ORIGIN}/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "us"
client_secret = "ours"
server_metadata_url = "http://127.0.0.1:9/.well-known/openid-configuration"
"""
ROLES = '[people]\n"ada@example.org" = "admin"\n"vic@example.org" = "view"\n'
CLAIMS = {
    "is_logged_in": True,
    "origin": ORIGIN,
    "sub": "17",
    "email": "vic@example.org",
    "email_verified": True,
}


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write what Streamlit's secrets say, as if the app had been started with them."""
    from streamlit import config
    from streamlit.runtime.secrets import secrets_singleton

    before = config.get_option("secrets.files")
    path = tmp_path / "secrets.toml"

    def start_anew() -> None:
        secrets_singleton._reset()
        login_needed.cache_clear()

    def said(text: str) -> None:
        path.write_text(text)
        start_anew()

    config.set_option("secrets.files", [str(path)])
    start_anew()
    yield said
    config.set_option("secrets.files", before)
    start_anew()


@pytest.fixture
def login(secrets: Callable[[str], None], home: Path) -> None:
    secrets(AUTH)
    home.mkdir(exist_ok=True)
    (home / "roles.toml").write_text(ROLES)


def cookie(claims: dict[str, Any], secret: str = SECRET, name: str = "_streamlit_user") -> str:
    """What Streamlit's callback sets in the browser of whoever logs in."""
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    return create_signed_value(secret, name, json.dumps(claims)).decode()


# ---- the door


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", None])
def test_others_come_in_by_a_login_only(
    secrets: Callable[[str], None], home: Path, host: str | None
) -> None:
    home.mkdir(exist_ok=True)
    with pytest.raises(CurationError, match="configure a login first"):
        check_door(host)
    secrets(AUTH)
    with pytest.raises(CurationError, match=r"roles.toml does not say what they may do; write"):
        check_door(host)
    (home / "roles.toml").write_text(ROLES)
    check_door(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_asks_nobody_to_log_in(secrets: Callable[[str], None], host: str) -> None:
    check_door(host)
    assert not login_needed()


@pytest.mark.parametrize(
    ("less", "words"),
    [
        (f'cookie_secret = "{SECRET}"', "at least 32 characters"),
        (SECRET, "at least 32 characters"),
        ('client_id = "us"\n', "client_id"),
        ('client_secret = "ours"\n', "client_secret"),
        ("redirect_uri", "redirect_uri"),
    ],
)
def test_half_a_login_is_none(
    login: None, secrets: Callable[[str], None], less: str, words: str
) -> None:
    secrets(AUTH.replace(less, "x" if less in (SECRET, "redirect_uri") else ""))
    with pytest.raises(CurationError, match=words) as trouble:
        check_door("0.0.0.0")
    assert "\n" not in str(trouble.value)


def test_each_provider_has_a_way_in(login: None, secrets: Callable[[str], None]) -> None:
    assert login_providers() == ["default"]
    head, provider = AUTH.split("client_id")
    provider = "client_id" + provider
    secrets(f"{head}[auth.okta]\n{provider}[auth.google]\n{provider}")
    assert login_providers() == ["google", "okta"]
    secrets(AUTH + 'client_kwargs = { prompt = "login" }\n')
    assert login_providers() == ["default"]


def test_serving_to_others_without_a_login_ends_with_what_to_do(
    curate: Callable[..., Any], secrets: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it was served"))
    refused = curate("serve", "--host", "0.0.0.0", "--no-browser")
    assert refused.code == 1 and refused.err.count("\n") == 1
    assert "configure a login first" in refused.err and "docs/people.md" in refused.err
    misspelt = curate("serve", "--host", "atlas.example.org", "--no-browser")
    assert misspelt.code == 1 and "expected an IP address" in misspelt.err


def test_with_a_login_it_is_served_at_the_address_that_was_asked_for(
    login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, words: became.extend(words))
    monkeypatch.setattr(curation.cli.serve, "refuse_used", lambda port, host: None)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    curation.cli.serve.open_app(None, 8501, browser=False, host="0.0.0.0")
    assert "--server.address=0.0.0.0" in became


def test_a_server_that_others_reach_does_not_start_without_a_login(
    secrets: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit import config

    address = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    monkeypatch.setattr(server, "warm", lambda _pause: None)
    try:
        with (
            pytest.raises(CurationError, match="configure a login first"),
            TestClient(Starlette(lifespan=server.lifespan)),
        ):
            pass
    finally:
        config.set_option("server.address", address)


def test_the_address_that_people_log_in_at_is_answered_too(
    login: None, secrets: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit import config

    hosts = config.get_option("server.allowedHosts")
    monkeypatch.setattr(server, "warm", lambda _pause: None)
    secrets(AUTH.replace(ORIGIN, "https://atlas.example.org"))
    try:
        with TestClient(Starlette(lifespan=server.lifespan)):
            assert "atlas.example.org" in allowed_hosts()
    finally:
        config.set_option("server.allowedHosts", hosts)
    assert "atlas.example.org" not in allowed_hosts()


# ---- the cookie


@pytest.fixture
def client(digits: str, login: None) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(), middleware=middleware()), base_url=ORIGIN) as client:
        yield client


def _head(client: TestClient, value: str | None) -> int:
    headers = {} if value is None else {"Cookie": f"_streamlit_user={value}"}
    return client.get("/api/v1/digits/head", headers=headers).status_code


def test_our_routes_answer_whoever_logged_in_and_has_a_role(client: TestClient) -> None:
    assert _head(client, cookie(CLAIMS)) == 200
    assert _head(client, None) == 401
    assert _head(client, "") == 401
    assert _head(client, cookie(CLAIMS, secret="another secret, and long enough too")) == 401
    assert _head(client, cookie(CLAIMS, name="_streamlit_user_tokens")) == 401
    assert _head(client, cookie({**CLAIMS, "is_logged_in": False})) == 401
    assert _head(client, cookie({**CLAIMS, "origin": "http://127.0.0.1:9999"})) == 401
    assert _head(client, cookie({**CLAIMS, "email": "eve@example.org"})) == 403
    assert client.get("/media/0.png").status_code == 401


def test_a_role_that_is_taken_away_is_gone_at_the_next_question(
    client: TestClient, home: Path
) -> None:
    (home / "roles.toml").write_text(ROLES.replace('"view"', '"none"'))
    assert _head(client, cookie(CLAIMS)) == 403
    (home / "roles.toml").unlink()
    answer = client.get(
        "/api/v1/digits/head", headers={"Cookie": f"_streamlit_user={cookie(CLAIMS)}"}
    )
    assert answer.status_code == 403 and "roles.toml" in answer.json()["error"]


def test_who_may_no_longer_look_is_refused_a_picture_that_the_browser_has(
    client: TestClient, home: Path, digits: str
) -> None:
    atlas = Workspace(digits).atlas()
    url = f"/api/v1/digits/picture/{atlas.version}/{atlas.item_ids[5]}"
    headers = {"Cookie": f"_streamlit_user={cookie(CLAIMS)}"}
    seen = client.get(url, headers=headers)
    assert (seen.status_code, seen.headers["cache-control"]) == (200, "private, no-cache")
    headers["If-None-Match"] = seen.headers["etag"]
    assert client.get(url, headers=headers).status_code == 304
    (home / "roles.toml").write_text(ROLES.replace('"view"', '"none"'))
    assert client.get(url, headers=headers).status_code == 403
    assert client.get(url).status_code == 401


def test_a_cookie_in_pieces_is_put_together(login: None) -> None:
    text = json.dumps({**CLAIMS, "picture": "x" * 5000})
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    pieces = {"_streamlit_user": "chunks-2", "_streamlit_user_1": text[:3000]}
    pieces["_streamlit_user_2"] = text[3000:]
    signed = {k: create_signed_value(SECRET, k, v).decode() for k, v in pieces.items()}
    assert admitted(signed).name == "vic@example.org"
    with pytest.raises(Refused, match="log in first"):
        admitted({k: v for k, v in signed.items() if k != "_streamlit_user_2"})


def test_a_sign_of_life_is_given_under_the_name_of_the_login(
    client: TestClient, digits: str
) -> None:
    sign = {"session": "a", "page": "Map", "person": "ada@example.org"}
    headers = {"Cookie": f"_streamlit_user={cookie(CLAIMS)}"}
    assert client.post("/api/v1/digits/here", json=sign, headers=headers).status_code == 200
    from curation.presence import presence

    (seen,) = presence(Workspace(digits).dataset).others("b")
    assert seen.person == "vic@example.org"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "Ada@Example.org", "email_verified": True}, "ada@example.org"),
        ({"email": "ada@example.org"}, "somebody (17)"),
        ({"email": "straße@example.org", "email_verified": True}, "straße@example.org"),
        ({"email": "ada@example.org", "email_verified": "true"}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": "false"}, "somebody (17)"),
        ({"email": "ada@example.org", "email_verified": None}, "somebody (17)"),
        ({"email": "", "name": "ada@example.org"}, "ada@example.org (17)"),
        ({"name": "Ada"}, "Ada (17)"),
        ({"name": "Ada", "iss": "https://login.example.com/v2"}, "Ada (17 at login.example.com)"),
    ],
)
def test_a_person_is_the_address_that_the_provider_vouches_for(
    login: None, claims: dict[str, Any], name: str
) -> None:
    person = person_of({"sub": "17", **claims})
    assert person.name == name
    assert person.may("admin") == (name == "ada@example.org")


@pytest.mark.parametrize("email", ["ada\x07@example.org", "<b>@example.org", "x" * 300])
def test_a_name_that_no_decision_could_carry_is_refused(login: None, email: str) -> None:
    with pytest.raises(CurationError, match="name of the login"):
        person_of({"sub": "17", "email": email, "email_verified": True})
