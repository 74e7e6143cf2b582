"""From the inbox to the handlers: in order, nothing lost, nothing stopped."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from bridge.core.errors import CannotDecrypt, Forbidden, StoreError, Unreachable
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Event, Said, StateChanged, Unreadable
from bridge.intake.interest import Interest
from bridge.intake.pump import Decryptor, Patience, Pump
from bridge.intake.router import Router
from bridge.store.database import Database
from bridge.store.inbox import Arrival, Inbox
from tests.harness.wait import eventually

STEWARD = UserId("@communities:example.org")
ANNOUNCER = UserId("@announcements:example.org")
ALICE = UserId("@alice:example.org")
QUICK = Patience(key_seconds=0.3, first_backoff_seconds=0.01, longest_backoff_seconds=0.02, passing_seconds=20)


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Rooms:
    """Rooms are what their names say."""

    def interest(self, room_id: RoomId) -> Interest | None:
        return next((one for one in Interest if room_id.startswith(f"!{one.name.lower()}")), None)

    def is_voting(self, room_id: RoomId) -> bool:
        return False


class Keys:
    """Decrypts what it has a key for."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.came = asyncio.Condition()
        self.waits: list[str] = []

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]:
        content = event["content"]
        if str(content["session_id"]) not in self.held:
            raise CannotDecrypt("no key")
        clear = {"type": "m.room.message", "content": {"msgtype": "m.text", "body": content["ciphertext"]}}
        return {**event, **clear}

    async def wait_for_key(self, room_id: RoomId, session_id: str, deadline_seconds: float) -> bool:
        self.waits.append(session_id)
        try:
            async with asyncio.timeout(deadline_seconds), self.came:
                await self.came.wait_for(lambda: session_id in self.held)
        except TimeoutError:
            return False
        return True

    async def give(self, session_id: str) -> None:
        async with self.came:
            self.held.add(session_id)
            self.came.notify_all()


@dataclass
class Works:
    """A pump, its inbox, and what was routed."""

    inbox: Inbox
    keys: Keys = field(default_factory=Keys)
    routed: list[Event] = field(default_factory=list)
    parked: list[tuple[str, str, str]] = field(default_factory=list)
    behave: Callable[[Event], Awaitable[None]] | None = None

    async def route(self, event: Event) -> None:
        if self.behave is not None:
            await self.behave(event)
        self.routed.append(event)

    async def on_parked(self, event_id: EventId, room_id: RoomId, reason: str) -> None:
        self.parked.append((event_id, room_id, reason))

    def pump(self, patience: Patience = QUICK, decryptor: Decryptor | None = None) -> Pump:
        return Pump(
            inbox=self.inbox,
            rooms=Rooms(),
            steward=STEWARD,
            announcer=ANNOUNCER,
            route=self.route,
            clock=SystemClock(),
            decryptor=decryptor or self.keys,
            on_parked=self.on_parked,
            patience=patience,
        )

    async def store(self, *events: dict[str, Any]) -> None:
        arrivals = [Arrival(EventId(one["event_id"]), RoomId(one["room_id"]), orjson.dumps(one)) for one in events]
        await self.inbox.store(arrivals, SystemClock().now_ms())

    def ids(self) -> list[str]:
        return [event.event_id for event in self.routed]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pump.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{path}")
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
def works(database: Database) -> Works:
    return Works(Inbox(database))


@pytest.fixture
async def pump(works: Works) -> AsyncIterator[Pump]:
    pump = works.pump()
    await pump.start()
    yield pump
    await pump.stop(grace_seconds=0)


async def drained(pump: Pump) -> None:
    async with asyncio.timeout(20):
        await pump.drained()


def state(event_id: str, room_id: str = "!group") -> dict[str, Any]:
    base = {"event_id": event_id, "room_id": room_id, "sender": ALICE, "origin_server_ts": 1}
    return {**base, "type": "m.room.name", "state_key": "", "content": {}}


def secret(event_id: str, session_id: object, text: str = "help", room_id: str = "!chat") -> dict[str, Any]:
    event = state(event_id, room_id)
    del event["state_key"]
    return {**event, "type": "m.room.encrypted", "content": {"session_id": session_id, "ciphertext": text}}


