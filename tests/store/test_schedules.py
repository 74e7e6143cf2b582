"""Schedules: numbered in their community, forgotten with their last run, and moved on by one at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from bridge.core.announcements import EVERYBODY, Audience, Kind
from bridge.core.ids import CommunityId, RoomId
from bridge.core.schedule import Timing
from bridge.store import schedules as store
from bridge.store.database import Database
from bridge.store.schedules import Scheduled

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
BEGINS = datetime(2026, 11, 30, 8, tzinfo=UTC).replace(tzinfo=None)
WEEKLY = Timing("Europe/Berlin", 1000, "FREQ=WEEKLY;BYDAY=MO", BEGINS)


def scheduled(source: str, community: CommunityId = SCHOOL, next_at: int = 1000) -> Scheduled:
    parts = ({"msgtype": "m.text", "body": "Hello"},)
    return Scheduled(
        store.id_of(source), community, 0, "@ann:example.org", RoomId("!chat:example.org"), parts, Kind.TEXT,
        Audience(everybody=True, tags=("team",)), "every monday at 8", WEEKLY, next_at,
    )  # fmt: skip


async def test_a_schedule_is_read_as_it_was_written_and_numbered_in_its_community(database: Database) -> None:
    async with database.transaction() as tx:
        await store.add(tx, scheduled("$one"), 5)
        await store.add(tx, scheduled("$two", next_at=500), 5)
        await store.add(tx, replace(scheduled("$three", CLUB), reply_room=None, audience=EVERYBODY), 5)
    async with database.transaction() as tx:
        assert await store.get(tx, store.id_of("$one")) == replace(scheduled("$one"), number=1)
        assert [one.number for one in await store.coming(tx, SCHOOL)] == [2, 1], "the next one first"
        [club] = await store.coming(tx, CLUB)
        assert (club.number, club.reply_room, club.audience) == (1, None, EVERYBODY)
        assert await store.numbered(tx, SCHOOL, 3) is None


async def test_it_goes_on_from_the_run_where_it_is_and_from_no_other(database: Database) -> None:
    schedule = store.id_of("$one")
    async with database.transaction() as tx:
        await store.add(tx, scheduled("$one"), 5)
        assert await store.advance(tx, schedule, 1000, 2000)
        assert not await store.advance(tx, schedule, 1000, 3000), "it is further already"
        one = await store.get(tx, schedule)
        assert one is not None
        assert (one.next_at, len(one.parts)) == (2000, 1)
        assert not await store.change(tx, replace(one, words="never"), 1000)
        assert await store.change(tx, replace(one, author="operator", next_at=2500), 2000)
        assert await store.advance(tx, schedule, 2500, None)
    async with database.transaction() as tx:
        ended = await store.get(tx, schedule)
        assert ended is not None
        assert (ended.next_at, ended.parts, ended.author) == (None, (), "operator"), "what it said is forgotten"
        assert await store.coming(tx, SCHOOL) == []
        await store.add(tx, scheduled("$two"), 5)
        [two] = await store.coming(tx, SCHOOL)
        assert two.number == 2, "a number means one thing for ever"


async def test_a_message_is_obeyed_once(database: Database) -> None:
    schedule = store.id_of("$one")
    async with database.transaction() as tx:
        await store.add(tx, scheduled("$one"), 5)
        assert await store.obeyed(tx, schedule, "$skip") is None
        await store.obey(tx, schedule, "$skip", 1000)
    async with database.transaction() as tx:
        assert await store.obeyed(tx, schedule, "$skip") == 1000
        assert await store.obeyed(tx, schedule, "$other") is None
