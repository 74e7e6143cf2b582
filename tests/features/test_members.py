"""Who comes, goes and rises by command: what the rooms are afterwards, and that a kill at any point loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community, Group, Role, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.links import Link
from bridge.store import links
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan", "eve"))
FAR = UserId("@far:elsewhere.example")
CHESS = RoomKeyName("chess")
CLUB = Community(CommunityId("school"), name="Club", groups=(Group(CHESS, RoomKind.OPEN),))
EVERYWHERE = (SPACE, ANNOUNCEMENTS, CONTROL, GENERAL, CHESS)


async def at_home(scene: Scene) -> Scene:
    """A community whose people nobody declares: ann owns it, bea is an admin, cid moderates chess, dan is a member."""
    scene.reconciler.declare([CLUB])
    await scene.apply(CLUB)
    for user, keys in ((ANN, ()), (BEA, ()), (CID, (CHESS,)), (DAN, (CHESS,))):
        await scene.reconciler.memory.bid(CLUB.id, user, keys)
    await come_in(scene)
    for user, role in ((ANN, Role.OWNER), (BEA, Role.ADMIN)):
        await scene.members.give_role(CLUB, None, user, role)
    await scene.members.moderator(CLUB, None, CHESS, CID, add=True)
    await come_in(scene)
    return scene


async def come_in(scene: Scene) -> None:
    """Everybody who is invited accepts, until nothing is left to do."""
    for _ in range(3):
        scene.watch.look_again(CLUB.id)
        await scene.catch_up()
        await scene.accept_all()
    await scene.catch_up()


def level(scene: Scene, key: RoomKeyName, user: UserId) -> int:
    levels = scene.room(key).content("m.room.power_levels") or {}
    return int(levels["users"].get(user, 0))


def where(scene: Scene, user: UserId) -> dict[str, str]:
    """Somebody's memberships, by key, in rooms that they ever were in."""
    found = {key: scene.room(key).membership(user) for key in EVERYWHERE}
    return {key: membership for key, membership in found.items() if membership}


async def test_roles_by_command_reach_every_room(scene: Scene) -> None:
    await at_home(scene)
    assert [level(scene, key, BEA) for key in EVERYWHERE] == [100] * 5
    assert level(scene, CHESS, CID) == 50
    await scene.members.give_role(CLUB, ANN, DAN, Role.ADMIN)
    await come_in(scene)
    assert [level(scene, key, DAN) for key in EVERYWHERE] == [100] * 5
    assert scene.control_room.membership(DAN) == "join"
    await scene.members.give_role(CLUB, ANN, DAN, Role.MEMBER)
    await come_in(scene)
    assert [level(scene, key, DAN) for key in EVERYWHERE] == [0] * 5
    assert scene.control_room.membership(DAN) == "leave"
    assert any("@dan:example.org is now admin, as @ann:example.org decided" in text for text in await scene.told())


async def test_a_command_outlasts_what_an_owner_wrote_before_it(scene: Scene) -> None:
    await at_home(scene)
    await scene.write(ANN, scene.space, "m.room.power_levels", scene.with_users(scene.space, cid=100))
    await come_in(scene)
    assert level(scene, ANNOUNCEMENTS, CID) == 100
    await scene.members.give_role(CLUB, ANN, CID, Role.MEMBER)
    await scene.members.give_role(CLUB, ANN, DAN, Role.ADMIN)
    await come_in(scene)
    assert [level(scene, ANNOUNCEMENTS, user) for user in (CID, DAN)] == [0, 100]
    assert [level(scene, SPACE, user) for user in (CID, DAN)] == [0, 100]
    await scene.restart()
    await come_in(scene)
    assert [level(scene, SPACE, user) for user in (CID, DAN)] == [0, 100]


async def test_a_command_during_a_pass_is_not_undone_by_it(scene: Scene) -> None:
    await at_home(scene)
    look = await scene.reconciler.look(CLUB)
    await scene.members.give_role(CLUB, ANN, DAN, Role.ADMIN)
    await scene.members.moderator(CLUB, ANN, CHESS, DAN, add=True)
    await scene.reconciler._settle(look, [])  # the pass that had looked before comes to its end
    known = await scene.known()
    assert known.roles[DAN] is Role.ADMIN
    assert DAN in known.moderators[CHESS]


