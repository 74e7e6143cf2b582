"""What the control room is told of what people do with their own clients, and that it is told once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.features.control_room import TOGETHER_MS
from bridge.features.reconcile.notices import MOMENT_MS
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan"))
SCHOOL = Community(CommunityId("school"), owners=frozenset({ANN}), admins=frozenset({BEA}), members=frozenset({CID}))
LEVELS = "m.room.power_levels"


@pytest.fixture
async def school(scene: Scene) -> Scene:
    """Everybody is there, and DAN, whom no list names."""
    await scene.settle(SCHOOL)
    await scene.members.invite(SCHOOL, BEA, [DAN])
    await scene.come_to_rest(SCHOOL)
    return scene


async def news(scene: Scene, seen: int) -> list[str]:
    """What was told since, without greetings."""
    return [text for text in (await scene.told())[seen:] if not text.startswith("Welcome!")]


async def test_who_leaves_or_is_removed_in_a_client_is_told_once(school: Scene) -> None:
    seen = len(await school.told())
    await school.move(BEA, school.space, "kick", DAN)
    await school.catch_up()
    assert await news(school, seen) == [f"{BEA} has removed {DAN} from the community."]
    for how, word in (("leave", f"{DAN} has left the community."), ("ban", f"{BEA} has banned {DAN} from the")):
        await school.members.invite(SCHOOL, BEA, [DAN])
        await school.come_to_rest(SCHOOL)
        seen = len(await school.told())
        if how == "leave":
            await school.leave(DAN, school.space)
        else:
            await school.move(BEA, school.space, "ban", DAN)
        await school.catch_up()
        [said] = await news(school, seen)
        assert said.startswith(word)
        assert school.announcement_room.membership(DAN) == how


async def test_who_is_removed_by_command_or_declines_is_told_by_others(school: Scene) -> None:
    await school.members.remove(SCHOOL, BEA, DAN, "", ban=False)
    await school.catch_up()
    assert sum("removed" in text and str(DAN) in text for text in await school.told()) == 1
    await school.members.invite(SCHOOL, BEA, [DAN])
    school.watch.look_again(SCHOOL.id)
    await school.catch_up()
    assert school.space.membership(DAN) == "invite"
    await school.leave(DAN, school.space)
    await school.catch_up()
    assert not any("has left" in text for text in await school.told())


async def test_a_client_that_removes_somebody_from_the_rooms_first_makes_no_false_report(school: Scene) -> None:
    seen = len(await school.told())
    for key in (GENERAL, ANNOUNCEMENTS, SPACE):
        await school.move(BEA, school.room(key), "kick", CID)
        await school.catch_up()
    school.clock.now += MOMENT_MS
    await school.catch_up()
    [said] = await news(school, seen)
    assert "removed them from the space: they stay out" in said
    # where it was that room alone, it is said
    await school.move(BEA, school.room(GENERAL), "kick", DAN)
    await school.catch_up()
    assert len(await news(school, seen)) == 1
    school.clock.now += MOMENT_MS
    await school.restart()
    school.reconciler.declare([SCHOOL])
    await school.catch_up()
    assert "but they belong there: an admin may invite them again" in (await news(school, seen))[-1]


async def test_a_role_that_the_file_decides_is_put_back_and_the_key_is_told(school: Scene) -> None:
    seen = len(await school.told())
    for levels in ({"cid": 100}, {"cid": 150}, {"bea": 0}):
        await school.write(ANN, school.space, LEVELS, school.with_users(school.space, **levels))
        await school.catch_up()
    assert (school.space.content(LEVELS) or {})["users"].get(CID, 0) == 0
    admin, owner, member = await news(school, seen)
    assert f"{ANN} made {CID} admin in the space, but `communities.school.admins` in the" in admin
    assert f"made {CID} owner in the space, but `communities.school.owners` in the" in owner
    assert f"made {BEA} member in the space, but `communities.school.admins` in the" in member
    free = replace(SCHOOL, admins=None)
    await school.come_to_rest(free)
    seen = len(await school.told())
    await school.write(ANN, school.space, LEVELS, school.with_users(school.space, cid=100))
    await school.catch_up()
    assert await news(school, seen) == [f"{CID} is now admin, as {ANN} decided."]


async def test_a_command_in_the_control_room_is_answered_there_alone(school: Scene) -> None:
    eve = UserId("@eve:example.org")
    for room, told in ((school.control_room.room_id, 0), (RoomId("!chat:example.org"), 1)):
        seen = len(await school.told())
        [said] = await school.members.invite(SCHOOL, BEA, [eve], room=room)
        assert "is invited to" in said
        assert len(await news(school, seen)) == told


async def test_whoever_comes_into_the_control_room_is_greeted_with_the_name_that_people_gave(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.write(ANN, scene.space, "m.room.name", {"name": "Springfield *High*"})
    await scene.catch_up()
    scene.clock.now += TOGETHER_MS
    greetings = [text for text in await scene.told() if text.startswith("Welcome!")]
    assert len(greetings) == 1, "both came within a moment"
    assert "!help" in greetings[0]
    assert "!help" in (scene.room(CONTROL).content("m.room.topic") or {})["topic"]
    [said] = await scene.members.invite(SCHOOL, BEA, [DAN])
    assert "Springfield" in said
    assert await scene.reconciler.name_of(SCHOOL.id) == "Springfield *High*"
