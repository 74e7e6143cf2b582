"""Scheduled announcements: each run announced once and at its time, whatever is killed and however the clock jumps."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.core.announcements import Target
from bridge.core.community import CONTROL, Community, Role, RoomKind
from bridge.core.errors import Refused, Unreachable
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.languages import EN
from bridge.core.messages import Announce, DeliverAnnouncement, RunSchedule, SendMessage, TellAuthor
from bridge.core.rendering import render
from bridge.core.schedule import Late
from bridge.features.announcements import Announcements
from bridge.features.schedules import Rules, Schedules, shown
from bridge.store.jobs import decode
from bridge.store.rooms import Place
from bridge.store.schedules import Scheduled
from tests.fakes.faults import Crash
from tests.fakes.scene import ACCOUNTS, Scene

SCHOOL = CommunityId("school")
ROOM, CHAT, CONTROL_ROOM = (RoomId(f"!{name}:example.org") for name in ("school", "chat", "control"))
ANN, BEA = UserId("@ann:example.org"), UserId("@bea:example.org")
ZONE = "Europe/Berlin"
HOUR, DAY = 3_600_000, 86_400_000
TEXT = "The menu is on the wall"


def moment(*when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)  # type: ignore[arg-type, misc]


NOW = moment(2026, 11, 26, 9, 0)
"""A Thursday."""


class Ground:
    """A school in Berlin with an admin, and a worker that does what is due."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.declared: Community | None = Community(SCHOOL, name="School", timezone=ZONE)
        self.roles: dict[UserId, Role] = {ANN: Role.ADMIN, BEA: Role.ADMIN}
        self.rules = Rules()
        scene.clock.now = NOW
        self.begin()

    def begin(self) -> None:
        """Every process anew."""
        scene = self.scene
        scene.index.places[CONTROL_ROOM] = Place(SCHOOL, CONTROL, RoomKind.CONTROL)
        self.announcements = Announcements(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            accounts=ACCOUNTS,
            clock=scene.clock,
            targets_of=self._targets_of,
        )
        self.schedules = Schedules(
            database=scene.database,
            index=scene.index,
            jobs=scene.jobs,
            wake=lambda: None,
            declared=lambda _: self.declared,
            role_of=self._role_of,
            language_of=lambda _: EN,
            clock=scene.clock,
            rules=self.rules,
        )

    async def _targets_of(self, community: CommunityId, _: object) -> Sequence[Target]:
        return [Target(community, ROOM)]

    async def _role_of(self, _: CommunityId, user: UserId) -> Role | None:
        self.scene.faults.point(of_homeserver=True)
        self.scene.faults.check(f"ROLE {user}")
        return self.roles.get(user)

    async def schedule(self, when: str, text: str = TEXT, *, source: str = "$one", **more: Any) -> Scheduled:
        how = {"author": ANN, "reply_room": CHAT, **more}
        return await self.schedules.add(source=source, community=SCHOOL, when=when, parts=[render(text)], **how)

    async def edit(self, source: str, number: int = 1, **what: Any) -> Scheduled:
        how = {"author": BEA, "reply_room": None, **what}
        return await self.schedules.edit(SCHOOL, number, source=source, **how)

    async def skip(self, source: str, number: int = 1) -> int:
        return (await self.schedules.skip(SCHOOL, number, source=source, author=BEA))[0]

    async def cancel(self, source: str = "$cancel", number: int = 1) -> Scheduled:
        return await self.schedules.cancel(SCHOOL, number, source=source, author=BEA)

    async def coming(self) -> list[int | None]:
        return [one.next_at for one in await self.schedules.listed(SCHOOL)]

    async def work(self, now: int | None = None) -> list[str]:
        """Do what is due (at `now`); gives what members of the school have read by then."""
        scene = self.scene
        scene.clock.now = scene.clock.now if now is None else now
        while heads := await scene.jobs.heads(scene.clock.now_ms(), 100):
            for stored in heads:
                job, complete = decode(stored.kind, stored.body), partial(scene.jobs.complete, job_id=stored.id)
                before = stored.due_at
                match job:
                    case RunSchedule():
                        await self.schedules.run(job, complete)
                    case Announce():
                        await self.announcements.announce(job, complete)
                    case DeliverAnnouncement():
                        await self.announcements.deliver(stored.id, job)
                    case SendMessage() | TellAuthor():
                        await scene.messenger.send(job.room_id, job.content, txn_id=stored.id)
                        await scene.jobs.finish(stored.id)
                    case _:
                        raise AssertionError(job)
                again = await scene.jobs.find(stored.id)
                assert again is None or again.due_at > before, "it is done, or planned for later"
        return self.read()

    def read(self) -> list[str]:
        return self.scene.messenger.said(ROOM)

    def told(self, room: RoomId = CONTROL_ROOM) -> list[str]:
        return [text for text in self.scene.messenger.said(room) if not text.startswith("Sent to")]


