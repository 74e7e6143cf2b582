"""The end of a community: what its rooms are then, that nothing touches them, and that a kill loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import Community, Group, Join, Role, RoomKind
from bridge.core.errors import CommunitiesError, Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.languages import EN
from bridge.core.messages import AskToJoin, Welcome
from bridge.features.entering import Terms
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD
from tests.fakes.scene import Scene

ANN, BEA, DAN, EVE, FAY = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "dan", "eve", "fay"))
CHESS, GO, LATE = RoomKeyName("chess"), RoomKeyName("go"), RoomKeyName("late")
CLUB = Community(
    CommunityId("school"),
    name="The Club",
    general=True,
    listed=True,
    join=Join.REQUEST,
    owners=frozenset({ANN}),
    members=frozenset({BEA}),
    welcome="Hello!",
    groups=(
        Group(CHESS, members=frozenset({BEA, DAN}), moderators=frozenset({DAN})),
        Group(LATE, RoomKind.HIDDEN, members=frozenset({BEA})),
    ),
)


def now(scene: Scene) -> Community:
    return scene.reconciler.declared[CLUB.id]


async def settle(scene: Scene, community: Community = CLUB) -> Scene:
    """Do all that there is to do, and let everybody accept."""
    scene.reconciler.declare([community])
    for _ in range(3):
        scene.watch.all_of(community.id)
        await scene.catch_up()
        await scene.accept_all()
    await scene.catch_up()
    return scene


async def at_home(scene: Scene) -> Scene:
    """A community with a group of its people, a link, somebody who knocks, and somebody who is invited."""
    await settle(scene)
    await scene.groups.create(now(scene), ANN, "Go", RoomKind.OPEN, None, source="$go")
    await settle(scene)
    await scene.entering.make(Terms(CLUB.id, ANN))
    await scene.do(EVE, "POST", "knock", scene.space.room_id)
    await scene.move(ANN, scene.space, "invite", FAY)
    await scene.catch_up()
    scene.forget_requests()
    return scene


def levels(scene: Scene, key: str) -> dict[str, Any]:
    return dict(scene.room(key).content("m.room.power_levels") or {})


async def must_have_ended(scene: Scene, why: str = "") -> None:
    """What is true of a community that has ended."""
    space, news, chess = scene.space, scene.announcement_room, scene.room(CHESS)
    # groups live on, with their people in charge, and do not hang on the space
    for key, heir, level in ((CHESS, ANN, 150), (GO, ANN, 150), ("general", ANN, 150)):
        room = scene.room(key)
        assert room.membership(STEWARD) == "leave", f"{key} {why}"
        assert levels(scene, key)["users"][heir] == level
        assert max(levels(scene, key)["events"].values()) <= level
        assert room.content("m.room.join_rules") == {"join_rule": "invite"}
        assert not room.content("m.space.parent", space.room_id)
    assert levels(scene, CHESS)["users"][DAN] == Role.MODERATOR
    await scene.post(BEA, chess)
    # nobody is in charge of that one, so it is left as it is
    assert scene.room(LATE).membership(STEWARD) == "join"
    await scene.post(BEA, scene.room(LATE))
    # announcements can be read, and nobody writes
    for user in (ANN, BEA, ANNOUNCER):
        assert news.membership(user) == "join"
        with pytest.raises(CommunitiesError):
            await scene.post(user, news)
        with pytest.raises(CommunitiesError):
            await scene.post(user, news, "m.reaction")
    # the space says so, lists nothing that is not held, and lets nobody in
    assert space.content("m.room.name") == {"name": "The Club (deactivated)"}
    assert "deactivated on" in (space.content("m.room.topic") or {})["topic"]
    assert space.content("m.room.join_rules") == {"join_rule": "invite"}
    children = {key for kind, key in space.state if kind == "m.space.child" and space.content(kind, key)}
    assert children == {news.room_id}
    with pytest.raises(CommunitiesError):
        await scene.move(ANN, space, "invite", FAY)
    assert (space.membership(EVE), space.membership(FAY)) == ("leave", "leave")
    # nothing waits any more
    assert await scene.requests.waiting(CLUB.id) == []
    assert all(link.revoked_at is not None for link in await scene.entering.of_community(CLUB.id))
    assert await scene.deactivations.outstanding(CLUB.id) == 0
    known = await scene.known()
    assert set(known.rooms) == {"space", "announcements", "control", LATE}
    assert not known.bidden
    assert scene.reconciler.deactivated[CLUB.id].done_at is not None
    assert len([text for text in await scene.told() if "is deactivated, as" in text]) == 1


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_community_ends_and_is_left_alone_afterwards(new_scene: Callable[..., Any], version: str) -> None:
    scene = await at_home(await new_scene(version=version))
    assert await scene.deactivations.without_heirs(now(scene), ANN) == [LATE]
    jobs = await scene.deactivations.deactivate(now(scene), ANN, " the  club ")
    assert jobs
    await scene.catch_up()
    await must_have_ended(scene)
    assert scene.reconciler.declared == {}
    assert [one.by for one in scene.reconciler.ended_but_declared()] == [ANN]
    assert await scene.deactivations.ended_for(BEA) == ("The Club", EN)
    assert await scene.deactivations.ended_for(EVE) is None, "who knocked was in nothing that could end"

    # nobody is welcomed, removed, asked for or healed any more, also after a restart and a reload of the file
    await scene.restart()
    scene.reconciler.declare([replace(CLUB, name="Another name", members=frozenset())])
    scene.forget_requests()
    scene.watch.all_of(CLUB.id)
    await scene.leave(BEA, scene.space)
    await scene.arrivals.do("late", Welcome(CLUB.id, EVE))
    assert not scene.index.chats
    await scene.requests.do("again", AskToJoin(CLUB.id, EVE, "link", "x", ()))
    await scene.catch_up()
    assert scene.room(CHESS).membership(BEA) == "join"
    assert await scene.requests.waiting(CLUB.id) == []
    assert scene.space.content("m.room.name") == {"name": "The Club (deactivated)"}
    assert await scene.deactivations.ended_for(BEA) is None, "they have left it since"


async def test_a_community_with_others_within_it_does_not_end_before_them(scene: Scene) -> None:
    year = Community(CommunityId("year-1"), name="Year 1", parent=CLUB.id, general=False)
    scene.reconciler.declare([CLUB, year])
    for _ in range(3):
        for community in (CLUB, year):
            scene.watch.all_of(community.id)
        await scene.catch_up()
        await scene.accept_all()
    scene.forget_requests()
    for by in (ANN, None):
        with pytest.raises(Refused, match="communities stand within it: year-1"):
            await scene.deactivations.deactivate(now(scene), by, "The Club")
    await scene.catch_up()
    assert set(scene.reconciler.declared) == {CLUB.id, year.id}
    assert await scene.deactivations.outstanding(CLUB.id) == 0
    assert not any(" PUT " in f" {name}" for name in scene.homeserver.requests), "no room was touched"

    assert await scene.deactivations.deactivate(scene.reconciler.declared[year.id], ANN, "Year 1")
    assert await scene.deactivations.deactivate(now(scene), ANN, "The Club")
    assert scene.reconciler.declared == {}


async def test_a_pass_that_waited_meanwhile_does_not_bring_it_back(scene: Scene) -> None:
    await at_home(scene)
    before = now(scene)
    await scene.deactivations.deactivate(before, ANN, "The Club")
    await scene.catch_up()
    scene.reader.forget(scene.space.room_id)
    assert (await scene.reconciler.apply(before, fresh=True)).done == 0
    assert scene.space.content("m.room.name") == {"name": "The Club (deactivated)"}


async def test_who_may_and_what_has_to_be_typed(scene: Scene) -> None:
    await at_home(scene)
    with pytest.raises(Refused, match="only an owner"):
        await scene.deactivations.deactivate(now(scene), BEA, "The Club")
    with pytest.raises(Refused, match="not the name") as refused:
        await scene.deactivations.deactivate(now(scene), ANN, "yes")
    assert "'The Club'" in refused.value.remedy
    with pytest.raises(Refused, match="was not deactivated"):
        await scene.deactivations.reactivate(CLUB.id)
    community = now(scene)
    await scene.deactivations.deactivate(community, ANN, "The Club")
    assert await scene.deactivations.deactivate(community, ANN, "The Club") == [], "twice is once"
    with pytest.raises(Refused, match="still being deactivated"):
        await scene.deactivations.reactivate(CLUB.id)
    await scene.catch_up()
    await must_have_ended(scene)


async def test_it_begins_again_without_the_groups_that_left(scene: Scene) -> None:
    await at_home(scene)
    await scene.deactivations.deactivate(now(scene), ANN, "The Club")
    await scene.catch_up()
    await scene.deactivations.reactivate(CLUB.id)
    await settle(scene)
    assert scene.space.content("m.room.name") == {"name": "The Club"}
    assert levels(scene, "announcements")["events_default"] == 100
    assert len(scene.rooms_of(CHESS)) == 2, "a declared group is made anew"
    assert now(scene).group(GO) is None
    assert (await scene.reconciler.look(now(scene))).plan.empty


async def test_the_end_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await at_home(await new_scene())
        scene.faults.arm(point)
        try:
            await scene.deactivations.deactivate(now(scene), ANN, "The Club")
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        if CLUB.id not in scene.reconciler.deactivated:  # the message comes again
            await scene.deactivations.deactivate(now(scene), ANN, "The Club")
        await scene.catch_up()
        await must_have_ended(scene, f"killed at {point}")
        if survived:
            assert point > 30
            return
        point += 8
