"""The join page's endpoints, below `/join`. Nothing else is served there.

There are no cookies and no sessions, and so nothing that another site could make a visitor's browser do in their name:
a request carries nothing but what its sender knows, the link and a Matrix ID. Requests that another site makes are
refused all the same, so that no site can use up its visitors' share.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import jinja2
import segno
from aiohttp import web
from markupsafe import Markup

from bridge.core.links import Obstacle, Stage
from bridge.web.join import languages
from bridge.web.join.entrance import Entrance, Progress, Welcome
from bridge.web.join.limits import Buckets
from bridge.web.join.visitors import Visitors

log = logging.getLogger(__name__)

PREFIX = "/join"
FOLDER = Path(__file__).parent
MAX_FORM_BYTES = 8192
FORM_SECONDS = 20.0
"""Within which a form has to arrive."""
MAX_TYPED_CHARACTERS = 255
MAX_WORDS_CHARACTERS = 300
"""Of what somebody writes for the admins; what is more is cut."""
LONGEST_TOKEN = 64
STATIC = {"join.css": "text/css", "join.js": "text/javascript", "icon.svg": "image/svg+xml"}
STATIC_SECONDS = 3600
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 2, 15

STATUS = {
    Obstacle.UNKNOWN: 404,
    Obstacle.EXPIRED: 410,
    Obstacle.USED_UP: 410,
    Obstacle.FULL: 409,
    Obstacle.MALFORMED: 422,
    Obstacle.NO_SUCH_PERSON: 422,
    Obstacle.UNREACHABLE: 503,
    Obstacle.ALREADY_IN: 409,
    Obstacle.BARRED: 403,
}
FINAL = frozenset({Obstacle.UNKNOWN, Obstacle.EXPIRED, Obstacle.USED_UP})
"""With these there is nothing left to type."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Look:
    """What the operator decides about the page."""

    url: str
    """What stands before `/join/…` in links; empty where that is not known."""
    account_url: str
    account_text: str
    element_url: str
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Typed:
    """What was filled into the form."""

    user: str
    words: str
    """For the admins, where those are asked; asked for and heeded nowhere else."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often something may be done: so many times at once, and so many a second from then on.

    A whole school may come from one address, and all of it by one link.
    """

    visits: tuple[int, float] = (600, 10)
    """Looking at pages, by address; pages of people who have entered are not counted here."""
    entries: tuple[int, float] = (600, 3)
    """Sending the form, by address."""
    visits_by_link: tuple[int, float] = (2000, 100)
    entries_by_link: tuple[int, float] = (1200, 20)
    polls: tuple[int, float] = (20, 1)
    """Looking how far one has come, by person."""


