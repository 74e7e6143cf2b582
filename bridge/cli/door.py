"""Asking the running service through its local door, or doing it alone where none runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import orjson

from bridge.app.operations import Operations
from bridge.app.service import alone
from bridge.config import Config
from bridge.core.errors import CommunitiesError, Refused, ServiceUnreachable

T = TypeVar("T")
PREFIX = "/_communities/v1"
ANSWER_SECONDS = 3600.0
LINE_BYTES = 64 * 1024 * 1024
Told = Callable[[int, int, str], None]


def silent(_done: int, _total: int, _text: str) -> None:
    """Progress that nobody watches."""


class Door:
    """The running service, as the commands see it."""

    def __init__(self, config: Config) -> None:
        self._url = config.listen.local_url + PREFIX
        self._secret = config.control.secret.reveal()

    async def ask(self, what: str, body: Mapping[str, Any], told: Told = silent) -> Any:
        """Ask one thing, and give its result.

        Raises:
            ServiceUnreachable: no service runs.
            Refused: the service says no, or something else listens at its address.
            CommunitiesError: the service's own error.
        """
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=5)
        headers = {"Authorization": f"Bearer {self._secret}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, read_bufsize=LINE_BYTES) as session,
                session.post(f"{self._url}/{what}", data=orjson.dumps(body), headers=headers) as response,
            ):
                return await self._read(response, told)
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            raise ServiceUnreachable("no service runs", where=self._url) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CommunitiesError(
                f"the service broke off ({type(error).__name__})", where=self._url, remedy="look into its log"
            ) from error

    async def _read(self, response: aiohttp.ClientResponse, told: Told) -> Any:
        if response.content_type not in ("application/x-ndjson", "application/json"):
            raise Refused("something else listens there", where=self._url, remedy="see `listen` in the configuration")
        async for line in response.content:
            answer = orjson.loads(line)
            if "progress" in answer:
                told(*answer["progress"])
            elif "error" in answer:
                error = answer["error"]
                raise CommunitiesError(
                    error.get("what", ""), where=error.get("where", ""), remedy=error.get("remedy", "")
                )
            else:
                return answer["result"]
        raise CommunitiesError("the service broke off", where=self._url, remedy="look into its log")


async def ask_or_do(
    config: Config,
    what: str,
    body: Mapping[str, Any],
    by_ourselves: Callable[[Operations], Awaitable[Any]],
    *,
    told: Told = silent,
    make_accounts: bool = True,
    with_keys: bool = False,
) -> Any:
    """Let the running service do it, or do it here where none runs; never both at once, since one process owns the
    keys and the rooms."""
    try:
        return await Door(config).ask(what, body, told)
    except ServiceUnreachable:
        pass
    async with alone(config, make_accounts=make_accounts) as house:
        if not with_keys:
            return await by_ourselves(Operations(house))
        await house.keys.start()
        await house.worker.start()
        try:
            return await by_ourselves(Operations(house))
        finally:
            await house.worker.stop()
