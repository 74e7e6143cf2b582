"""Announcements and where they were delivered, on both databases."""

from __future__ import annotations

from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.store import announcements as store
from bridge.store.database import Database

SCHOOL, CLUB = CommunityId("school"), CommunityId("year-7-north")
ROOM, CHAT = RoomId("!a:x"), RoomId("!chat:x")


async def test_the_same_source_is_the_same_announcement_with_its_first_words(database: Database) -> None:
    async with database.transaction() as tx:
        one = await store.add(tx, "$event", "@ann:x", "Hello 🎉\n'x' \"y\" %s $1", CHAT, 1)
        again = await store.add(tx, "$event", "@bea:x", "Other", None, 2)
        other = await store.add(tx, "$other", "@ann:x", "Hello", None, 3)
        assert one == again != other
        assert await store.text_of(tx, one) == "Hello 🎉\n'x' \"y\" %s $1"
        assert await store.reply_room(tx, one) == CHAT
        assert await store.reply_room(tx, other) is None
        assert await store.text_of(tx, "nonsense") is None
        assert await store.reply_room(tx, "nonsense") is None


async def test_a_source_may_be_of_any_length(database: Database) -> None:
    async with database.transaction() as tx:
        assert len(await store.add(tx, "x" * 10_000, "@ann:x", "Hello", None, 1)) <= 64


async def test_where_it_stands(database: Database) -> None:
    async with database.transaction() as tx:
        one = await store.add(tx, "$event", "@ann:x", "Hello", None, 1)
        for community in (SCHOOL, CLUB):
            await store.add_target(tx, one, community, ROOM)
            await store.add_target(tx, one, community, RoomId("!another:x"))
        job = f"announce-{one}-{CLUB}"
        nothing = {"community": CLUB, "room_id": ROOM, "event_id": None, "devices": None, "unreached": None}
        nothing["failed"] = None
        assert await store.outcome(tx, job) == nothing
        assert not await store.is_settled(tx, one, CLUB)
        await store.failed(tx, one, CLUB, "no key")
        assert await store.outcome(tx, job) == {**nothing, "failed": "no key"}
        assert not await store.is_settled(tx, one, CLUB)
        await store.delivered(
            tx, one, CLUB, EventId("$sent"), devices=3_000_000_000, unreached=2, now=1_795_000_000_000
        )
        assert await store.outcome(tx, job) == {
            **nothing,
            "event_id": "$sent",
            "devices": 3_000_000_000,
            "unreached": 2,
        }
        assert await store.is_settled(tx, one, CLUB)
        assert not await store.is_settled(tx, one, SCHOOL)


async def test_what_was_never_announced_has_no_outcome(database: Database) -> None:
    async with database.transaction() as tx:
        assert await store.outcome(tx, "announce-abc-school") == {"community": "school"}
