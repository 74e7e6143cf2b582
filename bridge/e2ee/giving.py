"""What delivery and history have in common: what it takes to give keys to devices, and how many requests go at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.olm_sessions import OlmSessions
from bridge.e2ee.recipients import Trust
from bridge.ports import Clock, KeyServer, RoomFacts
from bridge.store.database import Database

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


async def a_few_at_once(pieces: AsyncIterator[Piece], serve: Callable[[Piece], Coroutine[Any, Any, None]]) -> None:
    """Serve pieces as they come, at most `IN_FLIGHT` at once. A failure ends it, and is raised."""
    under_way: set[asyncio.Task[None]] = set()
    try:
        async for piece in pieces:
            if len(under_way) >= IN_FLIGHT:
                await _one_of(under_way)
            under_way.add(asyncio.create_task(serve(piece)))
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