Story = Callable[[Ground], Awaitable[None]]


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


# --- at its time ----------------------------------------------------------------------------------------------------


async def test_it_is_announced_at_its_time_once_and_its_text_is_forgotten_then(ground: Ground) -> None:
    one = await ground.schedule("tomorrow 8:00")
    assert (one.number, one.next_at) == (1, moment(2026, 11, 27, 8, 0)), "in the time zone of the community"
    assert await ground.work() == []
    assert await ground.work(moment(2026, 11, 27, 8, 0) - 1) == []
    assert await ground.work(moment(2026, 11, 27, 8, 0)) == [TEXT]
    assert await ground.coming() == []
    assert ground.scene.messenger.said(CHAT) == ["Sent to school. 3 devices can read it."]
    assert ground.told() == []
    async with ground.scene.database.transaction() as tx:
        assert await tx.fetch_value("SELECT content FROM schedule") == "[]"
        assert await tx.fetch_value("SELECT COUNT(*) FROM job") == 0


async def test_it_comes_again_over_a_change_of_the_clock(ground: Ground) -> None:
    await ground.schedule("every sunday at 2:30 from 14 march 2027")
    for when in (moment(2027, 3, 14, 2, 30), moment(2027, 3, 21, 2, 30), moment(2027, 3, 28, 3, 0)):
        before = len(ground.read())
        assert len(await ground.work(when - 1)) == before
        assert len(await ground.work(when)) == before + 1
    assert await ground.coming() == [moment(2027, 4, 4, 2, 30)]


async def test_the_same_message_again_is_the_same_schedule_also_when_that_is_over(ground: Ground) -> None:
    first = await ground.schedule("in 2 minutes")
    ground.scene.clock.now += 1000
    assert await ground.schedule("in 2 minutes") == first
    assert await ground.work(NOW + 120_000) == [TEXT]
    assert (await ground.schedule("in 2 minutes")).number == 1
    assert await ground.work(NOW + HOUR) == [TEXT]
    with pytest.raises(Refused, match="past"):
        await ground.schedule("today at 8", source="$two")


async def test_a_community_without_a_time_zone_has_that_of_the_service(ground: Ground) -> None:
    ground.schedules.rules = replace(ground.rules, zone="America/Sao_Paulo")
    ground.declared = Community(SCHOOL)
    one = await ground.schedule("tomorrow 8:00")
    assert one.next_at == moment(2026, 11, 27, 12, 0)
    ground.declared = Community(SCHOOL, timezone=ZONE)
    assert (await ground.schedules.get(SCHOOL, 1)).next_at == one.next_at, "nothing moves behind anybody's back"
    assert (await ground.edit("$edit", when="tomorrow 8:00")).next_at == moment(2026, 11, 27, 8, 0)


async def test_no_more_wait_than_may(ground: Ground) -> None:
    ground.schedules.rules = replace(ground.rules, most=2)
    for source in ("$one", "$two"):
        await ground.schedule("tomorrow 8:00", source=source)
    with pytest.raises(Refused, match="2 announcements wait"):
        await ground.schedule("tomorrow 8:00", source="$three")
    await ground.cancel()
    await ground.schedule("tomorrow 8:00", source="$three")


# --- what people say of it ------------------------------------------------------------------------------------------


async def test_another_time_and_another_text(ground: Ground) -> None:
    await ground.schedule("every monday at 8")
    changed = await ground.edit("$edit", when="every tuesday at 9", text="Fish")
    assert (changed.next_at, changed.author) == (moment(2026, 12, 1, 9, 0), BEA)
    assert await ground.edit("$edit", when="every tuesday at 10") == changed, "the message came again"
    assert await ground.work(moment(2026, 11, 30, 12, 0)) == []
    assert await ground.work(moment(2026, 12, 1, 9, 0)) == ["Fish"]
    with pytest.raises(Refused, match="not clear"):
        await ground.edit("$more", when="some day")
    with pytest.raises(Refused, match="number 7"):
        await ground.edit("$more", 7, when="tomorrow 8:00")


