"""Whoever leaves a community, or is removed from it, is out of all its rooms, and reads nothing of what follows."""

from __future__ import annotations

import pytest

from bridge.cli.demo.person import Client
from tests.harness.community import Community, Estate, refusal
from tests.harness.people import Library, People
from tests.harness.wait import eventually
from tests.synapse.conftest import School


async def take_out_of_config(community: Community, person: Client) -> None:
    members = [user for user in community.declaration["members"] if user != person.user_id]
    await community.apply(members=members)


@pytest.mark.parametrize(
    ("way", "library"), [("config", "nio"), ("leaves", "js"), ("kicked", "nio"), ("banned", "js")]
)  # fmt: skip
async def test_whoever_goes_is_gone_everywhere_and_reads_no_further(
    school: School, folk: People, way: str, library: Library
) -> None:
    community, room = school.community, school.community.announcements
    nelson = await folk.on(library, "nelson")
    await community.admit(nelson, keys=("class-1a",))
    await community.inside(nelson, keys=("general",))
    await community.announce(f"before {nelson.user_id} {way}")
    await nelson.wait_text(room, f"before {nelson.user_id} {way}")
    await school.edna.wait_joined(community["class-1a"], nelson.user_id)
    await school.edna.send(community["class-1a"], f"hello {nelson.user_id}")
    await nelson.wait_text(community["class-1a"], f"hello {nelson.user_id}")

    match way:
        case "config":
            await take_out_of_config(community, nelson)
        case "leaves":
            await nelson.leave(community.space)
        case "kicked":
            await school.admin.kick(community.space, nelson.user_id)
        case "banned":
            await school.admin.ban(community.space, nelson.user_id, "no manners")
    await community.gone(nelson, "ban" if way == "banned" else "leave")
    for key in ("space", "announcements", "general", "class-1a"):
        await nelson.wait_left(community[key])

    announced = await community.announce(f"after {nelson.user_id} {way}")
    await school.homer.wait_text(room, f"after {nelson.user_id} {way}")
    said = await school.edna.send(community["class-1a"], f"goodbye {nelson.user_id}")
    await school.edna.wait_text(community["class-1a"], f"goodbye {nelson.user_id}")
    for where, event_id in ((room, announced), (community["class-1a"], said)):
        event = await school.edna.event(where, event_id)
        assert await nelson.try_decrypt(where, event) is None
        assert (await refusal(nelson.event(where, event_id))).status in (403, 404)
    assert (await refusal(nelson.join(community["class-1a"]))).status == 403
    assert (await refusal(nelson.join(room))).status == 403
    await take_out_of_config(community, nelson)


async def test_whoever_the_config_no_longer_names_cannot_read_what_is_announced_at_once(
    estate: Estate, school: School, folk: People
) -> None:
    community, room = school.community, school.community.announcements
    nelson, sherri = await folk.nio("nelson"), await folk.js("sherri", cross_sign=True)
    await community.admit(nelson, sherri)
    await community.announce("while they are here")
    for person in (nelson, sherri):
        await person.wait_text(room, "while they are here")
    taken_out = {nelson.user_id, sherri.user_id}
    community.change(members=[user for user in community.declaration["members"] if user not in taken_out])
    await estate.reload()
    sent = await community.announce("without them")
    event = await school.homer.event(room, sent)
    assert (await school.homer.wait_text(room, "without them")).decrypted
    for person in (nelson, sherri):
        assert await person.try_decrypt(room, event) is None
        await person.wait_left(room)
        await person.wait_left(community.space)


async def test_a_ban_that_is_lifted_in_the_space_is_lifted_everywhere(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    nelson = await folk.nio("nelson")
    await community.admit(nelson)
    await community.inside(nelson, keys=("general",))
    await school.admin.ban(community.space, nelson.user_id)
    await community.gone(nelson, "ban")
    assert await estate.membership(community["general"], nelson.user_id) == "ban"
    await school.admin.unban(community.space, nelson.user_id)

    async def lifted() -> bool:
        states = [await estate.membership(community[key], nelson.user_id) for key in ("announcements", "general")]
        return states == ["leave", "leave"]

    await eventually(lifted)
    await take_out_of_config(community, nelson)


async def test_leaving_a_group_is_no_leaving_of_the_community(estate: Estate, school: School, folk: People) -> None:
    community = school.community
    lisa = await folk.nio("lisa")
    await community.admit(lisa, keys=("class-1a",))
    await community.inside(lisa, keys=("general",))
    for key in ("class-1a", "general"):
        await lisa.leave(community[key])
        await lisa.wait_left(community[key])
    await community.announce(f"for {lisa.user_id}, too")
    await lisa.wait_text(community.announcements, f"for {lisa.user_id}, too")
    await estate.idle()
    assert not {community["class-1a"], community["general"]} & {*lisa.rooms, *lisa.invites}
    await take_out_of_config(community, lisa)
