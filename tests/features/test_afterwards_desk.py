"""Who may do what about an announcement that was sent, and how they name it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from bridge.app.afterwards import DEEDS, AfterwardsDesk
from bridge.app.house import House
from bridge.core.announcements import Audience, Target
from bridge.core.community import Community, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.messages import KeepPins, PostAgain
from bridge.core.rendering import render
from bridge.store.jobs import decode
from tests.fakes.scene import Scene

SCHOOL, YEAR, CLUB = CommunityId("school"), CommunityId("year"), CommunityId("club")
ROOMS = {name: RoomId(f"!{name}:example.org") for name in (SCHOOL, YEAR)}
HEAD, TEACHER, PUPIL = (UserId(f"@{name}:example.org") for name in ("head", "teacher", "pupil"))
CHAT = RoomId("!chat:example.org")
ROLES = {
    (SCHOOL, HEAD): Role.ADMIN,
    (YEAR, HEAD): Role.ADMIN,
    (YEAR, TEACHER): Role.OWNER,
    (CLUB, TEACHER): Role.MEMBER,
    (SCHOOL, PUPIL): Role.MEMBER,
}


class Reconciler:
    """Knows three communities; the year is within the school."""

    declared: Mapping[CommunityId, Community] = {name: Community(name) for name in (SCHOOL, YEAR, CLUB)}

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        return ROLES.get((community, user))


@pytest.fixture
def desk(scene: Scene) -> AfterwardsDesk:
    newsroom = SimpleNamespace(
        announcements=scene.announcements,
        afterwards=scene.afterwards,
        pins=scene.pins,
        reposts=scene.reposts,
        answer_zone=lambda *_: ZoneInfo("Europe/Berlin"),
    )
    return AfterwardsDesk(cast(House, SimpleNamespace(newsroom=newsroom, reconciler=Reconciler())))


async def announced(scene: Scene) -> None:
    """One for the school and the year within it, told to the head: #1 in both."""
    await scene.announcements.publish(
        source="$one",
        author=HEAD,
        parts=[render("Hello")],
        targets=[Target(name, room) for name, room in ROOMS.items()],
        audience=Audience(everybody=True, communities=(YEAR,)),
        reply_room=CHAT,
    )
    await scene.do_jobs()


async def ask(desk: AfterwardsDesk, deed: str, by: UserId, where: CommunityId = SCHOOL, **what: Any) -> dict[str, Any]:
    given = {"announcement": "#1", "source": f"${deed}", "room": CHAT, "text": "Other", "target": CLUB, **what}
    return await desk.do(deed, Reconciler.declared[where], by, given)


async def pending(scene: Scene, kind: type[Any]) -> list[Any]:
    return [decode(one.kind, one.body) for one in await scene.jobs.of_kind(kind)]


@pytest.mark.parametrize("deed", sorted(DEEDS - {"pin", "unpin", "repost"}))
async def test_what_concerns_every_copy_needs_the_right_in_every_community(
    scene: Scene, desk: AfterwardsDesk, deed: str
) -> None:
    await announced(scene)
    with pytest.raises(Refused, match="where you may not announce"):
        await ask(desk, deed, TEACHER, YEAR)
    await scene.do_jobs()
    assert [scene.posts.reads(room) for room in ROOMS.values()] == [["Hello"], ["Hello"]]


async def test_whoever_may_everywhere_changes_all_copies(scene: Scene, desk: AfterwardsDesk) -> None:
    await announced(scene)
    assert (await ask(desk, "edit", HEAD, YEAR))["said"] == []
    await scene.do_jobs()
    assert [scene.posts.reads(room) for room in ROOMS.values()] == [["Other"], ["Other"]]
    looked = (await ask(desk, "look", HEAD))["said"][0]
    assert "2 rooms and chats" in looked
    assert "CET" in looked
    await ask(desk, "withdraw", HEAD)
    await scene.do_jobs()
    assert [scene.posts.reads(room) for room in ROOMS.values()] == [[], []]
    assert "is withdrawn from 2 rooms" in (await ask(desk, "withdraw", HEAD))["said"][0]
    with pytest.raises(Refused, match="withdrawn"):
        await ask(desk, "repost", HEAD)


async def test_pins_concern_the_rooms_where_somebody_may(scene: Scene, desk: AfterwardsDesk) -> None:
    await announced(scene)
    await ask(desk, "pin", TEACHER, YEAR)
    assert {job.room_id for job in await pending(scene, KeepPins)} == {ROOMS[YEAR]}
    assert "CET" in (await ask(desk, "pin", HEAD, seconds=3600))["said"][0]
    assert {job.room_id for job in await pending(scene, KeepPins)} == set(ROOMS.values())
    for seconds in (0, -1, True, "7d", 400 * 86_400):
        with pytest.raises(Refused, match="a minute to a year"):
            await ask(desk, "pin", HEAD, seconds=seconds)


async def test_again_goes_to_the_same_people_and_from_below_to_those_below(scene: Scene, desk: AfterwardsDesk) -> None:
    await announced(scene)
    await ask(desk, "repost", HEAD)
    await ask(desk, "repost", TEACHER, YEAR, source="$below")
    assert [(job.community, job.audience) for job in await pending(scene, PostAgain)] == [
        (SCHOOL, ("everybody", "community:year")),
        (YEAR, ("everybody",)),
    ]


async def test_forwarding_needs_the_right_in_the_other_community(scene: Scene, desk: AfterwardsDesk) -> None:
    await announced(scene)
    with pytest.raises(Refused, match="club"):
        await ask(desk, "forward", HEAD)
    with pytest.raises(Refused, match="no community 'nowhere'"):
        await ask(desk, "forward", HEAD, target="nowhere")
    await ask(desk, "forward", HEAD, target=YEAR)
    assert [(job.community, job.audience) for job in await pending(scene, PostAgain)] == [(YEAR, ("everybody",))]


@pytest.mark.parametrize("deed", sorted(DEEDS))
async def test_it_has_to_be_named_and_to_be_there(scene: Scene, desk: AfterwardsDesk, deed: str) -> None:
    await announced(scene)
    with pytest.raises(Refused, match="not said"):
        await ask(desk, deed, HEAD, announcement="", reply_to=None)
    for which in ("#2", "https://matrix.to/#/!school:example.org/$nothing"):
        with pytest.raises(Refused, match="there is no announcement"):
            await ask(desk, deed, HEAD, announcement=which)
    with pytest.raises(Refused, match="there is no announcement"):
        await ask(desk, deed, TEACHER, CLUB)


async def test_a_reply_to_the_answer_or_to_a_copy_names_it(scene: Scene, desk: AfterwardsDesk) -> None:
    await announced(scene)
    told = [event for event, (room, _) in scene.messenger.posted.items() if room == CHAT]
    assert len(told) == 1
    for event in told:
        assert (await ask(desk, "look", HEAD, announcement="", reply_to=event))["number"] == 1
    [copy] = [event for event, (room, _) in scene.messenger.posted.items() if room == ROOMS[YEAR]]
    assert (await ask(desk, "look", HEAD, announcement="", reply_to=copy, room=ROOMS[YEAR]))["number"] == 1
