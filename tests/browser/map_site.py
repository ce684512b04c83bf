"""A tiny server for the viewer's modules and bytes, and how the browser tests work with it."""

import json
import math
import shutil
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright

from curation.fields import CodeColumn, ValueColumn
from curation.viewer import component, layouts, payload
from embeddings.schema import Atlas

PAGE = Path(__file__).parent / "map_page.html"
FLAGS = (
    "--headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
MAP, SHEET = ".atlas-map", ".contact-sheet"


def make_atlas(xy: np.ndarray, cluster: np.ndarray, version: str) -> Atlas:
    n = len(xy)
    ids = np.array([f"item{row:06d}" for row in range(n)])
    zero = np.zeros(n, np.float32)
    return Atlas(ids, xy.astype(np.float32), cluster.astype(np.int32), zero, zero, version, "test")


def lattice(count: int) -> np.ndarray:
    """Points that are far from each other, so that each one's pixel is its own."""
    side = math.ceil(math.sqrt(count))
    return np.stack([np.arange(count) % side, np.arange(count) // side], 1) / (side - 1)


CLOUD = make_atlas(
    np.random.default_rng(7).random((20_000, 2)),
    np.random.default_rng(8).integers(-1, 40, 20_000),
    "cloud",
)
FEW = make_atlas(lattice(100), np.arange(100) % 12 - 1, "few")
MANY = make_atlas(lattice(400), np.arange(400), "many")  # more clusters than a byte counts


def halves(item: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The colours of the upper and the lower half of the toy thumbnail of a wire index."""
    hue = item * 47 % 256
    return (hue, 255 - hue, item * 13 % 256), (255 - hue, item * 29 % 256, hue)


def toy_sheet(items: Iterable[int], cell: int) -> bytes:
    """A JPEG sheet as the server makes them, each thumbnail of two halves."""
    items, columns = list(items), 1024 // cell
    paper = Image.new("RGB", (1024, -(-len(items) // columns) * cell))
    for number, item in enumerate(items):
        x, y = number % columns * cell, number // columns * cell
        for colour, top in zip(halves(item), (y, y + cell // 2), strict=True):
            paper.paste(colour, (x, top, x + cell, top + cell // 2))
    buffer = BytesIO()
    paper.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


class Site(ThreadingHTTPServer):
    """Serves the modules, the packed bytes and thumbnails; remembers what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.atlases = {atlas.version: atlas for atlas in (CLOUD, FEW, MANY)}
        self.columns: dict[str, CodeColumn | ValueColumn] = {}
        self.changed: np.ndarray = np.zeros(0, np.int64)
        self.asked: list[str] = []
        self.broken = False
        self.sheets: list[tuple[int, list[int]]] = []  # cell and wire indices, as asked
        self.sheets_broken = False
        self.sheets_free = threading.Event()  # where it is not set, sheets are waited for
        self.sheets_free.set()
        self.delta_from: int | None = None
        picture = BytesIO()
        Image.new("RGB", (128, 128), (30, 90, 160)).save(picture, "JPEG")
        self.picture = picture.getvalue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, target: str) -> tuple[str, bytes] | None:
        parts = urlsplit(target)
        first, *rest = parts.path.strip("/").split("/")
        if first == "points" and not self.broken:
            return "application/octet-stream", payload.pack_points(self.atlases[rest[0]])
        if first == "column":
            since = parse_qs(parts.query).get("since")
            begun = self.delta_from if self.delta_from is not None else int((since or "0")[0])
            changes = {"since": begun, "changed": self.changed} if since else {}
            packed = payload.pack_column(self.atlases[rest[0]], self.columns[rest[1]], **changes)
            return "application/octet-stream", packed
        if first == "places":
            atlas, field = self.atlases[rest[0]], parse_qs(parts.query).get("field", [""])[0]
            return "application/octet-stream", self.laid_out(atlas, rest[1], field)
        if first == "item":
            return "application/json", self.details(self.atlases[rest[0]], int(rest[1]))
        if first in ("thumb", "thumb_at") and rest[0] != "item000007":
            return "image/jpeg", self.picture
        return self.asset(parts.path)

    def details(self, atlas: Atlas, item: int) -> bytes:
        row = int(payload.rows_at(atlas, [item])[0])
        lines = [{"name": "cluster", "value": "99"}, {"name": "size", "value": "640 x 480"}]
        told = {"item_id": atlas.item_ids[row], "title": f"photo{row}.jpg", "lines": lines}
        return json.dumps(told).encode()

    def laid_out(self, atlas: Atlas, layout: str, field: str) -> bytes:
        if layout == "grid":
            return layouts.packed(atlas, layout, layouts.grid_places(atlas.xy))
        numbers = atlas.clusters[atlas.clusters >= 0]
        codes = np.where(atlas.cluster < 0, -1, np.searchsorted(numbers, atlas.cluster))
        clusters = CodeColumn("cluster", codes.astype(np.int32), [str(one) for one in numbers], 0)
        column = self.columns.get(field, clusters)
        return layouts.packed(atlas, layout, layouts.column_places(atlas, column))

    def answer_post(self, target: str, body: bytes) -> tuple[str, bytes] | None:
        parts = urlsplit(target)
        if parts.path.startswith("/grow/"):
            return "application/octet-stream", self.grown(parts.path.split("/")[2], body)
        if not parts.path.startswith("/sheet/"):
            return None
        cell = int(parse_qs(parts.query)["cell"][0])
        items = np.frombuffer(body, "<u4").tolist()
        self.sheets.append((cell, items))
        self.sheets_free.wait(10)
        return None if self.sheets_broken else ("image/jpeg", toy_sheet(items, cell))

    def grown(self, version: str, body: bytes) -> bytes:
        """Grow as if the nearest of every item were the one of the next row."""
        atlas = self.atlases[version]
        rows = payload.rows_in(body, atlas)
        return payload.squeezed_rows(np.union1d(rows, (rows + 1) % len(atlas)), atlas)

    def asset(self, path: str) -> tuple[str, bytes] | None:
        made: dict[str, tuple[str, Callable[[], str]]] = {
            "/": ("text/html", PAGE.read_text),
            "/map.mjs": ("text/javascript", component.map_module),
            "/sheet.mjs": ("text/javascript", component.sheet_module),
            "/map.css": ("text/css", lambda: component.style("map")),
            "/sheet.css": ("text/css", lambda: component.style("sheet")),
        }
        if path not in made:
            return None
        kind, text = made[path]
        return kind, text().encode()


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.reply(self.server.answer(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(self.server.answer_post(self.path, body))

    def reply(self, found: tuple[str, bytes] | None) -> None:
        self.send_response(200 if found else 404)
        kind, body = found or ("text/plain", b"absent")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def launch(playwright: Playwright, *extra: str) -> Browser:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *extra])


Open = Callable[..., Page]


def map_data(atlas: Atlas, **more: Any) -> dict[str, Any]:
    return {
        "key": "map",
        "version": atlas.version,
        "base": "",
        "fields": [field_of("cluster")],
        "height": 640,
        **more,
    }


def field_of(name: str, seq: int = 0, coding: str = "category") -> dict[str, Any]:
    return {"name": name, "title": name, "coding": coding, "seq": seq, "group": "decided"}


def show_map(page: Page, atlas: Atlas, **more: Any) -> None:
    page.evaluate("data => window.show('map', data)", map_data(atlas, **more))
    page.wait_for_selector(f"{MAP}[data-ready][data-version='{atlas.version}']")


def told_after(page: Page, act: Callable[[], object]) -> dict[str, Any]:
    """Return the selection message that an act on the map sends."""
    before = int(page.locator(MAP).get_attribute("data-seq") or 0)
    act()
    page.wait_for_selector(f"{MAP}[data-seq='{before + 1}']")
    message = page.evaluate("window.told.at(-1).value")
    assert message["seq"] == before + 1
    return message


def take(page: Page, code: int, **click: Any) -> None:
    """Select the items of a row of the legend."""
    page.locator(f"[data-row='{code}']").hover()
    page.locator(f"[data-take='{code}']").click(**click)


def rows_after(page: Page, atlas: Atlas, act: Callable[[], object]) -> set[int]:
    return set(payload.decode_selection(told_after(page, act), atlas).rows.tolist())


def drag(page: Page, path: list[tuple[float, float]], *keys: str) -> None:
    for key in keys:
        page.keyboard.down(key)
    page.mouse.move(*path[0])
    page.mouse.down()
    for point in path[1:]:
        page.mouse.move(*point)
    page.mouse.up()
    for key in keys:
        page.keyboard.up(key)


def star(rng: np.random.Generator, corners: int = 9) -> list[tuple[float, float]]:
    """A lasso that crosses itself, in page pixels."""
    angles = rng.random(corners) * 2 * math.pi
    radii = 60 + rng.random(corners) * 180
    return [
        (400 + r * math.cos(a), 320 + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)
    ]


def even_odd(grid: np.ndarray, polygon: list[float]) -> set[int]:
    """Row numbers inside a polygon, by the textbook rule over every edge, in NumPy."""
    x, y = grid[:, 0].astype(np.float64), grid[:, 1].astype(np.float64)
    corners = np.asarray(polygon).reshape(-1, 2)
    inside = np.zeros(len(grid), bool)
    for (xa, ya), (xb, yb) in zip(np.roll(corners, 1, axis=0), corners, strict=True):
        if ya == yb:
            continue
        crosses = ((ya > y) != (yb > y)) & (x < (xb - xa) * (y - ya) / (yb - ya) + xa)
        inside ^= crosses
    return set(np.flatnonzero(inside).tolist())


def in_box(grid: np.ndarray, corners: list[float]) -> set[int]:
    low, high = np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:])
    return set(np.flatnonzero(((grid >= low) & (grid <= high)).all(axis=1)).tolist())


def shape(page: Page) -> list[float]:
    return page.evaluate("document.querySelector('.atlas-map').atlasMap.shape")


def rgb(text: str) -> list[int]:
    return [int(text[at : at + 2], 16) for at in (1, 3, 5)]


def wire_index(atlas: Atlas, row: int) -> int:
    return int(np.flatnonzero(payload.order_of(atlas)[0] == row)[0])


def pixels_of(page: Page, atlas: Atlas, rows: Iterable[int]) -> list[list[int]]:
    items = [wire_index(atlas, row) for row in rows]
    return page.evaluate("items => window.pixels(items)", items)


def pixel_of(page: Page, atlas: Atlas, row: int) -> list[int]:
    return pixels_of(page, atlas, [row])[0]


def place_of(page: Page, atlas: Atlas, row: int) -> tuple[float, float]:
    x, y = page.evaluate("item => window.placeOf(item)", wire_index(atlas, row))
    return x + 1, y + 1  # the root's border is one pixel wide


def near(seen: list[int], wanted: list[int], within: int = 14) -> bool:
    return max(abs(a - b) for a, b in zip(seen[:3], wanted, strict=True)) <= within
