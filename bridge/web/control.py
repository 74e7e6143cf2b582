"""The local door: by it the commands ask the running service. HTTP with a secret, JSON lines back.

Each answer is a stream of JSON objects, one a line: any number of `{"progress": [done, total, text]}`, and at the end
`{"result": …}` or `{"error": {"what", "where", "remedy"}}`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson
from aiohttp import web

from bridge.core.errors import CommunitiesError, Refused

log = logging.getLogger(__name__)

PREFIX = "/_communities/v1"
PROGRESS_SECONDS = 0.2
_WRONG_SECRET = {
    "what": "the running service has another secret than this configuration",
    "where": "control.secret",
    "remedy": "use the configuration that the service was started with, or restart it with this one",
}
_ABOUT_GROUPS = (
    "key", "text", "kind", "posting", "room", "digest", "encrypt", "data", "remove", "target", "on", "wait",
)  # fmt: skip
_ABOUT_COMMUNITIES = ("key", "text", "form", "data", "remove", "wait")
_ABOUT_SUBCOMMUNITIES = ("key", "text", "parent", "wait")
_ABOUT_PEOPLE = ("users", "groups", "group", "role", "reason", "add", "revoke_links", "tag", "filter", "wait")
Progress = Callable[[int, int, str], None]


class Links(Protocol):
    """What can be asked about invite links."""

    async def new(
        self,
        community: str,
        *,
        groups: Sequence[str] = (),
        expires: str = "7d",
        uses: int | None = None,
        needs_approval: bool = False,
        role: str = "member",
    ) -> dict[str, Any]: ...

    async def reset(
        self,
        community: str,
        *,
        groups: Sequence[str] = (),
        expires: str = "7d",
        uses: int | None = None,
        needs_approval: bool = False,
        role: str = "member",
    ) -> dict[str, Any]: ...

    async def list(self, community: str | None = None) -> list[dict[str, Any]]: ...

    async def show(self, link_id: str) -> dict[str, Any]: ...

    async def revoke(self, link_id: str) -> dict[str, Any]: ...


class Operations(Protocol):
    """What can be asked."""

    @property
    def ready(self) -> bool:
        """Whether the homeserver was met and everything runs; before that only this can be asked."""
        ...

    async def plan(self, communities: Sequence[str], *, recreate: bool = False) -> dict[str, Any]: ...

    async def apply(
        self,
        communities: Sequence[str],
        *,
        force: bool,
        digest: str | None,
        progress: Progress,
        recreate: bool = False,
    ) -> dict[str, Any]: ...

    async def announce(
        self,
        communities: Sequence[str],
        text: str,
        *,
        source: str,
        to: Sequence[str],
        progress: Progress,
        acknowledge: bool = False,
        ring: bool = False,
        template: str = "",
    ) -> dict[str, Any]: ...

    async def status(self, *, forget_strange_devices: bool = False) -> dict[str, Any]: ...

    async def parked(self, *, release: str | None = None, drop: str | None = None) -> dict[str, Any]: ...
    async def rotate_device(self, *, accept_old_database: bool = False) -> dict[str, Any]: ...

    async def verify(self, step: str, *, number: int = 0, user: str = "", matches: bool = False) -> Any: ...

    async def people(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...

    async def personal_data(
        self, deed: str, user: str, *, leave: bool = False, bans: bool = False
    ) -> dict[str, Any]: ...

    async def groups(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...

    async def community(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...
    async def subcommunities(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...

    async def announcements(self, deed: str, community: str, what: Mapping[str, Any]) -> dict[str, Any]: ...

    async def check(self) -> list[dict[str, Any]]: ...

    @property
    def links(self) -> Links: ...


class ControlDoor:
    """Adds the local door to an application."""

    def __init__(self, secret: str, operations: Operations) -> None:
        self._secret = secret.encode()
        self._operations = operations

    def add_routes(self, app: web.Application) -> None:
        names = (
            "plan apply announce status parked check ready verify rotate_device link people personal_data groups "
            "community subcommunities announcements"
        )
        for name in names.split():
            app.router.add_post(f"{PREFIX}/{name}", self._handler(getattr(self, f"_{name}")))

    def _handler(
        self, operation: Callable[[Mapping[str, Any], Progress], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), self._secret):
                return web.json_response({"error": _WRONG_SECRET}, status=403)
            try:
                body = orjson.loads(await request.read() or b"{}")
            except orjson.JSONDecodeError:
                body = None
            if not isinstance(body, dict):
                return web.json_response({"error": {"what": "the request is not a JSON object"}}, status=400)
            return await self._stream(request, operation, body)

        return handle

    async def _stream(
        self,
        request: web.Request,
        operation: Callable[[Mapping[str, Any], Progress], Awaitable[Any]],
        body: Mapping[str, Any],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        lines: list[bytes] = []

        def progress(done: int, total: int, text: str) -> None:
            lines.append(orjson.dumps({"progress": [done, total, text]}) + b"\n")

        task = asyncio.create_task(self._answer(operation, body, progress))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
                await _flush(response, lines)
        except asyncio.CancelledError:  # the service stops, and did not want to wait any longer
            task.cancel()
            await asyncio.wait({task})
            raise
        await _flush(response, lines)
        await response.write(orjson.dumps(task.result()) + b"\n")
        await response.write_eof()
        return response

    async def _answer(
        self,
        operation: Callable[[Mapping[str, Any], Progress], Awaitable[Any]],
        body: Mapping[str, Any],
        progress: Progress,
    ) -> dict[str, Any]:
        if not self._operations.ready and operation != self._ready:
            return {
                "error": {
                    "what": "the service is starting and has not met the homeserver yet",
                    "remedy": "try again in a moment; if it stays so, see its log",
                }
            }
        try:
            return {"result": await operation(body, progress)}
        except CommunitiesError as error:
            return {"error": {"what": error.what, "where": error.where, "remedy": error.remedy}}
        except Exception as error:  # the door answers whatever happens; the log has the whole story
            log.exception("the local door")
            return {"error": {"what": f"an error of our own ({type(error).__name__})", "remedy": "see the log"}}

    async def _plan(self, body: Mapping[str, Any], _: Progress) -> Any:
        return await self._operations.plan(_names(body), recreate=body.get("recreate") is True)

    async def _apply(self, body: Mapping[str, Any], progress: Progress) -> Any:
        digest = body.get("digest")
        return await self._operations.apply(
            _names(body),
            force=body.get("force") is True,
            digest=digest if isinstance(digest, str) else None,
            progress=progress,
            recreate=body.get("recreate") is True,
        )

    async def _announce(self, body: Mapping[str, Any], progress: Progress) -> Any:
        text, source = body.get("text"), body.get("source")
        if not isinstance(text, str) or not isinstance(source, str):
            raise Refused("an announcement needs a text and a source")
        words = body.get("to")
        to = [str(word) for word in words] if isinstance(words, list) else []
        return await self._operations.announce(
            _names(body),
            text,
            source=source,
            to=to,
            progress=progress,
            acknowledge=body.get("acknowledge") is True,
            ring=body.get("ring") is True,
            template=_text(body, "template"),
        )

    async def _verify(self, body: Mapping[str, Any], _: Progress) -> Any:
        number, user = body.get("id"), body.get("user")
        return await self._operations.verify(
            str(body.get("step")),
            number=number if isinstance(number, int) else 0,
            user=user if isinstance(user, str) else "",
            matches=body.get("matches") is True,
        )

    async def _rotate_device(self, body: Mapping[str, Any], _: Progress) -> Any:
        return await self._operations.rotate_device(accept_old_database=body.get("accept_old_database") is True)

    async def _people(self, body: Mapping[str, Any], _: Progress) -> Any:
        deed, community = body.get("deed"), body.get("community")
        if not isinstance(deed, str) or not isinstance(community, str):
            raise Refused("what is asked about people needs a deed and a community")
        what = {name: body[name] for name in _ABOUT_PEOPLE if name in body}
        return await self._operations.people(deed, community, **what)

    async def _personal_data(self, body: Mapping[str, Any], _: Progress) -> Any:
        return await self._operations.personal_data(
            _text(body, "deed"), _text(body, "user"), leave=body.get("leave") is True, bans=body.get("bans") is True
        )

    async def _groups(self, body: Mapping[str, Any], _: Progress) -> Any:
        what = {name: body[name] for name in _ABOUT_GROUPS if name in body}
        return await self._operations.groups(_text(body, "deed"), _text(body, "community"), **what)

    async def _community(self, body: Mapping[str, Any], _: Progress) -> Any:
        what = {name: body[name] for name in _ABOUT_COMMUNITIES if name in body}
        return await self._operations.community(_text(body, "deed"), _text(body, "community"), **what)

    async def _subcommunities(self, body: Mapping[str, Any], _: Progress) -> Any:
        what = {name: body[name] for name in _ABOUT_SUBCOMMUNITIES if name in body}
        return await self._operations.subcommunities(_text(body, "deed"), _text(body, "community"), **what)

    async def _announcements(self, body: Mapping[str, Any], _: Progress) -> Any:
        return await self._operations.announcements(_text(body, "deed"), _text(body, "community"), body)

    async def _ready(self, _: Mapping[str, Any], __: Progress) -> Any:
        return {"ready": self._operations.ready}

    async def _status(self, body: Mapping[str, Any], _: Progress) -> Any:
        return await self._operations.status(forget_strange_devices=body.get("forget_strange_devices") is True)

    async def _parked(self, body: Mapping[str, Any], _: Progress) -> Any:
        release, drop = body.get("release"), body.get("drop")
        if not isinstance(release, str | None) or not isinstance(drop, str | None):
            raise Refused("release and drop are names")
        return await self._operations.parked(release=release, drop=drop)

    async def _link(self, body: Mapping[str, Any], _: Progress) -> Any:
        links = self._operations.links
        match body.get("do"):
            case "new":
                return await links.new(**_terms(body))
            case "reset":
                return await links.reset(**_terms(body))
            case "list":
                return await links.list(_text(body, "community") or None)
            case "show":
                return await links.show(_text(body, "link_id"))
            case "revoke":
                return await links.revoke(_text(body, "link_id"))
        raise Refused("what is to be done with links is not said")

    async def _check(self, _: Mapping[str, Any], __: Progress) -> Any:
        return await self._operations.check()


async def _flush(response: web.StreamResponse, lines: list[bytes]) -> None:
    while lines:
        await response.write(lines.pop(0))


def _names(body: Mapping[str, Any]) -> list[str]:
    names = body.get("communities", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused("communities is not a list of names")
    return names


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise Refused(f"{name} is not a text")
    return value


def _terms(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a new link is to carry, as far as it is said."""
    uses, groups = body.get("uses"), body.get("groups", [])
    if uses is not None and (not isinstance(uses, int) or isinstance(uses, bool)):
        raise Refused("uses is not a number")
    if not isinstance(groups, list) or not all(isinstance(key, str) for key in groups):
        raise Refused("groups is not a list of names")
    return {
        "community": _text(body, "community"),
        "groups": groups,
        "expires": _text(body, "expires") or "7d",
        "uses": uses,
        "needs_approval": body.get("needs_approval") is True,
        "role": _text(body, "role") or "member",
    }
