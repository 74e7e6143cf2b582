"""People are joined rather than invited, where a community wants it and the homeserver's admin lets us do it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from bridge.cli.demo.person import Person
from tests.harness.community import ANNOUNCER, STEWARD, Community, Estate
from tests.harness.people import People


@asynccontextmanager
async def as_admins_of_the_homeserver(estate: Estate, folk: People) -> AsyncIterator[None]:
    """Let both accounts do what an admin of the homeserver may, as the operator guide says it."""
    account = await folk.account("root", admin=True)
    async with await Person.login(estate.synapse.url, account) as root:

        async def let(allowed: bool) -> None:
            for user in (STEWARD, ANNOUNCER):
                await root.call("PUT", f"/_synapse/admin/v1/users/{user}/admin", {"admin": allowed})

        await let(True)
        try:
            yield
        finally:
            await let(False)


async def check(estate: Estate) -> dict[str, Any]:
    """What `check` says of it."""
    [found] = [one for one in await estate.ask("check") if one["name"] == "auto_join"]
    return dict(found)


async def invite(community: Community, person: Person) -> None:
    await community.estate.ask("people", deed="invite", community=community.id, users=[person.user_id])


async def test_people_are_joined_where_the_homeserver_lets_us_and_invited_where_not(
    estate: Estate, folk: People
) -> None:
    owner, bart = await folk.nio("owner"), await folk.nio("bart")
    today = datetime.now(UTC).date()
    late, lisa = await folk.nio("late"), await folk.account("lisa")
    community = estate.declare(
        "joining", room_version="12", name="Joining", owners=[owner.user_id], members=[], auto_join=True
    )
    async with as_admins_of_the_homeserver(estate, folk):
        await estate.apply(community)
        await community.look()
        for key in ("space", "announcements", "general", "control"):
            await owner.wait_joined(community[key])
        assert (await check(estate))["verdict"] == "ok"
        await community.apply(members=[lisa.user_id])
        for key in ("space", "announcements", "general"):
            assert await estate.membership(community[key], lisa.user_id) == "join", "the file is the operator's word"

        # whoever is bidden in agrees by joining the space, and is joined to the rest
        await invite(community, bart)
        await bart.wait_invite(community.space)
        assert community.announcements not in bart.invites
        assert await estate.membership(community.announcements, bart.user_id) == ""
        await bart.join(community.space)
        await bart.wait_joined(community.announcements)
        await bart.wait_joined(community["general"])
        await owner.wait_membership(community.announcements, bart.user_id, "join")
        moves = [event for event in owner.timeline(community.announcements) if event.get("state_key") == bart.user_id]
        assert [(event["sender"], event["content"]["membership"]) for event in moves] == [
            (ANNOUNCER, "invite"), (bart.user_id, "join"),
        ]  # fmt: skip
        await community.announce("Welcome, all of you")
        message = await bart.wait_text(community.announcements, "Welcome, all of you")
        assert message.decrypted

        # who leaves is not brought back
        await bart.leave(community["general"])
        await community.apply(description="Another look")
        assert await estate.membership(community["general"], bart.user_id) == "leave"

        # an admin of the homeserver sees since when somebody is on it
        await community.apply(join="request")
        homer = await folk.nio("homer")
        await homer.knock(community.space, "I am Bart's father")
        card = await community.told(owner, f"{homer.user_id} asks to join", "They have had their account")
        assert any(f"since {day}." in card for day in (today, datetime.now(UTC).date()))

    found = await check(estate)
    assert (found["verdict"], STEWARD in found["what"], bool(found["remedy"])) == ("failed", True, True)
    await invite(community, late)
    await late.wait_invite(community.space)
    await late.join(community.space)
    assert await late.wait_invite(community.announcements) == ANNOUNCER
    estate.forget(community)
