"""Asking the running service through its local door, or doing it alone where none runs.

One process owns the keys and the rooms, so it is never both: a command either asks, or takes the database for itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import orjson

from bridge.app.operations import Operations
from bridge.app.service import alone
from bridge.config import Config
from bridge.core.errors import CommunitiesError, Refused, ServiceUnreachable

PREFIX = "/_communities/v1"
ANSWER_SECONDS = {
    "ready": 10.0,
    "plan": 300.0,
    "status": 60.0,
    "parked": 60.0,
    "check": 120.0,
    "announce": 600.0,
    "apply": 3600.0,
    "verify": 60.0,
    "rotate_device": 600.0,
    "link": 60.0,
    "people": 120.0,
    "personal_data": 600.0,
    "groups": 120.0,
    "community": 120.0,
    "subcommunities": 120.0,
    "announcements": 120.0,
}
CONNECT_SECONDS = 5.0
LONGEST_LINE_BYTES = 64 * 1024 * 1024
Told = Callable[[int, int, str], None]


class Asked(Protocol):
    """What the commands ask, of the service or of themselves."""

    async def plan(self, communities: Sequence[str], *, recreate: bool = False) -> dict[str, Any]: ...

    async def apply(
        self,
        communities: Sequence[str],
        *,
        force: bool,
        digest: str | None,
        progress: Told,
        recreate: bool = False,
    ) -> dict[str, Any]: ...

    async def announce(
        self,
        communities: Sequence[str],
        text: str,
        *,
        source: str,
        to: Sequence[str],
        progress: Told,
        acknowledge: bool = False,
        ring: bool = False,
        template: str = "",
    ) -> dict[str, Any]: ...

    async def status(self, *, forget_strange_devices: bool = False) -> dict[str, Any]: ...

    async def rotate_device(self, *, accept_old_database: bool = False) -> dict[str, Any]: ...

    async def people(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...

    async def personal_data(
        self, deed: str, user: str, *, leave: bool = False, bans: bool = False
    ) -> dict[str, Any]: ...

    async def groups(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...

    async def community(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...
    async def subcommunities(self, deed: str, community: str, **what: Any) -> dict[str, Any]: ...

    async def announcements(self, deed: str, community: str, what: Mapping[str, Any]) -> dict[str, Any]: ...


class Door:
    """The running service, as the commands see it. Implements `Asked`."""

    def __init__(self, config: Config) -> None:
        self._url = config.listen.local_url + PREFIX
        self._secret = config.control.secret.reveal()

    async def plan(self, communities: Sequence[str], *, recreate: bool = False) -> dict[str, Any]:
        return dict(await self.ask("plan", {"communities": list(communities), "recreate": recreate}))

    async def apply(
        self,
        communities: Sequence[str],
        *,
        force: bool,
        digest: str | None,
        progress: Told,
        recreate: bool = False,
    ) -> dict[str, Any]:
        body = {"communities": list(communities), "force": force, "digest": digest, "recreate": recreate}
        return dict(await self.ask("apply", body, progress))

    async def announce(
        self,
        communities: Sequence[str],
        text: str,
        *,
        source: str,
        to: Sequence[str],
        progress: Told,
        acknowledge: bool = False,
        ring: bool = False,
        template: str = "",
    ) -> dict[str, Any]:
        body = {
            "communities": list(communities),
            "text": text,
            "source": source,
            "to": list(to),
            "acknowledge": acknowledge,
            "ring": ring,
            "template": template,
        }
        return dict(await self.ask("announce", body, progress))

    async def status(self, *, forget_strange_devices: bool = False) -> dict[str, Any]:
        return dict(await self.ask("status", {"forget_strange_devices": forget_strange_devices}))

    async def parked(self, *, release: str | None = None, drop: str | None = None) -> dict[str, Any]:
        return dict(await self.ask("parked", {"release": release, "drop": drop}))

    async def check(self) -> list[dict[str, Any]]:
        return list(await self.ask("check", {}))

    async def rotate_device(self, *, accept_old_database: bool = False) -> dict[str, Any]:
        return dict(await self.ask("rotate_device", {"accept_old_database": accept_old_database}))

    async def people(self, deed: str, community: str, **what: Any) -> dict[str, Any]:
        return dict(await self.ask("people", {"deed": deed, "community": community, **what}))

    async def personal_data(self, deed: str, user: str, *, leave: bool = False, bans: bool = False) -> dict[str, Any]:
        return dict(await self.ask("personal_data", {"deed": deed, "user": user, "leave": leave, "bans": bans}))

    async def groups(self, deed: str, community: str, **what: Any) -> dict[str, Any]:
        return dict(await self.ask("groups", {"deed": deed, "community": community, **what}))

    async def community(self, deed: str, community: str, **what: Any) -> dict[str, Any]:
        return dict(await self.ask("community", {"deed": deed, "community": community, **what}))

    async def subcommunities(self, deed: str, community: str, **what: Any) -> dict[str, Any]:
        return dict(await self.ask("subcommunities", {"deed": deed, "community": community, **what}))

    async def announcements(self, deed: str, community: str, what: Mapping[str, Any]) -> dict[str, Any]:
        return dict(await self.ask("announcements", {**what, "deed": deed, "community": community}))

    async def verify(self, step: str, **what: Any) -> Any:
        return await self.ask("verify", {"step": step, **what})

    async def is_there(self) -> bool:
        """Whether a service answers."""
        try:
            await self.ask("ready", {})
        except ServiceUnreachable:
            return False
        return True

    async def ask(self, what: str, body: Mapping[str, Any], told: Told | None = None) -> Any:
        """Ask one thing, and give its result.

        Raises:
            ServiceUnreachable: no service runs.
            Refused: something else listens at its address.
            CommunitiesError: the service's own error.
        """
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS[what], sock_connect=CONNECT_SECONDS)
        headers = {"Authorization": f"Bearer {self._secret}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, read_bufsize=LONGEST_LINE_BYTES) as session,
                session.post(f"{self._url}/{what}", data=orjson.dumps(body), headers=headers) as response,
            ):
                return await self._read(response, told)
        except aiohttp.ClientConnectorError as error:
            raise ServiceUnreachable("no service runs", where=self._url) from error
        except TimeoutError as error:
            raise CommunitiesError(
                f"the service did not answer within {ANSWER_SECONDS[what]:.0f} s",
                where=self._url,
                remedy="look into its log; if it hangs, restart it",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise CommunitiesError(
                f"the service broke off ({type(error).__name__})", where=self._url, remedy="look into its log"
            ) from error

    async def _read(self, response: aiohttp.ClientResponse, told: Told | None) -> Any:
        if response.content_type not in ("application/x-ndjson", "application/json"):
            raise Refused("something else listens there", where=self._url, remedy="see `listen` in the configuration")
        async for line in response.content:
            answer = orjson.loads(line)
            if "progress" in answer:
                if told is not None:
                    told(*answer["progress"])
            elif "error" in answer:
                error = answer["error"]
                raise CommunitiesError(
                    error.get("what", ""), where=error.get("where", ""), remedy=error.get("remedy", "")
                )
            else:
                return answer["result"]
        raise CommunitiesError("the service broke off", where=self._url, remedy="look into its log")


@asynccontextmanager
async def service_or_alone(config: Config, *, with_keys: bool = False) -> AsyncIterator[Asked]:
    """The running service where there is one; else the house itself, for as long as the context is open.

    Args:
        with_keys: whether messages are to be sent, for which a house that is alone needs the announcer's device.
    """
    door = Door(config)
    if await door.is_there():
        yield door
        return
    async with alone(config) as house:
        operations = Operations(house)
        if not with_keys:
            yield operations
            return
        await house.make_accounts()
        await house.keys.start()
        await house.worker.start()
        try:
            yield operations
        finally:
            await house.worker.stop()
