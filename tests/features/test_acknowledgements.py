"""Confirmations: asked of who was there; reminded are those alone who have not, with an end; whatever dies."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import pytest

from bridge.core.announcements import Kind, Target
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import DE, EN, Language
from bridge.core.messages import (
    AskToAcknowledge,
    CloseAcknowledgement,
    MembershipChanged,
    RemindOne,
    RemindToAcknowledge,
)
from bridge.core.reach import Standing
from bridge.core.rendering import render
from bridge.features.acknowledgements import HOUR_MS, Acknowledgements, Reminders
from bridge.ports import Member
from bridge.store import reach
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD
from tests.fakes.scene import ACCOUNTS, Scene

SCHOOL, ROOM, OFFICE = CommunityId("school"), RoomId("!school:example.org"), RoomId("!office:example.org")
ANN, BEA, CID, DAN = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan"))
MINE = (AskToAcknowledge, RemindToAcknowledge, RemindOne, CloseAcknowledgement)


class Ground:
    """An announcement room with its author and three members; all but Dan have a chat with the announcer."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.members = [ANN, BEA, CID, DAN, ANNOUNCER, STEWARD]
        self.chats = {user: RoomId(f"!chat-{user[1:4]}:example.org") for user in (ANN, BEA, CID)}
        self.in_chat = {ANN, BEA, CID}
        self.language: Language = EN
        self.taken = ""
        scene.others |= dict.fromkeys(MINE, self.do)
        self.begin()

    def begin(self) -> None:
        """Every process anew."""
        scene = self.scene
        self.acknowledgements = Acknowledgements(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            facts=self,  # type: ignore[arg-type]
            chat_with=self.chat_with,
            is_there=lambda _: True,
            name_of=self.name_of,
            language_of=lambda _: self.language,
            accounts=ACCOUNTS,
            clock=scene.clock,
            reminders=Reminders((24, 72), 168),
        )

    async def name_of(self, _: CommunityId) -> str:
        return "School"

    async def joined(self, room_id: RoomId) -> list[Member]:
        assert room_id == ROOM
        self.scene.faults.point(of_homeserver=True)
        return [Member(user, EventId("$m")) for user in self.members]

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        here = self.members if room_id == ROOM else self.in_chat
        return {user: EventId("$m") for user in users if user in here}

    async def chat_with(self, _: CommunityId, user: UserId) -> RoomId | None:
        self.scene.faults.point(of_homeserver=True)
        return self.chats.get(user)

    async def announce(self) -> EventId:
        self.taken = await self.scene.announcements.publish(
            source="$one",
            author=ANN,
            parts=[render("Trip on **Friday**")],
            targets=[Target(SCHOOL, ROOM)],
            kind=Kind.ACKNOWLEDGE,
            reply_room=OFFICE,
        )
        await self.scene.do_jobs()
        [copy] = await self.scene.announcements.copies_of(self.taken)
        assert copy.event_id is not None
        return copy.event_id

    async def do(self, job_id: str, job: Any) -> None:
        await self.acknowledgements.do(job_id, job, partial(self.scene.jobs.complete, job_id=job_id))

    async def after(self, hours: float) -> None:
        self.scene.clock.now = max(self.scene.clock.now, 1_000_000 + int(hours * HOUR_MS))
        await self.scene.do_jobs()
        self.scene.clock.now += 60_000  # they go out one by one
        await self.scene.do_jobs()

    async def react(self, user: UserId, to: EventId, key: str = "✅") -> EventId:
        event_id = EventId(f"$yes-{user}-{key}")
        async with self.scene.database.transaction() as tx:
            await reach.reacted(tx, event_id, ROOM, to, user, key, self.scene.clock.now)
        return event_id

    async def take_back(self, user: UserId, event_id: EventId) -> None:
        async with self.scene.database.transaction() as tx:
            await reach.withdrawn(tx, event_id, ROOM, self.scene.clock.now, by=user)

    async def standing(self) -> Standing:
        found = await self.acknowledgements.standing(SCHOOL, self.taken)
        assert found is not None
        return found

    def told(self, user: UserId) -> int:
        return len(self.scene.messenger.calls(self.chats[user]))


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


async def test_those_who_have_not_confirmed_are_reminded_and_nobody_else(ground: Ground) -> None:
    event_id = await ground.announce()
    [body] = ground.scene.messenger.said(ROOM)
    assert body.startswith("Trip on **Friday**\n\nPlease confirm by reacting with ✅")
    [content] = [content for room, content in ground.scene.messenger.sent if room == ROOM]
    assert content["formatted_body"].endswith("by name who has not confirmed yet.</p>")
    assert ground.scene.messenger.reactions == [(event_id, "✅")], "there is one to tap on"
    standing = await ground.standing()
    assert (standing.confirmed, standing.waiting) == ((), (BEA, CID, DAN)), "who wrote it need not confirm"

    ground.members.append(UserId("@newcomer:example.org"))
    await ground.react(BEA, event_id)
    await ground.react(CID, event_id, "👍")
    await ground.after(23)
    assert ground.told(CID) == 0
    await ground.after(24)
    assert (ground.told(BEA), ground.told(CID), ground.told(ANN)) == (0, 1, 0)
    [(text, mentioned)] = ground.scene.messenger.calls(ground.chats[CID])
    assert "https://matrix.to/#/%21school%3Aexample.org/%24sent-1" in text
    assert mentioned == [CID], "it rings"
    assert (await ground.standing()).waiting == (CID, DAN)

    await ground.take_back(BEA, EventId(f"$yes-{BEA}-✅"))
    assert (await ground.standing()).withdrawn == {BEA}
    ground.members.remove(CID)
    ground.chats[DAN] = RoomId("!chat-dan:example.org")  # where he has not come yet, so that he could not read it
    await ground.after(72)
    assert (ground.told(BEA), ground.told(CID), ground.told(DAN)) == (1, 1, 0)
    assert (await ground.standing()).left == 1

    await ground.after(168)
    assert ground.scene.messenger.said(OFFICE)[-1] == (
        "The time for confirming announcement #1 is over. Confirmed: 0, not confirmed: 2."
    )
    assert (await ground.standing()).closed
    await ground.after(1000)
    assert (ground.told(BEA), ground.told(CID)) == (1, 1)


