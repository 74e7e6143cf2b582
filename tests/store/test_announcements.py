"""Announcements and where they were delivered, on both databases."""

from __future__ import annotations

from bridge.core.announcements import Audience, Kind, Missed, Named, Target
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName
from bridge.store import announcements as store
from bridge.store.database import Database

SCHOOL, CLUB = CommunityId("school"), CommunityId("year-7-north")
ROOM, CHAT = RoomId("!a:x"), RoomId("!chat:x")
SENT = EventId("$sent")


async def test_the_same_source_is_the_same_announcement_with_its_first_words(database: Database) -> None:
    async with database.transaction() as tx:
        one = await store.add(tx, "$event", "@ann:x", "Hello 🎉\n'x' \"y\" %s $1", CHAT, 1)
        again = await store.add(tx, "$event", "@bea:x", "Other", None, 2)
        other = await store.add(tx, "$other", "@ann:x", "Hello", None, 3)
        assert one == again != other
        assert one == store.id_of("$event")
        assert await store.content_of(tx, one) == "Hello 🎉\n'x' \"y\" %s $1"
        assert await store.content_of(tx, "nonsense") is None
        assert await store.get(tx, "nonsense") is None


async def test_what_is_recorded_of_it(database: Database) -> None:
    audience = Audience(True, (RoomKeyName("chess"),), (CLUB,), ("team",))
    async with database.transaction() as tx:
        one = await store.add(tx, "$a", "@ann:x", "[]", CHAT, 7, kind=Kind.POLL, audience=audience, human=True)
        assert await store.get(tx, one) == store.Announcement(one, "@ann:x", Kind.POLL, audience, CHAT, 7, True, None)


async def test_a_source_may_be_of_any_length(database: Database) -> None:
    async with database.transaction() as tx:
        assert len(await store.add(tx, "x" * 10_000, "@ann:x", "Hello", None, 1)) <= 64


async def test_where_it_stands(database: Database) -> None:
    async with database.transaction() as tx:
        one = await store.add(tx, "$event", "@ann:x", "Hello", None, 1)
        targets = [Target(SCHOOL, ROOM), Target(CLUB, ROOM), Target(CLUB, None, "@bea:x")]
        for target in targets:
            for _ in range(2):
                await store.add_target(tx, one, target)
        await store.failed(tx, one, CLUB, "", "no key")
        in_school, in_club, _ = await store.copies_of(tx, one)
        assert (in_club.failed, in_school.failed) == ("no key", None)
        assert not await store.is_settled(tx, one, targets[1])
        chat = Target(CLUB, CHAT, "@bea:x")
        others = [EventId("$two"), EventId("$three")]
        now = 1_795_000_000_000
        for target, event in ((targets[1], SENT), (chat, EventId("$chat"))):
            await store.delivered(tx, one, target, event, others=others, devices=3 << 30, unreached=2, now=now)
        assert await store.copies_of(tx, one) == [
            store.Copy(one, targets[0], None, (), None, None, None, None),
            store.Copy(one, targets[1], SENT, tuple(others), 3 << 30, 2, now, None),
            store.Copy(one, chat, EventId("$chat"), tuple(others), 3 << 30, 2, now, None),
        ]
        assert await store.is_settled(tx, one, targets[1])
        assert not await store.is_settled(tx, one, targets[0])
        assert await store.content_of(tx, one) == "Hello"
        await store.dropped(tx, one, SCHOOL, "")
        await store.dropped(tx, one, CLUB, "")
        assert await store.content_of(tx, one) == "", "it lies in its rooms now"
        assert len(await store.copies_of(tx, one)) == 2, "what was delivered is not forgotten"
        copy = await store.of_event(tx, ROOM, SENT)
        assert copy is not None
        assert copy.target == targets[1]
        assert await store.of_event(tx, CHAT, SENT) is None


async def test_every_community_has_numbers_of_its_own(database: Database) -> None:
    async with database.transaction() as tx:
        ids = []
        for number, communities in enumerate(([SCHOOL], [SCHOOL, CLUB], [CLUB], [SCHOOL])):
            ids.append(await store.add(tx, f"${number}", "operator", "Hello", None, number))
            for community in communities:
                await store.add_target(tx, ids[-1], Target(community, ROOM))
        await store.delivered(tx, ids[1], Target(CLUB, ROOM), SENT, devices=1, unreached=0, now=1)
        await store.failed(tx, ids[2], CLUB, "", "why")
        shown = [(one.number, one.announcement.id) for one in await store.listed(tx, SCHOOL, 10)]
        assert shown == [(3, ids[3]), (2, ids[1]), (1, ids[0])]
        assert [one.number for one in await store.listed(tx, SCHOOL, 1, before=3)] == [2]
        listed = await store.listed(tx, CLUB, 10)
        assert [(one.number, one.sent, one.waiting, one.failed) for one in listed] == [(2, 0, 0, 1), (1, 1, 1, 0)]
        assert await store.find(tx, CLUB, Named(number=2)) == ids[2]
        assert await store.find(tx, CLUB, Named(number=3)) is None
        by_event = Named(room_id=ROOM, event_id=SENT)
        assert await store.find(tx, CLUB, by_event) == ids[1]
        assert await store.find(tx, SCHOOL, by_event) == ids[1], "it is one of the school's, too"
        assert await store.find(tx, CommunityId("other"), by_event) is None


async def test_copies_wait_in_a_chat_and_what_is_said_is_forgotten_with_the_last_of_them(database: Database) -> None:
    ann, bob = Target(SCHOOL, None, "@ann:x"), Target(SCHOOL, None, "@bob:x")
    async with database.transaction() as tx:
        later = await store.add(tx, "$b", "operator", "Later", None, 2)
        first = await store.add(tx, "$a", "operator", "Hello", None, 1)
        for announcement in (later, first):
            for target in (ann, bob):
                await store.add_target(tx, announcement, target)
            await store.hold(tx, announcement)
            await store.has_chat(tx, announcement, Target(SCHOOL, CHAT, "@ann:x"))
        assert [one.announcement for one in await store.waiting_in(tx, CHAT)] == [first, later]
        assert [one.under_way for one in await store.copies_of(tx, first)] == [False, True]
        await store.delivered(tx, first, Target(SCHOOL, CHAT, "@ann:x"), SENT, devices=1, unreached=0, now=3)
        assert await store.content_of(tx, first) == "Hello"
        await store.closed(tx, first, bob, Missed.LEFT)
        assert await store.content_of(tx, first) == ""
        assert [one.closed for one in await store.copies_of(tx, first)] == [False, True]
        assert await store.is_settled(tx, first, bob)
        await store.closed(tx, first, ann, Missed.DECLINED)  # what was delivered stays so
        assert [one.failed for one in await store.copies_of(tx, first)] == [None, Missed.LEFT]
        assert [one.announcement for one in await store.waiting_in(tx, CHAT)] == [later]
        counted = {
            one.announcement.id: (one.sent, one.waiting, one.failed) for one in await store.listed(tx, SCHOOL, 9)
        }
        assert counted == {first: (1, 0, 0), later: (0, 2, 0)}
