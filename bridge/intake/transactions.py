"""The homeserver's side of us: the application service API's endpoints, on our own terms.

A transaction is answered with 200 when what we want of it stands in our database, and not before; then the homeserver
may forget it, and we may not.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bridge.core.errors import StoreError
from bridge.core.ids import UserId
from bridge.core.messages import Receipt
from bridge.intake.interest import Rooms
from bridge.intake.receipts import FIELDS, receipts_of
from bridge.intake.salvage import NotJson, dumps, loads
from bridge.intake.sieve import Sieve
from bridge.ports import Clock
from bridge.store.inbox import Arrival, Inbox

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024 * 1024
"""For `web.Application(client_max_size=…)`. A refused transaction is sent for ever: none may be too large."""

REMEMBERED_PINGS = 16
_EMPTY = b"{}"


@dataclass(slots=True)
class Counts:
    """What came in since the start."""

    transactions: int = 0
    events: int = 0
    stored: int = 0
    unwanted: int = 0
    duplicates: int = 0
    malformed: int = 0
    to_device: int = 0
    """Stays 0: neither account of ours is sent to-device messages by this way."""
    receipts: int = 0
    """Those in announcement rooms."""
    failures: int = 0
    """Transactions that the database did not take; the homeserver repeats them."""


def _nothing() -> None:
    """Tell nobody."""


async def _unread(_: Sequence[Receipt]) -> None:
    """Nobody wants to know who read what."""


class Transactions:
    """Endpoints of the application service API v1 (sections "Pushing events", "Pinging", "Querying").

    Args:
        on_stored: called after new events were committed: wakes the pump.
        on_failure: called after the database refused a transaction, whose fate may be unknown.
        on_receipts: stores who has read up to where; called after the events beside them were committed.
    """

    def __init__(
        self,
        *,
        hs_token: str,
        steward: UserId,
        announcer: UserId,
        rooms: Rooms,
        inbox: Inbox,
        clock: Clock,
        on_stored: Callable[[], None] = _nothing,
        on_failure: Callable[[], None] = _nothing,
        on_receipts: Callable[[Sequence[Receipt]], Awaitable[None]] = _unread,
    ) -> None:
        self._on_receipts = on_receipts
        self._rooms = rooms
        self._token = hs_token.encode()
        self._accounts = (steward, announcer)
        self._sieve = Sieve(rooms, self._accounts)
        self._inbox = inbox
        self._clock = clock
        self._on_stored = on_stored
        self._on_failure = on_failure
        self._pings: deque[str] = deque(maxlen=REMEMBERED_PINGS)
        self._pinged = asyncio.Event()
        self.counts = Counts()

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints, the legacy path of the transactions included, to an application."""
        for prefix in ("/_matrix/app/v1", ""):
            app.router.add_put(prefix + "/transactions/{txn_id}", self._transaction)
            app.router.add_get(prefix + "/users/{user_id}", self._user)
            app.router.add_get(prefix + "/rooms/{alias}", self._alias)
        app.router.add_post("/_matrix/app/v1/ping", self._ping)

    async def wait_ping(self, transaction_id: str, deadline_seconds: float) -> bool:
        """Wait until the homeserver has pinged us with that `transaction_id`; whether it did in time."""
        try:
            async with asyncio.timeout(deadline_seconds):
                while transaction_id not in self._pings:
                    await self._pinged.wait()
        except TimeoutError:
            return False
        return True

    async def _transaction(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        txn_id = request.match_info["txn_id"]
        if "\0" in txn_id:
            return _error(400, "M_INVALID_PARAM", "the transaction id has a NUL in it")
        body = await _json_body(request)
        if isinstance(body, web.Response):
            return body
        return await self._take_in(txn_id, body)

    async def _take_in(self, txn_id: str, body: dict[str, Any]) -> web.Response:
        events, odd = _listed(body.get("events"))
        wanted, malformed = self._sieve.sift(events)
        counts = self.counts
        new = 0
        if wanted:
            arrivals = [Arrival(one["event_id"], one["room_id"], dumps(one), one) for one in wanted]
            try:
                new = await self._inbox.store(arrivals, self._clock.now_ms())
            except Exception:  # whatever it is, the homeserver keeps the events as long as we do not say 200
                log.exception("transaction %s cannot be stored; the homeserver will repeat it", txn_id)
                counts.failures += 1
                self._on_failure()
                return _error(500, "M_UNKNOWN", "the transaction cannot be stored now; send it again")
            if new:
                self._on_stored()
        if not await self._take_receipts(txn_id, body):
            counts.failures += 1
            self._on_failure()
            return _error(500, "M_UNKNOWN", "the transaction cannot be stored now; send it again")
        counts.transactions += 1
        counts.events += len(events)
        counts.stored += new
        counts.duplicates += len(wanted) - new
        counts.malformed += malformed + odd
        counts.unwanted += len(events) - len(wanted) - malformed
        for name in ("to_device", "de.sorunome.msc2409.to_device"):
            counts.to_device += len(_listed(body.get(name))[0])
        return web.Response(body=_EMPTY, content_type="application/json")

    async def _take_receipts(self, txn_id: str, body: dict[str, Any]) -> bool:
        """Store who has read up to where; whether the homeserver may forget it."""
        listed = [one for name in FIELDS for one in _listed(body.get(name))[0]]
        receipts = receipts_of(listed, self._rooms, self._accounts) if listed else []
        if not receipts:
            return True
        try:
            await self._on_receipts(receipts)
        except StoreError:
            log.exception("receipts of transaction %s cannot be stored; the homeserver will repeat it", txn_id)
            return False
        except Exception:  # a receipt that cannot be stored shall not keep out all events behind it, for ever
            log.exception("receipts of transaction %s are left out", txn_id)
        self.counts.receipts += len(receipts)
        return True

    async def _ping(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        body = await _json_body(request)
        if isinstance(body, web.Response):
            return body
        transaction_id = body.get("transaction_id")
        if isinstance(transaction_id, str):
            self._pings.append(transaction_id)
            waiting, self._pinged = self._pinged, asyncio.Event()
            waiting.set()
        return web.Response(body=_EMPTY, content_type="application/json")

    async def _user(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        if request.match_info["user_id"] in self._accounts:
            return web.Response(body=_EMPTY, content_type="application/json")
        return _error(404, "M_NOT_FOUND", "no such user here")

    async def _alias(self, request: web.Request) -> web.Response:
        return self._refusal(request) or _error(404, "M_NOT_FOUND", "no such room here")

    def _refusal(self, request: web.Request) -> web.Response | None:
        """None for the homeserver, and an answer for anybody else. The time it takes says nothing of the token."""
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            given = token.strip() if scheme.lower() == "bearer" else ""
        else:
            given = request.query.get("access_token", "")
        if not given:
            return _error(401, "M_UNAUTHORIZED", "the homeserver's token is missing")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token):
            return _error(403, "M_FORBIDDEN", "this is not the homeserver's token")
        return None


async def _json_body(request: web.Request) -> dict[str, Any] | web.Response:
    try:
        return loads(await request.read())
    except NotJson as error:
        return _error(400, "M_NOT_JSON", str(error))
    except web.RequestPayloadError as error:
        return _error(400, "M_NOT_JSON", f"the body cannot be read: {error}")
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "M_TOO_LARGE", "the body is larger than the service takes")


def _listed(value: object) -> tuple[list[Any], int]:
    """`value` if it is a list, and otherwise an empty one; and whether that is odd."""
    if isinstance(value, list):
        return value, 0
    return [], 0 if value is None else 1


def _error(status: int, errcode: str, words: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": words}, status=status)
