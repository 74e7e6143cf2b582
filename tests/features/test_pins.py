"""Announcements pinned for a while: ours come and go, and what people pinned stays."""

from __future__ import annotations

import pytest

from bridge.core.announcements import Target
from bridge.core.community import Community
from bridge.core.errors import Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import KeepPins
from bridge.core.rendering import render
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

ANN = UserId("@ann:example.org")
SCHOOL = Community(CommunityId("school"), owners=frozenset({ANN}))
CHAT = RoomId("!chat:example.org")
PINS = "m.room.pinned_events"
HOUR = 3_600_000


@pytest.fixture
async def settled(scene: Scene) -> Scene:
    await scene.settle(SCHOOL)
    return scene


async def announced(scene: Scene, source: str) -> tuple[str, list[tuple[Target, EventId]]]:
    target = Target(SCHOOL.id, scene.announcement_room.room_id)
    taken = await scene.announcements.publish(source=source, author=ANN, parts=[render(source)], targets=[target])
    await scene.do_jobs()
    [copy] = await scene.announcements.copies_of(taken)
    assert copy.event_id is not None
    return taken, [(target, copy.event_id)]


async def pin(scene: Scene, source: str, hours: int = 24) -> EventId:
    scene.clock.now += 1
    taken, copies = await announced(scene, source)
    await scene.pins.pin(taken, copies, hours * HOUR, author=ANN, reply_room=CHAT)
    await scene.catch_up()
    return copies[0][1]


def pinned(scene: Scene) -> list[str]:
    return list((scene.announcement_room.content(PINS) or {}).get("pinned", []))


async def by_hand(scene: Scene, *events: str) -> None:
    await scene.write(ANN, scene.announcement_room, PINS, {"pinned": list(events), "org.example": 1})
    await scene.catch_up()


async def test_a_pin_comes_beside_those_of_people_and_goes_by_itself(settled: Scene) -> None:
    await by_hand(settled, "$theirs")
    event = await pin(settled, "one")
    assert pinned(settled) == ["$theirs", event]
    await by_hand(settled, event, "$new")
    settled.clock.now += 24 * HOUR - 1
    await settled.catch_up()
    assert pinned(settled) == [event, "$new"]
    settled.clock.now += 1
    await settled.catch_up()
    assert pinned(settled) == ["$new"]
    assert settled.announcement_room.content(PINS) == {"pinned": ["$new"], "org.example": 1}
    async with settled.database.transaction() as tx:
        assert await tx.fetch("SELECT * FROM announcement_pin") == []


async def test_what_people_took_away_stays_away_and_what_they_pinned_as_well_stays(settled: Scene) -> None:
    first = await pin(settled, "one")
    await by_hand(settled)
    await pin(settled, "two")
    assert first not in pinned(settled)
    taken, copies = await announced(settled, "three")
    theirs = copies[0][1]
    await by_hand(settled, theirs)
    await settled.pins.pin(taken, copies, HOUR, author=ANN)
    await settled.catch_up()
    settled.clock.now += 48 * HOUR
    await settled.catch_up()
    assert pinned(settled) == [theirs]
    await settled.pins.unpin(taken, copies, author=ANN)  # an admin says so
    await settled.catch_up()
    assert pinned(settled) == []


async def test_pinned_again_after_people_took_it_away_it_is_there_again(settled: Scene) -> None:
    taken, copies = await announced(settled, "one")
    for _ in range(2):
        settled.clock.now += 1
        await settled.pins.pin(taken, copies, HOUR, author=ANN)
        await settled.catch_up()
        assert pinned(settled) == [copies[0][1]]
        await by_hand(settled)


async def test_a_longer_pin_counts_anew(settled: Scene) -> None:
    taken, copies = await announced(settled, "one")
    for hours in (24, 48):
        await settled.pins.pin(taken, copies, hours * HOUR, author=ANN)
        await settled.catch_up()
    settled.clock.now += 47 * HOUR
    await settled.catch_up()
    assert pinned(settled) == [copies[0][1]]
    settled.clock.now += HOUR
    await settled.catch_up()
    assert pinned(settled) == []


async def test_of_more_than_may_be_there_the_oldest_of_ours_go(settled: Scene) -> None:
    await by_hand(settled, "$theirs")
    events = [await pin(settled, str(number)) for number in range(5)]
    assert pinned(settled) == ["$theirs", *events[2:]]


async def test_what_is_withdrawn_is_pinned_no_longer_and_cannot_be(settled: Scene) -> None:
    taken, copies = await announced(settled, "one")
    await settled.pins.pin(taken, copies, HOUR, author=ANN)
    await settled.catch_up()
    await settled.afterwards.withdraw(taken, community=SCHOOL.id, author=ANN)
    await settled.catch_up()
    assert pinned(settled) == []
    with pytest.raises(Refused, match="withdrawn"):
        await settled.pins.pin(taken, copies, HOUR, author=ANN)


async def test_the_service_dies_at_every_point_and_the_pin_goes_all_the_same(settled: Scene) -> None:
    await by_hand(settled, "$theirs")
    for point in range(40):
        taken, copies = await announced(settled, f"at {point}")
        settled.faults.arm(point)
        try:
            await settled.pins.pin(taken, copies, HOUR, author=ANN)
            await settled.do_jobs()
            ended = True
        except Crash:
            ended = False
        await settled.die()
        await settled.start()
        await settled.pins.pin(taken, copies, HOUR, author=ANN)
        await settled.do_jobs()
        assert pinned(settled) == ["$theirs", copies[0][1]], point
        settled.clock.now += HOUR
        await settled.do_jobs()
        assert pinned(settled) == ["$theirs"], point
        if ended:
            return
    raise AssertionError("it never came to an end")


async def test_whoever_asked_is_told_that_it_failed(settled: Scene) -> None:
    taken, copies = await announced(settled, "one")
    settled.faults.fail(Unreachable("HTTP 502"), lambda name: name.startswith("PUT") and PINS in name, times=None)
    await settled.pins.pin(taken, copies, HOUR, author=ANN, reply_room=CHAT)
    with pytest.raises(Unreachable):
        await settled.do_jobs()
    settled.faults.heal()
    await settled.pins.failed(KeepPins(SCHOOL.id, settled.announcement_room.room_id), "job", "HTTP 502")
    await settled.do_jobs()
    [(text, mentioned)] = settled.messenger.calls(CHAT)
    assert "could not be changed: HTTP 502" in text
    assert mentioned == [ANN]
    assert pinned(settled) == [copies[0][1]]
