"""Where the config and the people differ about who is where."""

from __future__ import annotations

import asyncio

from bridge.cli.demo.person import Client
from tests.harness.community import ANNOUNCER, STEWARD, Community, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School


async def name(community: Community, *people: Client) -> None:
    await community.apply(members=[*community.declaration["members"], *(person.user_id for person in people)])


async def unname(community: Community, *people: Client) -> None:
    gone = {person.user_id for person in people}
    await community.apply(members=[user for user in community.declaration["members"] if user not in gone])


async def test_invites_come_once_and_from_the_right_account(estate: Estate, school: School, folk: People) -> None:
    community = school.community
    bart = await folk.nio("bart")
    await name(community, bart)
    assert await bart.wait_invite(community.space) == STEWARD
    assert await bart.wait_invite(community.announcements) == ANNOUNCER
    assert await bart.wait_invite(community["general"]) == STEWARD
    assert community["class-1a"] not in bart.invites

    await bart.leave(community.space)
    await community.gone(bart)
    text = await community.told(school.owner, bart.user_id, "left or declined")
    assert "named in the configuration" in text
    await community.apply()
    await estate.idle()
    for key in ("space", "announcements", "general"):
        assert await estate.membership(community[key], bart.user_id) == "leave"
    # an admin may ask again, and then everything follows
    await school.admin.invite(community.space, bart.user_id)
    bart.accept_invites()
    await community.inside(bart)
    await unname(community, bart)
    await community.gone(bart)


