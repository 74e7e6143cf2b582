"""Weekly summaries: asked for by each for themselves, sent once a week, and never to who is out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.core.announcements import Target
from bridge.core.community import Community
from bridge.core.digest import WEEK_MS, next_due
from bridge.core.errors import CannotDecrypt, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import EN
from bridge.core.messages import SendDigest, SendLetter
from bridge.core.rendering import render
from bridge.features.digests import Digests
from bridge.ports import Member
from bridge.store import mailing
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

SCHOOL, ROOM = CommunityId("school"), RoomId("!school:example.org")
ANN, BEA, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "eve"))
CHATS = {RoomId(f"!chat-{name[1:4]}:example.org"): name for name in (ANN, BEA, EVE)}


class Ground:
    """A community of two people in its announcement room, and a third who left."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.declared: Community | None = Community(SCHOOL)
        self.members = [Member(ANN, EventId("$ann"), 0), Member(BEA, EventId("$bea"), 0)]
        self.unreadable: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Every process anew."""
        scene = self.scene
        scene.index.chats.update(CHATS)
        self.digests = Digests(
            database=scene.database,
            index=scene.index,
            jobs=scene.jobs,
            wake=lambda: None,
            facts=self,  # type: ignore[arg-type]
            words_of=self.words_of,
            declared=lambda _: self.declared,
            name_of=self.name_of,
            zone_of=lambda _: UTC,
            language_of=lambda _: EN,
            clock=scene.clock,
            unsubscribe_url=lambda community, user, address: f"https://x/{community}/{user}/{address}",
        )

    async def name_of(self, _: CommunityId) -> str:
        """As its people call it; the file does not name it."""
        return "School"

    async def joined(self, room_id: RoomId) -> list[Member]:
        assert room_id == ROOM
        self.scene.faults.point(of_homeserver=True)
        return self.members

    async def words_of(self, _: RoomId, event_id: EventId) -> str:
        if event_id in self.unreadable:
            raise CannotDecrypt("no key")
        return f"words of {event_id}"

    async def announce(self, source: str) -> None:
        target = Target(SCHOOL, ROOM)
        await self.scene.announcements.publish(
            source=source, author="operator", parts=[render(source)], targets=[target]
        )
        await self.scene.do_jobs()

    async def monday(self) -> int:
        """Move to the next Monday, do what is due then; gives how many summaries were due."""
        self.scene.clock.now = next_due(self.scene.clock.now, UTC)
        return await self.work()

    async def work(self) -> int:
        done = 0
        while heads := await self.scene.jobs.heads(self.scene.clock.now_ms(), 100):
            for stored in heads:
                job = decode(stored.kind, stored.body)
                if not isinstance(job, SendDigest):
                    break
                await self.digests.send(job, partial(self.scene.jobs.complete, job_id=stored.id))
                done += 1
            else:
                continue
            break
        await self.scene.do_jobs()
        return done

    def told(self, user: UserId) -> list[str]:
        [chat] = [room for room, one in CHATS.items() if one == user]
        return self.scene.messenger.said(chat)


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


async def test_who_asked_is_told_once_a_week_what_was_announced(ground: Ground) -> None:
    for user in (ANN, EVE):
        await ground.digests.want(SCHOOL, user, wanted=True)
    await ground.announce("$one")
    await ground.announce("$two")
    assert await ground.monday() == 1
    [text] = ground.told(ANN)
    assert text.splitlines()[0] == "This week in School:"
    assert "words of $sent-1" in text
    assert "https://matrix.to/#/%21school%3Aexample.org/%24sent-2" in text
    assert ground.told(BEA) == [], "she did not ask"
    assert ground.told(EVE) == [], "she is not in the room any more"
    assert await ground.work() == 0
    assert await ground.monday() == 1, "the next is planned"
    assert len(ground.told(ANN)) == 1, "and a quiet week has none"
    await ground.announce("$three")
    await ground.digests.want(SCHOOL, ANN, wanted=False)
    await ground.monday()
    assert len(ground.told(ANN)) == 1
    assert await ground.scene.jobs.waiting() == 1, "Eve still wants it, should she come back"


async def test_nobody_wants_it_any_more_and_nothing_is_planned(ground: Ground) -> None:
    await ground.digests.want(SCHOOL, ANN, wanted=True)
    await ground.digests.want(SCHOOL, ANN, wanted=False)
    await ground.monday()
    assert await ground.scene.jobs.waiting() == 0


async def test_without_a_chat_there_is_nowhere_to_send_it(ground: Ground) -> None:
    ground.scene.index.chats.clear()
    with pytest.raises(Refused, match="no chat with you"):
        await ground.digests.want(SCHOOL, ANN, wanted=True)
    await ground.digests.want(SCHOOL, ANN, wanted=False)


async def test_what_cannot_be_read_is_said_so_and_what_was_withdrawn_is_left_out(ground: Ground) -> None:
    await ground.digests.want(SCHOOL, ANN, wanted=True)
    await ground.announce("$one")
    await ground.announce("$two")
    ground.unreadable = {"$sent-1"}
    async with ground.scene.database.transaction() as tx:
        await tx.execute("UPDATE announcement SET withdrawn_at = 1 WHERE source = '$two'")
    await ground.monday()
    [text] = ground.told(ANN)
    assert "(cannot be read any more)" in text
    assert "sent-2" not in text


async def test_newcomers_are_not_told_what_the_community_does_not_let_them_read(ground: Ground) -> None:
    assert ground.declared is not None
    ground.declared = replace(ground.declared, history=False)
    for user in (ANN, BEA):
        await ground.digests.want(SCHOOL, user, wanted=True)
    await ground.announce("$one")
    ground.scene.clock.now += 1000
    ground.members = [ground.members[0], Member(BEA, EventId("$bea"), ground.scene.clock.now)]
    await ground.monday()
    assert len(ground.told(ANN)) == 1
    assert ground.told(BEA) == []


async def test_a_service_that_was_down_for_a_fortnight_sends_no_old_week(ground: Ground) -> None:
    await ground.digests.want(SCHOOL, ANN, wanted=True)
    await ground.announce("$one")
    ground.scene.clock.now += 2 * WEEK_MS
    assert await ground.work() == 1
    assert ground.told(ANN) == []
    assert await ground.monday() == 1


async def test_whoever_has_it_by_mail_is_sent_a_letter_and_needs_no_chat(ground: Ground) -> None:
    ground.scene.index.chats.clear()
    async with ground.scene.database.transaction() as tx:
        await mailing.allow(tx, SCHOOL, "operator", 1)
        for user, confirmed in ((ANN, 1), (BEA, None), (EVE, 1)):
            one = mailing.Subscription(SCHOOL, user, f"{user[1:4]}@x.org", "", "", 1, str(user), 0, confirmed)
            await mailing.put(tx, one)
    await ground.digests.by_mail(SCHOOL)
    await ground.announce("$one")
    ground.scene.clock.now = next_due(ground.scene.clock.now, UTC)
    [stored] = await ground.scene.jobs.of_kind(SendDigest)
    job = decode(stored.kind, stored.body)
    assert isinstance(job, SendDigest)
    await ground.digests.send(job, partial(ground.scene.jobs.complete, job_id=stored.id))
    [letter] = await ground.scene.jobs.of_kind(SendLetter)
    sent = decode(letter.kind, letter.body)
    assert isinstance(sent, SendLetter)
    assert (sent.user, sent.address, sent.subject) == (ANN, "ann@x.org", "This week in School")
    assert sent.unsubscribe in sent.text
    assert "words of $sent-1" in sent.text
    async with ground.scene.database.transaction() as tx:
        await mailing.forbid(tx, SCHOOL)
        assert await mailing.confirmed(tx, SCHOOL) == {}


async def test_a_community_that_is_gone_has_none(ground: Ground) -> None:
    await ground.digests.want(SCHOOL, ANN, wanted=True)
    await ground.announce("$one")
    ground.declared = None
    await ground.monday()
    assert ground.told(ANN) == []
    assert await ground.scene.jobs.waiting() == 0


async def test_the_service_dies_at_every_point_and_everybody_is_told_once(tmp_path: Path) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        await ground.announce("$one")
        for user in (ANN, BEA):
            await ground.digests.want(SCHOOL, user, wanted=True)
        scene.faults.arm(point)
        died = await _dies(ground.monday)
        await scene.die()
        await scene.start()
        ground.begin()
        await ground.work()
        assert [len(ground.told(user)) for user in (ANN, BEA)] == [1, 1], point
        assert len(await scene.jobs.of_kind(SendDigest)) == 1, "the next one"
        await scene.stop()
        point += 1
    assert point > 5


async def _dies(work: Callable[[], Any]) -> bool:
    try:
        await work()
    except Crash:
        return True
    return False