class JoinPage:
    """Adds the page to an application."""

    def __init__(
        self,
        entrance: Entrance,
        look: Look,
        *,
        rates: Rates | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entrance = entrance
        self._look = look
        self._now = now
        self._visitors = Visitors(look.trusted_proxies)
        rates = rates or Rates()
        self._visits = Buckets(*rates.visits)
        self._entries = Buckets(*rates.entries)
        self._visits_by_link = Buckets(*rates.visits_by_link)
        self._entries_by_link = Buckets(*rates.entries_by_link)
        self._polls = Buckets(*rates.polls)
        self._templates: dict[str, jinja2.Environment] = {}
        for language, catalogue in languages.catalogues().items():
            environment = jinja2.Environment(
                loader=jinja2.FileSystemLoader(FOLDER / "templates"),
                autoescape=True,
                undefined=jinja2.StrictUndefined,
                extensions=["jinja2.ext.i18n"],
                trim_blocks=True,
                lstrip_blocks=True,
            )
            environment.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]
            self._templates[language] = environment
        self._static = {name: (FOLDER / "static" / name).read_bytes() for name in STATIC}

    def add_routes(self, app: web.Application) -> None:
        """Add the page below `/join`."""
        inner = web.Application(middlewares=[self._guard])
        router = inner.router
        router.add_get("/static/{name}", self._file)
        router.add_get("/{token}", self._form)
        router.add_post("/{token}", self._enter)
        router.add_get("/{token}/picture", self._picture)
        router.add_get("/{token}/{ticket}", self._progress)
        router.add_get("/{token}/{ticket}/state", self._state)
        router.add_route("*", "/{tail:.*}", self._nothing)
        app.add_subapp(PREFIX, inner)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The headers of every answer; and every fault is an answer without a word too much."""
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=f"{error.reason}\n")
        except Exception:  # a visitor is never shown what went wrong inside; the log has it
            log.exception("the join page")
            response = self._problem(request, Obstacle.UNREACHABLE)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    # --- pages ------------------------------------------------------------------------------------------------------

    async def _form(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        wait = self._take(request, self._visits, self._visits_by_link)
        if wait:
            return self._busy(request, wait)
        found = await self._entrance.welcome(token[:LONGEST_TOKEN])
        if isinstance(found, Obstacle):
            return self._problem(request, found)
        return self._show_form(request, found)

    async def _enter(self, request: web.Request) -> web.Response:
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return web.Response(status=403, text="this form is filled in on its own page only\n")
        token = request.match_info["token"][:LONGEST_TOKEN]
        try:
            async with asyncio.timeout(FORM_SECONDS):
                typed = await _typed(request)
        except TimeoutError:
            return web.Response(status=408, text="the form did not arrive in time\n", headers={"Connection": "close"})
        if typed is None:
            return self._problem(request, Obstacle.MALFORMED, status=413)
        wait = self._take(request, self._entries, self._entries_by_link)
        if wait:
            return await self._again(request, token, typed, wait=wait)
        came = await self._entrance.enter(token, typed.user, typed.words)
        if isinstance(came, Obstacle):
            return await self._again(request, token, typed, obstacle=came)
        where = f"{token}/{came}{_asked_language(request)}"
        return web.Response(status=303, headers={"Location": where})

    async def _again(
        self, request: web.Request, token: str, typed: Typed, *, obstacle: Obstacle | None = None, wait: float = 0.0
    ) -> web.Response:
        """The form once more, with what was typed and what is wrong."""
        if obstacle in FINAL:
            return self._problem(request, obstacle)
        found = await self._entrance.welcome(token)
        if isinstance(found, Obstacle):
            return self._problem(request, found)
        return self._show_form(request, found, typed=typed, obstacle=obstacle, wait=wait)

    async def _progress(self, request: web.Request) -> web.Response:
        found = await self._look_up(request)
        if isinstance(found, web.Response):
            return found
        there = found.stage in (Stage.WAITING, Stage.ASKED)
        return self._page(
            request,
            "progress.html",
            root="../",
            progress=found,
            welcome=found.welcome,
            picture="picture",
            poll_seconds=_poll_seconds(found) if there else 0,
            links=self._ways_in(found),
        )

    async def _state(self, request: web.Request) -> web.Response:
        found = await self._look_up(request)
        if isinstance(found, web.Response):
            return web.json_response({}, status=found.status)
        body = {"stage": found.stage.value, "ahead": found.ahead, "again": _poll_seconds(found)}
        return web.json_response(body)

    async def _look_up(self, request: web.Request) -> Progress | web.Response:
        """Somebody's own page; whoever has no ticket is counted as any visitor is."""
        token, ticket = request.match_info["token"][:LONGEST_TOKEN], request.match_info["ticket"][:LONGEST_TOKEN]
        found = await self._entrance.progress(token, ticket)
        if isinstance(found, Obstacle):
            wait = self._take(request, self._visits, self._visits_by_link)
            return self._busy(request, wait) if wait else self._problem(request, found, root="../")
        wait = self._polls.take(ticket, self._now())
        return self._busy(request, wait, root="../") if wait else found

    async def _picture(self, request: web.Request) -> web.Response:
        wait = self._take(request, self._visits, self._visits_by_link)
        if wait:
            return web.Response(status=429, headers={"Retry-After": str(math.ceil(wait))})
        picture = await self._entrance.picture(request.match_info["token"][:LONGEST_TOKEN])
        if picture is None:
            return web.Response(status=404)
        headers = {"Content-Security-Policy": "default-src 'none'; sandbox"}
        return web.Response(body=picture.data, content_type=picture.kind, headers=headers)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        headers = {"Cache-Control": f"public, max-age={STATIC_SECONDS}"}
        return web.Response(body=self._static[name], content_type=STATIC[name], charset="utf-8", headers=headers)

    async def _nothing(self, request: web.Request) -> web.Response:
        return self._problem(request, Obstacle.UNKNOWN, root=f"{PREFIX}/")

    # --- making them ------------------------------------------------------------------------------------------------

    def _take(self, request: web.Request, by_address: Buckets, by_link: Buckets) -> float:
        """Count a request; gives how many seconds to wait, 0 for none."""
        key = self._visitors.key(request.remote, request.headers.getall("X-Forwarded-For", []))
        now = self._now()
        return by_address.take(key, now) or by_link.take(request.match_info.get("token", "")[:LONGEST_TOKEN], now)

    def _busy(self, request: web.Request, wait: float, *, root: str = "") -> web.Response:
        seconds = math.ceil(wait)
        response = self._page(request, "problem.html", root=root, status=429, obstacle=None, wait=seconds)
        response.headers["Retry-After"] = str(seconds)
        return response

    def _problem(
        self, request: web.Request, obstacle: Obstacle, *, root: str = "", status: int | None = None
    ) -> web.Response:
        status = STATUS[obstacle] if status is None else status
        return self._page(request, "problem.html", root=root, status=status, obstacle=obstacle, wait=0)

    def _show_form(
        self,
        request: web.Request,
        welcome: Welcome,
        *,
        typed: Typed | None = None,
        obstacle: Obstacle | None = None,
        wait: float = 0.0,
    ) -> web.Response:
        token = request.match_info["token"]
        url = f"{self._look.url}{PREFIX}/{token}"
        qr = segno.make(url, micro=False).svg_inline(scale=5, border=3, light="#fff", svgclass="qr-code")
        status = 200 if obstacle is None else STATUS[obstacle]
        response = self._page(
            request,
            "form.html",
            status=429 if wait else status,
            welcome=welcome,
            picture=f"{token}/picture",
            action=f"{token}{_asked_language(request)}",
            typed=typed or Typed("", ""),
            words_characters=MAX_WORDS_CHARACTERS,
            obstacle=obstacle,
            wait=math.ceil(wait),
            qr=Markup(qr) if self._look.url else None,  # noqa: S704 - segno's own SVG
        )
        if wait:
            response.headers["Retry-After"] = str(math.ceil(wait))
        return response

    def _page(
        self, request: web.Request, template: str, *, root: str = "", status: int = 200, **what: Any
    ) -> web.Response:
        language = languages.choose(
            request.query.get("lang"), request.headers.get("Accept-Language", ""), self._templates
        )
        text = (
            self._templates[language]
            .get_template(template)
            .render(
                root=root,
                language=language,
                languages=languages.NAMES,
                account_url=self._look.account_url,
                account_text=self._look.account_text,
                **what,
            )
        )
        headers = {"Content-Language": language, "Vary": "Accept-Language"}
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)

    def _ways_in(self, progress: Progress) -> Mapping[str, str]:
        """Where the invitation can be accepted."""
        room = f"{quote(progress.space, safe='!:')}?via={quote(progress.via, safe=':')}"
        return {
            "web": f"{self._look.element_url}/#/room/{room}",
            "desktop": f"element://vector/webapp/#/room/{room}",
            "matrix_to": f"https://matrix.to/#/{room}",
        }


def _asked_language(request: web.Request) -> str:
    """The query that keeps a language that was chosen."""
    asked = request.query.get("lang")
    return f"?lang={asked}" if asked in languages.NAMES else ""


def _poll_seconds(progress: Progress) -> int:
    """When to look again: soon who is invited soon."""
    return min(LONGEST_POLL_SECONDS, FIRST_POLL_SECONDS + progress.ahead // 10)


async def _typed(request: web.Request) -> Typed | None:
    """What was typed into the form; None for a form that is too large."""
    raw = await request.content.read(MAX_FORM_BYTES + 1)
    while len(raw) <= MAX_FORM_BYTES and not request.content.at_eof():
        raw += await request.content.read(MAX_FORM_BYTES + 1 - len(raw))
    if len(raw) > MAX_FORM_BYTES:
        return None
    fields = parse_qs(raw.decode("utf-8", "replace"), max_num_fields=10)
    user, words = (fields.get(name, [""])[0].strip() for name in ("user", "words"))
    return Typed(user[: MAX_TYPED_CHARACTERS + 1], words[:MAX_WORDS_CHARACTERS])
