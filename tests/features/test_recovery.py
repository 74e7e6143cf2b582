"""A database that was lost: our rooms are found again by their mark, and none is made a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.core.community import ANNOUNCEMENTS, SPACE, Community, Group, Role, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.matrix.client import path
from bridge.plan.state import MARKER
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD
from tests.fakes.scene import Scene, url_in

ANN, BEA, CID = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid"))
CHESS = RoomKeyName("chess")
SCHOOL = Community(
    CommunityId("school"),
    owners=frozenset({ANN}),
    members=frozenset({CID}),
    groups=(Group(CHESS, RoomKind.OPEN, moderators=frozenset({CID})),),
)


async def after_the_loss(before: Scene, folder: Path) -> Scene:
    """The same homeserver, and an empty database."""
    await before.stop()
    folder.mkdir()
    scene = Scene(url_in(folder), homeserver=before.homeserver)
    await scene.start()
    return scene


async def settled(new_scene: Callable[..., Any]) -> Scene:
    scene: Scene = await new_scene()
    await scene.settle(SCHOOL)
    await scene.write(ANN, scene.space, "m.room.power_levels", scene.with_users(scene.space, cid=100))
    await scene.hear()
    await scene.settle(SCHOOL)
    return scene


async def test_everything_is_found_and_nothing_is_written(new_scene: Callable[..., Any], tmp_path: Path) -> None:
    before = await settled(new_scene)
    known = await before.known()
    scene = await after_the_loss(before, tmp_path / "new")
    scene.forget_requests()
    found = await scene.recovery.run([SCHOOL])
    assert set(found[SCHOOL.id]) == known.rooms.keys()
    assert (await scene.known()).rooms == known.rooms
    assert (await scene.known()).roles == {ANN: Role.OWNER, CID: Role.ADMIN}
    outcome = await scene.apply(SCHOOL)
    assert outcome.ok
    assert scene.homeserver.writes == []
    assert scene.space.level(CID) == 100
    scene.forget_requests()
    assert await scene.recovery.run([SCHOOL]) == {}
    assert scene.homeserver.requests == []
    await scene.stop()


async def test_killed_at_every_point_no_room_is_doubled(new_scene: Callable[..., Any], tmp_path: Path) -> None:
    before = await settled(new_scene)
    rooms = set(before.homeserver.rooms)
    point, scene, ended = 0, before, False
    while not ended:
        scene = await after_the_loss(scene, tmp_path / str(point))
        scene.faults.arm(point)
        try:
            await scene.recovery.run([SCHOOL])
            ended = True
        except Crash:
            await scene.die()
            await scene.start()
        scene.faults.arm(None)
        await scene.recovery.run([SCHOOL])
        assert (await scene.apply(SCHOOL)).ok
        assert set(scene.homeserver.rooms) == rooms, point
        assert scene.homeserver.aliases == {}
        point += 1
    assert point > 20
    await scene.stop()


async def test_a_room_that_can_no_longer_be_read_is_made_anew(new_scene: Callable[..., Any], tmp_path: Path) -> None:
    """Killed between noting a room and taking it: the note has no alias, and a room is not made under none."""
    before = await settled(new_scene)
    scene = await after_the_loss(before, tmp_path / "new")
    await scene.recovery.run([replace(SCHOOL, groups=())])
    memory = scene.reconciler.memory
    assert await memory.about_to_create(SCHOOL.id, CHESS, RoomKind.OPEN, "") == ""
    scene.homeserver.lose(scene.room(CHESS).room_id)
    assert (await scene.apply(SCHOOL)).ok
    assert len(scene.rooms_of(CHESS)) == 1
    assert scene.homeserver.aliases == {}
    await scene.stop()


async def test_a_mark_that_somebody_else_wrote_is_not_believed(scene: Scene) -> None:
    for key in (SPACE, ANNOUNCEMENTS):
        body = {"creation_content": {MARKER: {"community": "school", "key": key}}, "invite": [STEWARD]}
        made = await scene.homeserver.client(BEA).request("POST", path("v3", "createRoom"), body=body)
        await scene.do(STEWARD, "POST", "join", made["room_id"])
    assert await scene.recovery.run([SCHOOL]) == {}
    assert (await scene.apply(SCHOOL)).ok
    assert {scene.homeserver.room(room_id).creators for room_id in (await scene.known()).rooms.values()} == {
        frozenset({STEWARD})
    }
