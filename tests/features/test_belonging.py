"""What is known of members: tags, since when they are there, and by whom they came."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import Community, Group, RoomKind, Tag
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.messages import SendMembers
from bridge.core.tags import MOST_TAGS
from bridge.features.entering import Terms
from tests.fakes.scene import Scene

ANN, BEA, CID, EVE, FAY = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "eve", "fay"))
CHESS, BOARD = RoomKeyName("chess"), RoomKeyName("board")
CHAT = RoomId("!chat:example.org")
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    members=frozenset({BEA}),
    groups=(Group(CHESS, members=frozenset({CID})), Group(BOARD, RoomKind.HIDDEN)),
    tags=(Tag("staff", frozenset({ANN, EVE})), Tag("players", group=CHESS)),
)


@pytest.fixture
async def school(scene: Scene) -> Scene:
    """A scene with the school in it, everybody there."""
    await scene.settle(SCHOOL)
    return scene


async def tags(scene: Scene, user: UserId) -> list[str]:
    return list((await scene.roster.person(SCHOOL.id, user))["tags"])


async def came(scene: Scene, user: UserId) -> tuple[Any, ...]:
    person = await scene.roster.person(SCHOOL.id, user)
    return person["how"], person["by"], person["detail"], person["since"] is not None


async def test_people_carry_what_is_declared_and_what_they_were_given(school: Scene) -> None:
    assert await tags(school, ANN) == ["staff"]
    assert await tags(school, CID) == ["players"], "as a member of the group"
    assert await school.tags.change(SCHOOL, ANN, [BEA, CID], "Teacher", give=True) == "teacher"
    await school.tags.change(SCHOOL, ANN, [BEA, CID], "teacher", give=True)  # the message is handled again
    assert await tags(school, CID) == ["players", "teacher"]
    await school.leave(CID, school.room(CHESS))
    await school.hear()
    assert await tags(school, CID) == ["teacher"]
    await school.tags.change(SCHOOL, None, [CID], "teacher", give=False)
    assert await school.roster.tags(SCHOOL.id) == [
        {"name": "players", "people": 0, "declared": True},
        {"name": "staff", "people": 1, "declared": True},
        {"name": "teacher", "people": 1, "declared": False},
    ]


@pytest.mark.parametrize(("by", "user", "tag", "why"), [
    (BEA, CID, "teacher", "only an owner or admin"), (ANN, EVE, "teacher", "not in the community"),
    (ANN, BEA, "staff", "tags.staff in the configuration"), (ANN, BEA, "two words", "not the name of a tag"),
    (ANN, BEA, "owner", "cannot be a tag"),
])  # fmt: skip
async def test_who_may_be_given_which_tag(school: Scene, by: UserId, user: UserId, tag: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        await school.tags.change(SCHOOL, by, [BEA, user], tag, give=True)
    assert set(await tags(school, BEA)) <= {"staff"}, "nobody was given it"


async def test_tags_are_bounded(school: Scene) -> None:
    for number in range(MOST_TAGS - len(SCHOOL.tags)):
        await school.tags.change(SCHOOL, ANN, [BEA], f"t{number}", give=True)
    with pytest.raises(Refused, match="100 tags already"):
        await school.tags.change(SCHOOL, ANN, [BEA], "more", give=True)
    await school.tags.change(SCHOOL, ANN, [CID], "t0", give=True)
    await school.tags.change(SCHOOL, ANN, [BEA], "t1", give=False)
    await school.tags.change(SCHOOL, ANN, [BEA], "more", give=True)


async def test_tags_end_when_somebody_leaves(school: Scene) -> None:
    now, school.clock.now = school.clock.now, 1  # before what follows, by the homeserver's clock
    await school.tags.change(SCHOOL, ANN, [BEA], "teacher", give=True)
    school.clock.now = now
    assert await tags(school, BEA) == ["teacher"]
    await school.leave(BEA, school.space)
    await school.hear()
    assert await tags(school, BEA) == []
    await school.members.invite(SCHOOL, ANN, [BEA])
    await school.reconcile(SCHOOL)
    await school.accept_all()
    await school.hear()
    assert (await school.roster.person(SCHOOL.id, BEA))["state"] == "join"
    assert await tags(school, BEA) == []


async def test_it_is_known_by_whom_people_came(school: Scene) -> None:
    assert await came(school, BEA) == ("configuration", "", "", True)
    link, _ = await school.entering.make(Terms(SCHOOL.id, ANN))
    await school.entering.use(link, EVE)
    await school.members.invite(SCHOOL, ANN, [FAY])
    await school.do_jobs()
    await school.reconcile(SCHOOL)
    assert await came(school, EVE) == ("link", ANN, link.id, False)
    assert await came(school, FAY) == ("invite", ANN, "", False)
    await school.accept_all()
    await school.hear()
    assert await came(school, EVE) == ("link", ANN, link.id, True)
    assert await came(school, FAY) == ("invite", ANN, "", True)
    await school.move(ANN, school.space, "ban", EVE)
    await school.hear()
    assert await came(school, EVE) == ("", "", "", False), "nothing is kept of whoever is out"


async def test_another_name_is_no_arrival(school: Scene) -> None:
    async with school.database.transaction() as tx:
        await tx.execute("DELETE FROM belonging")  # as of those who were there before this was kept
    content = {"membership": "join", "displayname": "Bea B."}
    school.homeserver.tamper(school.space.room_id, "m.room.member", content, BEA, by=BEA)
    await school.hear()
    assert await came(school, BEA) == ("", "", "", False)


async def test_an_invitation_in_a_client_is_known_too(school: Scene) -> None:
    await school.move(ANN, school.space, "invite", EVE)
    await school.accept_all()
    await school.hear()
    assert await came(school, EVE) == ("client", ANN, "", True)


async def test_the_table_is_sent_as_a_file_to_whoever_may_see_it(school: Scene) -> None:
    await school.handouts.ask_for_members(SendMembers(CHAT, SCHOOL.id, ANN, "players"), EventId("$asked"))
    await school.handouts.ask_for_members(SendMembers(CHAT, SCHOOL.id, ANN, "players"), EventId("$asked"))
    await school.handouts.ask_for_members(SendMembers(CHAT, SCHOOL.id, BEA, ""), EventId("$other"))
    await school.do_jobs()
    [(_, content)] = [one for one in school.messenger.sent if one[0] == CHAT]
    assert content["body"] == "members-school.csv"
    lines = content["data"].decode("utf-8-sig").splitlines()
    assert [line.partition(",")[0] for line in lines] == ["user", CID]


async def test_a_tag_that_becomes_declared_is_the_declarations(school: Scene) -> None:
    await school.tags.change(SCHOOL, ANN, [BEA], "teacher", give=True)
    school.reconciler.declare([replace(SCHOOL, tags=(Tag("teacher", frozenset({CID})),))])
    assert await tags(school, BEA) == []
    assert await tags(school, CID) == ["teacher"]
