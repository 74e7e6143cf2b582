"""Drift, aspect by aspect: what is put back, what is taken over from people, and what is only reported."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge.cli.demo.person import Client, Person
from tests.harness.community import ANNOUNCER, MEGOLM, STEWARD, Community, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School

LEVELS = "m.room.power_levels"


async def wait_content(estate: Estate, room_id: str, event_type: str, wanted: Mapping[str, Any], key: str = "") -> None:
    """Wait until a piece of state has that content."""

    async def same() -> bool:
        assert await estate.state(room_id, event_type, key) == wanted
        return True

    await eventually(same, 20)


@asynccontextmanager
async def service_asleep(estate: Estate) -> AsyncIterator[None]:
    """The service does nothing meanwhile (SIGSTOP): as if people were quicker than it."""
    assert estate.operator.pid is not None
    os.kill(estate.operator.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(estate.operator.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "opened",
    [{"kick": 0}, {"ban": 0, "invite": 0}, {"users_default": 99}, {"events": {"m.space.child": 0, "m.room.name": 0}}],
    ids="-".join,
)
async def test_thresholds_of_the_space_are_put_back(estate: Estate, school: School, opened: dict[str, Any]) -> None:
    space = school.community.space
    before = await estate.state(space, LEVELS)
    changed = {**before, **opened, "events": {**before["events"], **opened.get("events", {})}}
    event_id = await school.owner.put_state(space, LEVELS, "", changed)
    await wait_content(estate, space, LEVELS, before)
    back = await school.owner.wait_state(space, LEVELS, "", lambda content: content == before)
    assert back["sender"] == STEWARD
    assert back["event_id"] != event_id


async def test_locked_thresholds_cannot_be_lowered_by_an_owner(school: School) -> None:
    space = school.community.space
    before = await school.owner.state(space, LEVELS)
    assert before is not None
    for lowered in ({"events_default": 0}, {"state_default": 50}, {"redact": 0}):
        assert (await refusal(school.owner.put_state(space, LEVELS, "", before | lowered))).status == 403
    events = {**before["events"], "m.room.join_rules": 100}
    assert (await refusal(school.owner.put_state(space, LEVELS, "", before | {"events": events}))).status == 403
    for key in ("announcements", "control", "general"):
        levels = await school.owner.state(school.community[key], LEVELS)
        assert (await refusal(school.owner.put_state(school.community[key], LEVELS, "", levels or {}))).status == 403
    assert (await refusal(school.admin.put_state(space, LEVELS, "", before | {"kick": 0}))).status == 403


@pytest.mark.parametrize(
    "opened",
    [
        {"events_default": 0},
        {"users_default": 100},
        {"events": {"m.room.encrypted": 0, "m.room.message": 0}},
        {"events": {}, "state_default": 0},
    ],
    ids=["events_default", "users_default", "events", "state"],
)
async def test_thresholds_of_the_announcement_room_are_put_back(
    estate: Estate, school: School, opened: dict[str, Any]
) -> None:
    room = school.community.announcements
    before = await estate.state(room, LEVELS)
    await estate.put_state(room, LEVELS, before | opened)
    await wait_content(estate, room, LEVELS, before)
    assert (await refusal(school.homer.send(room, "may I now?"))).status == 403


STATE = {
    "m.room.join_rules": {"join_rule": "public"},
    "m.room.history_visibility": {"history_visibility": "world_readable"},
    "m.room.guest_access": {"guest_access": "can_join"},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": "x"},
}


@pytest.mark.parametrize("key", ["announcements", "class-1a"])
async def test_what_guards_a_room_is_put_back(estate: Estate, school: School, key: str) -> None:
    room = school.community[key]

    async def drift_and_heal(event_type: str, wrong: Mapping[str, Any]) -> None:
        before = await estate.state(room, event_type)
        assert before != wrong
        await estate.put_state(room, event_type, wrong)
        await wait_content(estate, room, event_type, before)

    await asyncio.gather(*(drift_and_heal(event_type, wrong) for event_type, wrong in STATE.items()))
    await estate.put_state(room, "m.room.server_acl", {"allow": ["elsewhere.org", "example.org"], "deny": ["*.net"]})
    await wait_content(
        estate, room, "m.room.server_acl", {"allow": ["*"], "deny": [], "allow_ip_literals": True}
    )  # fmt: skip
    await estate.put_state(room, "m.room.tombstone", {"body": "gone", "replacement_room": "!elsewhere:example.org"})
    await wait_content(estate, room, "m.room.tombstone", {})
    await estate.put_state(room, "m.room.avatar", {"url": "mxc://example.org/thief"})
    await wait_content(estate, room, "m.room.avatar", {})
    if key == "class-1a":  # it has no topic
        await estate.put_state(room, "m.room.topic", {"topic": "by a thief"})
        await wait_content(estate, room, "m.room.topic", {"topic": ""})
    else:
        await school.community.announce("still encrypted, still ours")
        for member in school.members:
            assert (await member.wait_text(room, "still encrypted, still ours")).decrypted


async def test_encryption_that_an_admin_redacts_is_put_back(estate: Estate, school: School) -> None:
    for key in ("announcements", "general"):
        room = school.community[key]
        (event_id,) = [
            event["event_id"] for event in await school.owner.all_state(room) if event["type"] == "m.room.encryption"
        ]
        await school.admin.redact(room, event_id)
        await wait_content(estate, room, "m.room.encryption", {"algorithm": MEGOLM})
        assert (await estate.state(room, "m.room.encryption"))["algorithm"] == MEGOLM
    sent = await school.community.announce("encrypted all the same")
    for member in school.members:
        assert (await member.wait_text(school.community.announcements, "encrypted all the same")).event_id == sent


async def test_redacted_levels_names_and_visibility_are_put_back(estate: Estate, school: School) -> None:
    room = school.community.announcements
    wanted = {
        kind: await estate.state(room, kind)
        for kind in (LEVELS, "m.room.name", "m.room.history_visibility", "m.room.join_rules", "m.room.topic")
    }
    for event in await school.owner.all_state(room):
        if event["type"] in wanted:
            await school.admin.redact(room, event["event_id"])
    for kind, content in wanted.items():
        await wait_content(estate, room, kind, content)


async def test_links_between_space_and_rooms_are_put_back(estate: Estate, school: School) -> None:
    space, room = school.community.space, school.community.announcements
    before = await estate.state(space, "m.space.child", room)
    assert before["suggested"] is True
    await school.admin.put_state(space, "m.space.child", room, {})
    await wait_content(estate, space, "m.space.child", before, room)
    parent = await estate.state(room, "m.space.parent", space)
    await estate.put_state(room, "m.space.parent", {}, space)
    await wait_content(estate, room, "m.space.parent", parent, space)
    # rooms that are not listed stay unlisted
    hidden = school.community["board"]
    await school.admin.put_state(space, "m.space.child", hidden, {"via": ["example.org"]})
    await wait_content(estate, space, "m.space.child", {}, hidden)
    shown = {one["room_id"] for one in await school.homer.hierarchy(space)}
    assert {space, room, school.community["general"], school.community["class-1a"]} <= shown
    assert not {hidden, school.community.control} & shown


async def test_a_room_that_an_admin_adds_is_reported_and_left_alone(estate: Estate, school: School) -> None:
    space = school.community.space
    stray = await school.admin.create_room(name="Parents")
    link = {"via": ["example.org"], "suggested": True}
    await school.admin.put_state(space, "m.space.child", stray, link)
    report = await school.owner.wait_text(school.community.control, lambda message: stray in message.text)
    assert report.decrypted
    assert report.sender == ANNOUNCER
    assert school.admin.user_id in report.text
    await estate.idle()
    assert await estate.state(space, "m.space.child", stray) == link
    await school.admin.put_state(space, "m.space.child", stray, {})


@pytest.mark.parametrize("how", ["kick", "ban"])
async def test_the_announcer_comes_back(estate: Estate, school: School, how: str) -> None:
    room = school.community.announcements
    # an admin stands no higher than the announcer; an owner does
    assert (await refusal(getattr(school.admin, how)(room, ANNOUNCER))).status == 403
    await getattr(school.owner, how)(room, ANNOUNCER)
    gone = "ban" if how == "ban" else "leave"
    await school.owner.wait_event(
        room, lambda event: event.get("state_key") == ANNOUNCER and event["content"]["membership"] == gone
    )
    await school.owner.wait_membership(room, ANNOUNCER, "join")
    await school.community.announce(f"back after a {how}")
    for member in school.members:
        assert (await member.wait_text(room, f"back after a {how}")).decrypted


async def test_profiles_are_taken_over_unless_they_are_declared(estate: Estate, school: School) -> None:
    community, version = school.community, school.community.declaration["room_version"]
    # declared: the name of the community
    await school.admin.put_state(community.space, "m.room.name", "", {"name": "Better School"})
    await wait_content(estate, community.space, "m.room.name", {"name": f"School {version}"})
    # not declared: its description, and names of its rooms
    await school.admin.put_state(community.space, "m.room.topic", "", {"topic": "All about us"})
    await school.admin.put_state(community.announcements, "m.room.name", "", {"name": "Notice board"})
    await school.edna.put_state(community["class-1a"], "m.room.topic", "", {"topic": "Ms. Krabappel’s class"})

    async def taken_over() -> bool:
        rows = estate.rows("SELECT key, type, content FROM profile WHERE community = ?", community.id)
        found = {(key, kind) for key, kind, _ in rows}
        wanted = {("space", "m.room.topic"), ("announcements", "m.room.name"), ("class-1a", "m.room.topic")}
        return wanted <= found

    await eventually(taken_over)
    await estate.idle()
    await community.apply()
    assert (await estate.state(community.space, "m.room.topic"))["topic"] == "All about us"
    assert await estate.state(community.announcements, "m.room.name") == {"name": "Notice board"}
    assert (await estate.state(community["class-1a"], "m.room.topic"))["topic"] == "Ms. Krabappel’s class"
    # a declaration that comes later wins
    await community.apply(description="News of the school")
    assert (await estate.state(community.space, "m.room.topic"))["topic"] == "News of the school"
    await community.apply(description=None)


@pytest.mark.parametrize("what", ["threshold", "person"])
async def test_what_got_in_while_the_room_was_open_is_redacted(estate: Estate, school: School, what: str) -> None:
    room, homer = school.community.announcements, school.homer
    before = await estate.state(room, LEVELS)
    if what == "threshold":
        opened = before | {"events_default": 0, "state_default": 0, "invite": 0}
    else:
        opened = before | {"users": {**before["users"], homer.user_id: 199}}
    async with service_asleep(estate):
        await estate.put_state(room, LEVELS, opened)
        post = await homer.send(room, "spam")
        in_the_clear = await homer.send_raw(room, "m.room.message", {"msgtype": "m.text", "body": "spam"})
        sticker = await homer.send_raw(room, "m.sticker", {"body": "spam", "url": "mxc://example.org/a", "info": {}})
        odd_state = await homer.put_state(room, "org.example.spam", "", {"text": "spam"}) if what == "threshold" else ""
        of_admin = await school.owner.send(room, f"an admin meanwhile, {what}")
    await wait_content(estate, room, LEVELS, before)

    async def redacted() -> bool:
        for event_id in filter(None, (post, in_the_clear, sticker, odd_state)):
            event = await school.owner.event(room, event_id)
            assert event["content"] == {}, event
            assert event["unsigned"]["redacted_because"]["sender"] == STEWARD
        return True

    await eventually(redacted, 20)
    await school.owner.wait_text(
        school.community.control, lambda message: homer.user_id in message.text and "I take back" in message.text
    )
    assert (await refusal(homer.send(room, "again"))).status == 403
    await school.homer.wait_text(room, f"an admin meanwhile, {what}")
    assert (await school.owner.event(room, of_admin))["content"]


async def test_links_and_pins_of_a_member_are_taken_back(estate: Estate, school: School) -> None:
    space, room, homer = school.community.space, school.community.announcements, school.homer
    link = {"via": ["example.org"]}
    pinned = await school.admin.send(room, "to be pinned")
    await estate.taken_in(await school.admin.put_state(room, "m.room.pinned_events", "", {"pinned": [pinned]}))
    before = {room_id: await estate.state(room_id, LEVELS) for room_id in (space, room)}
    async with service_asleep(estate):
        for room_id, levels in before.items():
            opened = {"m.space.child": 0, "m.space.parent": 0, "m.room.pinned_events": 0}
            await estate.put_state(room_id, LEVELS, levels | {"events": levels["events"] | opened})
        await homer.put_state(space, "m.space.child", "!spam:example.org", link)
        await homer.put_state(space, "m.space.child", homer.user_id, link)
        await homer.put_state(room, "m.space.parent", "!spam:example.org", link | {"canonical": True})
        await homer.put_state(room, "m.room.pinned_events", "", {"pinned": []})
    for room_id, levels in before.items():
        await wait_content(estate, room_id, LEVELS, levels)
    await wait_content(estate, space, "m.space.child", {}, "!spam:example.org")
    await wait_content(estate, space, "m.space.child", {}, homer.user_id)
    await wait_content(estate, room, "m.space.parent", {}, "!spam:example.org")
    await wait_content(estate, room, "m.room.pinned_events", {"pinned": [pinned]})


# --- roles ------------------------------------------------------------------------------------------------------


async def club(estate: Estate, folk: People, version: str, **declaration: Any) -> tuple[Community, Person, Person]:
    """A small community with an owner and a member, both inside."""
    owner, member = await asyncio.gather(folk.nio("owner"), folk.nio("member"))
    community = estate.declare(
        "club",
        room_version=version,
        name="Club",
        owners=[owner.user_id],
        members=[member.user_id],
        general=False,
        groups={"team": {"kind": "open"}},
        **declaration,
    )
    for person in (owner, member):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, member)
    await community.inside(owner, keys=("control",))
    return community, owner, member


async def give_level(owner: Client, room_id: str, user_id: str, level: int | None) -> None:
    levels = await owner.state(room_id, LEVELS)
    assert levels is not None
    users = {user: have for user, have in levels["users"].items() if user != user_id}
    await owner.put_state(room_id, LEVELS, "", levels | {"users": users | ({} if level is None else {user_id: level})})


async def test_a_role_that_an_owner_gives_is_carried_to_every_room(
    estate: Estate, folk: People, room_version: str
) -> None:
    community, owner, member = await club(estate, folk, room_version)
    assert (await refusal(member.send(community.announcements, "too early"))).status == 403

    await give_level(owner, community.space, member.user_id, 100)
    for key in ("announcements", "control", "team"):
        await eventually_level(estate, community[key], member, 100)
    await member.wait_joined(community.control)
    told = await owner.wait_text(community.control, lambda message: member.user_id in message.text)
    assert "admin" in told.text
    posted = await member.send(community.announcements, "as an admin")
    assert (await owner.wait_text(community.announcements, "as an admin")).decrypted
    await estate.taken_in(posted)
    assert (await owner.event(community.announcements, posted))["content"]

    await give_level(owner, community.space, member.user_id, None)
    for key in ("announcements", "control", "team"):
        await eventually_level(estate, community[key], member, 0)
    await member.wait_left(community.control)
    assert (await refusal(member.send(community.announcements, "too late"))).status == 403
    # what they said while they were an admin stays
    assert (await owner.event(community.announcements, posted))["content"]
    estate.forget(community)


async def eventually_level(estate: Estate, room_id: str, person: Client, level: int) -> None:
    async def has() -> bool:
        levels = await estate.state(room_id, LEVELS)
        assert levels["users"].get(person.user_id, 0) == level
        return True

    await eventually(has, 20)


async def test_a_role_is_put_back_where_the_config_declares_it(estate: Estate, folk: People, room_version: str) -> None:
    community, owner, member = await club(estate, folk, room_version, admins=[])
    before = await estate.state(community.space, LEVELS)
    await give_level(owner, community.space, member.user_id, 100)
    await wait_content(estate, community.space, LEVELS, before)
    assert (await refusal(member.send(community.announcements, "am I?"))).status == 403
    # nor does an owner make another owner, or step down alone
    await give_level(owner, community.space, member.user_id, 150)
    await wait_content(estate, community.space, LEVELS, before)
    await give_level(owner, community.space, owner.user_id, 0)
    await wait_content(estate, community.space, LEVELS, before)
    assert await estate.membership(community.control, member.user_id) == ""
    estate.forget(community)


async def test_levels_of_people_changed_outside_of_the_space_are_put_back(estate: Estate, school: School) -> None:
    for key in ("announcements", "control", "general"):
        room = school.community[key]
        before = await estate.state(room, LEVELS)
        await estate.put_state(room, LEVELS, before | {"users": {**before["users"], school.homer.user_id: 100}})
        await wait_content(estate, room, LEVELS, before)
    await estate.idle()
    assert (await school.community.status())["drift"] == []
