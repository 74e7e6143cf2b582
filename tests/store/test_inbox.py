"""The durable inbox: everything once, in order, until it is done."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core.ids import EventId, RoomId
from bridge.store.database import Database
from bridge.store.inbox import Arrival, Inbox


@pytest.fixture
def inbox(database: Database) -> Inbox:
    return Inbox(database)


def event(name: str, room: str = "!room") -> Arrival:
    return Arrival(EventId(f"${name}"), RoomId(room), f'{{"event_id": "${name}"}}'.encode())


async def ids(inbox: Inbox, after: int = 0) -> list[str]:
    return [held.event_id for held in await inbox.after(after, 1000)]


async def test_events_keep_their_order_and_their_words(inbox: Inbox) -> None:
    arrivals = [event(str(number), f"!room{number % 3}") for number in range(150)]
    assert await inbox.store(arrivals[:100], 5) == 100
    assert await inbox.store(arrivals[100:], 6) == 50
    held = await inbox.after(0, 1000)
    assert [(one.event_id, one.room_id, one.body) for one in held] == [
        (one.event_id, one.room_id, one.body) for one in arrivals
    ]
    assert {one.arrived_at for one in held} == {5, 6}
    assert await inbox.after(held[9].seq, 2) == held[10:12]
    assert await inbox.waiting() == 150


async def test_a_repeated_transaction_is_dropped(inbox: Inbox) -> None:
    assert await inbox.store([event("a"), event("b")], 1) == 2
    assert await inbox.store([event("a"), event("b")], 2) == 0
    assert await ids(inbox) == ["$a", "$b"]


async def test_a_repeated_event_is_dropped(inbox: Inbox) -> None:
    assert await inbox.store([event("a"), event("b"), event("a")], 1) == 2
    assert await inbox.store([event("b"), event("c"), event("a")], 2) == 1
    assert await ids(inbox) == ["$a", "$b", "$c"]


async def test_what_is_done_does_not_come_again(inbox: Inbox) -> None:
    await inbox.store([event("a"), event("b")], 1)
    await inbox.forget([held.seq for held in await inbox.after(0, 1)])
    assert await inbox.store([event("a"), event("b")], 2) == 0
    assert await ids(inbox) == ["$b"]


async def test_the_same_transaction_at_the_same_time(inbox: Inbox) -> None:
    arrivals = [event(str(number)) for number in range(20)]
    new = await asyncio.gather(*(inbox.store(arrivals, 1) for _ in range(5)))
    assert sorted(new) == [0, 0, 0, 0, 20]
    assert await ids(inbox) == [one.event_id for one in arrivals]


async def test_duplicates_are_known_after_a_restart(url: str) -> None:
    for new in (2, 0):
        database = Database(url)
        await database.start()
        inbox = Inbox(database)
        assert await inbox.store([event("a"), event("b")], 1) == new
        assert await inbox.store([event("b")], 1) == 0
        assert await ids(inbox) == ["$a", "$b"]
        await database.stop()


async def test_a_transaction_is_stored_whole_or_not_at_all(inbox: Inbox) -> None:
    spoilt = Arrival(EventId("$x"), RoomId("!room"), None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)not.null"):
        await inbox.store([event("a"), spoilt], 1)
    assert await ids(inbox) == []
    assert await inbox.store([event("a")], 1) == 1


async def test_what_waits_can_be_set_aside(inbox: Inbox) -> None:
    await inbox.store([event("a"), event("b")], 1)
    assert await inbox.set_aside("an old copy") == 2
    assert await inbox.waiting() == 0
    assert {one.reason for one in await inbox.parked()} == {"an old copy"}


async def test_parked_events_are_out_of_the_way_until_released(inbox: Inbox) -> None:
    await inbox.store([event("a"), event("b")], 1)
    first = (await inbox.after(0, 1))[0]
    await inbox.park(first.seq, "ValueError: broken", 3)
    assert await ids(inbox) == ["$b"]
    assert await inbox.waiting() == 1
    [parked] = await inbox.parked()
    assert (parked.event_id, parked.room_id, parked.reason) == ("$a", "!room", "ValueError: broken")
    assert await inbox.release(EventId("$a"))
    assert not await inbox.release(EventId("$a"))
    assert await ids(inbox) == ["$a", "$b"]
    assert await inbox.parked() == []


async def test_a_reader_misses_nothing_whether_it_keeps_up_or_not(inbox: Inbox) -> None:
    """What is read from memory and what is read from the disk is the same, in the same order."""
    wanted: list[str] = []
    read: list[str] = []
    cursor = 0
    for round_number in range(60):
        arrivals = [event(f"{round_number}-{number}") for number in range(100)]
        await inbox.store(arrivals, 1)
        wanted += [one.event_id for one in arrivals]
        if round_number % 30 < 8 or round_number == 59:  # falls behind further than what is kept at hand
            while held := await inbox.after(cursor, 70):
                read += [one.event_id for one in held]
                cursor = held[-1].seq
    assert read == wanted
    assert await ids(inbox, cursor - 3) == wanted[-3:]


async def test_a_failed_transaction_leaves_the_reader_in_order(inbox: Inbox) -> None:
    spoilt = Arrival(EventId("$x"), RoomId("!room"), None)  # type: ignore[arg-type]
    assert await inbox.after(0, 10) == []
    await inbox.store([event("a")], 1)
    with pytest.raises(Exception, match=r"(?i)not.null"):
        await inbox.store([spoilt], 1)
    await inbox.store([event("b")], 1)
    held = await inbox.after(0, 10)
    assert [one.event_id for one in held] == ["$a", "$b"]
    await inbox.forget([one.seq for one in held])
    await inbox.store([event("c")], 1)
    assert [one.event_id for one in await inbox.after(held[-1].seq, 10)] == ["$c"]


async def test_old_memories_are_pruned(inbox: Inbox, database: Database) -> None:
    old = [event(f"old{number}") for number in range(500)]
    await inbox.store(old, 10)
    held = await inbox.after(0, len(old))
    await inbox.park(held[0].seq, "broken", 3)
    await inbox.forget([one.seq for one in held[1:]])
    await inbox.store([event("new")], 20)
    assert await inbox.prune(20) == len(old) - 1, "the last one stays"
    assert await inbox.parked() == []
    assert await ids(inbox) == ["$new"]
    inbox = Inbox(database)
    assert await inbox.store([event("new")], 30) == 0
    assert await inbox.store([event("old5")], 30) == 1


async def test_numbers_go_on_after_a_long_silence(inbox: Inbox, database: Database) -> None:
    await inbox.store([event("a"), event("b")], 1)
    [_, last] = await inbox.after(0, 10)
    await inbox.forget([1, last.seq])
    await inbox.prune(1_000_000)
    again = Inbox(database)
    await again.store([event("c")], 1_000_001)
    assert [one.seq > last.seq for one in await again.after(0, 10)] == [True]


async def test_no_more_is_remembered_than_is_of_use(
    inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.store.inbox.REMEMBERED", 10)
    for number in range(30):
        await inbox.store([event(str(number))], 1)
    await inbox.forget(held.seq for held in await inbox.after(0, 100))
    assert await inbox.prune(0) == 20
    for remembering in (inbox, Inbox(database)):
        assert await remembering.store([event(str(number)) for number in range(20, 30)], 1) == 0
    assert await inbox.store([event("19")], 1) == 1
