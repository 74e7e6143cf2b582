"""Events and the answers that stand, on both databases."""

from __future__ import annotations

from dataclasses import replace

from bridge.core.announcements import Target
from bridge.core.events import Answer, Reply
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.store import events
from bridge.store.database import Database
from bridge.store.events import Known, Seat
from tests.store.test_polls import ROOM, SCHOOL, SENT, announced

ANN = UserId("@ann:x")


async def test_answers_and_seats_until_the_end(database: Database) -> None:
    async with database.transaction() as tx:
        one = await announced(tx, "$a")
        known = Known(one, SCHOOL, 2**40, 2**40 + 5, 80)
        await events.add(tx, known)
        await events.add(tx, replace(known, capacity=1))
        assert await events.get(tx, one) == known
        assert await events.get(tx, "nonsense") is None
        assert not await events.awaits_delivery(tx, SCHOOL)
        reply = Reply(ANN, Answer.GOING, 0, 5, 6, "$1")
        for _ in range(2):
            await events.answer(tx, ROOM, SENT, reply)
        for event_id, guests in (("$2", 1), ("$3", 2), ("$3", 2)):
            await events.answer_in_chat(tx, one, replace(reply, guests=guests, event=event_id))
        await events.answer(tx, ROOM, EventId("$other"), replace(reply, event="$4"))
        assert {found.event: found.guests for found in await events.replies(tx, one)} == {"$1": 0, "$3": 2}
        assert await events.answered(tx, ROOM, EventId("$1")) == SENT
        assert await events.answered(tx, RoomId("!other:x"), EventId("$1")) is None
        await events.take_back(tx, EventId("$1"))
        for seat in (Seat(True, 0), Seat(False, 1), Seat(None, 2)):
            await events.seat(tx, one, ANN, seat)
            assert await events.seats(tx, one) == {ANN: seat}
        await events.forget_answers(tx, one, SCHOOL)
        assert await events.replies(tx, one) == []
        assert await events.seats(tx, one) == {}
        assert await tx.fetch_value("SELECT COUNT(*) FROM happening_answer") == 0


async def test_two_who_change_it_at_once_are_told_apart(database: Database) -> None:
    async with database.transaction() as tx:
        one = await announced(tx, "$a", None)
        known = Known(one, SCHOOL, 10, None, None)
        await events.add(tx, known)
        assert await events.awaits_delivery(tx, SCHOOL)
        assert not await events.awaits_delivery(tx, CommunityId("club"))
        later = replace(known.happening, begins_at=20, capacity=3)
        assert await events.change(tx, known, later, cancel=False, now=4)
        assert not await events.change(tx, known, later, cancel=True, now=5)
        now = await events.get(tx, one)
        assert now == Known(one, SCHOOL, 20, None, 3, 1, None, 4)
        assert await events.change(tx, now, later, cancel=True, now=5)
        assert await events.get(tx, one) == Known(one, SCHOOL, 20, None, 3, 2, 5, 5)


async def test_those_are_listed_that_are_to_come_or_were_not_long_ago(database: Database) -> None:
    async with database.transaction() as tx:
        for source, community, begins_at, ends_at in (
            ("$past", SCHOOL, 10, None), ("$ending", SCHOOL, 5, 30), ("$next", SCHOOL, 40, None),
            ("$last", SCHOOL, 50, None), ("$gone", SCHOOL, 40, None), ("$other", CommunityId("club"), 40, None),
        ):  # fmt: skip
            one = await announced(tx, source, None)
            await events.add(tx, Known(one, community, begins_at, ends_at, None, changed_at=3))
        await tx.execute("UPDATE announcement SET withdrawn_at = 1 WHERE source = '$gone'")
        found = await events.since(tx, SCHOOL, 20, 10)
        assert [one.begins_at for one in found] == [5, 40, 50]
        assert found[0].changed_at == 3
        assert await events.since(tx, SCHOOL, 20, 2) == found[:2]


async def test_an_event_of_before_was_changed_when_it_was_announced(database: Database) -> None:
    async with database.transaction() as tx:
        one = await announced(tx, "$a", None)
        await events.add(tx, Known(one, SCHOOL, 10, None, None))
        await tx.execute("UPDATE happening SET changed_at = NULL")
        await tx.execute("UPDATE announcement SET at = 7")
        found = await events.get(tx, one)
        assert found is not None
        assert found.changed_at == 7


async def test_what_lies_beside_a_copy_is_known_until_it_is_found_by_itself(database: Database) -> None:
    async with database.transaction() as tx:
        one, target = await announced(tx, "$a", None), Target(SCHOOL, ROOM)
        await events.add(tx, Known(one, SCHOOL, 10, None, None))
        for name in ("file", "edit", "edit"):
            assert await events.begin_beside(tx, one, target, name)
        await events.lies_beside(tx, one, "file", EventId("$file"))
        assert await events.beside(tx, one, target) == [("edit", None), ("file", "$file")]
        assert await events.beside(tx, one, Target(CommunityId("club"), ROOM)) == []
        await events.is_found(tx, one, "edit")
        await tx.execute("UPDATE announcement SET withdrawn_at = 1")
        assert not await events.begin_beside(tx, one, target, "late")
        assert await events.beside(tx, one, target) == [("file", "$file")]