async def test_every_room_keeps_its_order(works: Works, pump: Pump) -> None:
    async def behave(event: Event) -> None:
        for _ in range(len(event.event_id) % 3):
            await asyncio.sleep(0)

    works.behave = behave
    events = [state(f"${number}", f"!group{number % 7}") for number in range(1200)]
    for start in range(0, len(events), 100):
        await works.store(*events[start : start + 100])
        pump.wake()
    await drained(pump)
    assert len(works.routed) == len(events)
    for room in {event["room_id"] for event in events}:
        wanted = [event["event_id"] for event in events if event["room_id"] == room]
        assert [event.event_id for event in works.routed if event.room_id == room] == wanted


async def test_what_is_done_is_forgotten(works: Works, pump: Pump, database: Database) -> None:
    await works.store(state("$1"), state("$ignored", "!unknown"))
    pump.wake()
    await drained(pump)
    assert works.routed == [StateChanged(EventId("$1"), RoomId("!group"), ALICE, 1, "m.room.name", "")]
    async with database.transaction() as tx:
        assert await tx.fetch_value("SELECT COUNT(*) FROM inbox") == 0


async def test_a_room_that_hangs_holds_up_no_other(works: Works, pump: Pump) -> None:
    free = asyncio.Event()

    async def behave(event: Event) -> None:
        if event.event_id == "$1":
            await free.wait()

    works.behave = behave
    await works.store(state("$1", "!group1"), state("$2", "!group1"), state("$3", "!group2"))
    pump.wake()
    await eventually(lambda: works.ids() == ["$3"], what="the other room")
    free.set()
    await drained(pump)
    assert works.ids() == ["$3", "$1", "$2"]


async def test_a_key_that_comes_late_is_waited_for_in_its_room_alone(works: Works) -> None:
    pump = works.pump(Patience(key_seconds=20))
    await pump.start()
    works.keys.held.add("b")
    await works.store(secret("$1", "a", "one"), secret("$2", "b", "two"), secret("$3", "b", "three", "!control"))
    pump.wake()
    await eventually(lambda: works.ids() == ["$3"], what="the control room")
    assert works.keys.waits == ["a"]
    await works.keys.give("a")
    await drained(pump)
    assert [(event.event_id, event.text) for event in works.routed if isinstance(event, Said)] == [
        ("$3", "three"),
        ("$1", "one"),
        ("$2", "two"),
    ]
    await pump.stop()


async def test_a_key_that_never_comes_makes_a_message_unreadable(works: Works, pump: Pump) -> None:
    await works.store(secret("$1", "a"), secret("$2", ["odd"]), state("$3", "!chat"))
    pump.wake()
    await drained(pump)
    assert [type(event) for event in works.routed] == [Unreadable, Unreadable, StateChanged]
    assert works.ids() == ["$1", "$2", "$3"]


async def test_many_missing_keys_are_waited_for_together(works: Works, pump: Pump) -> None:
    """Each message waits from its own arrival, so a flood of unreadable ones is over when the last has waited."""
    began = time.monotonic()
    await works.store(*(secret(f"${number}", f"session{number}") for number in range(200)))
    pump.wake()
    await drained(pump)
    assert [type(event) for event in works.routed] == [Unreadable] * 200
    assert len(works.keys.waits) < 100
    assert time.monotonic() - began < 200 * QUICK.key_seconds / 2


async def test_messages_of_announcement_rooms_are_not_decrypted(works: Works, pump: Pump) -> None:
    await works.store(secret("$1", "a", room_id="!announcements"))
    pump.wake()
    await drained(pump)
    assert works.keys.waits == []
    assert works.ids() == ["$1"]


@pytest.mark.parametrize("error", [
    ValueError("poison"),
    Forbidden("no power"),
    KeyError("sender"),
    RecursionError(),
    asyncio.CancelledError(),
])  # fmt: skip
async def test_poison_is_parked_and_stops_nothing(works: Works, pump: Pump, error: BaseException) -> None:
    tries = 0

    async def behave(event: Event) -> None:
        nonlocal tries
        if event.event_id == "$1":
            tries += 1
            raise error

    works.behave = behave
    await works.store(state("$1"), state("$2"))
    pump.wake()
    await drained(pump)
    assert works.ids() == ["$2"]
    assert tries == QUICK.tries
    [(event_id, room_id, reason)] = works.parked
    assert (event_id, room_id) == ("$1", "!group")
    assert [(one.event_id, one.reason) for one in await works.inbox.parked()] == [("$1", reason)]


