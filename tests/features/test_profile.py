"""How a community is set up by somebody's word: what the rooms are then, and what the configuration keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import Community, GroupsBy, Join
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.languages import DE
from bridge.core.messages import Announce
from bridge.core.profile import Aspect
from bridge.store import declarations
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

ANN, DAN = UserId("@ann:example.org"), UserId("@dan:example.org")
CLUB = Community(CommunityId("school"), general=True, owners=frozenset({ANN}), members=frozenset({DAN}))


def now(scene: Scene) -> Community:
    """The community as it is to be."""
    return scene.reconciler.declared[CLUB.id]


async def settle(scene: Scene, community: Community = CLUB) -> Scene:
    scene.reconciler.declare([community])
    for _ in range(3):
        scene.watch.all_of(community.id)
        await scene.catch_up()
        await scene.accept_all()
    await scene.catch_up()
    return scene


async def test_what_people_set_reaches_the_rooms_survives_a_restart_and_can_be_taken_back(scene: Scene) -> None:
    await settle(scene)
    wanted = {
        Aspect.NAME: "Springfield  Elementary",
        Aspect.DESCRIPTION: "Everybody of the school",
        Aspect.PICTURE: "mxc://example.org/abc",
        Aspect.RULES: "Be kind.\nBe brief.",
        Aspect.RULES_REQUIRED: "ja",
        Aspect.LANGUAGE: "DE",
        Aspect.TIMEZONE: "europe/berlin",
        Aspect.JOIN: "request",
        Aspect.GROUPS_BY: "members",
        Aspect.MEMBERS_MAY_INVITE: "on",
    }
    for aspect, text in wanted.items():
        await scene.profile.set(now(scene), ANN, aspect, text)
    await scene.restart()
    await settle(scene)
    have = now(scene)
    assert (have.rules, have.rules_required, have.language) == ("Be kind.\nBe brief.", True, DE)
    assert have.timezone == "Europe/Berlin"
    assert (have.join, have.groups_by, have.members_may_invite) == (Join.REQUEST, GroupsBy.MEMBERS, True)
    assert scene.space.content("m.room.name") == {"name": "Springfield Elementary"}
    assert scene.space.content("m.room.topic") == {"topic": "Everybody of the school"}
    assert scene.space.content("m.room.avatar") == {"url": "mxc://example.org/abc"}
    assert scene.space.content("m.room.join_rules") == {"join_rule": "knock"}
    assert (scene.room("general").content("m.room.power_levels") or {})["invite"] == 0
    assert scene.announcement_room.content("m.room.name") == {"name": "Springfield Elementary – Announcements"}
    shown = {aspect: (value, declared) for aspect, value, declared in await scene.profile.shown(have, ANN)}
    assert shown[Aspect.NAME] == ("Springfield Elementary", False)
    assert shown[Aspect.RULES_REQUIRED] == ("yes", False)

    with pytest.raises(Refused, match="have to agree"):
        await scene.profile.reset(now(scene), ANN, Aspect.RULES)
    for aspect in reversed([one for one in wanted if one is not Aspect.NAME]):
        await scene.profile.reset(now(scene), ANN, aspect)
    await settle(scene)
    assert replace(now(scene), groups=()) == CLUB
    assert scene.space.content("m.room.topic") == {"topic": ""}
    assert not scene.space.content("m.room.avatar")
    assert scene.space.content("m.room.join_rules") == {"join_rule": "invite"}
    assert (await scene.reconciler.look(now(scene))).plan.empty


@pytest.mark.parametrize(
    ("declared", "aspect", "text"),
    [
        ({"name": "School"}, Aspect.NAME, "Club"),
        ({"rules": "None."}, Aspect.RULES, "Some."),
        ({"avatar": "mxc://example.org/file"}, Aspect.PICTURE, "mxc://example.org/abc"),
        ({"members_may_invite": True}, Aspect.MEMBERS_MAY_INVITE, "no"),
        ({"stated": frozenset({"language"})}, Aspect.LANGUAGE, "de"),
    ],
)
async def test_what_the_file_states_is_changed_there_alone(
    scene: Scene, declared: dict[str, Any], aspect: Aspect, text: str
) -> None:
    await settle(scene)
    await scene.profile.set(now(scene), ANN, aspect, text)
    community = replace(CLUB, **declared)
    await settle(scene, community)
    assert getattr(now(scene), aspect.value) == getattr(community, aspect.value), "the declaration wins"
    decides = rf"communities\.school\.{aspect.value} in the configuration decides that"
    with pytest.raises(Refused, match=decides):
        await scene.profile.set(now(scene), ANN, aspect, text)
    with pytest.raises(Refused, match=decides):
        await scene.profile.reset(now(scene), ANN, aspect)
    with pytest.raises(Refused, match=decides):
        await scene.profile.check(now(scene), ANN, aspect)


@pytest.mark.parametrize(
    ("aspect", "text"),
    [
        (Aspect.NAME, "  "),
        (Aspect.NAME, "\x07\n"),
        (Aspect.PICTURE, "https://example.org/x.png"),
        (Aspect.LANGUAGE, "klingon"),
        (Aspect.TIMEZONE, "Europe/Springfield"),
        (Aspect.RULES_REQUIRED, "yes"),
        (Aspect.MEMBERS_MAY_INVITE, "perhaps"),
        (Aspect.WELCOME, "x" * 20_000),
    ],
)
async def test_what_is_no_value_is_refused_and_changes_nothing(scene: Scene, aspect: Aspect, text: str) -> None:
    await settle(scene)
    with pytest.raises(Refused) as refused:
        await scene.profile.set(now(scene), ANN, aspect, text)
    assert refused.value.remedy
    assert now(scene) == CLUB


async def test_only_owners_and_admins_set_something(scene: Scene) -> None:
    await settle(scene)
    with pytest.raises(Refused, match="an owner or admin"):
        await scene.profile.set(now(scene), DAN, Aspect.RULES, "Mine.")


async def test_what_people_set_is_no_part_of_the_declaration_in_force(scene: Scene) -> None:
    await settle(scene)
    await scene.profile.set(now(scene), ANN, Aspect.WELCOME, "Hello!")
    assert now(scene).welcome == "Hello!"
    assert declarations.from_json(declarations.to_json(now(scene))) == CLUB


async def test_a_name_that_is_set_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await settle(await new_scene())
        await scene.write(ANN, scene.space, "m.room.name", {"name": "Old"})
        await scene.catch_up()
        scene.faults.arm(point)
        with contextlib.suppress(Crash):
            await scene.profile.set(now(scene), ANN, Aspect.NAME, "New")
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        await scene.profile.set(now(scene), ANN, Aspect.NAME, "New")  # the message comes again
        await settle(scene)
        assert scene.space.content("m.room.name") == {"name": "New"}, f"killed at {point}"
        if survived:
            assert point > 3
            return
        point += 1


async def test_everybody_is_told_when_admins_may_see_names_and_when_they_may_no_more(scene: Scene) -> None:
    await settle(scene)
    told: list[tuple[str, str, tuple[str, ...]]] = []

    async def announce(_: str, job: Announce) -> None:
        told.append((job.author, str(job.parts[0]["body"]), job.audience))

    scene.others[Announce] = announce
    for word in ("yes", "yes", "no"):
        await scene.profile.set(now(scene), ANN, Aspect.REACH_NAMES, word)
        await scene.do_jobs()
        scene.clock.now += 1
    await scene.profile.reset(now(scene), ANN, Aspect.REACH_NAMES)
    await scene.do_jobs()
    assert [(author, audience) for author, _, audience in told] == [(ANN, ("everybody",))] * 2
    assert told[0][1].startswith("Admins can see who has read")
    assert told[1][1].startswith("Admins can see how many")
