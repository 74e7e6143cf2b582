"""Bringing rooms to what is declared: from nothing, again, with failures, and whatever people did meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community, Group, Role, RoomKind
from bridge.core.errors import BadRequest, RateLimited, Refused, Unreachable
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.features.reconcile import Rules
from bridge.plan.safety import Thresholds
from bridge.plan.state import Known
from tests.fakes.homeserver import ANNOUNCER, STEWARD
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan", "eve"))
CHESS, BOARD = RoomKeyName("chess"), RoomKeyName("board")
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID, DAN}),
    groups=(
        Group(CHESS, RoomKind.REQUEST, moderators=frozenset({CID})),
        Group(BOARD, RoomKind.HIDDEN, members=frozenset({ANN, DAN})),
    ),
)
LEVELS = "m.room.power_levels"


def unreachable() -> Unreachable:
    return Unreachable("HTTP 502", status=502)


def invites(scene: Scene, user: UserId) -> list[str]:
    """The keys of the rooms that somebody was invited to, once for every invite."""
    keys = {room_id: place.key for room_id, place in scene.index.places.items()}
    return sorted(
        str(keys.get(event["room_id"]))
        for event in scene.homeserver.feed
        if event["type"] == "m.room.member"
        and event["state_key"] == user
        and event["content"]["membership"] == "invite"
    )


# --- from nothing ---------------------------------------------------------------------------------------------------


async def test_everything_is_made_from_nothing(new_scene: Callable[..., Any], room_version: str) -> None:
    scene = await new_scene(version=room_version)
    outcome = await scene.apply(SCHOOL)
    assert outcome.ok
    assert not outcome.blocked
    for key in (SPACE, ANNOUNCEMENTS, CONTROL, GENERAL, CHESS, BOARD):
        room = scene.room(key)
        assert room.version == room_version
        assert room.membership(STEWARD) == "join"
        assert (room.content("m.room.encryption") is not None) == (key != SPACE)
    children = {key for kind, key in scene.space.state if kind == "m.space.child"}
    assert children == {scene.room(key).room_id for key in (ANNOUNCEMENTS, GENERAL, CHESS)}
    rooms = {key: scene.room(key) for key in (SPACE, ANNOUNCEMENTS, CONTROL, GENERAL, CHESS, BOARD)}
    assert {key for key, room in rooms.items() if room.membership(ANNOUNCER)} == {ANNOUNCEMENTS, CONTROL}
    assert invites(scene, ANN) == ["announcements", "board", "control", "general", "space"]
    assert invites(scene, BEA) == ["announcements", "control", "general", "space"]
    assert invites(scene, CID) == ["announcements", "chess", "general", "space"]
    assert scene.announcement_room.state["m.room.member", DAN]["sender"] == ANNOUNCER
    assert scene.homeserver.aliases == {}


async def test_a_repeat_writes_nothing_and_asks_nothing(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    scene.forget_requests()
    outcome = await scene.apply(SCHOOL)
    assert outcome.done == 0
    assert scene.homeserver.requests == []


async def test_a_repeat_in_another_process_reads_each_room_once_and_writes_nothing(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.restart()
    scene.forget_requests()
    assert (await scene.apply(SCHOOL)).done == 0
    assert scene.homeserver.writes == []
    assert len(scene.homeserver.requests) <= 7  # six rooms, and whether the space is listed


async def test_a_plan_changes_nothing(scene: Scene) -> None:
    look = await scene.reconciler.look(SCHOOL)
    assert not look.plan.empty
    assert scene.homeserver.requests == []
    assert await scene.known() == Known()


async def test_few_requests_build_a_community(scene: Scene) -> None:
    await scene.apply(SCHOOL)
    memberships = sum(len(invites(scene, user)) for user in (ANN, BEA, CID, DAN))
    assert len(scene.homeserver.requests) <= 15 * 6 + memberships


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", range(0, 40, 3))
async def test_a_failure_stands_in_the_outcome_and_the_next_pass_mends_it(scene: Scene, nth: int) -> None:
    scene.faults.fail_nth(unreachable(), nth)
    try:
        first = await scene.apply(SCHOOL)
    except Unreachable:  # it was the second look that failed
        assert scene.homeserver.requests[-1].startswith("GET")
    else:
        assert "502" in first.failures[0].why
    await scene.settle(SCHOOL)
    assert len(scene.homeserver.rooms) == 6
    assert scene.homeserver.aliases == {}
    assert invites(scene, DAN) == ["announcements", "board", "general", "space"]


async def test_a_failure_in_one_room_stops_no_other(scene: Scene) -> None:
    refused = BadRequest("no such user", status=400, errcode="M_UNKNOWN")
    scene.faults.fail(
        refused, lambda name: "createRoom" not in name and name.endswith("/invite as " + STEWARD), times=1
    )
    outcome = await scene.apply(SCHOOL)
    assert outcome.failures[0].why == "no such user"
    assert {failure.room for failure in outcome.failures} == {"announcements"}
    assert len(scene.homeserver.rooms) == 6
    missing = {(user, "announcements") for user in (ANN, BEA, CID, DAN)}
    assert not missing & {(user, key) for user in (ANN, BEA, CID, DAN) for key in invites(scene, user)}
    assert sum(len(invites(scene, user)) for user in (ANN, BEA, CID, DAN)) == 5 + 4 + 4 + 4 - 4
    assert (await scene.apply(SCHOOL)).ok
    assert sum(len(invites(scene, user)) for user in (ANN, BEA, CID, DAN)) == 5 + 4 + 4 + 4


async def test_a_room_that_cannot_be_made_stops_no_other(scene: Scene) -> None:
    scene.faults.fail(RateLimited("slow down", status=429), lambda name: "createRoom" in name, times=1)
    outcome = await scene.apply(SCHOOL)  # the space is the first, and everything waits for it
    assert all("slow down" in failure.why or "waits for" in failure.why for failure in outcome.failures)
    await scene.settle(SCHOOL)
    assert len(scene.homeserver.rooms) == 6


async def test_a_lasting_failure_keeps_no_other_room_from_its_second_look(scene: Scene) -> None:
    refused = BadRequest("no such user", status=400, errcode="M_UNKNOWN")
    await scene.settle(SCHOOL)
    scene.homeserver.tamper(scene.room(CHESS).room_id, "m.room.history_visibility", {}, by=STEWARD)
    await scene.restart()
    with_eve = replace(SCHOOL, members=frozenset({CID, DAN, EVE}))
    scene.faults.fail(refused, lambda name: name.endswith("/invite as " + STEWARD), times=None)
    outcome = await scene.apply(with_eve)
    assert outcome.failures
    assert scene.room(CHESS).content("m.room.history_visibility") == {"history_visibility": "shared"}
    # what failed is tried again; what worked is remembered
    scene.faults.heal()
    await scene.settle(with_eve)
    assert invites(scene, EVE) == ["announcements", "general", "space"]


async def test_what_is_unreachable_while_looking_changes_nothing(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.restart()
    scene.faults.fail(unreachable(), times=None)
    scene.forget_requests()
    with pytest.raises(Unreachable):
        await scene.apply(SCHOOL)
    assert scene.homeserver.writes == []


# --- held, and in force ---------------------------------------------------------------------------------------------


def crowd(*names: str) -> frozenset[UserId]:
    return frozenset(UserId(f"@{name}:example.org") for name in names)


MANY = crowd(*(f"m{number}" for number in range(12)))


async def test_an_unsafe_plan_is_held_and_what_is_in_force_goes_on(scene: Scene) -> None:
    big = replace(SCHOOL, members=MANY, groups=())
    await scene.settle(big)
    fewer = replace(big, members=crowd("m0"))
    outcome = await scene.reconcile(fewer)
    assert outcome.unsafe
    assert not outcome.ok
    digest = await scene.reconciler.held(CommunityId("school"))
    assert digest is not None
    assert any(digest in text and "11 people" in text for text in await scene.told())
    assert all(scene.space.membership(user) == "join" for user in MANY)
    # drift is healed meanwhile
    content = scene.levels(scene.announcement_room, events_default=0)
    scene.homeserver.tamper(scene.announcement_room.room_id, LEVELS, content, by=STEWARD)
    await scene.hear()
    assert scene.announcement_room.needed("m.room.encrypted", state=False) == 100
    assert await scene.reconciler.held(CommunityId("school")) == digest
    # told once
    await scene.reconcile(fewer)
    assert sum(digest in text for text in await scene.told()) == 1
    [(text, mentioned)] = scene.messenger.calls(scene.control_room.room_id)
    assert digest in text
    assert mentioned == [ANN]
    # an owner's word
    with pytest.raises(Refused):
        await scene.reconciler.agree(CommunityId("school"), "another")
    outcome = await scene.reconciler.agree(CommunityId("school"), digest)
    assert outcome.ok
    assert scene.space.members("join") & MANY == crowd("m0")
    assert await scene.reconciler.held(CommunityId("school")) is None


async def test_what_an_owner_decides_while_a_plan_is_held_is_kept(scene: Scene) -> None:
    big = replace(SCHOOL, members=MANY, admins=None, groups=())
    await scene.settle(big)
    fewer = replace(big, members=crowd("m0"))
    await scene.reconcile(fewer)
    content = scene.with_users(scene.space, m1=100)
    content = {**content, "events": {**content["events"], "m.room.pinned_events": 0}}
    await scene.write(ANN, scene.space, LEVELS, content)  # a role, and a threshold with it
    await scene.hear()
    await scene.hear()
    assert scene.space.needed("m.room.pinned_events", state=True) == 100
    assert scene.space.level("@m1:example.org") == 100
    assert scene.announcement_room.level("@m1:example.org") == 100
    assert (await scene.known()).roles[UserId("@m1:example.org")] is Role.ADMIN


async def test_the_first_plan_may_be_unsafe_too(scene: Scene) -> None:
    """A room that was recorded as ours and carries another's mark is not touched without a word."""
    await scene.settle(SCHOOL)
    create = scene.room(CHESS).state["m.room.create", ""]
    create["content"] = {"room_version": "12"}
    await scene.restart()
    outcome = await scene.reconcile(replace(SCHOOL, groups=(replace(SCHOOL.groups[0], name="Other"),)))
    assert any("mark" in reason for reason in outcome.unsafe)
    assert scene.homeserver.room(create["room_id"]).content("m.room.name") == {"name": "chess"}


