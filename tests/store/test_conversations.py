"""What waits for a yes, and which strangers were answered, on both databases."""

from __future__ import annotations

import pytest

from bridge.core.ids import EventId, RoomId, UserId
from bridge.features.conversations import CONFIRM_MS, DAY_MS, Conversations
from bridge.store.database import Database
from tests.fakes.scene import FakeClock

ROOM, OTHER = RoomId("!one:example.org"), RoomId("!other:example.org")
ANN, BOB = UserId("@ann:example.org"), UserId("@bob:example.org")


def event(number: int) -> EventId:
    return EventId(f"${number}")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def talk(database: Database, clock: FakeClock) -> Conversations:
    return Conversations(database, clock)


async def test_a_command_is_confirmed_by_one_message_which_may_come_again(talk: Conversations) -> None:
    await talk.ask_to_confirm(ROOM, ANN, "thaw school", event(1))
    assert await talk.confirmed(OTHER, ANN, event(2)) is None
    assert await talk.confirmed(ROOM, BOB, event(3)) is None
    for _ in range(2):
        assert await talk.confirmed(ROOM, ANN, event(4)) == "thaw school"
    assert await talk.confirmed(ROOM, ANN, event(5)) is None
    await talk.ask_to_confirm(ROOM, ANN, "thaw school", event(1))  # the question comes again, and is answered already
    assert await talk.confirmed(ROOM, ANN, event(6)) is None


async def test_a_newer_question_takes_the_place_of_the_one_before(talk: Conversations) -> None:
    await talk.ask_to_confirm(ROOM, ANN, "thaw school", event(1))
    await talk.ask_to_confirm(ROOM, ANN, "thaw club", event(2))
    assert await talk.confirmed(ROOM, ANN, event(3)) == "thaw club"


async def test_what_was_dropped_is_not_confirmed(talk: Conversations) -> None:
    await talk.ask_to_confirm(ROOM, ANN, "thaw school", event(1))
    for _ in range(2):
        assert await talk.let_be(ROOM, ANN, event(2))
    assert not await talk.let_be(ROOM, ANN, event(3))
    assert await talk.confirmed(ROOM, ANN, event(2)) is None
    assert await talk.confirmed(ROOM, ANN, event(4)) is None


@pytest.mark.parametrize(("later", "command"), [(CONFIRM_MS, "thaw school"), (CONFIRM_MS + 1, None)])
async def test_it_lapses(talk: Conversations, clock: FakeClock, later: int, command: str | None) -> None:
    await talk.ask_to_confirm(ROOM, ANN, "thaw school", event(1))
    clock.now += later
    assert await talk.confirmed(ROOM, ANN, event(2)) == command
    clock.now += DAY_MS
    assert await talk.confirmed(ROOM, ANN, event(2)) == command  # the same message after a long time away


async def test_a_stranger_is_answered_once_a_day(talk: Conversations, clock: FakeClock) -> None:
    for _ in range(2):
        assert await talk.first_today(ANN, event(1))
    assert not await talk.first_today(ANN, event(2))
    assert await talk.first_today(BOB, event(3))
    clock.now += DAY_MS
    assert await talk.first_today(ANN, event(4))


async def test_nothing_is_kept_for_longer_than_a_day_after_it(
    talk: Conversations, clock: FakeClock, database: Database
) -> None:
    await talk.ask_to_confirm(ROOM, ANN, "thaw school", event(1))
    await talk.first_today(ANN, event(2))
    clock.now += 2 * DAY_MS
    await talk.first_today(BOB, event(3))
    async with database.transaction() as tx:
        assert await tx.fetch("SELECT user_id FROM pending_command") == []
        assert [row["user_id"] for row in await tx.fetch("SELECT user_id FROM stranger")] == [BOB]
