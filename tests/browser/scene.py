"""The join page on a port of its own, and a browser before it that tells what it complains of."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, BrowserContext, Page

from bridge.web.join.entrance import Picture
from bridge.web.join.page import JoinPage
from tests.fakes.house import LOOK, TOKEN, WELCOME, House

AXE = Path(__file__).parents[1] / "clients/js/node_modules/axe-core/axe.min.js"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"width": 360, "height": 740}


def drawing(size: int = 96) -> bytes:
    """A PNG with a gradient, as a community's picture."""
    rows = b"".join(b"\0" + b"".join(bytes((30 + x, 90 + y, 140 - x // 2)) for x in range(size)) for y in range(size))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@dataclass
class Scene:
    """The house behind the page, and the browser before it."""

    house: House
    base: str
    browser: Browser
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def open(self, path: str = f"/join/{TOKEN}", **options: Any) -> Page:
        """A new page in a browser without memory, on a phone unless told otherwise."""
        context = await self.browser.new_context(**{"viewport": PHONE, "locale": "en-GB", **options})
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._requested(request.url))
        await page.goto(self.base + path)
        return page

    def _console(self, kind: str, text: str) -> None:
        # that a page was answered with 404 or 422 is said by the browser, too
        if kind in ("error", "warning") and "the server responded with a status of" not in text:
            self.complaints.append(text)

    def _requested(self, url: str) -> None:
        if not url.startswith((self.base, "blob:", "data:")):
            self.elsewhere.append(url)


@asynccontextmanager
async def serve(browser: Browser) -> AsyncIterator[Scene]:
    """Serve the page while the context is open."""
    house = House()
    house.found = replace(WELCOME, name="Springfield School", description="News and groups of the school")
    house.image = Picture("image/png", drawing())
    app = web.Application()
    JoinPage(house, LOOK).add_routes(app)
    server = TestServer(app)
    await server.start_server()
    scene = Scene(house, str(server.make_url("")).rstrip("/"), browser)
    try:
        yield scene
    finally:
        for context in scene.contexts:
            await context.close()
        await server.close()


async def barriers(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and good practice: rule, and where.

    It is put in beside the page's own policy, which forbids scripts from elsewhere.
    """
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: Mapping[str, Any] = await page.evaluate(
        "levels => axe.run(document, {runOnly: {type: 'tag', values: levels}, resultTypes: ['violations']})", LEVELS
    )
    return [
        f"{one['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
