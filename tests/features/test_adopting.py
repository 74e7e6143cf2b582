"""Rooms that exist taken in as groups: what is shown first, what the room is afterwards, and who comes along."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import Community, Group, Posting, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.plan import changes
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD, FakeRoom
from tests.fakes.scene import Scene

ANN, BEA, DAN, EVE, FAY, GUS = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "dan", "eve", "fay", "gus"))
CHOIR = RoomKeyName("choir")
CLUB = Community(
    CommunityId("school"),
    name="Club",
    general=False,
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({DAN}),
    groups=(Group(RoomKeyName("chess")),),
)
PUBLIC = {"join_rule": "public"}


def now(scene: Scene) -> Community:
    return scene.reconciler.declared[CLUB.id]


async def made_by(
    scene: Scene, user: UserId, *members: UserId, rule: str = "public", state: Mapping[str, Any] | None = None
) -> FakeRoom:
    """A room of somebody's, with others in it, in which the steward is invited as an admin."""
    initial = {"m.room.join_rules": {"join_rule": rule}, "m.room.name": {"name": "Choir"}, **(state or {})}
    answer = await scene.do(
        user,
        "POST",
        "createRoom",
        room_version=scene.version,
        initial_state=[{"type": kind, "content": content} for kind, content in initial.items()],
    )
    room = scene.homeserver.room(answer["room_id"])
    for member in (*members, STEWARD):
        await scene.move(user, room, "invite", member)
    for member in members:
        await scene.join(member, room)
    levels = {**(room.content("m.room.power_levels") or {})}
    await scene.write(user, room, "m.room.power_levels", {**levels, "users": {**levels["users"], STEWARD: 100}})
    return room


async def yes(scene: Scene, by: UserId, room: FakeRoom, **how: Any) -> RoomKeyName:
    """Ask for an adoption, and agree to what is shown."""
    proposal = await scene.adopting.propose(now(scene), by, room.room_id, **how)
    key: RoomKeyName = await scene.adopting.adopt(
        now(scene), by, room.room_id, proposal.group.key, proposal.group.kind, digest=proposal.digest, encrypt=True
    )
    return key


def nothing_left(found: Any) -> bool:
    """Whether a plan has nothing that the steward can do."""
    return bool(found.plan.empty)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_room_is_shown_then_taken_in_with_its_people_and_held(
    new_scene: Callable[..., Any], version: str
) -> None:
    scene = await new_scene(version=version)
    await scene.come_to_rest(CLUB)
    kept = {
        "m.room.topic": {"topic": "We sing"},
        "m.room.history_visibility": {"history_visibility": "joined"},
    }
    room = await made_by(scene, BEA, DAN, EVE, FAY, state=kept)
    room.public = True
    await scene.move(ANN, scene.space, "ban", FAY)
    await scene.catch_up()
    before = len(scene.homeserver.feed)

    proposal = await scene.adopting.propose(now(scene), BEA, room.room_id)
    assert (proposal.group.key, proposal.group.kind, proposal.encrypts) == (CHOIR, RoomKind.OPEN, True)
    assert {"set encryption", "set who may join", "set the power levels"} <= set(proposal.changes)
    assert "take out of the public directory" in proposal.changes
    assert not {"set the name", "set the description", "set who may read the history"} & set(proposal.changes)
    assert proposal.invited == (EVE,)
    assert any(FAY in change for change in proposal.changes)
    assert any(BEA in reason for reason in proposal.remains)
    # the steward has come in, and nothing else has happened
    assert [event["sender"] for event in scene.homeserver.feed[before:]] == [STEWARD]

    with pytest.raises(Refused, match="not encrypted"):
        await scene.adopting.adopt(now(scene), BEA, room.room_id)
    assert await yes(scene, BEA, room) == CHOIR
    assert await yes_again(scene, room) == CHOIR
    await scene.come_to_rest(CLUB)
    assert room.content("m.room.encryption") == {"algorithm": "m.megolm.v1.aes-sha2"}
    assert room.content("m.room.name") == {"name": "Choir"}
    assert room.content("m.room.topic") == {"topic": "We sing"}
    assert room.content("m.room.history_visibility") == {"history_visibility": "joined"}
    assert (room.content("m.room.join_rules") or {})["join_rule"] == "restricted"
    assert scene.space.content("m.space.child", room.room_id)
    assert (scene.space.membership(EVE), scene.announcement_room.membership(EVE)) == ("join", "join")
    assert (room.membership(FAY), room.membership(ANNOUNCER), room.public) == ("ban", "", False)
    levels = room.content("m.room.power_levels") or {}
    assert (levels["users"][STEWARD], levels["users"][ANN], levels["state_default"]) == (100, 99, 100)
    assert [text for text in await scene.told() if "is the group" in text]

    # it is held like any other, over a restart, and can be released
    await scene.restart()
    scene.reconciler.declare([CLUB])
    assert nothing_left(await scene.reconciler.look(now(scene)))
    await scene.write(BEA, room, "m.room.join_rules", PUBLIC)
    await scene.write(BEA, room, "m.room.name", {"name": "The choir"})
    await scene.catch_up()
    assert (room.content("m.room.join_rules") or {})["join_rule"] == "restricted"
    assert room.content("m.room.name") == {"name": "The choir"}
    await scene.groups.release(now(scene), ANN, CHOIR)
    await scene.come_to_rest(CLUB)
    assert room.membership(STEWARD) == "leave"
    assert now(scene).group(CHOIR) is None


