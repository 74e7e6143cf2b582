"""Who may do what about an announcement that was sent, and how they name it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from bridge.app.afterwards import DEEDS, AfterwardsDesk
from bridge.app.audiences import Audiences
from bridge.app.house import House
from bridge.core.announcements import Audience, Target
from bridge.core.community import Community, Group, Role, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.messages import KeepPins, PostAgain
from bridge.core.rank import People
from bridge.core.rendering import render
from bridge.plan.state import Known
from bridge.store.jobs import decode
from tests.fakes.scene import ACCOUNTS, Scene

SCHOOL, YEAR, CLUB = CommunityId("school"), CommunityId("year"), CommunityId("club")
ROOMS = {name: RoomId(f"!{name}:example.org") for name in (SCHOOL, YEAR)}
HEAD, TEACHER, PUPIL, COACH = (UserId(f"@{name}:example.org") for name in ("head", "teacher", "pupil", "coach"))
CHESS, BOARD = RoomKeyName("chess"), RoomKeyName("board")
CHAT = RoomId("!chat:example.org")
ROLES = {
    (SCHOOL, HEAD): Role.ADMIN,
    (YEAR, HEAD): Role.ADMIN,
    (YEAR, TEACHER): Role.OWNER,
    (CLUB, TEACHER): Role.MEMBER,
    (SCHOOL, PUPIL): Role.MEMBER,
    (SCHOOL, COACH): Role.MEMBER,
}


class Reconciler:
    """Knows three communities; the year is within the school."""

    declared: Mapping[CommunityId, Community] = {
        **{name: Community(name) for name in (YEAR, CLUB)},
        SCHOOL: Community(
            SCHOOL,
            groups=(
                Group(CHESS, RoomKind.OPEN, moderators=frozenset({COACH}), announcements=True),
                Group(BOARD, RoomKind.HIDDEN, moderators=frozenset({HEAD}), announcements=True),
            ),
        ),
    }

    memory: Any

    def __init__(self) -> None:
        self.memory = self

    async def known(self, _: CommunityId) -> Known:
        return Known()


async def people(community: Community) -> People:
    roles = {user: role for (name, user), role in ROLES.items() if name == community.id}
    return People(community, roles, dict.fromkeys(roles, "join"))


async def nobody(*_: Any) -> list[Any]:
    return []


@pytest.fixture
def desk(scene: Scene) -> AfterwardsDesk:
    reconciler = cast(Any, Reconciler())
    newsroom = SimpleNamespace(
        audiences=Audiences(
            database=scene.database,
            reconciler=reconciler,
            people=people,
            everybody=nobody,
            joined_in=nobody,
            accounts=ACCOUNTS,
        ),
        announcements=scene.announcements,
        afterwards=scene.afterwards,
        pins=scene.pins,
        reposts=scene.reposts,
        answer_zone=lambda *_: ZoneInfo("Europe/Berlin"),
    )
    return AfterwardsDesk(cast(House, SimpleNamespace(newsroom=newsroom, reconciler=reconciler)))


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


async def into_groups(scene: Scene, *keys: RoomKeyName, everybody: bool = False, people: bool = False) -> str:
    """#1, into these groups, and perhaps to everybody or to somebody who carries a tag."""
    targets = [Target(SCHOOL, RoomId(f"!{key}:example.org"), str(key)) for key in keys]
    targets += [Target(SCHOOL, ROOMS[SCHOOL])] if everybody else []
    targets += [Target(SCHOOL, None, PUPIL)] if people else []
    audience = Audience(everybody=everybody, groups=keys, tags=("team",) if people else ())
    taken = await scene.announcements.publish(
        source="$one", author=HEAD, parts=[render("Hello")], targets=targets, audience=audience, reply_room=CHAT
    )
    await scene.do_jobs()
    return taken


async def test_moderators_do_what_there_is_to_do_about_what_went_into_their_groups(
    scene: Scene, desk: AfterwardsDesk
) -> None:
    await into_groups(scene, CHESS)
    room = RoomId("!chess:example.org")
    assert "would be taken back from 1 room" in (await ask(desk, "look", COACH))["said"][0]
    assert (await ask(desk, "retry", COACH))["count"] == 0
    await ask(desk, "edit", COACH)
    await scene.do_jobs()
    assert scene.posts.reads(room) == ["Other"]
    await ask(desk, "withdraw", COACH)
    await scene.do_jobs()
    assert scene.posts.reads(room) == []


async def test_moderators_pin_and_repeat_what_went_into_their_groups(scene: Scene, desk: AfterwardsDesk) -> None:
    await into_groups(scene, CHESS)
    await ask(desk, "pin", COACH)
    assert {job.room_id for job in await pending(scene, KeepPins)} == {RoomId("!chess:example.org")}
    await ask(desk, "repost", COACH)
    [again] = await pending(scene, PostAgain)
    assert (again.community, again.audience, again.author) == (SCHOOL, ("group:chess",), COACH)
    with pytest.raises(Refused, match="it is in club, too, where you may not announce"):
        await ask(desk, "forward", COACH)


@pytest.mark.parametrize("deed", sorted(DEEDS))
@pytest.mark.parametrize(
    ("keys", "more"),
    [((CHESS,), {"everybody": True}), ((CHESS, BOARD), {}), ((BOARD,), {}), ((CHESS,), {"people": True})],
)
async def test_what_went_elsewhere_too_is_no_affair_of_moderators(
    scene: Scene, desk: AfterwardsDesk, deed: str, keys: tuple[RoomKeyName, ...], more: dict[str, bool]
) -> None:
    await into_groups(scene, *keys, **more)
    with pytest.raises(Refused, match="it did not go into groups that you moderate alone"):
        await ask(desk, deed, COACH, target=SCHOOL)
    assert not await pending(scene, KeepPins)
    assert not await pending(scene, PostAgain)


@pytest.mark.parametrize("deed", sorted(DEEDS))
async def test_members_get_nothing_of_it(scene: Scene, desk: AfterwardsDesk, deed: str) -> None:
    await into_groups(scene, CHESS)
    with pytest.raises(Refused, match="did not go into groups that you moderate"):
        await ask(desk, deed, PUPIL, target=SCHOOL)