async def test_a_command_between_an_adoption_and_the_end_of_its_pass_stands(scene: Scene) -> None:
    await at_home(scene)
    await scene.write(ANN, scene.space, "m.room.power_levels", scene.with_users(scene.space, dan=100))
    await scene.reader.refresh(scene.space.room_id, "m.room.power_levels", "")
    look = await scene.reconciler.look(CLUB)
    await scene.reconciler._adopt(look)
    await scene.members.give_role(CLUB, ANN, DAN, Role.MEMBER)
    await scene.reconciler._settle(look, [])
    await come_in(scene)
    assert [level(scene, key, DAN) for key in EVERYWHERE] == [0] * 5


async def test_transfer_makes_the_one_owner_and_the_other_admin(scene: Scene) -> None:
    await at_home(scene)
    await scene.members.transfer(CLUB, ANN, DAN)
    await come_in(scene)
    assert [level(scene, SPACE, user) for user in (ANN, DAN)] == [100, 150]
    with pytest.raises(Refused, match="last owner"):
        await scene.members.give_role(CLUB, DAN, DAN, Role.MEMBER)


@pytest.mark.parametrize("ban", [False, True])
async def test_whoever_is_removed_is_out_everywhere_and_no_bid_is_left(scene: Scene, ban: bool) -> None:
    await at_home(scene)
    await scene.members.invite(CLUB, BEA, [EVE], [CHESS])
    if ban:  # else the bid alone is there to be taken back
        scene.watch.look_again(CLUB.id)
        await scene.catch_up()
    for user in (CID, DAN, EVE):
        await scene.members.remove(CLUB, BEA, user, "no manners", ban=ban)
    assert [job.user for job in await scene.members.outstanding(CLUB.id)] == [CID, DAN, EVE]
    await scene.catch_up()
    assert await scene.members.outstanding(CLUB.id) == []
    for user in (CID, DAN, EVE):
        assert set(where(scene, user).values()) <= {"ban" if ban else "leave"}, user
    known = await scene.known()
    assert not any(user in (CID, DAN, EVE) for _, user in known.bidden)
    assert known.moderators[CHESS] == frozenset()
    await scene.accept_all()
    await come_in(scene)
    assert set(where(scene, EVE).values()) <= {"ban" if ban else "leave"}


async def test_whose_ban_is_lifted_may_come_again(scene: Scene) -> None:
    await at_home(scene)
    await scene.members.remove(CLUB, BEA, DAN, "", ban=True)
    await scene.catch_up()
    with pytest.raises(Refused, match="is banned"):
        await scene.members.invite(CLUB, BEA, [DAN])
    await scene.members.unban(CLUB, BEA, DAN)
    await scene.catch_up()
    assert set(where(scene, DAN).values()) == {"leave"}
    await scene.members.invite(CLUB, BEA, [DAN], [CHESS])
    await come_in(scene)
    assert where(scene, DAN) == dict.fromkeys((SPACE, ANNOUNCEMENTS, GENERAL, CHESS), "join")


async def test_a_removal_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await at_home(await new_scene())
        scene.faults.arm(point)
        asked = False
        try:
            await scene.members.remove(CLUB, BEA, CID, "no manners", ban=True)
            asked = True
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        asked = asked or await scene.members.outstanding(CLUB.id) != []
        scene.watch.all_of(CLUB.id)
        await scene.catch_up()
        gone = set(where(scene, CID).values())
        assert gone == ({"ban"} if asked else {"join"}), f"killed at {point}"
        told = [text for text in await scene.told() if "@cid:example.org is banned" in text]
        assert len(told) == (1 if asked else 0)
        if survived:
            assert point > 10
            return
        point += 3


async def test_the_fallback_owner_takes_over_when_all_owners_are_gone(scene: Scene) -> None:
    await at_home(scene)
    with_fallback = Community(CLUB.id, name="Club", groups=CLUB.groups, fallback_owner=EVE)
    scene.reconciler.declare([with_fallback])
    await come_in(scene)
    assert where(scene, EVE) == {}
    await scene.leave(ANN, scene.space)
    await scene.catch_up()
    assert scene.space.membership(EVE) == "invite"
    assert level(scene, SPACE, EVE) == 150
    await come_in(scene)
    assert scene.control_room.membership(EVE) == "join"
    assert level(scene, SPACE, ANN) == 0
    assert any("@eve:example.org is owner now" in text for text in await scene.told())