def enters(user: UserId, room_id: RoomId) -> MembershipChanged:
    return MembershipChanged(EventId(f"$in-{user}"), room_id, user, 1, user=user, membership="join", before="invite")


async def test_whoever_enters_the_chat_that_was_made_for_them_is_reminded_then_and_once(ground: Ground) -> None:
    event_id = await ground.announce()
    ground.chats[DAN] = RoomId("!chat-dan:example.org")
    await ground.after(24)
    await ground.after(72)
    assert ground.told(DAN) == 0, "they could not read it"
    ground.in_chat.add(DAN)
    for _ in range(2):
        await ground.acknowledgements.moved(enters(DAN, ground.chats[DAN]))
        await ground.acknowledgements.moved(enters(CID, ground.chats[CID]))
        await ground.after(73)
    assert (ground.told(DAN), ground.told(CID)) == (1, 2)
    await ground.react(DAN, event_id)
    await ground.after(1000)
    assert ground.told(DAN) == 1


@pytest.mark.parametrize("ends", ["confirmed", "over", "left"])
async def test_no_reminder_waits_longer_than_there_is_something_to_confirm(ground: Ground, ends: str) -> None:
    event_id = await ground.announce()
    ground.chats[DAN] = RoomId("!chat-dan:example.org")
    await ground.after(24)
    if ends == "confirmed":
        await ground.react(DAN, event_id)
    elif ends == "left":
        ground.members.remove(DAN)
    else:
        await ground.after(168)
    ground.in_chat.add(DAN)
    await ground.acknowledgements.moved(enters(DAN, ground.chats[DAN]))
    await ground.after(200)
    assert ground.told(DAN) == 0
    assert await ground.scene.jobs.of_kind(RemindOne) == []


async def test_who_enters_while_the_chat_is_made_is_reminded(ground: Ground) -> None:
    await ground.announce()
    ground.chats[DAN] = RoomId("!chat-dan:example.org")
    still_joined, looks = ground.still_joined, 0

    async def enters_between(room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        nonlocal looks
        found = await still_joined(room_id, users)
        if room_id == ground.chats[DAN]:
            looks += 1
            ground.in_chat.add(DAN)
        return found

    ground.still_joined = enters_between  # type: ignore[method-assign]
    await ground.after(24)
    assert (ground.told(DAN), looks) == (1, 3)


async def test_after_an_outage_people_are_reminded_once_and_after_the_end_not_at_all(ground: Ground) -> None:
    await ground.announce()
    await ground.after(100)
    assert (ground.told(BEA), ground.told(CID)) == (1, 1)


async def test_an_end_that_was_missed_is_an_end(ground: Ground) -> None:
    await ground.announce()
    await ground.after(169)
    assert (ground.told(BEA), ground.told(CID)) == (0, 0)
    assert (await ground.standing()).closed


async def test_who_confirms_while_reminders_go_out_gets_none(ground: Ground) -> None:
    event_id = await ground.announce()
    ground.scene.clock.now = 1_000_000 + 24 * HOUR_MS
    [head] = [one for one in await ground.scene.jobs.heads(ground.scene.clock.now, 10) if "remind" in one.id]
    job = decode(head.kind, head.body)
    assert isinstance(job, RemindToAcknowledge)
    await ground.acknowledgements.do(head.id, job, partial(ground.scene.jobs.complete, job_id=head.id))
    await ground.react(BEA, event_id)
    await ground.after(25)
    assert (ground.told(BEA), ground.told(CID)) == (0, 1)


async def test_a_withdrawn_announcement_asks_nobody(ground: Ground) -> None:
    await ground.announce()
    async with ground.scene.database.transaction() as tx:
        await tx.execute("UPDATE announcement SET withdrawn_at = 5")
    for hours in (24, 72, 168):
        await ground.after(hours)
    assert (ground.told(BEA), ground.told(CID)) == (0, 0)


async def test_it_asks_in_the_communitys_language(ground: Ground) -> None:
    ground.language = DE
    ground.scene.announcements._language_of = lambda _: DE
    await ground.announce()
    assert "Bitte bestätige mit ✅" in ground.scene.messenger.said(ROOM)[0]


async def test_whenever_it_dies_everybody_is_asked_and_reminded_once(ground: Ground) -> None:
    """Killed at every point, one after the other, in one life."""
    scene = ground.scene
    for point in range(1, 200):
        scene.faults.arm(point)
        try:
            if not ground.taken:
                await ground.announce()
            for hours in (0, 24, 72, 168):
                await ground.after(max(hours, (scene.clock.now - 1_005_000) / HOUR_MS))
        except Crash:
            await scene.die()
            await scene.start()
            ground.begin()
            continue
        break
    else:
        raise AssertionError("it never comes to an end")
    scene.faults.arm(None)
    assert point > 20, "it died often"
    assert len(scene.messenger.said(ROOM)) == 1
    assert len(scene.messenger.reactions) == 1
    assert (ground.told(BEA), ground.told(CID)) == (2, 2)
    said: list[Any] = [text for text in scene.messenger.said(OFFICE) if "is over" in text]
    assert len(said) == 1
