"""A community is set up by command, and ends: what members' clients see and may do then."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from bridge.core.errors import CommunitiesError
from tests.harness.community import ANNOUNCER, STEWARD, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually


async def test_a_community_is_set_up_and_ends(estate: Estate, folk: People, room_version: str) -> None:
    owner, dan, mona = await asyncio.gather(folk.nio("olga"), folk.nio("dan"), folk.nio("mona"))
    late = await folk.account("late")
    community = estate.declare(
        f"ending{room_version}",
        room_version=room_version,
        owners=[owner.user_id],
        members=[dan.user_id],
        language="en",
        groups={
            "chess": {"name": "Chess", "moderators": [mona.user_id], "members": [dan.user_id]},
            "alone": {"kind": "hidden", "members": [dan.user_id]},
        },
    )
    for person in (owner, dan, mona):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, dan, mona, keys=("space", "announcements", "general"))
    await community.inside(dan, mona, keys=("chess",))
    await community.inside(dan, keys=("alone",))

    async def ask(deed: str, **what: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await estate.ask("community", deed=deed, community=community.id, **what)
        return answer

    # set up by people, but for what the file states, be it with its default
    await ask("set", key="name", text="The Guild")
    await ask("set", key="join", text="request")
    await ask("picture", data=base64.b64encode(b"GIF89a").decode())
    assert (await estate.state(community.space, "m.room.avatar"))["url"].startswith("mxc://")
    with pytest.raises(CommunitiesError, match="no picture that every app can show"):
        await ask("picture", data=base64.b64encode(b"<svg/>").decode())
    await ask("picture", remove=True)
    assert not await estate.state(community.space, "m.room.avatar")
    assert (await estate.state(community.space, "m.room.name"))["name"] == "The Guild"
    assert (await estate.state(community.announcements, "m.room.name"))["name"] == "The Guild – Announcements"
    assert (await estate.state(community.space, "m.room.join_rules"))["join_rule"] == "knock"
    with pytest.raises(CommunitiesError, match=rf"communities\.{community.id}\.language in the configuration"):
        await ask("set", key="language", text="de")
    await estate.reload()
    plan = await estate.ask("plan", communities=[community.id])
    assert (plan["actions"], plan["notes"]) == ([], [])

    # it ends by its name alone
    link = await estate.ask("link", do="new", community=community.id)
    await estate.ask("people", deed="invite", community=community.id, users=[late.user_id])
    assert await estate.membership(community.space, late.user_id) == "invite"
    with pytest.raises(CommunitiesError, match="not the name of the community"):
        await ask("deactivate", text="yes")
    assert (await ask("caution"))["without_heirs"] == ["alone"]
    ended = await ask("deactivate", text="the guild")
    assert ended["done"]
    await estate.idle()

    # a group goes on by itself: people talk, its moderator has all the power, and nothing depends on the space
    chess, alone = community["chess"], community["alone"]
    assert STEWARD not in await mona.joined_members(chess)
    await dan.send(chess, "your move")
    await mona.put_state(chess, "m.room.join_rules", "", {"join_rule": "public"})
    await mona.put_state(chess, "m.room.name", "", {"name": "Chess for ever"})
    assert not await estate.state(chess, "m.space.parent", community.space)
    assert (await estate.state(community["general"], "m.room.join_rules"))["join_rule"] == "invite"
    await owner.put_state(community["general"], "m.room.server_acl", "", {"allow": ["*"]})
    # where nobody is in charge, people go on talking all the same
    assert STEWARD in await dan.joined_members(alone)
    await dan.send(alone, "anybody here?")

    # announcements are read, and nobody writes, the announcer included
    for person in (owner, dan):
        assert (await refusal(person.send(community.announcements, "news"))).status == 403
    assert ANNOUNCER in await dan.joined_members(community.announcements)
    with pytest.raises(CommunitiesError, match="was deactivated"):
        await estate.ask("announce", communities=[community.id], text="news", source="test-ended")

    # the space says so and lists what is held, and nobody comes in any more
    assert (await estate.state(community.space, "m.room.name"))["name"] == "The Guild (deactivated)"
    assert "deactivated" in (await estate.state(community.space, "m.room.topic"))["topic"]
    for key in ("chess", "general"):
        assert not await estate.state(community.space, "m.space.child", community[key])
    assert (await estate.state(community.space, "m.space.child", community.announcements))["via"]
    assert (await estate.state(community.space, "m.room.join_rules"))["join_rule"] == "invite"
    assert await estate.membership(community.space, late.user_id) == "leave"
    assert (await refusal(owner.put_state(community.space, "m.room.name", "", {"name": "Mine"}))).status == 403
    assert estate.rows("SELECT 1 FROM link WHERE id = ? AND revoked_at IS NOT NULL", link["id"])

    # the file still declares it: that is said, and nothing is done
    status = await estate.ask("status")
    [shown] = [one for one in status["deactivated"] if one["id"] == community.id]
    assert (shown["by"], shown["outstanding"]) == ("the operator", 0)
    plan = await estate.ask("plan", communities=[])
    assert community.id in plan["deactivated"]
    with pytest.raises(CommunitiesError, match="was deactivated"):
        await estate.ask("plan", communities=[community.id])
    await estate.reload()
    await dan.leave(community.space)
    await estate.idle()
    assert await estate.membership(chess, dan.user_id) == "join"

    # the operator begins it again, without the groups that left
    assert (await ask("reactivate"))["done"]
    await eventually(
        lambda: estate.rows("SELECT 1 FROM room WHERE community = ? AND key = 'general'", community.id), 20
    )
    await estate.idle()
    assert (await estate.state(community.space, "m.room.name"))["name"] == "The Guild"
    await owner.send(community.announcements, "we are back")
