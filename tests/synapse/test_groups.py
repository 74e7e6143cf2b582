"""Groups that people make, archive and release: what members' clients see and may do then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.core.errors import CommunitiesError
from tests.harness.community import STEWARD, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually


async def test_a_group_is_made_joined_archived_and_released(estate: Estate, folk: People, room_version: str) -> None:
    owner, dan, mona = await asyncio.gather(folk.nio("olga"), folk.nio("dan"), folk.nio("mona"))
    community = estate.declare(
        f"guild{room_version}",
        room_version=room_version,
        name="Guild",
        owners=[owner.user_id],
        members=[dan.user_id, mona.user_id],
        groups={"chess": {"name": "Chess"}},
    )
    for person in (owner, dan, mona):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, dan, mona, keys=("space", "general"))

    async def ask(deed: str, **what: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await estate.ask("groups", deed=deed, community=community.id, **what)
        return answer

    with pytest.raises(CommunitiesError, match=rf"communities\.{community.id}\.groups\.chess in the configuration"):
        await ask("archive", key="chess")

    # made: it stands in the space, a member joins by themselves, and a reload of the file keeps it
    assert (await ask("create", text="Go Club"))["key"] == "go-club"
    group = next(one for one in (await ask("list"))["groups"] if one["key"] == "go-club")
    room_id = group["room_id"]
    assert (await estate.state(community.space, "m.space.child", room_id))["via"]
    assert (await estate.state(room_id, "m.room.name"))["name"] == "Go Club"
    await asyncio.gather(dan.join(room_id), mona.join(room_id))
    await dan.send(room_id, "your move")
    await estate.reload()
    plan = await estate.ask("plan", communities=[community.id])
    assert (plan["actions"], plan["notes"]) == ([], [])

    # renamed, also over a name that somebody gave in their client
    await estate.ask(
        "people", deed="moderator", community=community.id, group="go-club", users=[mona.user_id], add=True
    )
    await mona.put_state(room_id, "m.room.name", "", {"name": "Baduk"})
    await ask("rename", key="go-club", text="Weiqi")
    await estate.idle()
    assert (await estate.state(room_id, "m.room.name"))["name"] == "Weiqi"

    # archived: nobody posts; opened again: they do
    await ask("archive", key="go-club")
    assert (await refusal(dan.send(room_id, "one more"))).status == 403
    assert (await refusal(mona.send(room_id, "one more"))).status == 403
    await ask("unarchive", key="go-club")
    await dan.send(room_id, "again")

    # released: its moderator is in charge of everything, the steward is out, and the space lists it no more
    assert (await ask("heirs", key="go-club"))["heirs"] == [mona.user_id]
    await ask("release", key="go-club")
    members = await mona.joined_members(room_id)
    assert STEWARD not in members
    assert {dan.user_id, mona.user_id} <= set(members)
    assert not await estate.state(community.space, "m.space.child", room_id)
    await mona.put_state(room_id, "m.room.join_rules", "", {"join_rule": "public"})
    await mona.put_state(room_id, "m.room.server_acl", "", {"allow": ["*"]})
    await dan.send(room_id, "still here")
    assert [one["key"] for one in (await ask("list"))["groups"]] == ["chess"]
    plan = await estate.ask("plan", communities=[community.id])
    assert (plan["actions"], plan["notes"]) == ([], [])
    await eventually(lambda: not estate.rows("SELECT 1 FROM own_group WHERE community = ?", community.id), 10, "no row")
