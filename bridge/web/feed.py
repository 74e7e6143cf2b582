"""The endpoint of feeds, `/feed/<secret>.atom`: read-only, without cookies, and silent about what there is."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from bridge.core.errors import CommunitiesError
from bridge.web.join.limits import Buckets
from bridge.web.join.visitors import Visitors

log = logging.getLogger(__name__)

PREFIX = "/feed"
LONGEST_TOKEN = 64
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "private, max-age=300",
}
VISITS = (60, 1.0)
"""By address: so many at once, and so many a second from then on."""
AGAIN_SECONDS = 60

Document = Callable[[str], Awaitable[bytes | None]]


class Feed:
    """Adds the endpoint to an application."""

    def __init__(
        self,
        document: Document,
        trusted_proxies: Sequence[str] = (),
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            document: the feed of a secret, any text a visitor may have typed; None where there is none.
        """
        self._document = document
        self._visitors = Visitors(trusted_proxies)
        self._visits = Buckets(*VISITS)
        self._now = now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(f"{PREFIX}/{{token}}.atom", self._show)

    async def _show(self, request: web.Request) -> web.Response:
        key = self._visitors.key(request.remote, request.headers.getall("X-Forwarded-For", []))
        wait = self._visits.take(key, self._now())
        if wait:
            return web.Response(status=429, headers={**HEADERS, "Retry-After": str(math.ceil(wait))})
        try:
            document = await self._document(request.match_info["token"][:LONGEST_TOKEN])
        except CommunitiesError as error:
            log.warning("a feed cannot be shown now: %s", error.what)
            return web.Response(status=503, headers={**HEADERS, "Retry-After": str(AGAIN_SECONDS)})
        if document is None:
            return web.Response(status=404, headers=HEADERS)
        tag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}
        if tag in (one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")):
            return web.Response(status=304, headers=headers)
        return web.Response(body=document, content_type="application/atom+xml", charset="utf-8", headers=headers)
