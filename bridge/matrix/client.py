"""The only caller of the client-server API: identity, deadlines, retries, errors mapped.

Identity assertion follows the application service API (`user_id` and `device_id` in the query, MSC4326).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from bridge.core.errors import BadRequest, DeviceUnknown, Forbidden, MatrixError, NotFound, RateLimited, Unreachable
from bridge.core.ids import DeviceId, UserId
from bridge.store.database import inside_transaction

log = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
RETRIES = 6
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
LONGEST_OBEYED_WAIT_SECONDS = 120.0
"""For all tries of a request together."""
SHORTEST_PATIENCE_SECONDS = 1.0
MAX_IN_FLIGHT = 16
MAX_ERROR_CHARACTERS = 300
_TRANSIENT = frozenset({502, 503, 504, 520, 521, 522, 523, 524})


def path(*parts: str) -> str:
    """Join path segments below `/_matrix/client`, each percent-encoded."""
    return "/_matrix/client/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """HTTP to one homeserver with the application service's token.

    Every request may be repeated: callers use only requests that are idempotent, or whose repetition they can tell
    apart (transaction ids, aliases). Retries are bounded, back off, and honour `retry_after_ms`.
    """

    def __init__(self, homeserver_url: str, as_token: str, *, retries: int = RETRIES) -> None:
        self._base = homeserver_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {as_token}", "User-Agent": "matrix-communities"}
        self._retries = retries
        self._session: aiohttp.ClientSession | None = None
        self._gate = asyncio.Semaphore(MAX_IN_FLIGHT)
        self.requests = 0
        """How many requests were sent, retries included."""

    async def start(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT + 4, keepalive_timeout=30),
                json_serialize=lambda value: orjson.dumps(value).decode(),
            )

    async def stop(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def request(
        self,
        method: str,
        url_path: str,
        *,
        as_user: UserId | None = None,
        device_id: DeviceId | None = None,
        body: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        media_type: str = "application/octet-stream",
        query: Mapping[str, str] | None = None,
        deadline: float = DEADLINE_SECONDS,
        long_poll: bool = False,
        retries: int | None = None,
    ) -> dict[str, Any]:
        """Send one request and give its JSON object.

        Args, and what it raises, as of `read`.
        """
        return await self.read(
            method,
            url_path,
            _json_object,
            as_user=as_user,
            device_id=device_id,
            body=body,
            data=data,
            media_type=media_type,
            query=query,
            deadline=deadline,
            long_poll=long_poll,
            retries=retries,
        )

    async def read(
        self,
        method: str,
        url_path: str,
        decode: Callable[[bytes], T],
        *,
        as_user: UserId | None = None,
        device_id: DeviceId | None = None,
        body: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        media_type: str = "application/octet-stream",
        query: Mapping[str, str] | None = None,
        deadline: float = DEADLINE_SECONDS,
        long_poll: bool = False,
        retries: int | None = None,
    ) -> T:
        """Send one request and give what `decode` makes of its answer.

        Args:
            decode: raises `ValueError` where the answer is not what it should be; it is asked for again then.
            url_path: made with `path`, or beginning with `/_`.
            as_user: the account of ours to act as; None means the registration's sender.
            data: a file to send, in the place of a JSON body.
            media_type: what kind of file it is.
            deadline: seconds for one try.
            long_poll: whether the request waits at the homeserver, and so takes no place among those in flight.
            retries: how many tries more than the first; the client's own number where None. While the homeserver says
                itself when to come back, it is obeyed for two minutes instead; 0 means never.

        Raises:
            Unreachable: no answer, or 502 to 504, after all tries.
            RateLimited: 429 after all tries.
            Forbidden, NotFound, BadRequest: the homeserver's own refusal, never retried.
            RuntimeError: called inside a database transaction.
        """
        if inside_transaction():
            raise RuntimeError(f"a network call inside a database transaction: {method} {url_path}")
        params = dict(query or {})
        if as_user is not None:
            params["user_id"] = as_user
        if device_id is not None:
            params["device_id"] = device_id
            params["org.matrix.msc3202.device_id"] = device_id
        kind = "application/json" if data is None else media_type
        data = orjson.dumps(body) if body is not None else data
        body = None  # it may be large
        tries = 1 + (self._retries if retries is None else retries)
        waited = 0.0
        for attempt in itertools.count():
            try:
                if long_poll:
                    return await self._once(method, url_path, decode, params, data, kind, deadline)
                async with self._gate:
                    return await self._once(method, url_path, decode, params, data, kind, deadline)
            except (Unreachable, RateLimited) as error:
                wait = _backoff(attempt, error)
                used_up = attempt + 1 >= tries and (tries == 1 or not _asks_for_patience(error))
                if used_up or waited + wait > LONGEST_OBEYED_WAIT_SECONDS:
                    raise
                waited += wait
                log.debug("%s %s: %s; again in %.1f s", method, url_path, error.what, wait)
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def download(
        self, url_path: str, *, query: Mapping[str, str], most_bytes: int, deadline: float
    ) -> tuple[str, bytes]:
        """Fetch a file as the steward, once; gives its media type and its content.

        Raises:
            Unreachable: no answer.
            BadRequest: it is larger than that.
            MatrixError: the homeserver refuses.
            RuntimeError: called inside a database transaction.
        """
        if inside_transaction():
            raise RuntimeError(f"a network call inside a database transaction: GET {url_path}")
        if self._session is None:
            raise RuntimeError("the client is not started")
        where = f"GET {url_path}"
        self.requests += 1
        timeout = aiohttp.ClientTimeout(total=deadline, sock_connect=CONNECT_SECONDS)
        url = URL(self._base + url_path, encoded=True)
        try:
            async with (
                self._gate,
                self._session.get(url, params=query, timeout=timeout, allow_redirects=False) as response,
            ):
                data = bytearray()
                async for chunk in response.content.iter_chunked(64 * 1024):
                    data += chunk
                    if len(data) > most_bytes:
                        raise BadRequest(f"the file is larger than {most_bytes:,} bytes", where=where)
                if response.status >= 300:
                    raise _refusal(response.status, bytes(data), response.headers.get("Retry-After"), where)
                return response.content_type, bytes(data)
        except TimeoutError as error:
            raise Unreachable(f"no answer within {deadline:.0f} s", where=where) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"cannot be reached ({_reason(error)})", where=where) from error

    async def _once(
        self,
        method: str,
        url_path: str,
        decode: Callable[[bytes], T],
        params: Mapping[str, str],
        data: bytes | None,
        kind: str,
        deadline: float,
    ) -> T:
        if self._session is None:
            raise RuntimeError("the client is not started")
        self.requests += 1
        headers = {} if data is None else {"Content-Type": kind}
        began = time.monotonic()
        try:
            async with self._session.request(
                method,
                URL(self._base + url_path, encoded=True),  # as it stands: `..` is a state key like any other
                params=params,
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=deadline, sock_connect=CONNECT_SECONDS),
                allow_redirects=False,
            ) as response:
                raw = await response.read()
                took = (time.monotonic() - began) * 1000
                log.debug("%s %s: %d in %.0f ms", method, url_path, response.status, took)
                if response.status < 300:
                    return _decoded(decode, raw, f"{method} {url_path}")
                raise _refusal(response.status, raw, response.headers.get("Retry-After"), f"{method} {url_path}")
        except TimeoutError as error:
            raise Unreachable(f"no answer within {deadline:.0f} s", where=f"{method} {self._base}{url_path}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(
                f"cannot be reached ({_reason(error)})",
                where=f"homeserver {self._base}",
                remedy="see that the homeserver runs, and that `homeserver.url` is right",
            ) from error


def _reason(error: Exception) -> str:
    """Why there was no connection, in the system's own words."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else f"{type(error).__name__}: {error}"


