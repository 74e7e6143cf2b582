"""When it looks: what is pushed, what is passed over, and what happens when a look fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, GENERAL, SPACE, Community
from bridge.core.errors import BadRequest, RateLimited, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.features.reconcile import watch as watching
from bridge.matrix import servers
from bridge.matrix.client import path
from bridge.plan.state import StateEvent
from tests.fakes.homeserver import STEWARD
from tests.fakes.scene import Scene
from tests.harness.wait import eventually

ANN, BEA, CID = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid"))
SCHOOL = Community(
    CommunityId("school"), owners=frozenset({ANN}), admins=frozenset({BEA}), members=frozenset({CID}), general=True
)
LEVELS = "m.room.power_levels"
EVENTS_OPEN = {"events_default": 0}


@pytest.fixture
async def settled(scene: Scene) -> Scene:
    await scene.settle(SCHOOL)
    scene.forget_requests()
    return scene


def unreachable() -> Unreachable:
    return Unreachable("HTTP 502", status=502)


def open_threshold(scene: Scene) -> None:
    room = scene.announcement_room
    scene.homeserver.tamper(room.room_id, LEVELS, scene.levels(room, **EVENTS_OPEN), by=STEWARD)


def is_closed(scene: Scene) -> bool:
    return scene.announcement_room.needed("m.room.encrypted", state=False) == 100


async def test_the_echo_of_our_own_changes_costs_no_request(scene: Scene) -> None:
    await scene.apply(SCHOOL)
    scene.forget_requests()
    await scene.hear()  # creation, levels, links, invites: all of it was ours
    # the announcer's invite into each of its two rooms is overtaken by its joining, and so looked up
    assert len(scene.homeserver.requests) <= 2
    assert scene.homeserver.writes == []


async def test_the_echo_of_a_healing_costs_no_request(settled: Scene) -> None:
    open_threshold(settled)
    await settled.hear()
    assert is_closed(settled)
    assert len(settled.homeserver.requests) == 1  # it is put back, without being read first
    await settled.hear()
    assert len(settled.homeserver.requests) == 1


async def test_the_echo_of_a_removal_costs_no_request(settled: Scene) -> None:
    await settled.leave(CID, settled.space)
    settled.forget_requests()
    await settled.hear()
    assert len(settled.homeserver.requests) == 1 + 2  # the leave is read, two kicks
    await settled.hear()
    assert len(settled.homeserver.requests) == 3


async def test_marks_that_come_together_are_taken_together(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0
    reconcile = settled.reconciler.reconcile

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal passes
        passes += 1
        return await reconcile(*args, **kwargs)

    monkeypatch.setattr(settled.reconciler, "reconcile", counted)
    for number in range(20):
        open_threshold(settled)
        settled.homeserver.tamper(settled.space.room_id, "m.room.topic", {"topic": f"{number}"}, by=CID)
    await settled.hear(and_wait=False)
    await settled.watch.idle()
    assert passes == 1
    assert is_closed(settled)


async def test_much_in_one_room_is_read_in_one_request(settled: Scene) -> None:
    for kind in ("m.room.topic", "m.room.name", "m.room.avatar", "m.room.guest_access", LEVELS):
        settled.homeserver.tamper(settled.space.room_id, kind, {}, by=CID)
    await settled.hear(and_wait=False)
    await settled.watch.idle()
    reads = [name for name in settled.homeserver.requests if name.startswith("GET")]
    assert len(reads) <= 2  # the state, and whether it is listed


async def test_a_redaction_of_live_state_is_healed(settled: Scene) -> None:
    room = settled.announcement_room
    event_id = room.state["m.room.encryption", ""]["event_id"]
    parts = path("v3", "rooms", room.room_id, "redact", event_id, "txn")
    await settled.homeserver.client(BEA).request("PUT", parts, body={})
    assert room.content("m.room.encryption") == {}
    await settled.hear()
    assert room.content("m.room.encryption") == {"algorithm": "m.megolm.v1.aes-sha2"}


async def test_a_redacted_name_is_put_back_and_not_taken_over(settled: Scene) -> None:
    room = settled.room(GENERAL)
    await settled.write(BEA, room, "m.room.topic", {"topic": "Coffee"})
    await settled.hear()
    event_id = room.state["m.room.topic", ""]["event_id"]
    parts = path("v3", "rooms", room.room_id, "redact", event_id, "txn")
    await settled.homeserver.client(ANN).request("PUT", parts, body={})
    await settled.hear()
    assert room.content("m.room.topic") == {"topic": "Coffee"}


async def test_a_redaction_of_a_message_costs_nothing(settled: Scene) -> None:
    event_id = await settled.post(CID, settled.room(GENERAL))
    parts = path("v3", "rooms", settled.room(GENERAL).room_id, "redact", event_id, "txn")
    await settled.homeserver.client(CID).request("PUT", parts, body={})
    settled.forget_requests()
    await settled.hear()
    assert settled.homeserver.requests == []


async def test_a_redaction_in_the_space_costs_nothing(settled: Scene) -> None:
    settled.watch.redacted(CommunityId("school"), settled.space.room_id, EventId("$nothing"))
    await settled.watch.idle()
    assert settled.homeserver.requests == []


async def test_an_old_event_changes_nothing(settled: Scene) -> None:
    """A transaction that comes late tells of what is no longer so: what counts is what the room is now."""
    room, before = settled.announcement_room, len(settled.homeserver.feed)
    for kind, content in ((LEVELS, {}), (LEVELS, settled.levels(room, **EVENTS_OPEN)), ("m.room.encryption", {})):
        pushed = StateEvent(content, STEWARD, EventId("$long-ago"))
        settled.watch.touched(CommunityId("school"), room.room_id, kind, "", pushed)
        await settled.watch.idle()
    assert len(settled.homeserver.feed) == before
    assert await settled.reader.read(room.room_id) == await settled.reader.read(room.room_id, fresh=True)


async def test_what_nobody_declares_costs_nothing_and_is_read_anew_later(settled: Scene) -> None:
    settled.reconciler.declare([])
    open_threshold(settled)
    settled.forget_requests()
    await settled.hear()
    assert settled.homeserver.requests == []
    await settled.reconcile(SCHOOL)
    assert is_closed(settled)


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(watching, "LONGEST_RETRY_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
async def test_a_homeserver_that_is_away_is_asked_again_until_it_is_back(settled: Scene) -> None:
    settled.faults.fail(unreachable(), times=7)
    open_threshold(settled)
    await settled.hear()
    await eventually(lambda: is_closed(settled))
    await settled.watch.idle()


@pytest.mark.usefixtures("quick")
async def test_a_defect_of_ours_does_not_end_the_watch(
    settled: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reconcile = settled.reconciler.reconcile
    failures = iter([KeyError("a defect"), OSError("database gone")])

    async def failing(*args: Any, **kwargs: Any) -> Any:
        error = next(failures, None)
        if error is not None:
            raise error
        return await reconcile(*args, **kwargs)

    monkeypatch.setattr(settled.reconciler, "reconcile", failing)
    open_threshold(settled)
    with caplog.at_level(logging.CRITICAL):
        await settled.hear()
    assert is_closed(settled)


async def test_what_fails_elsewhere_does_not_delay_the_healing(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries at what fails there may be a minute; a threshold that is opened meanwhile is not left open."""
    monkeypatch.setattr(watching, "FIRST_RETRY_SECONDS", 3600.0)
    monkeypatch.setattr(watching, "LONGEST_RETRY_SECONDS", 3600.0)
    settled.faults.fail(unreachable(), lambda name: "/kick" in name, times=None)
    await settled.leave(CID, settled.space)
    await settled.hear(and_wait=False)
    await eventually(lambda: any("/kick" in name for name in settled.homeserver.requests))
    open_threshold(settled)
    await settled.hear(and_wait=False)
    await eventually(lambda: is_closed(settled))


