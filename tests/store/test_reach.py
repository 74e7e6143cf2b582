"""Receipts, reactions, and who is asked to confirm, on both databases."""

from __future__ import annotations

from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.store import acknowledgements, reach
from bridge.store.acknowledgements import Acknowledgement
from bridge.store.database import Database
from bridge.store.reach import Reaction

ROOM, OTHER = RoomId("!a:x"), RoomId("!b:x")
ANN, BEA = UserId("@ann:x"), UserId("@bea:x")
SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
EVENT = EventId("$event")


async def test_nobody_goes_back_and_what_is_pending_is_settled(database: Database) -> None:
    async with database.transaction() as tx:
        await reach.save_receipts(tx, {(ROOM, ANN): (5, None), (ROOM, BEA): (0, EVENT), (OTHER, ANN): (9, None)}, 1)
        await reach.save_receipts(tx, {(ROOM, ANN): (3, None)}, 2)
        await reach.save_receipts(tx, {}, 2)
        assert sorted(await reach.readers(tx, ROOM)) == [(ANN, 5), (BEA, 0)]
        await reach.save_receipts(tx, {(ROOM, ANN): (4, EVENT)}, 3)
        await reach.save_receipts(tx, {(ROOM, ANN): (6, None)}, 3)
        assert await reach.pending(tx) == [EVENT]
        await reach.settle(tx, {EVENT: 4, EventId("$other"): 99})
        assert sorted(await reach.readers(tx, ROOM)) == [(ANN, 6), (BEA, 4)]
        assert await reach.pending(tx) == []
        await reach.forget_before(tx, 3)
        assert await reach.readers(tx, ROOM) == [(ANN, 6)]
        assert await reach.readers(tx, OTHER) == []


async def test_where_messages_stand(database: Database) -> None:
    async with database.transaction() as tx:
        await reach.spoke(tx, ROOM, EVENT, 7, 1)
        await reach.spoke(tx, ROOM, EVENT, 9, 1)
        assert await reach.positions(tx, [EVENT, EventId("$other")]) == {EVENT: 7}
        assert await reach.positions(tx, []) == {}


async def test_reactions_are_taken_back_by_their_owner_or_by_who_may(database: Database) -> None:
    first, second = EventId("$first"), EventId("$second")
    async with database.transaction() as tx:
        for _ in range(2):
            await reach.reacted(tx, first, ROOM, EVENT, ANN, "✅", 1)
        await reach.reacted(tx, second, ROOM, EVENT, BEA, "👍", 2)
        await reach.withdrawn(tx, first, ROOM, 3, by=BEA)
        await reach.withdrawn(tx, first, OTHER, 3, by=ANN)
        given = [Reaction(EVENT, ANN, "✅", False), Reaction(EVENT, BEA, "👍", False)]
        assert await reach.reactions(tx, [EVENT]) == given
        await reach.withdrawn(tx, first, ROOM, 3, by=ANN)
        await reach.withdrawn(tx, second, ROOM, 3, by=None)
        await reach.reacted(tx, first, ROOM, EVENT, ANN, "✅", 4)
        assert [one.withdrawn for one in await reach.reactions(tx, [EVENT])] == [True, True]


async def test_who_is_asked_is_asked_once_for_each_community(database: Database) -> None:
    one = Acknowledgement("one", SCHOOL, ROOM, EVENT, 5, None)
    async with database.transaction() as tx:
        assert await acknowledgements.open_one(tx, one, [BEA, ANN, ANN])
        assert not await acknowledgements.open_one(tx, one, [UserId("@cid:x")])
        assert await acknowledgements.open_one(tx, Acknowledgement("one", CLUB, OTHER, EVENT, 9, None), [ANN])
        assert await acknowledgements.get(tx, "one", SCHOOL) == one
        assert await acknowledgements.asked(tx, "one", SCHOOL) == {ANN: 0, BEA: 0}
        await acknowledgements.reminded(tx, "one", SCHOOL, [ANN], 2)
        await acknowledgements.reminded(tx, "one", SCHOOL, [ANN, BEA], 1)
        assert await acknowledgements.asked(tx, "one", SCHOOL) == {ANN: 2, BEA: 1}
        assert await acknowledgements.asked(tx, "one", CLUB) == {ANN: 0}
        for now in (11, 12):
            await acknowledgements.close(tx, "one", SCHOOL, now)
        closed = await acknowledgements.get(tx, "one", SCHOOL)
        assert closed is not None
        assert closed.closed_at == 11
        await acknowledgements.forget_before(tx, 6)
        assert await acknowledgements.get(tx, "one", SCHOOL) is None
        assert await acknowledgements.asked(tx, "one", SCHOOL) == {}
        assert await acknowledgements.asked(tx, "one", CLUB) == {ANN: 0}