async def test_a_handler_that_never_returns_is_given_up(works: Works) -> None:
    async def behave(event: Event) -> None:
        if event.event_id == "$1":
            await asyncio.Event().wait()

    works.behave = behave
    pump = works.pump(Patience(handler_seconds=0.05, first_backoff_seconds=0.01, passing_seconds=0.1))
    await pump.start()
    await works.store(state("$1"), state("$2"))
    pump.wake()
    await drained(pump)
    assert works.ids() == ["$2"]
    assert [event_id for event_id, _, _ in works.parked] == ["$1"]
    await pump.stop()


async def test_a_report_that_fails_stops_nothing(works: Works, pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(event: Event) -> None:
        if event.event_id == "$1":
            raise ValueError

    async def fail(event_id: EventId, room_id: RoomId, reason: str) -> None:
        raise OSError

    works.behave = behave
    monkeypatch.setattr(pump, "_on_parked", fail)
    await works.store(state("$1"), state("$2"))
    pump.wake()
    await drained(pump)
    assert works.ids() == ["$2"]


async def test_a_parked_event_that_is_released_is_worked_again(works: Works, pump: Pump) -> None:
    async def poison(event: Event) -> None:
        raise ValueError

    works.behave = poison
    await works.store(state("$1"))
    pump.wake()
    await drained(pump)
    works.behave = None
    assert await works.inbox.release(EventId("$1"))
    pump.rescan()
    await drained(pump)
    assert works.ids() == ["$1"]


@pytest.mark.parametrize("error", [Unreachable("away"), StoreError("locked"), sqlite3.OperationalError("locked")])
async def test_what_passes_is_tried_until_it_passed(works: Works, pump: Pump, error: Exception) -> None:
    tries = 0

    async def behave(event: Event) -> None:
        nonlocal tries
        tries += 1
        if tries < 3 * QUICK.tries:
            raise error

    works.behave = behave
    await works.store(state("$1"), state("$2"))
    pump.wake()
    await drained(pump)
    assert works.ids() == ["$1", "$2"]
    assert works.parked == []


async def test_what_was_not_done_is_done_after_a_crash(works: Works, path: Path) -> None:
    begun: list[str] = []

    async def hang(event: Event) -> None:
        begun.append(event.event_id)
        if event.event_id != "$1":
            await asyncio.Event().wait()

    works.behave = hang
    pump = works.pump()
    await pump.start()
    await works.store(state("$1"), state("$2"), state("$3"), state("$4", "!group2"))
    pump.wake()
    await eventually(lambda: sorted(begun) == ["$1", "$2", "$4"], what="handlers to begin")
    await pump.stop(grace_seconds=0)
    again = Database(f"sqlite:///{path}")
    await again.start()
    after = Works(Inbox(again))
    pump = after.pump()
    await pump.start()
    await drained(pump)
    assert sorted(after.ids()) == ["$2", "$3", "$4"]
    await pump.stop()
    await again.stop()


async def test_stopping_lets_a_handler_come_to_its_end(works: Works) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def behave(event: Event) -> None:
        begun.set()
        await end.wait()

    works.behave = behave
    pump = works.pump()
    await pump.start()
    await works.store(state("$1"), state("$2"))
    pump.wake()
    await begun.wait()
    stopping = asyncio.create_task(pump.stop())
    await asyncio.sleep(0)
    end.set()
    await stopping
    assert works.ids() == ["$1"]
    assert [held.event_id for held in await works.inbox.after(0, 10)] == ["$2"]


async def test_the_pump_outlives_a_database_that_is_away(
    works: Works, pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faults are planted below the inbox: every third use of the database fails."""
    await works.store(*(state(f"${number}", f"!group{number % 3}") for number in range(300)))
    uses = 0
    transaction = Database.transaction

    def sometimes(self: Database) -> Any:
        nonlocal uses
        uses += 1
        if uses % 3 != 0:
            raise StoreError("away")
        return transaction(self)

    with monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", sometimes)
        pump.wake()
        await eventually(lambda: len(works.routed) == 300, what="all events")
    await drained(pump)
    assert len(set(works.ids())) == 300


async def test_every_event_has_an_owner() -> None:
    seen: list[type] = []

    async def owner(event: Event) -> None:
        seen.append(type(event))

    names = ["invited", "membership_changed", "state_changed", "redacted", "posted", "said", "unreadable", "verifying"]
    names.append("reacted")
    router = Router(**dict.fromkeys(names, owner))
    for kind in get_args(Event):
        await router.route(object.__new__(kind))
    assert seen == list(get_args(Event))
