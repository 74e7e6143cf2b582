"""Works the inbox off: in order within a room, rooms beside each other, and nothing stops for long.

What a room waits for (a key, a homeserver that is away, a handler that fails) holds up that room alone, and for a
bounded time. A row is deleted when its handler is done, so after a crash it is worked again: handlers are idempotent.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import orjson

from bridge.core.errors import CannotDecrypt, MatrixError
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Event, Ignored
from bridge.intake.interest import Rooms
from bridge.intake.parse import parse
from bridge.ports import Clock
from bridge.store.inbox import Held, Inbox
from bridge.store.outage import is_outage

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 500
WINDOW = 5000
"""How many events are held in memory at most."""
FORGET_AFTER_SECONDS = 0.05
"""For how long rows that are done are gathered, to be deleted in one database transaction."""
LAST_WORDS_SECONDS = 5.0
"""For recording at the end what was done."""
LOOK_AGAIN_SECONDS = 60.0
PRUNE_EVERY_SECONDS = 3600.0
REMEMBER_MS = 30 * 24 * 3600 * 1000
MAX_REASON_LENGTH = 500


class Decryptor(Protocol):
    """What the pump needs of the announcer's keys."""

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with its decrypted `type` and `content`.

        Raises:
            CannotDecrypt: no key (yet), or a forged or replayed event.
        """
        ...

    async def wait_for_key(self, room_id: RoomId, session_id: str, deadline_seconds: float) -> bool:
        """Wait until the key of a Megolm session is there; whether it came in time."""
        ...


OnParked = Callable[[EventId, RoomId, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is tried."""

    key_seconds: float = 30.0
    """For the key of a message, counted from its arrival (or our start, if that was later)."""
    tries: int = 3
    """For a handler that fails in a way that a retry is not known to help."""
    passing_seconds: float = 3600.0
    """For faults that pass: the homeserver or the database away, rate limits."""
    first_backoff_seconds: float = 0.3
    longest_backoff_seconds: float = 30.0
    handler_seconds: float = 900.0
    """For one run of a handler."""


