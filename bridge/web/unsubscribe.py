"""The page behind the link in each letter, and the one request that ends them (RFC 8058)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from html import escape

from aiohttp import web

from bridge.core import texts
from bridge.core.languages import LANGUAGES, Language
from bridge.core.markup import plain
from bridge.web.join import languages
from bridge.web.join.limits import Buckets
from bridge.web.join.visitors import Visitors

log = logging.getLogger(__name__)

PREFIX = "/unsubscribe"
LONGEST_TICKET = 64
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
STYLE = (
    ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:3rem auto;"
    "padding:0 1rem}button{font:inherit;padding:.6rem 1.2rem;min-height:44px}"
)
VISITS = (60, 1.0)
"""By address: so many at once, and so many a second from then on."""


class Unsubscribing:
    """Adds the page to an application. What there is nobody learns: a wrong ticket looks like one that was used."""

    def __init__(
        self,
        community_of: Callable[[str], Awaitable[str | None]],
        unsubscribe: Callable[[str], Awaitable[None]],
        trusted_proxies: Sequence[str] = (),
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            community_of: the name of the community whose letters a ticket ends; None for one that ends none.
        """
        self._community_of = community_of
        self._unsubscribe = unsubscribe
        self._visitors = Visitors(trusted_proxies)
        self._visits = Buckets(*VISITS)
        self._now = now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(f"{PREFIX}/{{ticket}}", self._ask)
        app.router.add_post(f"{PREFIX}/{{ticket}}", self._end)

    async def _ask(self, request: web.Request) -> web.Response:
        """A page that asks: programs that look at links in letters must not end anything."""
        if wait := self._wait(request):
            return _busy(wait)
        language = _language(request)
        name = await self._community_of(request.match_info["ticket"][:LONGEST_TICKET])
        if name is None:
            return _page(language, texts.unsubscribed(language))
        button = f'<form method="post"><button>{escape(plain(texts.unsubscribe_button(language)))}</button></form>'
        return _page(language, texts.unsubscribe_question(name, language), button)

    async def _end(self, request: web.Request) -> web.Response:
        if wait := self._wait(request):
            return _busy(wait)
        await self._unsubscribe(request.match_info["ticket"][:LONGEST_TICKET])
        language = _language(request)
        return _page(language, texts.unsubscribed(language))

    def _wait(self, request: web.Request) -> float:
        key = self._visitors.key(request.remote, request.headers.getall("X-Forwarded-For", []))
        return self._visits.take(key, self._now())


def _busy(wait: float) -> web.Response:
    return web.Response(status=429, headers={**HEADERS, "Retry-After": str(math.ceil(wait))})


def _language(request: web.Request) -> Language:
    chosen = languages.choose(request.query.get("lang"), request.headers.get("Accept-Language", ""), LANGUAGES)
    return Language(chosen)


def _page(language: Language, sentence: str, more: str = "") -> web.Response:
    said = escape(plain(sentence))
    text = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{said}</title><style>{STYLE}</style></head><body><main><h1>{said}</h1>{more}</main></body></html>"
    )
    return web.Response(text=text, content_type="text/html", headers=HEADERS)
