"""What is read outside under a secret address, `/feed/<secret>.atom` and `/calendar/<secret>.ics`: read-only, without
cookies, and silent about what there is.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from aiohttp import web

from bridge.core.errors import CommunitiesError
from bridge.core.feed import Shown
from bridge.web.join.limits import Buckets
from bridge.web.join.visitors import Visitors

log = logging.getLogger(__name__)

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

Document = Callable[[str], Awaitable[Shown | None]]


class Kind(NamedTuple):
    """One kind of document: how its addresses are written, and what it is."""

    path: str
    content_type: str


ATOM = Kind("/feed/{token}.atom", "application/atom+xml")
CALENDAR = Kind("/calendar/{token}.ics", "text/calendar")


class Feed:
    """Adds the endpoint of one kind to an application."""

    def __init__(
        self,
        document: Document,
        trusted_proxies: Sequence[str] = (),
        *,
        kind: Kind = ATOM,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            document: what is shown under a secret, any text a visitor may have typed; None where there is nothing.
        """
        self._document = document
        self._visitors = Visitors(trusted_proxies)
        self._visits = Buckets(*VISITS)
        self._kind = kind
        self._now = now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(self._kind.path, self._show)

    async def _show(self, request: web.Request) -> web.Response:
        key = self._visitors.key(request.remote, request.headers.getall("X-Forwarded-For", []))
        wait = self._visits.take(key, self._now())
        if wait:
            return web.Response(status=429, headers={**HEADERS, "Retry-After": str(math.ceil(wait))})
        token = request.match_info["token"]
        try:
            shown = await self._document(token) if len(token) <= LONGEST_TOKEN else None
        except CommunitiesError as error:
            log.warning("what is read outside cannot be shown now: %s", error.what)
            return web.Response(status=503, headers={**HEADERS, "Retry-After": str(AGAIN_SECONDS)})
        if shown is None:
            return web.Response(status=404, headers=HEADERS)
        tag = f'"{hashlib.sha256(shown.document).hexdigest()[:32]}"'
        changed = datetime.fromtimestamp(shown.changed_at // 1000, UTC)
        headers = {**HEADERS, "ETag": tag, "Last-Modified": format_datetime(changed, usegmt=True)}
        if _is_known(request, tag, changed):
            return web.Response(status=304, headers=headers)
        return web.Response(body=shown.document, content_type=self._kind.content_type, charset="utf-8", headers=headers)


def _is_known(request: web.Request, tag: str, changed: datetime) -> bool:
    """Whether whoever asks has it already (RFC 9110, sections 13.1.2 and 13.1.3)."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        return tag in (one.strip().removeprefix("W/") for one in tags.split(","))
    since = request.if_modified_since
    return since is not None and changed <= since
