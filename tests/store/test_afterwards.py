"""Edits, withdrawals and pins, on both databases."""

from __future__ import annotations

from bridge.core.afterwards import Pin, Stage
from bridge.core.announcements import Named, Target
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.store import afterwards as changes
from bridge.store import announcements, pins
from bridge.store.afterwards import Change, Progress, What
from bridge.store.database import Database, Transaction

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
ROOM, CHAT = RoomId("!a:x"), RoomId("!chat:x")
TARGETS = [Target(SCHOOL, ROOM), Target(CLUB, RoomId("!b:x"))]
ONE, TWO = EventId("$one"), EventId("$two")


async def edited(tx: Transaction) -> tuple[str, Change]:
    taken = await announcements.add(tx, "$source", "@ann:x", "words", CHAT, 1)
    change = Change("edit", taken, SCHOOL, What.EDIT, "new words", "@ann:x", CHAT, 5)
    assert await changes.add(tx, change)
    assert not await changes.add(tx, change)
    for target in TARGETS:
        await announcements.add_target(tx, taken, target)
        for _ in range(2):
            await changes.add_copy(tx, "edit", target)
    return taken, change


async def test_how_far_a_change_has_come(database: Database) -> None:
    async with database.transaction() as tx:
        taken, change = await edited(tx)
        assert await changes.get(tx, "edit") == change
        assert await changes.get(tx, "nonsense") is None
        assert await changes.progress(tx, "nonsense") == Progress(0, 0, 0)
        assert await changes.settle(tx, "edit", SCHOOL, "")
        assert not await changes.settle(tx, "edit", SCHOOL, "")
        await changes.failed(tx, "edit", SCHOOL, "", "too late")
        await changes.failed(tx, "edit", CLUB, "", "why")
        assert await changes.progress(tx, "edit") == Progress(1, 1, 0)
        assert await changes.failed_copies(tx, taken) == [(change, Target(CLUB, None))]
        await changes.forget_words(tx, "edit")
        found = await changes.get(tx, "edit")
        assert found is not None
        assert found.content == "new words", "it is needed still"
        await changes.failed(tx, "edit", CLUB, "", None)
        assert await changes.progress(tx, "edit") == Progress(1, 0, 1)
        assert not await changes.is_half_done(tx, "edit", CLUB, "")
        await changes.begin(tx, "edit", CLUB, "")
        assert await changes.is_half_done(tx, "edit", CLUB, "")
        await changes.drop_copy(tx, "edit", CLUB, "")
        await changes.drop_copy(tx, "edit", SCHOOL, "")
        assert await changes.progress(tx, "edit") == Progress(1, 0, 0)
        await changes.forget_words(tx, "edit")
        found = await changes.get(tx, "edit")
        assert found is not None
        assert found.content == ""


async def test_what_a_copy_carries(database: Database) -> None:
    async with database.transaction() as tx:
        taken, change = await edited(tx)
        assert not await changes.is_outdated(tx, change)
        await changes.add(tx, Change("later", taken, SCHOOL, What.EDIT, "newer", "operator", None, 6))
        assert await changes.is_outdated(tx, change)
        for event in (ONE, TWO, ONE):
            await changes.edited(tx, taken, TARGETS[0], event)
        assert await changes.edits_of(tx, taken, TARGETS[0]) == [ONE, TWO]
        assert await changes.edits_of(tx, taken, TARGETS[1]) == []
        assert not await announcements.was_begun(tx, taken, SCHOOL, "")
        await announcements.begin(tx, taken, SCHOOL, "")
        assert await announcements.was_begun(tx, taken, SCHOOL, "")
        await changes.reword(tx, taken, "other")
        assert await announcements.content_of(tx, taken) == "other"
        await changes.withdrawn(tx, taken, 9)
        await changes.withdrawn(tx, taken, 10)
        found, later = await announcements.get(tx, taken), await changes.get(tx, "later")
        assert found is not None
        assert later is not None
        assert (found.withdrawn_at, later.content) == (9, "")


async def test_an_answer_names_an_announcement_of_its_community(database: Database) -> None:
    async with database.transaction() as tx:
        taken, _ = await edited(tx)
        for _ in range(2):
            await changes.answered(tx, CHAT, ONE, taken)
        assert await announcements.find(tx, SCHOOL, Named(room_id=CHAT, event_id=ONE)) == taken
        assert await announcements.find(tx, SCHOOL, Named(room_id=ROOM, event_id=ONE)) is None
        assert await announcements.find(tx, CommunityId("other"), Named(room_id=CHAT, event_id=ONE)) is None


async def test_pins_are_wanted_placed_and_leave(database: Database) -> None:
    async with database.transaction() as tx:
        for event, at in ((ONE, 1), (TWO, 2)):
            await pins.want(tx, ROOM, event, "a", author="@ann:x", reply_room=CHAT, until=100, now=at)
        await pins.advance(tx, ROOM, [ONE], Stage.WANTED, Stage.PLACING)
        await pins.advance(tx, ROOM, [ONE, TWO], Stage.PLACING, Stage.PLACED)
        assert await pins.of_room(tx, ROOM) == [
            Pin(ONE, 100, 1, Stage.PLACED), Pin(TWO, 100, 2, Stage.WANTED),
        ]  # fmt: skip
        assert await pins.askers(tx, ROOM, 50) == [("@ann:x", CHAT)]
        seen = await pins.of_room(tx, ROOM)
        await pins.want(tx, ROOM, ONE, "a", author="@bea:x", reply_room=None, until=200, now=3)
        await pins.unwant(tx, ROOM, EventId("$theirs"), "b", 4)
        await pins.forget(tx, ROOM, seen)
        assert await pins.of_room(tx, ROOM) == [
            Pin(ONE, 200, 3, Stage.PLACING), Pin(EventId("$theirs"), 0, 4, Stage.LEAVING),
        ], "somebody asked for it anew"  # fmt: skip
        assert await pins.leave(tx, "a") == [ROOM]
        assert await pins.leave(tx, "nonsense") == []
        assert {pin.stage for pin in await pins.of_room(tx, ROOM)} == {Stage.LEAVING}
