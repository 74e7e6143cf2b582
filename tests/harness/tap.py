"""A reverse proxy that remembers what went through it: what a homeserver and a service really said to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from yarl import URL

from bridge.cli.demo.homeserver import free_port

_LARGEST_BODY = 256 * 1024 * 1024
_PASSED_ON = ("Authorization", "Content-Type", "Retry-After")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    status: int
    answer: bytes

    @property
    def json(self) -> Any:
        """What was asked."""
        return orjson.loads(self.body or b"null")

    @property
    def answer_json(self) -> Any:
        """What was answered."""
        return orjson.loads(self.answer or b"null")


@dataclass
class Tap:
    """Listens on a port of its own, and passes everything on to ``target``."""

    target: str
    port: int = field(default_factory=free_port)
    heard: list[Exchange] = field(default_factory=list)
    """All that came to its end, in that order."""

    @property
    def url(self) -> str:
        """Its own address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen."""
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{rest:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Listen no more; what is under way is cut off."""
        await self._session.close()
        await self._runner.cleanup()

    def since(self, mark: int, path_part: str) -> Iterator[Exchange]:
        """What went through after the first ``mark`` exchanges, to paths with that part in them."""
        return (exchange for exchange in self.heard[mark:] if path_part in exchange.path)

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        address = URL(self.target + request.raw_path, encoded=True)
        try:
            async with self._session.request(
                request.method, address, data=body or None, headers=headers, allow_redirects=False
            ) as response:
                answer = await response.read()
                status = response.status
                back = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
        except (aiohttp.ClientError, RuntimeError) as error:  # a closed session raises a RuntimeError
            return web.Response(status=502, text=f"{self.target} does not answer: {error}")
        self.heard.append(Exchange(request.method, request.path, dict(request.query), body, status, answer))
        return web.Response(status=status, body=answer, headers=back)