async def test_whoever_is_kicked_from_the_announcements_alone_is_invited_back(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    bart = await folk.nio("bart")
    await community.admit(bart)
    await school.admin.kick(community.announcements, bart.user_id)
    await school.owner.wait_event(
        community.announcements,
        lambda event: event.get("state_key") == bart.user_id and event["content"]["membership"] == "leave",
    )
    await school.owner.wait_membership(community.announcements, bart.user_id, "join")
    await community.announce(f"{bart.user_id} is back")
    await bart.wait_text(community.announcements, f"{bart.user_id} is back")

    await school.admin.ban(community.announcements, bart.user_id)
    await community.told(school.owner, bart.user_id, "banned from announcements", school.admin.user_id)
    await community.apply()
    assert await estate.membership(community.announcements, bart.user_id) == "ban"
    assert await estate.membership(community.space, bart.user_id) == "join"
    await unname(community, bart)


async def test_whoever_leaves_the_announcements_is_not_asked_again(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    bart = await folk.nio("bart")
    await community.admit(bart)
    await bart.leave(community.announcements)
    await community.told(school.owner, f"{bart.user_id} left or declined announcements")
    await community.apply()
    assert await estate.membership(community.announcements, bart.user_id) == "leave"
    assert await estate.membership(community.space, bart.user_id) == "join"
    # until an admin does
    bart.accept_invites()
    await school.admin.invite(community.announcements, bart.user_id)
    await bart.wait_joined(community.announcements)
    await community.announce(f"{bart.user_id} reads again")
    await bart.wait_text(community.announcements, f"{bart.user_id} reads again")
    await unname(community, bart)


async def test_removal_by_people_outranks_the_config_and_is_reported(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    bart, lisa = await asyncio.gather(folk.nio("bart"), folk.nio("lisa"))
    await community.admit(bart, lisa)
    await school.admin.kick(community.space, bart.user_id)
    await school.admin.ban(community.space, lisa.user_id)
    await community.told(school.owner, bart.user_id, "named in the configuration", school.admin.user_id, "removed")
    await community.told(school.owner, lisa.user_id, "named in the configuration", school.admin.user_id, "banned")
    await community.apply()
    await community.gone(bart)
    await community.gone(lisa, "ban")
    assert await estate.membership(community.space, bart.user_id) == "leave"
    await unname(community, bart, lisa)


async def test_whom_the_config_never_named_is_left_alone(estate: Estate, school: School, folk: People) -> None:
    community = school.community
    milhouse = await folk.nio("milhouse")
    milhouse.accept_invites()
    await school.admin.invite(community.space, milhouse.user_id)
    await community.inside(milhouse)
    await community.apply()
    await estate.idle()
    assert {community.space, community.announcements} <= await milhouse.joined_rooms()
    await community.announce(f"for {milhouse.user_id}")
    await milhouse.wait_text(community.announcements, f"for {milhouse.user_id}")


async def test_whom_the_config_removes_stays_out(estate: Estate, school: School, folk: People) -> None:
    community = school.community
    nelson = await folk.nio("nelson")
    nelson.accept_invites()
    await school.admin.invite(community.space, nelson.user_id)
    await community.inside(nelson)
    await community.apply(removed=[nelson.user_id])
    await community.gone(nelson)
    await school.admin.invite(community.space, nelson.user_id)
    await school.owner.wait_event(
        community.space,
        lambda event: (
            event.get("state_key") == nelson.user_id
            and event["sender"] == STEWARD
            and event["content"]["membership"] == "leave"
            and event["unsigned"].get("replaces_state") is not None
        ),
    )
    await community.gone(nelson)
    await community.apply(removed=None)


async def test_an_outsider_who_knocks_on_a_request_group_is_turned_away(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    outsider = await folk.nio("outsider")
    await outsider.knock(community["chess"], "let me in")
    answer = await school.edna.wait_membership(community["chess"], outsider.user_id, "leave")
    assert answer["sender"] == STEWARD
    assert "only members of the community" in answer["content"]["reason"]
    for key in ("space", "announcements", "general", "class-1a", "board"):
        assert (await refusal(outsider.join(community[key]))).status == 403, key
    # a member's knock waits for the moderators
    bart = await folk.nio("bart")
    await community.admit(bart)
    await bart.knock(community["chess"])
    await school.edna.wait_membership(community["chess"], bart.user_id, "knock")
    await estate.idle()
    assert await estate.membership(community["chess"], bart.user_id) == "knock"
    await school.edna.invite(community["chess"], bart.user_id)
    await bart.wait_joined(community["chess"])
    await unname(community, bart)


async def test_an_outsider_whom_a_moderator_admits_is_asked_into_the_community(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    comes, declines = await asyncio.gather(folk.nio("comes"), folk.nio("declines"))
    for outsider in (comes, declines):
        await school.edna.invite(community["chess"], outsider.user_id)
        await outsider.wait_invite(community["chess"])
        await outsider.join(community["chess"])
        assert await outsider.wait_invite(community.space) == STEWARD
    await comes.join(community.space)
    await comes.wait_invite(community.announcements)
    await comes.join(community.announcements)
    await declines.leave(community.space)
    await declines.wait_left(community["chess"])
    await community.gone(declines)
    await estate.idle()
    assert {community.space, community.announcements, community["chess"]} <= await comes.joined_rooms()


async def test_moderators_moderate_their_group_and_nothing_else(estate: Estate, school: School, folk: People) -> None:
    community, edna = school.community, school.edna
    for key, level in (("class-1a", 50), ("chess", 50), ("general", 0), ("announcements", 0), ("space", 0)):
        levels = await estate.state(community[key], "m.room.power_levels")
        assert levels["users"].get(edna.user_id, 0) == level, key
    bart = await folk.nio("bart")
    await community.admit(bart, keys=("class-1a",))
    await edna.wait_joined(community["class-1a"], bart.user_id)
    said = await bart.send(community["class-1a"], "rude words")
    await edna.redact(community["class-1a"], said)
    assert (await edna.event(community["class-1a"], said))["content"] == {}
    await edna.kick(community["class-1a"], bart.user_id)
    await bart.wait_left(community["class-1a"])
    for key in ("space", "announcements"):
        assert (await refusal(edna.kick(community[key], bart.user_id))).status == 403
    await estate.idle()
    assert await estate.membership(community.space, bart.user_id) == "join"
    # a moderator whom the config names no longer is an ordinary member of the group
    groups = community.declaration["groups"]
    groups["class-1a"]["moderators"] = [school.homer.user_id]
    await community.apply()
    levels = await estate.state(community["class-1a"], "m.room.power_levels")
    assert levels["users"].get(school.homer.user_id) == 50
    assert edna.user_id not in levels["users"]
    groups["class-1a"]["moderators"] = [edna.user_id]
    await community.apply()
    edna.accept_invites()
    await edna.wait_joined(community["class-1a"])
    await unname(community, bart)


async def test_a_group_that_the_config_drops_is_reported_and_left_alone(
    estate: Estate, school: School, folk: People
) -> None:
    community, owner = school.community, school.owner
    groups = community.declaration["groups"]
    groups["drama"] = {"kind": "open", "members": [owner.user_id]}
    await community.apply()
    drama = community["drama"]
    await owner.wait_joined(drama)
    del groups["drama"]
    community.change()
    await estate.reload()
    await community.told(owner, "drama", "no longer")
    assert drama in await owner.joined_rooms()
    await owner.send(drama, "the show goes on")
    # whoever leaves the community leaves it, too
    bart = await folk.nio("bart")
    await community.admit(bart, keys=())
    await bart.join(drama)
    await bart.leave(community.space)
    await bart.wait_left(drama)
    await unname(community, bart)


async def test_a_space_that_people_ask_to_join(estate: Estate, folk: People, room_version: str) -> None:
    owner, asks, refused = await asyncio.gather(folk.nio("owner"), folk.nio("asks"), folk.nio("refused"))
    community = estate.declare(
        "club", room_version=room_version, name="Club", owners=[owner.user_id], join="request", general=False
    )
    owner.accept_invites()
    await estate.apply(community)
    await community.inside(owner)
    for person in (asks, refused):
        await person.knock(community.space)
        await owner.wait_membership(community.space, person.user_id, "knock")
    await estate.idle()
    assert await estate.membership(community.space, asks.user_id) == "knock"
    asks.accept_invites()
    await owner.invite(community.space, asks.user_id)
    await community.inside(asks)
    await owner.kick(community.space, refused.user_id)
    await community.gone(refused)
    estate.forget(community)


async def test_admins_of_the_config_come_and_go(estate: Estate, school: School, folk: People) -> None:
    community = school.community
    skinner = await folk.nio("skinner")
    skinner.accept_invites()
    await community.apply(admins=[*community.declaration["admins"], skinner.user_id])
    await community.inside(skinner, keys=("space", "announcements", "control"))
    await skinner.send(community.announcements, f"{skinner.user_id} speaking")
    await school.homer.wait_text(community.announcements, f"{skinner.user_id} speaking")
    admins = [user for user in community.declaration["admins"] if user != skinner.user_id]
    await community.apply(admins=admins, members=[*community.declaration["members"], skinner.user_id])
    await skinner.wait_left(community.control)
    assert (await refusal(skinner.send(community.announcements, "one more thing"))).status == 403
    await estate.idle()
    assert {community.space, community.announcements} <= await skinner.joined_rooms()
    await unname(community, skinner)
    await community.gone(skinner)


async def test_nothing_is_left_to_do(estate: Estate, school: School) -> None:
    await estate.idle()

    async def done() -> bool:
        return bool((await school.community.status())["drift"] == [])

    await eventually(done)