async def test_one_time_is_left_out_once_though_the_message_comes_twice(ground: Ground) -> None:
    await ground.schedule("every day at 8")
    first = moment(2026, 11, 27, 8, 0)
    assert await ground.skip("$skip") == first
    assert await ground.skip("$skip") == first
    assert await ground.coming() == [first + DAY]
    assert await ground.work(first) == []
    assert await ground.work(first + DAY) == [TEXT]
    assert await ground.skip("$again") == first + 2 * DAY
    await ground.schedule("tomorrow 8:00", source="$two")
    await ground.skip("$last", 2)
    with pytest.raises(Refused, match="number 2"):
        await ground.skip("$gone", 2)


async def test_what_is_called_off_is_not_announced_and_what_is_over_is_not_called_off(ground: Ground) -> None:
    await ground.schedule("tomorrow 8:00")
    await ground.cancel()
    assert (await ground.cancel()).next_at is None, "the message came again"
    assert await ground.work(NOW + 3 * DAY) == []
    assert await ground.scene.jobs.waiting() == 0
    await ground.schedule("in 2 hours", source="$two")
    await ground.work(ground.scene.clock.now + 2 * HOUR)
    with pytest.raises(Refused, match="nothing is scheduled"):
        await ground.cancel("$late", 2)


async def test_what_is_shown_of_one(ground: Ground) -> None:
    one = await ground.schedule("every day at 8", "# Menu\n\nSoup")
    about = shown(one)
    assert about["runs"] == [moment(2026, 11, day, 8, 0) for day in (27, 28, 29)]
    assert (about["zone"], about["rule"], about["recurring"]) == (ZONE, "FREQ=DAILY", True)
    assert (about["beginning"], about["text"]) == ("# Menu Soup", "# Menu\n\nSoup")


# --- who may --------------------------------------------------------------------------------------------------------


async def test_who_is_no_admin_any_more_announces_nothing_and_another_admin_takes_it_over(ground: Ground) -> None:
    await ground.schedule("every day at 8")
    ground.roles[ANN] = Role.MEMBER
    assert await ground.work(moment(2026, 11, 27, 8, 0)) == []
    [told] = ground.told()
    assert "“The menu is on the wall” (scheduled as number 1) was not announced: @ann:example.org" in told
    assert "`schedule edit 1 …`" in told
    assert ground.told(CHAT) == [], "who was demoted is told nothing"
    await ground.edit("$mine", text="Soup")
    assert await ground.work(moment(2026, 11, 28, 8, 0)) == ["Soup"]
    del ground.roles[BEA]
    assert await ground.work(moment(2026, 11, 29, 8, 0)) == ["Soup"]


async def test_the_operator_may(ground: Ground) -> None:
    await ground.schedule("tomorrow 8:00", author="operator", reply_room=None)
    assert await ground.work(moment(2026, 11, 27, 8, 0)) == [TEXT]


async def test_a_homeserver_that_is_away_is_asked_again(ground: Ground) -> None:
    await ground.schedule("tomorrow 8:00")
    ground.scene.faults.fail(Unreachable("HTTP 502"), lambda name: name.startswith("ROLE"))
    with pytest.raises(Unreachable):
        await ground.work(moment(2026, 11, 27, 8, 0))
    assert await ground.work() == [TEXT]


async def test_a_community_that_is_gone_has_nothing_announced_and_may_come_back(ground: Ground) -> None:
    await ground.schedule("every day at 8")
    declared, ground.declared = ground.declared, None
    assert await ground.work(moment(2026, 11, 27, 8, 0)) == []
    assert ground.told() == []
    ground.declared = declared
    assert await ground.work(moment(2026, 11, 28, 8, 0)) == [TEXT]


# --- the service was away -------------------------------------------------------------------------------------------


async def test_what_was_missed_is_sent_late_or_told(ground: Ground) -> None:
    await ground.schedule("every day at 8", source="$daily")
    await ground.schedule("tomorrow 8:30", "Once", source="$once")
    await ground.work(moment(2026, 11, 27, 9, 15))
    assert ground.read() == ["Once"], "of the grace of an hour"
    [missed, late] = sorted(ground.told(), reverse=True)
    assert "number 1) was not announced on Fri 27 Nov 2026 08:00 (Europe/Berlin): the service was away" in missed
    assert "“Once” (scheduled as number 2) is announced late" in late
    assert sorted(ground.told(CHAT), reverse=True) == [missed, late]
    assert {tuple(people) for text, people in ground.scene.messenger.calls(CHAT)} == {(ANN,)}
    await ground.work(moment(2026, 11, 30, 8, 20))
    assert ground.read() == ["Once", TEXT], "of three that were missed the last"
    assert "2 times before that were missed, too." in ground.told()[-1]
    assert await ground.coming() == [moment(2026, 12, 1, 8, 0)]


