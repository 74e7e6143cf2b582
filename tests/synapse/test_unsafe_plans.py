"""Plans that take much away: held by the service until a human agrees, while all else goes on."""

from __future__ import annotations

import re
from typing import Any

from bridge.cli.demo.person import Person
from tests.harness.community import Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually

LEVELS = "m.room.power_levels"
GHOSTS = [f"@ghost{number}:example.org" for number in range(6)]


async def big_club(estate: Estate, folk: People, version: str, **declaration: Any) -> tuple[Community, Person]:
    """An owner who is there, and six people who have not answered yet: removing these needs a human word."""
    owner = await folk.nio("owner")
    community = estate.declare(
        "big",
        room_version=version,
        name="Big club",
        owners=[owner.user_id],
        members=list(GHOSTS),
        general=False,
        **declaration,
    )
    owner.accept_invites()
    await estate.apply(community)
    await community.inside(owner, keys=("space", "announcements", "control"))
    return community, owner


async def ghosts(estate: Estate, community: Community) -> set[str]:
    """The memberships of those six in the space."""
    return {await estate.membership(community.space, ghost) for ghost in GHOSTS}


async def test_an_unsafe_config_waits_for_an_owner_while_drift_is_healed(
    estate: Estate, folk: People, room_version: str
) -> None:
    community, owner = await big_club(estate, folk, room_version, admins=[])
    community.change(members=[])
    await estate.reload()
    held = await community.told(owner, "hold back", f"!apply {community.id} ")
    found = re.search(rf"!apply {community.id} ([0-9a-f]+)", held)
    assert found is not None
    digest = found.group(1)
    [message] = [message for message in owner.messages(community.control) if message.text == held]
    assert message.content["msgtype"] == "m.text"
    assert message.content["m.mentions"] == {"user_ids": [owner.user_id]}
    assert "removes 6 people" in held
    assert (await community.status())["held"] == digest
    assert await ghosts(estate, community) == {"invite"}

    # meanwhile the rest is held in place
    before = await estate.state(community.space, LEVELS)
    await owner.put_state(community.space, LEVELS, "", before | {"kick": 0})
    await eventually_same(estate, community.space, before)
    before = await estate.state(community.announcements, LEVELS)
    await estate.put_state(community.announcements, LEVELS, before | {"events_default": 0})
    await eventually_same(estate, community.announcements, before)
    await community.announce("life goes on")
    await owner.wait_text(community.announcements, "life goes on")
    assert await ghosts(estate, community) == {"invite"}

    await owner.send(community.control, f"!apply {community.id} 0000000000000000")
    await community.told(owner, "write exactly", digest)
    assert await ghosts(estate, community) == {"invite"}
    # without its name the owner is told once more what it does, and asked
    await owner.send(community.control, "!apply")
    await community.told(owner, "would now carry out", "removes 6 people", "`!yes` within 10 minutes")
    assert await ghosts(estate, community) == {"invite"}
    await owner.send(community.control, "!yes")
    await community.told(owner, "the change was carried out")
    assert await ghosts(estate, community) == {"leave"}
    status = await community.status()
    assert (status["held"], status["drift"]) == (None, [])
    # the same change is told once
    assert [message.text for message in owner.messages(community.control)].count(held) == 1
    estate.forget(community)


async def eventually_same(estate: Estate, room_id: str, wanted: dict[str, Any]) -> None:
    async def same() -> bool:
        return await estate.state(room_id, LEVELS) == wanted

    await eventually(same, 20)


async def test_apply_refuses_with_every_reason_and_does_it_with_force(
    estate: Estate, folk: People, room_version: str
) -> None:
    community, owner = await big_club(estate, folk, room_version)
    heir = await folk.nio("heir")
    community.change(members=[], owners=[heir.user_id])
    shown = await estate.command("plan", community.id, "--json", expect=(2,))
    unsafe = shown.json["unsafe"]
    assert len(unsafe) == 2
    refused = await estate.command("apply", community.id, "--yes", expect=(1,))
    assert "Traceback" not in refused.out + refused.err
    for reason in ("removes 7 people", f"takes away the last owner who is there ({owner.user_id})"):
        assert any(reason in one for one in unsafe), unsafe
        assert reason in refused.out + refused.err
    assert "--force" in refused.err
    assert await ghosts(estate, community) == {"invite"}
    assert await estate.membership(community.space, owner.user_id) == "join"

    done = await estate.command("apply", community.id, "--yes", "--force")
    assert "0 failed" in done.out
    assert await ghosts(estate, community) == {"leave"}
    assert await estate.membership(community.space, owner.user_id) == "leave"
    assert (await estate.state(community.space, LEVELS))["users"][heir.user_id] == 150
    estate.forget(community)


async def test_the_service_holds_a_plan_that_takes_the_last_owner_away(
    estate: Estate, folk: People, room_version: str
) -> None:
    community, owner = await big_club(estate, folk, room_version)
    heir = await folk.nio("heir")
    community.change(owners=[heir.user_id])
    await estate.reload()
    await community.told(owner, "hold back", "last owner", owner.user_id)
    levels = await estate.state(community.space, LEVELS)
    assert levels["users"][owner.user_id] == 150
    # once the new owner is there, it is safe
    heir.accept_invites()
    community.change(owners=[owner.user_id, heir.user_id])
    await estate.reload()
    await community.inside(heir)
    community.change(owners=[heir.user_id])
    await estate.reload()
    await community.gone(owner)
    estate.forget(community)