async def test_a_community_without_owners_says_so(scene: Scene) -> None:
    await at_home(scene)
    await scene.leave(ANN, scene.space)
    await scene.catch_up()
    assert any("no other owner is there" in text for text in await scene.told())
    status = await scene.reconciler.status(CLUB)
    assert any("no other owner is there" in line for line in status["drift"])


@pytest.mark.parametrize("wanted", [False, True])
async def test_links_that_they_made_are_taken_back_where_asked(scene: Scene, wanted: bool) -> None:
    await at_home(scene)
    async with scene.database.transaction() as tx:
        for maker in (BEA, ANN):
            await links.add(tx, Link(maker[1:4], CLUB.id, maker, 1), f"secret of {maker}")
    await scene.members.remove(CLUB, ANN, BEA, "", ban=True, revoke_links=wanted)
    await scene.catch_up()
    async with scene.database.transaction() as tx:
        live = {link.maker for link in await links.of_community(tx, CLUB.id) if link.revoked_at is None}
    assert live == ({ANN} if wanted else {ANN, BEA})


JOINING = replace(CLUB, auto_join=True, owners=frozenset({ANN}), members=frozenset({BEA, FAR}))


async def test_people_are_joined_where_the_community_wants_it_and_the_homeserver_lets_us(scene: Scene) -> None:
    scene.homeserver.admins = {STEWARD, ANNOUNCER}
    scene.reconciler.declare([JOINING])
    await scene.apply(JOINING)
    everywhere = dict.fromkeys((SPACE, ANNOUNCEMENTS, GENERAL), "join")
    assert where(scene, BEA) == everywhere
    assert where(scene, ANN) == {**everywhere, CONTROL: "join"}
    assert set(where(scene, FAR).values()) == {"invite"}, "their homeserver is none of ours"
    inviter = scene.room(ANNOUNCEMENTS).state["m.room.member", BEA].get("unsigned", {})
    assert inviter, "they were invited before, and so are given the past"
    await scene.members.invite(JOINING, ANN, [CID], [CHESS])
    await scene.catch_up()
    assert where(scene, CID) == {SPACE: "invite"}, "by accepting that they agree to the rest"
    await scene.accept_all()
    await scene.catch_up()
    assert where(scene, CID) == {**everywhere, CHESS: "join"}
    await scene.leave(BEA, scene.room(GENERAL))
    await scene.leave(CID, scene.space)
    await scene.catch_up()
    assert where(scene, BEA)[GENERAL] == "leave", "and nobody brings them back"
    assert set(where(scene, CID).values()) == {"leave"}


async def test_people_are_invited_where_the_homeserver_does_not_let_us_join_them(scene: Scene) -> None:
    scene.reconciler.declare([JOINING])
    await scene.apply(JOINING)
    assert set(where(scene, BEA).values()) == {"invite"}
    scene.forget_requests()
    await scene.reconcile(JOINING)
    assert scene.homeserver.writes == [], "it is not tried again and again"


async def test_somebody_is_joined_everywhere_wherever_the_process_dies(new_scene: Callable[..., Any]) -> None:
    more = replace(JOINING, members=frozenset({BEA, FAR, DAN}))
    survived, point = False, 0
    while not survived:
        scene = await new_scene()
        scene.homeserver.admins = {STEWARD, ANNOUNCER}
        await scene.apply(JOINING)
        scene.faults.arm(point)
        try:
            await scene.apply(more)
            survived = True
        except Crash:
            await scene.die()
            await scene.start()
        scene.faults.arm(None)
        await scene.apply(more)
        assert where(scene, DAN) == dict.fromkeys((SPACE, ANNOUNCEMENTS, GENERAL), "join"), f"killed at {point}"
        moves = [event for event in scene.homeserver.feed if event.get("state_key") == DAN]
        assert len(moves) == 6, "an invite and a join in each room, and nothing twice"
        point += 1
    assert point > 6, "it died at several points"