@pytest.fixture
def whole_looks(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> list[CommunityId]:
    """The passes in which everybody was looked at."""
    reconcile, looks = settled.reconciler.reconcile, []

    async def counted(community: CommunityId, **how: Any) -> Any:
        looks.append(community)
        return await reconcile(community, **how)

    monkeypatch.setattr(settled.reconciler, "reconcile", counted)
    return looks


async def test_what_a_member_does_is_followed_without_a_look_at_all_others(
    settled: Scene, whole_looks: list[CommunityId]
) -> None:
    await settled.leave(CID, settled.space)
    await settled.hear()
    for key in (ANNOUNCEMENTS, GENERAL):
        assert settled.room(key).membership(CID) == "leave"
    assert any("@cid:example.org is named" in text for text in await settled.told())
    assert whole_looks == [SCHOOL.id], "they are named, and that they left is told"
    dan = UserId("@dan:example.org")
    await settled.move(BEA, settled.space, "invite", dan)
    await settled.hear()
    await settled.join(dan, settled.space)
    await settled.hear()
    for key in (ANNOUNCEMENTS, GENERAL):
        assert settled.room(key).membership(dan) == "invite"
    await settled.join(dan, settled.announcement_room)
    await settled.move(BEA, settled.space, "ban", dan)
    await settled.hear()
    for key in (ANNOUNCEMENTS, GENERAL):
        assert settled.room(key).membership(dan) == "ban"
    assert whole_looks == [SCHOOL.id]
    await settled.restart()
    assert (await settled.apply(SCHOOL)).done == 0, "what was done is remembered"


async def test_what_fails_while_a_member_is_followed_is_told_and_done_later(
    settled: Scene, whole_looks: list[CommunityId]
) -> None:
    dan = UserId("@dan:example.org")
    await settled.move(BEA, settled.space, "invite", dan)
    await settled.join(dan, settled.space)
    settled.faults.fail(
        BadRequest("no such user", status=400, errcode="M_UNKNOWN"), lambda name: "/invite" in name, times=None
    )
    await settled.hear()
    assert any("no such user" in text for text in await settled.told())
    settled.faults.heal()
    await settled.leave(CID, settled.space)  # while something is refused, everybody is looked at
    await settled.hear()
    assert len(whole_looks) == 2
    settled.watch.all_of(SCHOOL.id)
    await settled.watch.idle()
    assert settled.announcement_room.membership(dan) == "invite"


async def test_what_an_admin_does_and_what_was_read_by_others_is_looked_at_with_everybody(
    settled: Scene, whole_looks: list[CommunityId]
) -> None:
    dan, eve = UserId("@dan:example.org"), UserId("@eve:example.org")
    for user in (dan, eve):
        await settled.move(BEA, settled.space, "invite", user)
        await settled.join(user, settled.space)
    await settled.hear()
    await settled.accept_all()
    await settled.hear()
    whole_looks.clear()
    # dan leaves, somebody reads the space, and so the push that tells of it is no news any more
    await settled.leave(dan, settled.space)
    settled.reader.forget(settled.space.room_id)
    await settled.reader.read(settled.space.room_id)
    await settled.leave(eve, settled.space)
    await settled.hear()
    for user in (dan, eve):
        assert settled.announcement_room.membership(user) == "leave"
    assert whole_looks == [SCHOOL.id]
    await settled.leave(BEA, settled.space)
    await settled.hear()
    assert whole_looks == [SCHOOL.id] * 2
    assert settled.announcement_room.level(BEA) == 0


async def test_whoever_waits_for_a_pass_waits_for_no_later_try(settled: Scene) -> None:
    assert await settled.watch.settled(SCHOOL.id), "nothing is left to do"
    settled.faults.fail(unreachable(), lambda name: "/invite" in name, times=None)
    settled.reconciler.declare([replace(SCHOOL, members=frozenset({CID, UserId("@nelson:example.org")}))])
    async with asyncio.timeout(5):
        assert not await settled.watch.settled(SCHOOL.id), "the invite is tried again later"
        settled.faults.heal()
        assert await settled.watch.settled(SCHOOL.id)
    settled.reconciler.declare([])
    assert not await settled.watch.settled(SCHOOL.id), "nobody looks at what is not declared"
    await settled.watch.stop()
    assert not await settled.watch.settled(SCHOOL.id)


@pytest.mark.usefixtures("quick")
async def test_a_server_that_is_away_keeps_its_own_people_waiting_alone(
    settled: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    lisa, nelson = UserId("@lisa:there.example"), UserId("@nelson:example.org")
    monkeypatch.setattr(servers, "FIRST_AWAY_SECONDS", 0.2)
    settled.faults.fail(unreachable(), lambda name: "there.example" in name, times=None)
    settled.reconciler.declare([replace(SCHOOL, members=frozenset({CID, lisa, nelson}))])
    assert not await settled.watch.settled(SCHOOL.id)
    assert settled.space.membership(nelson) == "invite"
    assert not [name for name in settled.homeserver.requests if "/invite" in name and "there.example" in name]
    asked = [name for name in settled.homeserver.requests if "/profile/" in name]
    assert len(asked) == 1, "three rooms wait for one answer"
    settled.faults.heal()
    await eventually(lambda: settled.space.membership(lisa) == "invite")
    await settled.watch.idle()


@pytest.mark.usefixtures("quick")
async def test_what_no_retry_helps_is_told_and_not_tried_in_a_loop(settled: Scene) -> None:
    refused = BadRequest("no such user", status=400, errcode="M_UNKNOWN")
    settled.faults.fail(refused, lambda name: "/invite" in name, times=None)
    more = replace(SCHOOL, members=frozenset({CID, UserId("@nobody:elsewhere.org")}))
    settled.reconciler.declare([more])
    settled.watch.all_of(more.id)
    await settled.watch.idle()
    assert len([name for name in settled.homeserver.requests if "/invite" in name]) == 3  # space, news, general
    assert any("no such user" in text for text in await settled.told())


async def test_what_was_refused_is_not_tried_again_at_every_event(settled: Scene) -> None:
    refused = BadRequest("no such user", status=400, errcode="M_UNKNOWN")
    settled.faults.fail(refused, lambda name: "/invite" in name, times=None)
    more = replace(SCHOOL, members=frozenset({CID, UserId("@nobody:elsewhere.org")}))
    settled.reconciler.declare([more])
    settled.watch.all_of(more.id)
    await settled.watch.idle()
    settled.forget_requests()
    for _ in range(3):
        open_threshold(settled)
        await settled.hear()
        assert is_closed(settled)
    assert [name for name in settled.homeserver.requests if "/invite" in name] == []
    assert sum("no such user" in text for text in await settled.told()) == 1
    settled.faults.heal()
    settled.watch.all_of(more.id)  # as it does every so often, and at the operator's word
    await settled.watch.idle()
    assert settled.space.membership("@nobody:elsewhere.org") == "invite"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", ["invite", "look"])
async def test_a_homeserver_that_asks_for_patience_is_left_alone_for_so_long(settled: Scene, what: str) -> None:
    busy = RateLimited("slow down", status=429)
    busy.seconds = 0.5
    loop, asked = asyncio.get_running_loop(), list[float]()

    def note(name: str) -> bool:
        counts = "/invite" in name if what == "invite" else name.startswith("GET")
        if counts:
            asked.append(loop.time())
        return counts

    def answered(name: str) -> None:
        note(name)

    settled.homeserver.on_request = answered  # the others are refused
    settled.faults.fail(busy, note, times=3)
    settled.reconciler.declare([replace(SCHOOL, members=frozenset({CID, UserId("@nelson:example.org")}))])
    settled.watch.all_of(SCHOOL.id)
    await eventually(lambda: bool(asked))
    if what == "invite":  # what is pushed meanwhile is looked at, and nobody is invited for it
        open_threshold(settled)
        await settled.hear(and_wait=False)
        await eventually(lambda: is_closed(settled))
    await settled.watch.idle()
    assert settled.space.membership("@nelson:example.org") == "invite"
    assert max(after - before for before, after in itertools.pairwise(asked)) > 0.4


async def test_stopping_cuts_a_wait_off(settled: Scene) -> None:
    settled.faults.fail(unreachable(), times=None)
    settled.watch.all_of(SCHOOL.id)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await settled.watch.stop()
    settled.watch.all_of(SCHOOL.id)
    async with asyncio.timeout(5):
        await settled.watch.idle()


# --- beside each other ----------------------------------------------------------------------------------------------


async def test_watch_and_apply_at_once_do_everything_once(new_scene: Callable[..., Any]) -> None:
    scene: Scene = await new_scene()
    scene.reconciler.declare([SCHOOL])
    scene.watch.all_of(SCHOOL.id)
    outcomes = await asyncio.gather(*(scene.reconciler.apply(SCHOOL) for _ in range(3)))
    await scene.watch.idle()
    assert all(outcome.ok for outcome in outcomes)
    assert len(scene.homeserver.rooms) == 4
    assert await scene.known() == await stored(scene)


async def stored(scene: Scene) -> Any:
    """What is remembered, as a new process would read it."""
    await scene.restart()
    return await scene.known()


async def test_a_change_while_a_room_is_read_is_not_lost(settled: Scene) -> None:
    """A read is under way, a change comes after the homeserver answered it and its push before the answer is taken."""
    room = settled.announcement_room
    settled.reader.forget(room.room_id)
    pushed = False

    def meanwhile(name: str) -> None:
        nonlocal pushed
        if name.startswith("GET") and name.endswith(f"/state as {STEWARD}") and not pushed:
            pushed = True
            asyncio.get_running_loop().call_soon(late_change)

    def late_change() -> None:
        event_id = settled.homeserver.tamper(room.room_id, LEVELS, settled.levels(room, **EVENTS_OPEN), by=STEWARD)
        pushed = StateEvent(settled.levels(room), STEWARD, EventId(event_id))
        settled.watch.touched(SCHOOL.id, room.room_id, LEVELS, "", pushed)

    settled.homeserver.on_request = meanwhile
    settled.homeserver.slow = True
    await asyncio.gather(settled.reader.read(room.room_id), settled.reader.read(RoomId(settled.space.room_id)))
    await settled.watch.idle()
    assert pushed
    assert is_closed(settled)


async def test_communities_do_not_wait_for_each_other(new_scene: Callable[..., Any]) -> None:
    scene: Scene = await new_scene()
    other = replace(SCHOOL, id=CommunityId("club"))
    scene.reconciler.declare([SCHOOL, other])
    scene.faults.fail(unreachable(), lambda name: "createRoom" in name, times=1)
    scene.watch.all_of(SCHOOL.id)
    scene.watch.all_of(other.id)
    await scene.watch.idle()
    assert len(scene.rooms_of(SPACE)) == 2
    assert len(scene.rooms_of(ANNOUNCEMENTS)) == 2
