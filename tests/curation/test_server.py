"""The routes: what the page needs, for this machine's own page only."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from curation import fields, server
from curation.server import Guard, middleware, routes, warm
from curation.viewer import answers, payload
from curation.workspace import Workspace, shared

LOCAL = "http://127.0.0.1:8501"


@pytest.fixture
def client(digits: str) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(), middleware=middleware()), base_url=LOCAL) as client:
        yield client


@pytest.fixture
def workspace(digits: str) -> Workspace:
    return Workspace(digits)


def test_points_are_the_packed_atlas_and_are_kept_for_ever(
    client: TestClient, workspace: Workspace
) -> None:
    url = f"/api/v1/digits/points/{workspace.newest_version()}"
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.content == payload.pack_points(workspace.atlas())
    assert "immutable" in answer.headers["cache-control"]
    assert "access-control-allow-origin" not in answer.headers
    again = client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_column_changes_with_every_decision_and_can_be_asked_for_since(
    client: TestClient, workspace: Workspace
) -> None:
    url = f"/api/v1/digits/column/{workspace.newest_version()}/category"
    first = client.get(url)
    workspace.label(workspace.select("cluster:0"), "zero")
    second = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200, "a decision makes the old tag stale"
    assert second.headers["etag"] != first.headers["etag"]
    assert client.get(url, headers={"If-None-Match": second.headers["etag"]}).status_code == 304
    delta = client.get(url, params={"since": 0})
    assert b'"form":"delta"' in delta.content and b'"form":"full"' in second.content
    assert len(delta.content) < len(second.content)


def test_every_column_of_the_page_is_served(client: TestClient, workspace: Workspace) -> None:
    for field in ("category", "instance", "flags"):
        url = f"/api/v1/digits/column/{workspace.newest_version()}/{field}"
        assert client.get(url).status_code == 200
    url = f"/api/v1/digits/column/{workspace.newest_version()}/secret"
    assert client.get(url).status_code == 404


def test_a_thumbnail_is_served_by_id_and_by_wire_index(
    client: TestClient, workspace: Workspace
) -> None:
    atlas = workspace.atlas()
    row = int(payload.rows_at(atlas, [5])[0])
    by_id = client.get(f"/api/v1/digits/thumb/{atlas.item_ids[row]}")
    by_index = client.get(f"/api/v1/digits/thumb_at/{atlas.version}/5")
    assert by_id.content == by_index.content
    assert by_id.headers["content-type"] == "image/jpeg"
    assert PIL.Image.open(io.BytesIO(by_id.content)).size == (64, 64)
    assert client.get(f"/api/v1/digits/thumb_at/{atlas.version}/99999").status_code == 404


def test_an_items_own_image_is_served_to_this_page_and_asked_for_again_each_time(
    client: TestClient, workspace: Workspace
) -> None:
    atlas = workspace.atlas()
    url = f"/api/v1/digits/picture/{atlas.version}/{atlas.item_ids[5]}"
    answer = client.get(url)
    assert PIL.Image.open(io.BytesIO(answer.content)).size == (64, 64)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, no-cache"
    again = client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, headers={"Host": "evil.example"}).status_code == 403
    assert client.get(f"{url}0").json() == {"error": "no such item"}


def test_a_sheet_holds_the_thumbnails_that_were_asked_for(
    client: TestClient, workspace: Workspace
) -> None:
    url = f"/api/v1/digits/sheet/{workspace.newest_version()}"
    body = np.arange(40, dtype="<u4").tobytes()
    answer = client.post(url, content=body)
    assert PIL.Image.open(io.BytesIO(answer.content)).size == (1024, 192)
    assert client.post(url, content=b"").status_code == 400
    assert client.post(url, content=b"abc").status_code == 400
    assert client.post(url, content=np.array([99999], "<u4").tobytes()).status_code == 404
    small = client.post(f"{url}?cell=128", content=body)
    assert PIL.Image.open(io.BytesIO(small.content)).size == (1024, 640)
    assert client.post(url, content=b"\0" * 4 * 5000).status_code == 413


def test_a_selection_grows_over_the_route(client: TestClient, workspace: Workspace) -> None:
    atlas = workspace.atlas()
    body = payload.squeezed_rows([3, 800], atlas)
    answer = client.post(f"/api/v1/digits/grow/{atlas.version}?k=4", content=body)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    rows = payload.rows_in(answer.content, atlas)
    assert rows.tolist() == workspace.grown(np.array([3, 800], np.int32), atlas, 4).tolist()
    assert {3, 800} < set(rows.tolist())


@pytest.mark.parametrize("path", ["sheet/{v}", "grow/{v}"])
def test_a_body_without_a_length_is_read_no_further_than_may_be(
    client: TestClient, workspace: Workspace, path: str
) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200:
            sent += 1
            yield b"\0" * 10_000

    path = path.format(v=workspace.newest_version())
    assert client.post(f"/api/v1/digits/{path}", content=endless()).status_code == 413


def test_nothing_is_read_of_a_body_for_an_atlas_that_is_gone(client: TestClient) -> None:
    answer = client.post("/api/v1/digits/grow/0123456789abcdef", content=b"\0" * 100_000)
    assert answer.status_code == 404 and "is gone" in answer.json()["error"]


def test_a_question_asked_in_the_wrong_way_is_refused(
    client: TestClient, workspace: Workspace
) -> None:
    version = workspace.newest_version()
    assert client.get(f"/api/v1/digits/sheet/{version}").status_code == 405
    assert client.post(f"/api/v1/digits/points/{version}", content=b"1").status_code == 405
    assert client.post("/api/v1/digits/head").status_code == 405
    assert client.delete("/api/v1/digits/head").status_code == 405


def test_packed_bytes_are_left_alone_by_gzip_and_kept_by_their_tag(
    client: TestClient, workspace: Workspace
) -> None:
    version = workspace.newest_version()
    for path in (f"points/{version}", f"column/{version}/cluster", f"places/{version}/grid"):
        answer = client.get(f"/api/v1/digits/{path}", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "identity", path
        again = client.get(
            f"/api/v1/digits/{path}", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b""), path


def test_the_head_is_asked_anew_every_time(client: TestClient, workspace: Workspace) -> None:
    first = client.get("/api/v1/digits/head")
    assert first.headers["cache-control"] == "no-store" and "etag" not in first.headers
    assert first.json() == answers.news(workspace)
    workspace.label(workspace.select("cluster:0"), "zero")
    assert client.get("/api/v1/digits/head").json()["seq"] == 1


def test_a_field_may_have_a_slash_in_its_name(client: TestClient, workspace: Workspace) -> None:
    answer = client.get(f"/api/v1/digits/column/{workspace.newest_version()}/field.a%2Fb")
    assert answer.status_code == 404 and "no field 'field.a/b'" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8501"},
        {"Host": ""},
        {"Host": "[127.0.0.1"},
        {"Origin": "http://[evil"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "empty"},
    ],
)
def test_another_site_is_refused_on_every_route(
    client: TestClient, workspace: Workspace, headers: dict[str, str]
) -> None:
    version = workspace.newest_version()
    item = workspace.atlas().item_ids[0]
    for path in (
        f"points/{version}",
        f"column/{version}/category",
        f"thumb/{item}",
        f"thumb_at/{version}/0",
        f"picture/{version}/{item}",
        f"places/{version}/grid",
        f"item/{version}/0",
        "head",
    ):
        assert client.get(f"/api/v1/digits/{path}", headers=headers).status_code == 403, path
    body = np.arange(3, dtype="<u4").tobytes()
    for path in (f"sheet/{version}", f"grow/{version}", "here"):
        answer = client.post(f"/api/v1/digits/{path}", content=body, headers=headers)
        assert answer.status_code == 403, path


def test_a_websocket_from_another_site_is_closed_before_streamlit_sees_it() -> None:
    async def reached(scope, receive, send) -> None:
        raise AssertionError("the guard let it through")

    client = TestClient(Guard(reached), base_url=LOCAL)
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with (
            pytest.raises(WebSocketDisconnect) as closed,
            client.websocket_connect("/_stcore/stream", headers=headers),
        ):
            pass
        assert closed.value.code == 1008


def test_a_link_to_the_app_may_be_followed_from_another_site(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert client.get("/api/v1/digits/points/0", headers=headers).status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost:8501", "localhost"])
def test_this_machine_is_answered_by_its_names(
    client: TestClient, workspace: Workspace, host: str
) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    url = f"/api/v1/digits/points/{workspace.newest_version()}"
    assert client.get(url, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "digits/points/0000000000000000",
        "digits/points/..%2f..%2fdataset.json",
        "nobody/points/0000000000000000",
        "..%2f..%2fetc/points/0000000000000000",
        "digits/thumb/..%2f..%2fdecisions.sqlite",
        "digits/thumb/' OR '1'='1",
    ],
)
def test_what_is_not_there_is_a_line_and_never_a_file(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert len(answer.content) < 400


# ---- the start


def test_the_first_page_finds_what_it_shows_in_ram(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_DATASET", digits)
    warm()
    workspace = shared(digits)
    version = workspace.newest_version()
    monkeypatch.setattr(workspace.store, "atlas", None)
    monkeypatch.setattr(workspace.store, "read", None)
    atlas = workspace.atlas(version)
    assert fields.fields(workspace, atlas.version)
    assert fields.details(workspace, atlas.version, 1)["item_id"] == atlas.item_ids[1]


def test_the_server_warms_up_beside_its_start_and_trouble_ends_that_quietly(
    digits: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    monkeypatch.setattr(server, "warm", lambda _pause: done.set())
    with TestClient(Starlette(lifespan=server.lifespan)):
        assert done.wait(10)
    card = home / digits / "dataset.json"
    card.write_text(card.read_text().replace('"format":', '"former":'))
    warm()
    monkeypatch.setenv("CURATE_HOME", str(home / "nothing"))
    warm()


# ---- who is here


def test_a_sign_of_life_is_answered_with_what_is_newest_and_who_else_is_here(
    client: TestClient, workspace: Workspace
) -> None:
    sign = {"session": "a", "page": "Clean", "place": "cluster 7"}
    first = client.post("/api/v1/digits/here", json=sign)
    assert first.headers["cache-control"] == "no-store"
    assert first.json() == {**answers.news(workspace), "others": [], "trouble": None, "held": {}}
    second = client.post("/api/v1/digits/here", json={"session": "b", "page": "Map"})
    seen = {"person": "tester", "page": "Clean", "place": "cluster 7", "you": True}
    assert second.json()["others"] == [seen]
    assert "session" not in second.json()["others"][0], "whoever knows it could speak for the tab"
    assert client.post("/api/v1/digits/here", json={**sign, "gone": "yes"}).json() == {}
    assert client.post("/api/v1/digits/here", json={"session": "b"}).json()["others"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"session": ""}', b"[" * 1500])
def test_a_sign_of_life_that_cannot_be_read_is_refused(client: TestClient, body: bytes) -> None:
    assert client.post("/api/v1/digits/here", content=body).status_code == 400


def test_a_sign_of_life_is_short_and_comes_by_post_from_our_own_page(client: TestClient) -> None:
    long = {"session": "a", "page": "x" * 3000}
    assert client.post("/api/v1/digits/here", json=long).status_code == 413
    assert client.get("/api/v1/digits/here").status_code == 405
    away = {"Origin": "http://evil.example"}
    assert (
        client.post("/api/v1/digits/here", json={"session": "a"}, headers=away).status_code == 403
    )