async def yes_again(scene: Scene, room: FakeRoom) -> RoomKeyName:
    """The same message comes again after a kill."""
    key: RoomKeyName = await scene.adopting.adopt(now(scene), BEA, room.room_id, encrypt=True)
    return key


async def test_what_a_room_lacks_is_said_with_what_helps(scene: Scene) -> None:
    await scene.come_to_rest(CLUB)
    room = await made_by(scene, BEA, EVE)

    async def propose(by: UserId | None, named: str = room.room_id, **how: Any) -> Any:
        return await scene.adopting.propose(now(scene), by, named, **how)

    with pytest.raises(Refused, match="owner or admin"):
        await propose(DAN)
    with pytest.raises(Refused, match="in charge of the room"):
        await propose(ANN)
    with pytest.raises(Refused, match="room of this community already"):
        await propose(ANN, scene.space.room_id)
    with pytest.raises(Refused, match="there is no room"):
        await propose(ANN, "#nothing:example.org")
    with pytest.raises(Refused, match="there is a room of the key 'chess' already"):
        await propose(BEA, key="chess")
    await scene.write(BEA, room, "m.space.parent", {"via": ["example.org"]}, scene.space.room_id)
    assert (await propose(ANN)).group.key == CHOIR  # the room says itself where it belongs
    await scene.write(BEA, room, "m.room.power_levels", scene.with_users(room, communities=50))
    with pytest.raises(Refused, match="has level 50 in it, and needs 100") as caught:
        await propose(BEA)
    assert "gives it level 100" in caught.value.remedy
    await scene.write(BEA, room, "m.room.tombstone", {"replacement_room": "!new"})
    with pytest.raises(Refused, match="replaced by !new"):
        await propose(BEA)
    private = await made_by(scene, BEA, rule="invite")
    await scene.move(BEA, private, "kick", STEWARD)
    with pytest.raises(Refused, match="is not in the room") as caught:
        await propose(BEA, private.room_id)
    assert f"invite {STEWARD} to the room" in caught.value.remedy
    assert now(scene).groups == CLUB.groups


async def test_a_private_room_stays_private_and_who_was_removed_is_not_asked_back(scene: Scene) -> None:
    await scene.come_to_rest(CLUB)
    room = await made_by(scene, BEA, DAN, EVE, GUS, rule="invite")
    await scene.move(ANN, scene.space, "kick", DAN)
    await scene.write(BEA, room, "m.room.power_levels", scene.levels(room, events_default=50))
    await scene.catch_up()
    assert await yes(scene, BEA, room, key="singers") == "singers"
    await scene.come_to_rest(CLUB)
    group = now(scene).group(RoomKeyName("singers"))
    assert group is not None
    assert (group.kind, group.posting) == (RoomKind.HIDDEN, Posting.MODERATORS)
    assert not scene.space.content("m.space.child", room.room_id)
    assert (room.membership(DAN), scene.space.membership(DAN)) == ("leave", "leave")
    assert (room.membership(EVE), scene.space.membership(GUS)) == ("join", "join")
    await scene.leave(EVE, scene.space)
    await scene.catch_up()
    assert room.membership(EVE) == "leave"