class Pump:
    """Takes stored events, decrypts and parses them, and hands them to the router.

    Args:
        route: the owner of every event, `Router.route`.
        decryptor: None where nothing can be decrypted: every encrypted message to us is then unreadable.
        on_parked: told of every event that was given up.
        rooms_at_once: how many handlers run beside each other.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        rooms: Rooms,
        steward: UserId,
        announcer: UserId,
        route: Callable[[Event], Awaitable[None]],
        clock: Clock,
        decryptor: Decryptor | None = None,
        on_parked: OnParked | None = None,
        patience: Patience | None = None,
        rooms_at_once: int = 16,
    ) -> None:
        self._inbox = inbox
        self._rooms = rooms
        self._accounts = (steward, announcer)
        self._route = route
        self._clock = clock
        self._decryptor = decryptor
        self._on_parked = on_parked
        self._patience = patience or Patience()
        self._slots = asyncio.Semaphore(rooms_at_once)
        self._started_at = 0
        self._cursor = 0
        self._from_the_start = True
        self._stopping = False
        self._wanted = asyncio.Event()
        self._room_in_window = asyncio.Event()
        self._flush = asyncio.Event()
        self._idle = asyncio.Event()
        self._rows = asyncio.Lock()
        """Held from reading rows until they are in hand, and from deleting them until they are not."""
        self._in_hand: set[int] = set()
        self._queues: dict[RoomId, deque[Held]] = {}
        self._lanes: set[asyncio.Task[None]] = set()
        self._running: dict[asyncio.Task[Any], float] = {}
        """Since when each handler runs."""
        self._overdue: set[asyncio.Task[Any]] = set()
        self._finished: list[int] = []
        self._services: list[asyncio.Task[None]] = []

    # --- the outside -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin with what was left in the inbox."""
        self._started_at = self._clock.now_ms()
        self._stopping = False
        self.rescan()
        for service in (self._feed, self._watch, self._forget_finished, self._prune_now_and_then):
            self._services.append(asyncio.create_task(service(), name=f"pump {service.__name__}"))

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Let handlers that run come to an end, then stop; what is not done is done after the next start."""
        self._stopping = True
        await _cancel([*self._services, *(self._lanes - self._running.keys())])
        if self._lanes:
            await asyncio.wait(self._lanes, timeout=grace_seconds)
        await _cancel(list(self._lanes))
        self._services.clear()
        if self._finished:
            try:
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._inbox.forget(self._finished)
            except Exception as error:  # noqa: BLE001 - they are worked again, which does no harm
                log.warning("what was done last is not recorded and will be done again: %s", error)
        self._finished.clear()
        self._in_hand.clear()
        self._queues.clear()

    def wake(self) -> None:
        """New events are in the inbox."""
        self._idle.clear()
        self._wanted.set()

    def rescan(self) -> None:
        """Look through the whole inbox: a row was released, or a transaction was committed without our knowing."""
        self._from_the_start = True
        self.wake()

    async def drained(self) -> None:
        """Wait until everything in the inbox is worked off, or parked."""
        while True:
            await self._idle.wait()
            if await self._inbox.waiting() == 0 and self._idle.is_set():
                return
            self.rescan()

    # --- from the inbox to the rooms -------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._wanted.wait()
            except TimeoutError:
                self.rescan()
            self._wanted.clear()
            while await self._read_batch() == BATCH:
                await self._until_room_in_window()
            self._note_idle()

    async def _read_batch(self) -> int:
        async with self._rows:
            if self._from_the_start:
                self._from_the_start = False
                self._cursor = 0
            rows = await self._insist("read the inbox", partial(self._inbox.after, self._cursor, BATCH))
            for row in rows:
                self._cursor = row.seq
                self._queue(row)
        return len(rows)

    async def _until_room_in_window(self) -> None:
        while len(self._in_hand) >= WINDOW:
            self._room_in_window.clear()
            await self._room_in_window.wait()

    def _queue(self, row: Held) -> None:
        if row.seq in self._in_hand:
            return
        self._in_hand.add(row.seq)
        queue = self._queues.get(row.room_id)
        if queue is not None:
            queue.append(row)
            return
        self._queues[row.room_id] = deque([row])
        lane = asyncio.create_task(self._work_off(row.room_id), name=f"room {row.room_id}")
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    async def _work_off(self, room_id: RoomId) -> None:
        queue = self._queues[room_id]
        while queue and not self._stopping:
            row = queue.popleft()
            if await self._handle(row):
                self._finished.append(row.seq)
                self._flush.set()
        if not self._stopping:
            del self._queues[room_id]

    # --- one event -------------------------------------------------------------------------------------------------

    async def _handle(self, row: Held) -> bool:
        """Have one event handled; False if its row has to stay: it was parked, or we stop."""
        tries = 0
        failed_at = 0.0
        while True:
            try:
                await self._attempt(row)
            except Exception as error:  # noqa: BLE001 - whatever a handler does, the room goes on
                now = asyncio.get_running_loop().time()
                failed_at = now if tries == 0 else failed_at
                tries += 1
                if self._is_hopeless(error, tries, now - failed_at):
                    await self._park(row, error, tries)
                    return False
                if self._stopping:
                    return False
                log.info("event %s in %s: %s; again", row.event_id, row.room_id, _reason(error))
                await asyncio.sleep(self._backoff(tries))
            else:
                return True

    async def _attempt(self, row: Held) -> None:
        raw = orjson.loads(row.body) if row.raw is None else row.raw
        interest = self._rooms.interest(row.room_id)
        clear = None
        if interest is not None and interest.is_read and raw.get("type") == "m.room.encrypted":
            clear = await self._decrypt(row, raw)
        event = parse(raw, interest=interest, accounts=self._accounts, clear=clear)
        if isinstance(event, Ignored):
            log.debug("event %s in %s ignored: %s", row.event_id, row.room_id, event.why)
            return
        async with self._slots:
            await self._run(self._route(event))

    async def _run(self, handler: Awaitable[None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = asyncio.get_running_loop().time()
        try:
            await handler
        except asyncio.CancelledError:
            if task in self._overdue and task.uncancel() == 0:
                raise TimeoutError(f"not done within {self._patience.handler_seconds:g} s") from None
            if task.cancelling():
                raise
            raise RuntimeError("the handler was cancelled from within") from None
        finally:
            del self._running[task]
            self._overdue.discard(task)

    async def _watch(self) -> None:
        """Cancel handlers that do not come to an end (a timer for each would cost more than most handlers do)."""
        limit = self._patience.handler_seconds
        while True:
            await asyncio.sleep(limit / 8)
            now = asyncio.get_running_loop().time()
            for task, since in self._running.items():
                if now - since >= limit and task not in self._overdue:
                    self._overdue.add(task)
                    task.cancel()

    async def _decrypt(self, row: Held, raw: dict[str, Any]) -> dict[str, Any] | None:
        """The decrypted event, waiting for its key; None if it cannot be read."""
        if self._decryptor is None:
            return None
        try:
            return await self._decryptor.decrypt(raw)
        except CannotDecrypt as error:
            log.debug("event %s in %s: %s", row.event_id, row.room_id, error.what)
        content = raw.get("content")
        session_id = content.get("session_id") if isinstance(content, dict) else None
        came_at = max(row.arrived_at, self._started_at)
        seconds = self._patience.key_seconds - (self._clock.now_ms() - came_at) / 1000
        if not isinstance(session_id, str) or seconds <= 0:
            return None
        if not await self._decryptor.wait_for_key(row.room_id, session_id, min(seconds, self._patience.key_seconds)):
            return None
        try:
            return await self._decryptor.decrypt(raw)
        except CannotDecrypt as error:
            log.info("event %s in %s cannot be read: %s", row.event_id, row.room_id, error.what)
            return None

    def _is_hopeless(self, error: Exception, tries: int, waited: float) -> bool:
        if is_outage(error) or (isinstance(error, MatrixError) and error.retry_helps):
            return waited >= self._patience.passing_seconds
        return tries >= self._patience.tries

    def _backoff(self, tries: int) -> float:
        patience = self._patience
        longest: float = min(patience.longest_backoff_seconds, patience.first_backoff_seconds * 2 ** min(tries - 1, 20))
        return longest * (0.75 + random.random() / 2)  # noqa: S311 - spreads retries, protects nothing

    async def _park(self, row: Held, error: Exception, tries: int) -> None:
        reason = _reason(error)
        log.error("event %s in %s is given up: %s", row.event_id, row.room_id, reason, exc_info=error)
        await self._insist("park an event", partial(self._inbox.park, row.seq, reason, tries))
        try:
            if self._on_parked is not None:
                await self._run(self._on_parked(row.event_id, row.room_id, reason))
        except Exception:
            log.exception("that event %s was given up could not be reported", row.event_id)
        async with self._rows:
            self._in_hand.discard(row.seq)
        self._room_in_window.set()
        self._note_idle()

    # --- afterwards ------------------------------------------------------------------------------------------------

    async def _forget_finished(self) -> None:
        """Delete what is done: many rows in one database transaction, as they come."""
        while True:
            await self._flush.wait()
            await asyncio.sleep(FORGET_AFTER_SECONDS)
            self._flush.clear()
            async with self._rows:
                done = self._finished[:]
                await self._insist("delete what is done", partial(self._inbox.forget, done))
                del self._finished[: len(done)]
                self._in_hand.difference_update(done)
            self._room_in_window.set()
            self._note_idle()

    def _note_idle(self) -> None:
        if not self._in_hand and not self._wanted.is_set():
            self._idle.set()

    async def _prune_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY_SECONDS)
            before = self._clock.now_ms() - REMEMBER_MS
            gone = await self._insist("prune the inbox", partial(self._inbox.prune, before))
            log.debug("pruned %d rows of the inbox", gone)

    async def _insist(self, what: str, action: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something with the database, however long it is away."""
        tries = 0
        while True:
            try:
                return await action()
            except Exception as error:
                tries += 1
                if tries == 1:
                    log.warning("cannot %s now: %s", what, _reason(error), exc_info=not is_outage(error))
                await asyncio.sleep(self._backoff(tries))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_REASON_LENGTH]


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
