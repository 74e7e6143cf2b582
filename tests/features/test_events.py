"""Events: announced, answered, with seats, reminders, changes and an end, whatever dies in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.core.announcements import Audience, Target
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.events import SIGNS, Answer, Happening
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import EN
from bridge.core.messages import (
    Announce,
    DeliverAnnouncement,
    LookAfterEvent,
    Posted,
    PrepareEvent,
    Redacted,
    SeatPeople,
    SendMessage,
    ShowEvent,
    TellAuthor,
    WithdrawCopy,
)
from bridge.features.announcements import Announcements
from bridge.features.events import FORGET_AFTER_MS, SEAT_EVERY_MS, SHOW_EVERY_MS, Events
from bridge.store import announcements, events
from bridge.store.announcements import id_of
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.scene import ACCOUNTS, Scene
from tests.harness.calendars import events_in

SCHOOL, ROOM, CHAT = CommunityId("school"), RoomId("!school:example.org"), RoomId("!chat:example.org")
ANN, BEA, CEM, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cem", "eve"))
HOUR, DAY = 3_600_000, 24 * 3_600_000
BEGINS = 1_000_000 + 3 * DAY
PARTY = Happening("Party", BEGINS, BEGINS + 2 * HOUR, "School yard", "Bring a cake", 2)


class Ground:
    """A community of three members who have chats, and Eve, who is none."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.members = {ANN, BEA, CEM}
        self.count = 0
        self.begin()

    def begin(self) -> None:
        """Every process anew."""
        scene = self.scene
        self.events = Events(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            content_of=self.content_of,
            is_member=self.is_member,
            chat_of=chat_of,
            zone_of=lambda _: UTC,
            language_of=lambda _: EN,
            domain="example.org",
            accounts=ACCOUNTS,
            clock=scene.clock,
        )
        self.announcements = Announcements(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            accounts=ACCOUNTS,
            clock=scene.clock,
            targets_of=self.targets_of,
            also_delivered=self.events.delivered,
        )

    async def targets_of(self, community: CommunityId, _: Audience) -> Sequence[Target]:
        return [Target(community, ROOM)]

    async def is_member(self, _: CommunityId, user: UserId) -> bool:
        return user in self.members

    async def content_of(self, _: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        """With the latest edit, as clients show it."""
        self.scene.faults.point(of_homeserver=True)
        if event_id in self.scene.posts.redacted:
            return None
        edits = [
            content["m.new_content"]
            for _, content in self.scene.messenger.sent
            if content.get("m.relates_to", {}).get("event_id") == event_id
        ]
        return edits[-1] if edits else self.scene.messenger.sent[int(event_id.removeprefix("$sent-")) - 1][1]

    async def invite(self, what: Happening = PARTY, source: str = "$party") -> str:
        community = Community(SCHOOL, name="School")
        event = await self.events.invite(community, what, source=source, author=ANN, reply_room=CHAT)
        await self.work()
        return event

    async def react(self, user: UserId, answer: Answer) -> Posted:
        self.count += 1
        event = Posted(
            EventId(f"$reaction-{self.count}"), ROOM, user, self.scene.clock.now, "m.reaction", True,
            relation="m.annotation", to=EventId("$sent-1"), key=SIGNS[answer],
        )  # fmt: skip
        for _ in range(2):
            await self.events.reacted(SCHOOL, event)
        return event

    async def redact(self, event: Posted) -> None:
        for _ in range(2):
            await self.events.taken_back(
                Redacted(EventId("$redact"), ROOM, event.sender, self.scene.clock.now, event.event_id)
            )

    async def work(self) -> None:
        """Do what is due."""
        while heads := await self.scene.jobs.heads(self.scene.clock.now_ms(), 100):
            for stored in heads:
                job = decode(stored.kind, stored.body)
                complete = partial(self.scene.jobs.complete, job_id=stored.id)
                match job:
                    case SendMessage() | TellAuthor():
                        await self.scene.messenger.send(job.room_id, job.content, txn_id=stored.id)
                    case DeliverAnnouncement():
                        await self.announcements.deliver(stored.id, job)
                    case Announce():
                        await self.announcements.announce(job, complete)
                    case PrepareEvent():
                        await self.events.prepare(stored.id, job)
                    case SeatPeople():
                        await self.events.seat(job, complete)
                    case ShowEvent():
                        await self.events.show(stored.id, job)
                    case LookAfterEvent():
                        await self.events.look_after(job, complete)
                    case WithdrawCopy():
                        await self.scene.afterwards.withdraw_copy(stored.id, job)
                    case _:
                        raise AssertionError(job)
                await self.scene.jobs.finish(stored.id)

    async def at(self, ms: int) -> None:
        self.scene.clock.now = ms
        await self.work()

    async def later(self, ms: int = SEAT_EVERY_MS) -> None:
        await self.at(self.scene.clock.now + ms)

    def told(self, user: UserId) -> list[str]:
        chat = chat_of(user)
        assert chat is not None
        return self.scene.messenger.said(chat)

    @property
    def texts(self) -> list[str]:
        """What was said in the announcement room, files left out."""
        sent = self.scene.messenger.sent
        return [content["body"] for room, content in sent if room == ROOM and "data" not in content]

    @property
    def calendars_sent(self) -> list[Any]:
        """The event of every calendar file."""
        files = [content["data"] for room, content in self.scene.messenger.sent if room == ROOM and "data" in content]
        return [events_in(data)[0] for data in files]

    @property
    def left_in_room(self) -> list[Mapping[str, Any]]:
        """Everything in the announcement room that is not redacted."""
        scene = self.scene
        return [
            content
            for event_id, (room, content) in scene.messenger.posted.items()
            if room == ROOM and event_id not in scene.posts.redacted
        ]

    async def rows(self, table: str) -> int:
        async with self.scene.database.transaction() as tx:
            return int(await tx.fetch_value(f"SELECT COUNT(*) FROM {table}"))


def chat_of(user: UserId) -> RoomId | None:
    return None if user == EVE else RoomId(f"!chat-{user[1:4]}:example.org")


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


async def test_an_event_is_announced_with_signs_and_a_calendar_file(ground: Ground) -> None:
    event = await ground.invite()
    assert await ground.invite() == event, "the same message twice"
    [text] = ground.texts
    for words in ("Party", "1970-01-04 00:16 UTC – 1970-01-04 02:16 UTC", "School yard", "Bring a cake", "2 seats"):
        assert words in text
    assert [key for _, key in ground.scene.messenger.reactions] == list(SIGNS.values())
    [calendar] = ground.calendars_sent
    assert str(calendar["UID"]) == f"{event}@example.org"
    assert (str(calendar["SUMMARY"]), int(calendar["SEQUENCE"])) == ("Party", 0)
    with pytest.raises(Refused, match="past"):
        await ground.invite(replace(PARTY, begins_at=1), "$late")


async def test_seats_go_in_order_and_who_waits_moves_up_and_is_told(ground: Ground) -> None:
    event = await ground.invite()
    coming = [await ground.react(user, Answer.GOING) for user in (EVE, ANN, BEA, CEM)]
    await ground.later()
    assert ground.told(ANN) == ground.told(BEA) == [], "who simply has a seat sees that they pressed"
    assert ["waiting list" in text for text in ground.told(CEM)] == [True], "Eve is no member and takes no seat"
    ground.scene.clock.now += 1
    await ground.react(BEA, Answer.NO)
    await ground.later()
    assert "There is a seat for you at “Party” now" in ground.told(CEM)[-1]
    await ground.redact(coming[1])
    await ground.later()
    assert [(one.user) for one in (await ground.events.standing(event)).going] == [CEM]
    await ground.later(SHOW_EVERY_MS)
    assert "1 is coming" in ground.texts[-1]
    assert len(ground.told(CEM)) == 2
    await ground.react(ANN, Answer.GOING)
    ground.scene.clock.now += 1
    answer, seated = await ground.events.answer(event, BEA, Answer.GOING, 1, source="$guests")
    assert (answer, seated) == (Answer.GOING, False), "with a guest there is no room for her"
    await ground.later()
    assert ground.told(BEA) == [], "she was told in the answer"
    ground.scene.clock.now += 1
    ground.members.discard(ANN)
    assert (await ground.events.answer(event, BEA, Answer.GOING, 0, source="$alone"))[1]
    await ground.later()
    assert ground.told(BEA) == []
    await ground.events.answer(event, BEA, Answer.GOING, 1, source="$again")
    await ground.events.answer(event, CEM, Answer.NO, 0, source="$no")
    await ground.later()
    assert ["There is a seat" in text for text in ground.told(BEA)] == [True], "it changed before anybody looked"
    with pytest.raises(Refused, match="2 seats in all"):
        await ground.events.answer(event, BEA, Answer.GOING, 2, source="$many")


async def test_who_is_going_is_reminded_twice_and_after_it_all_answers_are_forgotten(ground: Ground) -> None:
    await ground.invite()
    await ground.react(ANN, Answer.GOING)
    await ground.react(BEA, Answer.MAYBE)
    await ground.later()
    await ground.at(BEGINS - DAY - 1)
    assert ground.told(ANN) == []
    await ground.at(BEGINS - DAY)
    await ground.at(BEGINS - HOUR)
    assert ["A reminder: “Party” is on 1970-01-04" in text for text in ground.told(ANN)] == [True, True]
    assert "Place: School yard" in ground.told(ANN)[0]
    assert ground.told(BEA) == []
    await ground.at(BEGINS + 2 * HOUR + FORGET_AFTER_MS - 1)
    assert await ground.rows("happening_answer") == 2
    await ground.later(1)
    assert await ground.rows("happening_answer") == await ground.rows("happening_seat") == 0
    await ground.react(CEM, Answer.GOING)
    assert await ground.rows("happening_answer") == 0
    assert await ground.scene.jobs.waiting() == 0


async def test_a_service_that_was_down_sends_no_reminder_that_is_too_late(ground: Ground) -> None:
    await ground.invite()
    await ground.react(ANN, Answer.GOING)
    await ground.at(BEGINS - 10 * 60_000)
    assert ground.told(ANN) == []


async def test_a_change_is_shown_and_told_and_moves_the_reminders(ground: Ground) -> None:
    event = await ground.invite()
    await ground.react(ANN, Answer.GOING)
    await ground.react(CEM, Answer.NO)
    await ground.react(BEA, Answer.GOING)
    await ground.later()
    ground.members.discard(BEA)
    known, what = await ground.events.read(event)
    assert what == PARTY
    later = replace(what, begins_at=BEGINS + DAY, ends_at=None, place="Gym")
    await ground.events.change(known, later, cancel=False, by=ANN, source="$change")
    with pytest.raises(Refused, match=r"just now|moment"):
        await ground.events.change(known, later, cancel=True, by=BEA, source="$other")
    await ground.work()
    assert ["has changed: it is on 1970-01-05 00:16 UTC. Place: Gym" in text for text in ground.told(ANN)] == [True]
    assert ground.told(CEM) == ground.told(BEA) == [], "he does not come, and she is no member any more"
    ground.members.add(BEA)
    assert "Gym" in ground.texts[-1]
    assert (str(ground.calendars_sent[-1]["LOCATION"]), int(ground.calendars_sent[-1]["SEQUENCE"])) == ("Gym", 1)
    await ground.at(BEGINS - HOUR)
    assert len(ground.told(ANN)) == 1 + 0, "the old reminders are void"
    await ground.at(BEGINS)
    assert "A reminder" in ground.told(ANN)[-1]
    known, what = await ground.events.read(event)
    assert what == later
    await ground.events.change(known, what, cancel=True, by=ANN, source="$cancel")
    await ground.work()
    assert ground.told(ANN)[-1] == "“Party” is cancelled."
    assert ground.texts[-1].startswith("* Cancelled")
    assert str(ground.calendars_sent[-1]["STATUS"]) == "CANCELLED"
    with pytest.raises(Refused, match="cancelled"):
        await ground.events.answer(event, BEA, Answer.GOING, 0, source="$x")
    await ground.at(BEGINS + DAY - HOUR)
    assert len(ground.told(ANN)) == 3, "nobody is reminded of what is cancelled"


async def test_what_is_to_come_is_listed_with_who_comes(ground: Ground) -> None:
    first = await ground.invite()
    await ground.react(ANN, Answer.GOING)
    second = await ground.invite(replace(PARTY, title="Concert", begins_at=BEGINS + DAY, ends_at=None), "$concert")
    gone = await ground.invite(replace(PARTY, title="Gone"), "$gone")
    await ground.scene.afterwards.withdraw(gone, community=SCHOOL, author=ANN)
    found = await ground.events.to_come(SCHOOL, 10)
    assert [(known.announcement, what.title, standing.seats) for known, what, standing in found] == [
        (first, "Party", 1), (second, "Concert", 0),
    ]  # fmt: skip
    assert len(await ground.events.to_come(SCHOOL, 1)) == 1
    assert await ground.events.to_come(CommunityId("club"), 10) == []
    ground.scene.clock.now = BEGINS + 2 * HOUR + 1
    assert [what.title for _, what, _ in await ground.events.to_come(SCHOOL, 10)] == ["Concert"]


async def test_a_withdrawn_event_leaves_nothing_in_the_room(ground: Ground) -> None:
    event = await ground.invite()
    known, what = await ground.events.read(event)
    await ground.events.change(known, replace(what, place="Gym"), cancel=False, by=ANN, source="$change")
    await ground.react(ANN, Answer.GOING)
    await ground.later(SHOW_EVERY_MS)
    assert len(ground.calendars_sent) == 2
    assert len(ground.left_in_room) > 4, "the event, its edits and two files"
    await ground.scene.afterwards.withdraw(event, community=SCHOOL, author=ANN)
    await ground.react(CEM, Answer.GOING)
    await ground.later(SHOW_EVERY_MS)
    assert ground.left_in_room == []
    with pytest.raises(Refused, match="over"):
        await ground.events.answer(event, BEA, Answer.GOING, 0, source="$late")
    before = len(ground.told(ANN))
    await ground.at(BEGINS - HOUR)
    assert len(ground.told(ANN)) == before, "nobody is reminded of what was withdrawn"


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("moment", ["prepared", "changed"])
async def test_it_is_withdrawn_whole_although_the_service_died_before(tmp_path: Path, step: int, moment: str) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        if moment == "changed":
            await ground.invite()
        scene.faults.arm(point)
        died = False
        try:
            if moment == "prepared":
                await ground.invite()
            else:
                known, what = await ground.events.read(id_of("$party"))
                await ground.events.change(known, replace(what, place="Gym"), cancel=False, by=ANN, source="$change")
                await ground.work()
        except Crash:
            died = True
            await scene.die()
            await scene.start()
            ground.begin()
        scene.faults.arm(None)
        async with scene.database.transaction() as tx:
            taken = await announcements.get(tx, id_of("$party"))
        if taken is not None:
            await scene.afterwards.withdraw(taken.id, community=SCHOOL, author=ANN)
            await ground.work()
            assert ground.left_in_room == [], point
        await scene.stop()
        point += step
    assert point > 20


async def test_what_is_on_its_way_while_it_is_withdrawn_arrives_empty(ground: Ground) -> None:
    event = await ground.invite()
    async with ground.scene.database.transaction() as tx:
        [copy] = await announcements.copies_of(tx, event)
        assert await events.begin_beside(tx, event, copy.target, "on its way")
    await ground.scene.afterwards.withdraw(event, community=SCHOOL, author=ANN)
    await ground.work()
    sent = await ground.scene.messenger.send(ROOM, {"body": "the file"}, txn_id="on its way")
    assert sent.event_id in ground.scene.posts.redacted
    assert ground.left_in_room == []
    async with ground.scene.database.transaction() as tx:
        assert not await events.begin_beside(tx, event, copy.target, "later")


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.soak)])
async def test_the_service_dies_and_everybody_is_told_once(tmp_path: Path, step: int) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        scene.faults.arm(point)
        died = False
        for _ in range(2):
            try:
                await _walk(ground)
                break
            except Crash:
                died = True
                await scene.die()
                await scene.start()
                ground.begin()
                ground.count = 0
        scene.faults.arm(None)
        assert [text.split(":")[0] for text in ground.told(ANN)] == ["A reminder", "A reminder"], point
        assert sum("waiting list" in text for text in ground.told(CEM)) == 1, point
        assert len(ground.calendars_sent) == 1
        assert [key for _, key in scene.messenger.reactions] == list(SIGNS.values())
        await scene.stop()
        point += step
    assert point > 60


async def _walk(ground: Ground) -> None:
    await ground.invite()
    for user in (ANN, BEA, CEM):
        await ground.react(user, Answer.GOING)
    await ground.at(max(ground.scene.clock.now, 1_000_000 + SEAT_EVERY_MS))
    await ground.at(max(ground.scene.clock.now, BEGINS - DAY))
    await ground.at(max(ground.scene.clock.now, BEGINS - HOUR))
