"""Roles, removals and bans by command and in the client: what people can do seconds later, and what no longer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from bridge.cli.demo.person import Person
from bridge.core.errors import CommunitiesError
from tests.harness.community import Community, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually

LEVELS = "m.room.power_levels"
SOON_SECONDS = 10.0
"""Levels reach the rooms within two seconds on an idle machine; tests share theirs."""


@dataclass(frozen=True)
class Club:
    """A community whose people nobody declares: they came in by the file, and their lists were taken out of it."""

    community: Community
    owner: Person
    admin: Person
    dan: Person
    """A member, also of the group `chess`."""

    async def ask(self, deed: str, *people: Person, **what: Any) -> dict[str, Any]:
        """A command of the operator."""
        users = [person.user_id for person in people]
        answer: dict[str, Any] = await self.community.estate.ask(
            "people", deed=deed, community=self.community.id, users=users, **what
        )
        return answer

    async def refused(self, deed: str, *people: Person, **what: Any) -> str:
        with pytest.raises(CommunitiesError) as refused:
            await self.ask(deed, *people, **what)
        return str(refused.value)

    async def may_announce(self, person: Person) -> bool:
        """Whether the homeserver lets somebody post in the announcement room."""
        levels = await self.community.estate.state(self.community.announcements, LEVELS)
        return int(levels["users"].get(person.user_id, 0)) >= int(levels["events_default"])

    async def level_everywhere(self, person: Person, level: int) -> bool:
        """Whether somebody has that level in every room."""
        rooms = self.community.rooms.values()
        levels = await asyncio.gather(*(self.community.estate.state(room_id, LEVELS) for room_id in rooms))
        return all(int(content["users"].get(person.user_id, 0)) == level for content in levels)


async def found_club(estate: Estate, folk: People, version: str) -> Club:
    owner, admin, dan = await asyncio.gather(folk.nio("olga"), folk.nio("adam"), folk.nio("dan"))
    community = estate.declare(
        f"club{version}",
        room_version=version,
        name="Club",
        owners=[owner.user_id],
        admins=[admin.user_id],
        members=[dan.user_id],
        join="request",
        groups={"chess": {"name": "Chess", "kind": "open"}},
    )
    for person in (owner, admin, dan):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, admin, dan, keys=("space", "announcements", "general"))
    await community.inside(owner, admin, keys=("control",))
    await dan.join(community["chess"])
    await community.apply(owners=None, admins=None, members=None)
    return Club(community, owner, admin, dan)


@pytest.fixture
async def club(estate: Estate, folk: People, room_version: str) -> Club:
    return await found_club(estate, folk, room_version)


async def test_roles_change_by_command_and_in_the_client_and_reach_every_room(estate: Estate, club: Club) -> None:
    community, dan = club.community, club.dan
    assert (await refusal(dan.send(community.announcements, "may I?"))).status == 403
    await club.ask("promote", dan, role="admin")
    await dan.send(community.announcements, "now I may")
    assert (await club.owner.wait_text(community.announcements, "now I may")).decrypted
    await community.told(club.owner, dan.user_id, "is now admin", "the operator")
    await dan.wait_joined(community.control)
    await club.ask("demote", dan)
    assert (await refusal(dan.send(community.announcements, "and now?"))).status == 403
    await dan.wait_left(community.control)

    # an owner does the same in the space, and a command after that is not undone by what they wrote
    levels = await estate.state(community.space, LEVELS)
    changed = {**levels, "users": {**levels["users"], dan.user_id: 100}}
    began = time.monotonic()
    await club.owner.put_state(community.space, LEVELS, "", changed)
    await eventually(lambda: club.level_everywhere(dan, 100), SOON_SECONDS)
    assert time.monotonic() - began < SOON_SECONDS, "the timer is a day away"
    await dan.send(community.announcements, "by the owner's word")
    await club.ask("demote", dan)
    await club.ask("demote", club.admin)
    await estate.idle()
    for person in (dan, club.admin):
        assert not await club.may_announce(person)
        assert (await estate.state(community.space, LEVELS))["users"].get(person.user_id, 0) == 0

    await club.ask("moderator", dan, group="chess", add=True)
    assert (await estate.state(community["chess"], LEVELS))["users"][dan.user_id] == 50
    await club.ask("moderator", dan, group="chess", add=False)
    assert (await estate.state(community["chess"], LEVELS))["users"].get(dan.user_id, 0) == 0

    # the last owner stays, until somebody follows
    assert "last owner" in await club.refused("demote", club.owner)
    assert "last owner" in await club.refused("remove", club.owner)
    await club.ask("transfer", dan)
    users = (await estate.state(community.space, LEVELS))["users"]
    assert (users[dan.user_id], users[club.owner.user_id]) == (150, 100)
    estate.forget(community)


async def test_what_the_file_decides_is_refused_by_its_key(estate: Estate, folk: People) -> None:
    club = await found_club(estate, folk, "12")
    community, dan = club.community, club.dan
    await community.apply(
        owners=[club.owner.user_id],
        admins=[],
        members=[dan.user_id],
        removed=["@nelson:example.org"],
        groups={"chess": {"name": "Chess", "kind": "open", "moderators": []}},
    )
    key = f"communities.{community.id}"
    assert f"{key}.admins in the configuration decides that" in await club.refused("promote", dan, role="admin")
    assert f"{key}.owners in the configuration decides that" in await club.refused("promote", dan, role="owner")
    assert f"{key}.members in the configuration decides that" in await club.refused("remove", dan)
    assert f"{key}.groups.chess.moderators in the" in await club.refused("moderator", dan, group="chess", add=True)
    # in the space an owner can do it all the same: it is put back, and they are told why
    levels = await estate.state(community.space, LEVELS)
    await club.owner.put_state(community.space, LEVELS, "", {**levels, "users": {**levels["users"], dan.user_id: 100}})
    await community.told(club.owner, dan.user_id, f"{key}.admins", "I put it back")
    await eventually(lambda: club.level_everywhere(dan, 0), SOON_SECONDS)
    with pytest.raises(CommunitiesError, match="removed in the configuration decides that"):
        await estate.ask("people", deed="invite", community=community.id, users=["@nelson:example.org"])
    estate.forget(community)


async def test_whoever_is_removed_or_banned_by_command_fails_at_every_door(estate: Estate, folk: People) -> None:
    club = await found_club(estate, folk, "12")
    community, dan = club.community, club.dan
    await community.announce("before")
    await dan.wait_text(community.announcements, "before")
    answer = await club.ask("remove", dan, reason="see you")
    assert answer["done"]
    await community.gone(dan)
    sent = await community.announce("after")
    event = await club.owner.event(community.announcements, sent)
    assert (await club.owner.wait_text(community.announcements, "after")).decrypted
    assert await dan.try_decrypt(community.announcements, event) is None
    assert (await refusal(dan.join(community["chess"]))).status == 403

    await club.ask("invite", dan, groups=["chess"])
    await community.inside(dan, keys=("space", "announcements", "chess"))
    await club.ask("ban", dan, reason="no manners")
    await community.gone(dan, "ban")
    for key in ("space", "announcements", "general", "chess"):
        assert (await refusal(dan.join(community[key]))).status == 403
        assert (await refusal(dan.knock(community[key]))).status == 403
    assert (await refusal(club.admin.invite(community.space, dan.user_id))).status == 403
    assert (await refusal(club.admin.invite(community["chess"], dan.user_id))).status == 403
    assert "is banned" in await club.refused("invite", dan)
    status = await community.status()
    assert (status["outstanding"], status["drift"]) == ([], [])
    await estate.command("unban", community.id, dan.user_id)
    ran = await estate.command("invite", community.id, dan.user_id, "--group", "chess")
    assert f"{dan.user_id} is invited to " in ran.out
    await community.inside(dan, keys=("space", "announcements", "chess"))
    estate.forget(community)
