"""What delivery and history have in common: what it takes to give keys to devices, and how requests go."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.division import in_parts
from bridge.e2ee.olm_sessions import Message, Name, OlmSessions, by_device
from bridge.e2ee.recipients import Trust
from bridge.ports import Clock, KeyServer, RoomFacts
from bridge.store.database import Database

log = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Pieces of one room that are on their way at once."""

ROOM_KEY = "m.room_key"
SHARED_HISTORY = "org.matrix.msc3061.shared_history"

Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to give keys to devices."""

    database: Database
    server: KeyServer
    facts: RoomFacts
    clock: Clock
    own: OwnDevice
    devices: DeviceLists
    sessions: OlmSessions
    trust: Trust


class Giver:
    """Whoever gives keys to devices."""

    def __init__(self, means: Means) -> None:
        self._database = means.database
        self._server = means.server
        self._facts = means.facts
        self._clock = means.clock
        self._own = means.own
        self._devices = means.devices
        self._sessions = means.sessions
        self._trust = means.trust

    async def _to_devices(
        self, event_type: str, txn_id: str, messages: Sequence[Message], *, outlasting: bool = True
    ) -> set[Name]:
        """Send each device its message (`/sendToDevice`); gives those for which the homeserver takes no request.

        The whole goes under `txn_id`, its parts (where it is refused) under ids of their own: if this is killed in
        between and repeated, some devices are sent the same twice. What is refused for a device may have reached it.

        Args:
            outlasting: as of `in_parts`.

        Raises:
            MatrixError: the homeserver cannot be asked, or takes no such request at all.
        """

        async def send(part: Sequence[Message]) -> None:
            part_id = txn_id if len(part) == len(messages) else secrets.token_urlsafe(16)
            await self._server.send_to_device(event_type, part_id, by_device(part))

        async def nothing() -> None:
            await self._server.send_to_device(event_type, secrets.token_urlsafe(16), {})

        if not messages:
            return set()
        refused = await in_parts(
            messages, send, owner=lambda message: message[0][0], probe=nothing, outlasting=outlasting
        )
        if refused.things:
            log.warning(
                "%s for %d of %d devices is refused by the homeserver: %s",
                event_type,
                len(refused.things),
                len(messages),
                refused.reason,
            )
        return {name for name, _ in refused.things}


async def a_few_at_once(pieces: AsyncIterator[Piece], serve: Callable[[Piece], Coroutine[Any, Any, None]]) -> None:
    """Serve pieces as they come, at most `IN_FLIGHT` at once. A failure ends it, and is raised."""
    under_way: set[asyncio.Task[None]] = set()
    try:
        async for piece in pieces:
            under_way.add(asyncio.create_task(serve(piece)))
            del piece
            if len(under_way) >= IN_FLIGHT:
                await _one_of(under_way)
        while under_way:
            await _one_of(under_way)
    finally:
        # What was begun comes to its end: whatever is not marked then has to be repeated.
        await asyncio.gather(*under_way, return_exceptions=True)


async def _one_of(tasks: set[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks is done, and take it away; its failure is raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks -= done
    for task in done:
        task.result()