async def test_late_ones_are_left_out_where_that_is_wanted(ground: Ground) -> None:
    ground.schedules.rules = replace(ground.rules, late=Late.SKIP)
    await ground.schedule("every day at 8")
    assert await ground.work(moment(2026, 11, 27, 8, 1)) == [TEXT], "a minute is no delay"
    assert await ground.work(moment(2026, 11, 28, 8, 10)) == [TEXT]
    assert len(ground.told()) == len(ground.told(CHAT)) == 1


async def test_a_clock_that_goes_back_announces_nothing_twice(ground: Ground) -> None:
    await ground.schedule("every day at 8")
    first = moment(2026, 11, 27, 8, 0)
    for now in (first, first - HOUR, first, first + HOUR, first - 5 * DAY, first + DAY - 1):
        assert await ground.work(now) == [TEXT], now
    assert await ground.work(first + DAY) == [TEXT, TEXT]


async def test_a_clock_that_goes_back_after_the_worker_looked_has_the_run_wait(ground: Ground) -> None:
    one = await ground.schedule("tomorrow 8:00")
    assert one.next_at is not None
    [stored] = await ground.scene.jobs.heads(one.next_at, 10)
    ground.scene.clock.now = one.next_at - 5000
    await ground.schedules.run(RunSchedule(one.id, one.next_at), partial(ground.scene.jobs.complete, job_id=stored.id))
    assert await ground.work() == []
    assert await ground.work(one.next_at) == [TEXT]


async def test_two_wake_ups_announce_once(ground: Ground) -> None:
    one = await ground.schedule("every day at 8")
    assert one.next_at is not None
    ground.scene.clock.now = one.next_at
    for _ in range(2):
        job = RunSchedule(one.id, one.next_at)
        await ground.schedules.run(job, partial(ground.scene.jobs.complete, job_id=f"schedule-{one.id}-{job.due}"))
    assert await ground.work() == [TEXT]


async def test_a_run_that_was_given_up_is_told_and_goes_on_when_it_is_dropped(ground: Ground) -> None:
    one = await ground.schedule("every day at 8")
    assert one.next_at is not None
    job = RunSchedule(one.id, one.next_at)
    await ground.scene.jobs.park(f"schedule-{one.id}-{one.next_at}", "HTTP 500")
    ground.scene.clock.now = one.next_at
    for _ in range(2):
        await ground.schedules.given_up(job, "HTTP 500")
    await ground.work()
    [told] = ground.told()
    assert "could not be announced: HTTP 500" in told
    await ground.scene.jobs.drop(f"schedule-{one.id}-{one.next_at}")
    for _ in range(2):
        await ground.schedules.dropped(job)
    assert await ground.work(one.next_at + DAY) == [TEXT]


# --- kill -9 --------------------------------------------------------------------------------------------------------


async def runs_once(ground: Ground) -> None:
    await ground.schedule("every day at 8, 2 times")
    await ground.work(FIRST)


async def is_changed(ground: Ground) -> None:
    await ground.schedule("every day at 8, 3 times")
    await ground.skip("$skip")
    await ground.edit("$edit", text="Soup")


FIRST = moment(2026, 11, 27, 8, 0)


@pytest.mark.parametrize(
    ("story", "then"),
    [(runs_once, [(FIRST, [TEXT]), (FIRST + DAY, [TEXT] * 2)]), (is_changed, [(FIRST, []), (FIRST + DAY, ["Soup"])])],
)
async def test_the_service_dies_at_every_point_and_each_run_is_announced_once(
    tmp_path: Path, story: Story, then: list[tuple[int, list[str]]]
) -> None:
    empty = Scene(f"sqlite:///{tmp_path}/empty.db")
    await empty.start()
    await empty.stop()
    point = 0
    while True:
        shutil.copy(tmp_path / "empty.db", tmp_path / f"{point}.db")
        scene = Scene(f"sqlite:///{tmp_path}/{point}.db")
        await scene.start()
        ground = Ground(scene)
        scene.faults.arm(point)
        try:
            await story(ground)
            ended = True
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        ground.begin()
        await story(ground)  # the pump has every message again that was not done
        for now, read in then:
            assert await ground.work(now) == read, point
        last = await ground.work(FIRST + 2 * DAY)
        assert await ground.work(FIRST + 9 * DAY) == last, point
        assert await scene.jobs.waiting() == 0
        await scene.stop()
        if ended:
            break
        point += 1
    assert point > 10, point