async def test_thresholds_come_from_the_rules(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=Rules(thresholds=Thresholds(share=0.0, at_least=0)))
    await scene.settle(SCHOOL)
    outcome = await scene.apply(replace(SCHOOL, members=frozenset({CID}), groups=()))
    assert outcome.unsafe


async def test_a_plan_that_changed_since_it_was_shown_is_refused_and_nothing_is_done(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    fewer = replace(SCHOOL, name="Another")
    look = await scene.reconciler.look(fewer)
    scene.homeserver.tamper(scene.space.room_id, "m.room.topic", {"topic": "x"}, by=STEWARD)
    await scene.restart()
    scene.forget_requests()
    with pytest.raises(Refused, match="shown"):
        await scene.apply(fewer, digest=look.plan.digest, force=True)
    assert scene.homeserver.writes == []


# --- what people did ------------------------------------------------------------------------------------------------


async def test_a_role_given_in_the_space_is_taken_over_everywhere_and_outlives_a_restart(scene: Scene) -> None:
    community = replace(SCHOOL, admins=None)
    await scene.settle(community)
    await scene.write(ANN, scene.space, LEVELS, scene.with_users(scene.space, dan=100))
    await scene.hear()
    assert scene.announcement_room.level(DAN) == 100
    assert scene.room(CHESS).level(DAN) == 100
    assert scene.control_room.membership(DAN) == "invite"
    assert any("@dan:example.org is now admin" in text for text in await scene.told())
    await scene.restart()
    assert (await scene.known()).roles == {ANN: Role.OWNER, DAN: Role.ADMIN}
    scene.forget_requests()
    assert (await scene.apply(community)).done == 0


async def test_a_role_that_is_declared_is_put_back(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.write(ANN, scene.space, LEVELS, scene.with_users(scene.space, dan=100))
    await scene.hear()
    assert scene.space.level(DAN) == 0


async def test_a_name_given_by_an_admin_is_kept_over_a_restart(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.write(BEA, scene.room(GENERAL), "m.room.name", {"name": "Coffee"})
    await scene.hear()
    await scene.restart()
    assert (await scene.apply(SCHOOL)).done == 0
    assert scene.room(GENERAL).content("m.room.name") == {"name": "Coffee"}


async def test_a_key_that_is_taken_out_of_the_declaration_is_handed_to_the_people(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    handed = replace(SCHOOL, name=None, admins=None)
    await scene.settle(handed)
    assert scene.space.content("m.room.name") == {"name": "School"}
    assert scene.space.level(BEA) == 100
    await scene.write(ANN, scene.space, "m.room.name", {"name": "Ours"})
    await scene.write(ANN, scene.space, LEVELS, scene.with_users(scene.space, bea=0))
    await scene.hear()
    assert scene.space.content("m.room.name") == {"name": "Ours"}
    assert scene.announcement_room.level(BEA) == 0


async def test_somebody_who_leaves_the_space_goes_from_everywhere_and_may_come_back(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.leave(DAN, scene.space)
    await scene.hear()
    assert {scene.room(key).membership(DAN) for key in (ANNOUNCEMENTS, GENERAL, BOARD)} == {"leave"}
    scene.forget_requests()
    await scene.reconcile(SCHOOL, fresh=True)
    assert scene.homeserver.writes == []
    await scene.move(BEA, scene.space, "invite", DAN)
    await scene.join(DAN, scene.space)
    await scene.hear()
    assert {scene.room(key).membership(DAN) for key in (ANNOUNCEMENTS, GENERAL, BOARD)} == {"invite"}


async def test_a_ban_in_the_space_is_a_ban_everywhere_and_is_lifted_everywhere(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.move(BEA, scene.space, "ban", DAN)
    await scene.hear()
    assert {scene.room(key).membership(DAN) for key in (ANNOUNCEMENTS, GENERAL, BOARD)} == {"ban"}
    await scene.move(BEA, scene.space, "unban", DAN)
    await scene.hear()
    assert "ban" not in {scene.room(key).membership(DAN) for key in (ANNOUNCEMENTS, GENERAL, BOARD)}


async def test_a_declined_invite_stays_declined(scene: Scene) -> None:
    await scene.apply(SCHOOL)
    for room in (scene.space, scene.announcement_room, scene.room(GENERAL)):
        await scene.leave(CID, room)
    await scene.hear()
    await scene.restart()
    await scene.reconcile(SCHOOL, fresh=True)
    assert scene.space.membership(CID) == "leave"
    assert invites(scene, CID) == ["announcements", "chess", "general", "space"]


# --- bidden in ------------------------------------------------------------------------------------------------------


async def test_somebody_bidden_is_invited_and_once_they_have_joined_into_their_groups(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.reconciler.memory.bid(SCHOOL.id, EVE, [CHESS])
    await scene.restart()  # a bid is stored
    await scene.apply(SCHOOL)
    assert invites(scene, EVE) == ["space"]
    await scene.join(EVE, scene.space)
    await scene.hear()
    assert invites(scene, EVE) == ["announcements", "chess", "general", "space"]
    assert scene.announcement_room.state["m.room.member", EVE]["sender"] == ANNOUNCER
    assert (await scene.known()).bidden == frozenset()
    await scene.leave(EVE, scene.room(CHESS))
    await scene.leave(EVE, scene.room(GENERAL))
    await scene.hear()
    assert invites(scene, EVE) == ["announcements", "chess", "general", "space"]


async def test_who_declined_or_left_may_be_bidden_again(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.leave(DAN, scene.space)
    await scene.hear()
    await scene.reconciler.memory.bid(SCHOOL.id, DAN, [BOARD])
    await scene.apply(SCHOOL)
    assert scene.space.membership(DAN) == "invite"
    await scene.join(DAN, scene.space)
    await scene.hear()
    assert {scene.room(key).membership(DAN) for key in (ANNOUNCEMENTS, GENERAL, BOARD)} == {"invite"}
    await scene.leave(DAN, scene.room(BOARD))
    await scene.hear()
    await scene.reconciler.memory.bid(SCHOOL.id, DAN, [BOARD])
    await scene.apply(SCHOOL)
    assert scene.room(BOARD).membership(DAN) == "invite"


async def test_nobody_banned_or_removed_is_bidden_in(scene: Scene) -> None:
    removed = replace(SCHOOL, removed=frozenset({EVE}))
    await scene.settle(removed)
    await scene.move(BEA, scene.space, "ban", DAN)
    await scene.hear()
    for user in (DAN, EVE):
        await scene.reconciler.memory.bid(SCHOOL.id, user, [CHESS])
    await scene.apply(removed)
    assert scene.space.membership(DAN) == "ban"
    assert invites(scene, EVE) == []
    assert (await scene.known()).bidden == frozenset()


# --- named no longer ------------------------------------------------------------------------------------------------

WITHOUT_DAN = replace(
    SCHOOL,
    members=frozenset({CID}),
    groups=(SCHOOL.groups[0], replace(SCHOOL.groups[1], members=frozenset({ANN}))),
)


async def test_whoever_is_named_no_longer_is_removed_everywhere_and_may_be_named_again(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.settle(WITHOUT_DAN)
    assert not [room for room in scene.homeserver.rooms.values() if room.membership(DAN) == "join"]
    await scene.settle(SCHOOL)
    assert scene.room(BOARD).membership(DAN) == "join"
    assert scene.announcement_room.membership(DAN) == "join"


async def test_a_removal_that_failed_half_way_is_finished_by_the_next_pass(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    board = scene.room(BOARD).room_id
    space = scene.space.room_id
    for room_id in (board, space):
        scene.faults.fail(unreachable(), partial(_kicks, room_id))
    outcome = await scene.apply(WITHOUT_DAN)
    assert len(outcome.failures) == 2
    await scene.restart()
    await scene.apply(WITHOUT_DAN)
    assert not [room for room in scene.homeserver.rooms.values() if room.membership(DAN) == "join"]


def _kicks(room_id: str, name: str) -> bool:
    return "/kick" in name and room_id[1:] in name


async def test_whoever_leaves_a_group_only_stays_a_member(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    community = replace(SCHOOL, groups=(SCHOOL.groups[0], replace(SCHOOL.groups[1], members=frozenset({ANN}))))
    await scene.settle(community)
    assert (scene.room(BOARD).membership(DAN), scene.space.membership(DAN)) == ("leave", "join")


async def test_a_removal_that_was_blocked_is_finished_when_it_can_be(new_scene: Callable[..., Any]) -> None:
    """Somebody has as much power as the steward in one group: their removal waits, it is not forgotten."""
    scene = await new_scene(version="11")
    await scene.settle(SCHOOL)
    board = scene.room(BOARD)
    scene.homeserver.tamper(board.room_id, LEVELS, scene.with_users(board, dan=200), by=STEWARD)
    await scene.restart()
    community = replace(SCHOOL, groups=(SCHOOL.groups[0], replace(SCHOOL.groups[1], members=frozenset({ANN}))))
    outcome = await scene.apply(community)
    assert any("@dan:example.org" in item.reason for item in outcome.blocked)
    await scene.restart()
    await scene.apply(community)
    scene.homeserver.tamper(board.room_id, LEVELS, scene.with_users(board, dan=0), by=STEWARD)
    await scene.restart()
    await scene.apply(community)
    assert board.membership(DAN) == "leave"
    assert scene.space.membership(DAN) == "join"


async def test_a_removal_reaches_a_room_that_could_not_be_read_then(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.restart()
    board, space = scene.room(BOARD), scene.space
    lost = {room.room_id: scene.homeserver.rooms.pop(room.room_id) for room in (board, space)}
    await scene.apply(WITHOUT_DAN)
    scene.homeserver.rooms.update(lost)
    await scene.restart()
    await scene.apply(WITHOUT_DAN)
    assert (board.membership(DAN), space.membership(DAN)) == ("leave", "leave")


async def test_a_group_that_comes_back_knows_whom_it_named(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.settle(replace(SCHOOL, groups=(SCHOOL.groups[0],)))
    assert scene.room(BOARD).membership(DAN) == "join"  # a group gone from the declaration is left alone
    await scene.restart()
    back = replace(SCHOOL, groups=(SCHOOL.groups[0], replace(SCHOOL.groups[1], members=frozenset({ANN}))))
    await scene.settle(back)
    assert len(scene.rooms_of(BOARD)) == 1
    assert scene.room(BOARD).membership(DAN) == "leave"
    assert scene.space.membership(DAN) == "join"


# --- lost rooms -----------------------------------------------------------------------------------------------------


async def test_a_lost_room_is_reported_and_made_anew_only_when_asked(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    old = scene.control_room.room_id
    scene.homeserver.lose(old)
    await scene.restart()
    outcome = await scene.apply(SCHOOL)
    assert [item.room for item in outcome.blocked] == [CONTROL]
    outcome = await scene.apply(SCHOOL, force=True)
    assert scene.rooms_of(CONTROL) == []
    outcome = await scene.apply(SCHOOL, remake=True)
    assert outcome.ok
    assert scene.control_room.room_id != old
    assert scene.index.place_of(old) is None
    assert scene.index.room_of(CommunityId("school"), CONTROL) == scene.control_room.room_id
    assert scene.control_room.membership(BEA) == "invite"


async def test_a_lost_space_is_made_anew_and_its_rooms_follow(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    scene.homeserver.lose(scene.space.room_id)
    await scene.restart()
    outcome = await scene.apply(SCHOOL, remake=True, force=True)
    assert outcome.ok
    await scene.accept_all()
    await scene.settle(SCHOOL)
    allow = (scene.room(GENERAL).content("m.room.join_rules") or {})["allow"]
    assert allow == [{"type": "m.room_membership", "room_id": scene.space.room_id}]


# --- fights ---------------------------------------------------------------------------------------------------------

PEACEFUL = Rules(freeze_after=2, freeze_window_ms=60_000)


async def test_a_fight_over_levels_ends_in_a_lock_that_an_owner_lifts(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    room = scene.announcement_room
    for _ in range(3):
        assert room.needed("m.room.encrypted", state=False) == 100
        scene.homeserver.tamper(room.room_id, LEVELS, scene.levels(room, events_default=0), by=STEWARD)
        await scene.hear()
    assert room.needed("m.room.encrypted", state=False) == 200
    assert any("@ann:example.org" in text and "!thaw school" in text for text in await scene.told())
    [(text, mentioned)] = scene.messenger.calls(scene.control_room.room_id)
    assert "I have locked it" in text
    assert mentioned == [ANN]
    await scene.restart()
    scene.forget_requests()
    await scene.reconcile(SCHOOL, fresh=True)
    assert scene.homeserver.writes == []
    assert "announcements: locked after a fight" in (await scene.reconciler.status(SCHOOL))["drift"]
    await scene.reconciler.thaw(CommunityId("school"))
    await scene.reconcile(SCHOOL)
    assert room.needed("m.room.encrypted", state=False) == 100


async def test_a_fight_in_the_control_room_locks_nothing_and_says_so(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    room = scene.control_room
    for number in range(4):
        scene.homeserver.tamper(room.room_id, LEVELS, scene.levels(room, invite=number), by=STEWARD)
        await scene.hear()
    await scene.told()
    [(text, mentioned)] = scene.messenger.calls(room.room_id)
    assert "have not locked it" in text
    assert "!thaw school" in text
    assert mentioned == [ANN]
    assert room.needed("m.room.encrypted", state=False) == 0
    assert room.threshold("invite") == 200
    [line] = (await scene.reconciler.status(SCHOOL))["drift"]
    assert line.endswith("is not locked")
    await scene.reconciler.thaw(CommunityId("school"))
    assert (await scene.reconciler.status(SCHOOL))["drift"] == []


async def test_an_owner_fighting_over_the_space_loses_its_levels_until_the_thaw(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    for number in range(3):
        await scene.write(ANN, scene.space, LEVELS, scene.levels(scene.space, invite=number))
        await scene.hear()
    assert scene.space.needed(LEVELS, state=True) == 200


async def test_slow_changes_are_no_fight(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    room = scene.announcement_room
    for _ in range(5):
        scene.homeserver.tamper(room.room_id, LEVELS, scene.levels(room, events_default=0), by=STEWARD)
        await scene.hear()
        scene.clock.now += 60_001
    assert room.needed("m.room.encrypted", state=False) == 100


async def test_a_fight_over_a_name_gives_up_the_name_alone(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    for number in range(4):
        await scene.write(ANN, scene.space, "m.room.name", {"name": f"Mine {number}"})
        await scene.hear()
    assert scene.space.content("m.room.name") == {"name": "Mine 3"}
    assert scene.space.needed(LEVELS, state=True) == 150
    assert any("the name of" in text for text in await scene.told())
    assert scene.messenger.calls(scene.control_room.room_id) == []


async def test_our_own_failures_are_no_fight(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    room = scene.announcement_room
    scene.homeserver.tamper(room.room_id, LEVELS, scene.levels(room, events_default=0), by=STEWARD)
    await scene.restart()
    scene.faults.fail(unreachable(), lambda name: name.startswith("PUT") and "power_levels" in name, times=None)
    for _ in range(5):
        await scene.reconcile(SCHOOL)
    scene.faults.heal()
    await scene.reconcile(SCHOOL)
    assert room.needed("m.room.encrypted", state=False) == 100


async def test_links_that_an_admin_takes_away_are_put_back_and_lock_nothing(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(rules=PEACEFUL)
    await scene.settle(SCHOOL)
    for key in (ANNOUNCEMENTS, GENERAL, CHESS):
        await scene.write(BEA, scene.space, "m.space.child", {}, scene.room(key).room_id)
    await scene.hear()
    assert all(scene.space.content("m.space.child", scene.room(key).room_id) for key in (ANNOUNCEMENTS, GENERAL, CHESS))
    assert scene.space.needed(LEVELS, state=True) == 150


async def test_links_that_members_got_in_are_taken_away_and_an_admins_stays_when_they_are_none_any_more(
    scene: Scene,
) -> None:
    await scene.settle(SCHOOL)
    space = scene.space
    await scene.write(BEA, space, "m.space.child", {"via": ["example.org"]}, "!tea:example.org")
    await scene.hear()
    levels = scene.levels(space, state_default=0)
    levels["events"] = {**levels["events"], "m.space.child": 0}
    scene.homeserver.tamper(space.room_id, LEVELS, levels, by=STEWARD)
    for key in ("!spam:example.org", DAN):
        await scene.write(DAN, space, "m.space.child", {"via": ["example.org"]}, key)
    await scene.write(DAN, space, "m.space.parent", {"via": ["example.org"], "canonical": True}, "!club:example.org")
    await scene.hear()
    assert space.content("m.space.child", "!spam:example.org") == {}
    assert space.content("m.space.child", DAN) == {}
    assert space.content("m.space.parent", "!club:example.org") == {}
    await scene.settle(replace(SCHOOL, admins=frozenset(), members=frozenset({BEA, CID, DAN})))
    assert space.content("m.space.child", "!tea:example.org") == {"via": ["example.org"]}
    told = "\n".join(await scene.told())
    assert told.count("added !tea:example.org") == 1
    assert "!spam:example.org" not in told


# --- reports --------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_mended_is_reported_once_and_again_when_it_returns(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.leave(CID, scene.space)
    await scene.hear()
    await scene.reconcile(SCHOOL)
    assert sum("@cid:example.org" in text and "left or declined" in text for text in await scene.told()) == 1
    await scene.move(BEA, scene.space, "invite", CID)
    await scene.hear()
    scene.clock.now += 1000
    await scene.leave(CID, scene.space)
    await scene.hear()
    assert sum("@cid:example.org" in text and "left or declined" in text for text in await scene.told()) == 2


async def test_a_report_waits_for_the_control_room(scene: Scene) -> None:
    """What is found before there is a room to tell it in is told when there is one."""
    await scene.settle(SCHOOL)
    await scene.leave(CID, scene.space)
    lost = scene.homeserver.rooms.pop(scene.control_room.room_id)
    known = await scene.known()
    async with scene.database.transaction() as tx:
        await tx.execute("DELETE FROM room WHERE key = 'control'")
    await scene.restart()
    assert CONTROL in known.rooms
    scene.faults.fail(unreachable(), lambda name: "createRoom" in name, times=None)
    await scene.reconcile(SCHOOL, fresh=True)
    scene.faults.heal()
    await scene.reconcile(SCHOOL)
    assert lost.room_id != scene.control_room.room_id
    assert any("@cid:example.org" in text and "left or declined" in text for text in await scene.told())


async def test_what_is_wanted_now_is_tried_though_something_alike_was_refused(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    refused = BadRequest("not that one", status=400, errcode="M_UNKNOWN")
    scene.faults.fail(refused, lambda name: "m.room.name" in name and name.startswith("PUT"), times=1)
    outcome = await scene.reconcile(replace(SCHOOL, name="A name that is refused"))
    assert [failure.why for failure in outcome.failures] == ["not that one"]
    outcome = await scene.reconcile(replace(SCHOOL, name="A better name"))
    assert outcome.ok
    assert scene.space.content("m.room.name") == {"name": "A better name"}


async def test_a_space_that_cannot_be_read_gives_nobody_a_role_and_keeps_no_other_community_from_theirs(
    scene: Scene,
) -> None:
    club = replace(SCHOOL, id=CommunityId("club"))
    for community in (SCHOOL, club):
        await scene.apply(community)
        await scene.accept_all()
        await scene.hear()
    scene.reconciler.declare([SCHOOL, club])
    lost = (await scene.known(club.id)).rooms[SPACE]
    scene.homeserver.lose(lost)
    scene.reader.forget(lost)
    assert [await scene.reconciler.role_of(one.id, BEA) for one in (club, SCHOOL)] == [None, Role.ADMIN]
