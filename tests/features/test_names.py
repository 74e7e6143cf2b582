"""A community and its groups are called as their people call them, wherever the file does not name them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from bridge.app.announcing import AnnouncementDesk
from bridge.app.house import House
from bridge.core.community import SPACE, Community, Group, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.markup import plain
from tests.fakes.homeserver import ANNOUNCER
from tests.fakes.scene import Scene

ANN, CID = (UserId(f"@{name}:example.org") for name in ("ann", "cid"))
CHESS = RoomKeyName("chess")
SCHOOL = Community(
    CommunityId("school"),
    owners=frozenset({ANN}),
    members=frozenset({CID}),
    welcome="Good to have you here!",
    groups=(Group(CHESS, RoomKind.OPEN, members=frozenset({ANN})),),
)


@pytest.fixture
async def named(scene: Scene) -> Scene:
    """An owner has named both in their client."""
    await scene.settle(SCHOOL)
    for room, name in ((scene.space, "Springfield School"), (scene.room(CHESS), "Knights of chess")):
        await scene.write(ANN, room, "m.room.name", {"name": name})
    await scene.catch_up()
    assert await scene.reconciler.name_of(SCHOOL.id) == "Springfield School"
    return scene


async def test_newcomers_are_welcomed_by_these_names(named: Scene) -> None:
    eve = UserId("@eve:example.org")
    await named.reconciler.memory.bid(SCHOOL.id, eve)
    named.watch.look_again(SCHOOL.id)
    for _ in range(3):
        await named.catch_up()
        await named.accept_all()
    await named.catch_up()
    [welcome] = [text for text in named.messenger.said() if "Good to have you here!" in text]
    assert welcome.startswith("Welcome to Springfield School!")
    assert "Knights of chess" in welcome


async def test_groups_are_listed_and_told_by_these_names(named: Scene) -> None:
    assert [group.name for group in await named.groups.listed(SCHOOL)] == ["Knights of chess"]
    await named.newsroom.admitting.change(SCHOOL, ANN, CHESS, admit=True, source="$asked")
    named.watch.look_again(SCHOOL.id)
    await named.catch_up()
    assert named.room(CHESS).membership(ANNOUNCER) == "join"
    [hello] = named.messenger.said(named.room(CHESS).room_id)
    assert "Springfield School" in hello


async def test_polls_and_events_go_to_the_community_by_its_name(named: Scene) -> None:
    house = SimpleNamespace(newsroom=named.newsroom, reconciler=named.reconciler, clock=named.clock)
    desk = AnnouncementDesk(cast(House, house))
    room = named.control_room.room_id
    for deed, text in (("poll", "Where? | Zoo | Park"), ("event", "Party; 2027-07-04 18:30; Yard")):
        answer = await desk.do(deed, SCHOOL, ANN, {"source": f"${deed}", "room": room, "text": text})
        assert "goes to Springfield School." in plain(answer["said"][0])


async def test_what_has_to_be_typed_to_end_it_is_its_name(named: Scene) -> None:
    assert await named.deactivations.name_of(SCHOOL) == "Springfield School"
    assert SPACE in (await named.known()).rooms