def _decoded(decode: Callable[[bytes], T], raw: bytes, where: str) -> T:
    try:
        return decode(raw or b"{}")
    except ValueError as error:
        raise Unreachable("the answer is not JSON", where=where) from error


def _json_object(raw: bytes) -> dict[str, Any]:
    value = orjson.loads(raw)
    return value if isinstance(value, dict) else {"value": value}


def _refusal(status: int, raw: bytes, retry_after: str | None, where: str) -> MatrixError:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    errcode = str(body.get("errcode", ""))
    words = str(body.get("error", ""))[:MAX_ERROR_CHARACTERS] or f"HTTP {status}"
    if status == 429 or errcode == "M_LIMIT_EXCEEDED":
        error = RateLimited(words, status=status, errcode=errcode, where=where)
        error.seconds = _asked_wait(body.get("retry_after_ms"), retry_after)
        return error
    if status in _TRANSIENT:
        return Unreachable(f"HTTP {status}: {words}", status=status, errcode=errcode, where=where)
    kind: type[MatrixError] = {403: Forbidden, 404: NotFound}.get(status, BadRequest)
    if errcode == "M_UNKNOWN_DEVICE":
        kind = DeviceUnknown
    remedy = ""
    if errcode == "M_UNKNOWN_TOKEN":
        remedy = (
            "the homeserver does not know our as_token: put the registration into its "
            "`app_service_config_files` and restart it"
        )
    return kind(f"{words} ({errcode or status})", status=status, errcode=errcode, where=where, remedy=remedy)


def _asked_wait(milliseconds: object, header: str | None) -> float:
    """For how many seconds we are asked to wait: by the header, which knows whole seconds alone, or where it says the
    same by `retry_after_ms`, which is exact."""
    exact = 0.0
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and milliseconds >= 0:
        exact = float(milliseconds) / 1000
    if header is not None and header.strip().isdigit():
        whole = float(header)
        return exact if exact > 0 and exact <= whole < exact + 1 else whole
    return exact


def _asks_for_patience(error: MatrixError) -> bool:
    """Whether the homeserver says itself when to come back; then its word counts, and not the number of tries."""
    return isinstance(error, RateLimited) and error.seconds >= SHORTEST_PATIENCE_SECONDS


def _backoff(attempt: int, error: MatrixError) -> float:
    own: float = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**attempt)
    own *= 0.75 + random.random() / 2  # noqa: S311 - spreads retries, protects nothing
    if isinstance(error, RateLimited):
        return max(error.seconds + 0.05, own if error.seconds == 0 else 0.0)
    return own