async def test_what_changed_since_it_was_shown_is_shown_anew(scene: Scene) -> None:
    await scene.come_to_rest(CLUB)
    room = await made_by(scene, BEA, EVE)
    proposal = await scene.adopting.propose(now(scene), BEA, room.room_id)
    await scene.move(BEA, room, "kick", EVE)  # who comes and goes does not matter
    assert (await scene.adopting.propose(now(scene), BEA, room.room_id)).digest == proposal.digest
    await scene.write(BEA, room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    with pytest.raises(Refused, match="changed since it was shown"):
        await scene.adopting.adopt(now(scene), BEA, room.room_id, digest=proposal.digest, encrypt=True)


async def test_a_lost_power_is_told_with_the_level_that_helps(scene: Scene) -> None:
    await scene.come_to_rest(CLUB)
    room = await made_by(scene, BEA, EVE)
    await yes(scene, BEA, room)
    await scene.come_to_rest(CLUB)
    await scene.write(BEA, room, "m.room.power_levels", scene.with_users(room, communities=0))
    await scene.catch_up()
    found = await scene.reconciler.look(now(scene))
    assert any("raise @communities:example.org to 100" in item.reason for item in found.plan.blocked)
    await scene.write(BEA, room, "m.room.power_levels", scene.with_users(room, communities=100))
    await scene.come_to_rest(CLUB)
    assert nothing_left(await scene.reconciler.look(now(scene)))


async def test_a_room_that_an_admin_adds_to_the_space_is_offered(scene: Scene) -> None:
    await scene.come_to_rest(CLUB)
    await scene.write(BEA, scene.space, "m.space.child", {"via": ["example.org"]}, "!theirs")
    await scene.catch_up()
    assert [text for text in await scene.told() if "!theirs" in text and "`group adopt !theirs`" in text]


async def test_an_adoption_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await new_scene()
        await scene.come_to_rest(CLUB)
        room = await made_by(scene, BEA, EVE)
        scene.faults.arm(point)
        try:
            await yes(scene, BEA, room)
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        assert room.membership(EVE) == "join", f"killed at {point}"
        if CHOIR not in (await scene.known()).rooms:
            await yes(scene, BEA, room)  # the message comes again
        await scene.come_to_rest(CLUB)
        assert (room.membership(EVE), scene.space.membership(EVE)) == ("join", "join"), f"killed at {point}"
        assert room.content("m.room.encryption")
        assert nothing_left(await scene.reconciler.look(now(scene)))
        assert [RoomId(room.room_id)] == [(await scene.known()).rooms[CHOIR]]
        assert not scene.rooms_of(CHOIR)  # none was made beside it
        if survived:
            assert point > 8
            return
        point += 5


async def test_whoever_has_to_agree_to_the_rules_first_comes_back_into_their_room(scene: Scene) -> None:
    strict = replace(CLUB, rules="Be kind", rules_required=True)
    await scene.come_to_rest(strict)
    room = await made_by(scene, BEA, EVE, rule="invite")
    await yes(scene, BEA, room)
    await scene.come_to_rest(strict)
    assert (scene.space.membership(EVE), room.membership(EVE)) == ("join", "leave")
    await scene.reconciler.memory.update(CLUB.id, lambda known: changes.agreed(known, EVE))
    await scene.come_to_rest(strict)
    assert room.membership(EVE) == "join"


async def test_a_declared_group_of_the_same_key_takes_the_room_over(scene: Scene) -> None:
    await scene.come_to_rest(CLUB)
    room = await made_by(scene, BEA, EVE)
    await yes(scene, BEA, room)
    await scene.come_to_rest(replace(CLUB, groups=(*CLUB.groups, Group(CHOIR, RoomKind.HIDDEN))))
    assert room.content("m.room.join_rules") == {"join_rule": "invite"}
    assert not scene.rooms_of(CHOIR)


# --- moved to another room --------------------------------------------------------------------------------------------


async def with_choir(scene: Scene) -> FakeRoom:
    """A community with an adopted room whose maker bea is as powerful as the steward, and eve in it."""
    await scene.come_to_rest(CLUB)
    room = await made_by(scene, BEA, EVE)
    await yes(scene, BEA, room)
    await scene.come_to_rest(CLUB)
    return room


async def upgraded(scene: Scene, by: UserId, old: FakeRoom, **made: Any) -> FakeRoom:
    """What a client's room upgrade comes to: a new room with the old one's state, and a tombstone in the old one."""
    kept = ("m.room.join_rules", "m.room.encryption", "m.room.name", "m.room.history_visibility")
    levels = {key: value for key, value in (old.content("m.room.power_levels") or {}).items() if key != "users"}
    users = {**(old.content("m.room.power_levels") or {}).get("users", {})}
    if scene.version == "12":
        users.pop(by, None)
    body = {
        "room_version": scene.version,
        "creation_content": {"predecessor": {"room_id": old.room_id}},
        "initial_state": [{"type": kind, "content": old.content(kind)} for kind in kept if old.content(kind)],
        "power_level_content_override": {**levels, "users": users},
    }
    answer = await scene.do(by, "POST", "createRoom", **{**body, **made})
    new = scene.homeserver.room(answer["room_id"])
    await scene.write(by, old, "m.room.tombstone", {"body": "moved", "replacement_room": new.room_id})
    return new


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_group_is_followed_to_the_room_that_replaces_its(new_scene: Callable[..., Any], version: str) -> None:
    scene = await new_scene(version=version)
    old = await with_choir(scene)
    await scene.reconciler.memory.bid(CLUB.id, DAN, [CHOIR])
    await scene.come_to_rest(CLUB)
    new = await upgraded(scene, BEA, old)
    await scene.come_to_rest(CLUB)
    assert (await scene.known()).rooms[CHOIR] == new.room_id
    assert old.content("m.room.tombstone")  # clients lead on by it
    assert scene.space.content("m.space.child", new.room_id)
    assert not scene.space.content("m.space.child", old.room_id)
    assert new.content("m.space.parent", scene.space.room_id)
    levels = new.content("m.room.power_levels") or {}
    assert levels["users"][ANN] == 99
    assert (new.content("m.room.join_rules") or {})["allow"][0]["room_id"] == scene.space.room_id
    assert {new.membership(user) for user in (STEWARD, BEA, EVE, DAN)} == {"join"}
    assert len([text for text in await scene.told() if "to another room" in text]) == 1
    await scene.restart()
    scene.reconciler.declare([CLUB])
    assert nothing_left(await scene.reconciler.look(now(scene)))
    # it is held where it is now, and who leaves the community leaves it
    await scene.write(BEA, new, "m.room.join_rules", PUBLIC)
    await scene.leave(EVE, scene.space)
    await scene.catch_up()
    assert (new.content("m.room.join_rules") or {})["join_rule"] == "restricted"
    assert new.membership(EVE) == "leave"


async def test_a_new_room_that_is_closed_to_the_steward_is_told_and_followed_when_it_opens(scene: Scene) -> None:
    old = await with_choir(scene)
    closed = [{"type": "m.room.join_rules", "content": {"join_rule": "invite"}}]
    weak = {"users": {STEWARD: 50}}
    new = await upgraded(scene, BEA, old, initial_state=closed, power_level_content_override=weak)
    await scene.come_to_rest(CLUB)
    assert (await scene.known()).rooms[CHOIR] == old.room_id
    assert [text for text in await scene.told() if new.room_id in text and f"Invite {STEWARD} to that room" in text]
    assert scene.reconciler.left_behind == {CLUB.id}
    await scene.move(BEA, new, "invite", STEWARD)
    await scene.come_to_rest(CLUB)
    assert [text for text in await scene.told() if "has level 50 in it, and needs 100" in text]
    await scene.write(BEA, new, "m.room.power_levels", scene.with_users(new, communities=100))
    await scene.come_to_rest(CLUB)
    assert (await scene.known()).rooms[CHOIR] == new.room_id
    assert scene.reconciler.left_behind == set()


async def test_who_is_not_entitled_moves_nothing_and_nothing_is_moved_anywhere(scene: Scene) -> None:
    old = await with_choir(scene)
    elsewhere = await made_by(scene, BEA)
    scene.homeserver.tamper(old.room_id, "m.room.tombstone", {"replacement_room": elsewhere.room_id}, by=EVE)
    await scene.come_to_rest(CLUB)
    assert not old.content("m.room.tombstone")
    # a room that was not made to replace it
    await scene.write(BEA, old, "m.room.tombstone", {"replacement_room": elsewhere.room_id})
    await scene.come_to_rest(CLUB)
    assert not old.content("m.room.tombstone")
    assert elsewhere.membership(STEWARD) == "leave"
    assert [text for text in await scene.told() if "did not make to replace it" in text]
    # what people cannot make as it has to be
    for room in (scene.space, scene.announcement_room, scene.control_room):
        new = await upgraded_by_force(scene, room)
        await scene.come_to_rest(CLUB)
        assert not room.content("m.room.tombstone")
        assert new.membership(STEWARD) == ""
    assert (await scene.known()).rooms[CHOIR] == old.room_id


async def upgraded_by_force(scene: Scene, room: FakeRoom) -> FakeRoom:
    """An owner makes a new room in the place of another, whatever its levels say."""
    made = {"predecessor": {"room_id": room.room_id}}
    answer = await scene.do(ANN, "POST", "createRoom", room_version=scene.version, creation_content=made)
    scene.homeserver.tamper(room.room_id, "m.room.tombstone", {"replacement_room": answer["room_id"]}, by=ANN)
    return scene.homeserver.room(answer["room_id"])


async def test_following_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await new_scene()
        old = await with_choir(scene)
        new = await upgraded(scene, BEA, old)
        scene.faults.arm(point)
        with contextlib.suppress(Crash):
            await scene.catch_up()
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        await scene.come_to_rest(CLUB)
        assert (await scene.known()).rooms[CHOIR] == new.room_id, f"killed at {point}"
        assert new.membership(EVE) == "join", f"killed at {point}"
        assert nothing_left(await scene.reconciler.look(now(scene)))
        assert len([text for text in await scene.told() if "to another room" in text]) == 1
        if survived:
            assert point > 8
            return
        point += 4
