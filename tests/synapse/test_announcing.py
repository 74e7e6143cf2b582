"""Announcements: who reads them, who may post, and who may react."""

from __future__ import annotations

import asyncio
import itertools
import json
from urllib.parse import quote

import pytest

from bridge.cli.demo.person import Client
from tests.harness.community import ANNOUNCER, Estate, refusal
from tests.harness.wait import eventually
from tests.synapse.conftest import School

TEXT = "**Tomorrow** is a holiday.\n\n- no classes\n- no <b>lunch</b>\n\nSee [the plan](https://example.org/plan)."
HTML = (
    "<p><strong>Tomorrow</strong> is a holiday.</p>\n<ul>\n<li>no classes</li>\n"
    "<li>no &lt;b&gt;lunch&lt;/b&gt;</li>\n</ul>\n"
    '<p>See <a href="https://example.org/plan">the plan</a>.</p>'
)


async def test_everybody_reads_what_the_operator_announces(estate: Estate, school: School) -> None:
    room = school.community.announcements
    ran = await estate.command("announce", school.community.id, "--text", TEXT, "--json")
    (target,) = ran.json["targets"]
    assert target["devices"] == len(school.everybody)
    for person in school.everybody:
        message = await person.wait_text(room, TEXT)
        assert message.decrypted
        assert message.event_id == target["event_id"]
        assert message.sender == ANNOUNCER
        assert message.content["msgtype"] == "m.text"
        assert message.content["format"] == "org.matrix.custom.html"
        assert message.content["formatted_body"] == HTML
        assert message.shield in (None, "none")
    assert "holiday" not in json.dumps(school.homer.timeline(room)), "it was sent in the clear"


async def test_an_announcement_rings_once_and_levels_that_are_written_do_not(
    estate: Estate, schools: dict[str, School]
) -> None:
    school = schools["12"]
    community, reader = school.community, school.homer
    rooms = [community[key] for key in ("space", "announcements", "general")]

    limits = itertools.count(1)

    async def rings() -> dict[str, tuple[int, int]]:
        """For each room how often somebody is notified, and how often they are called, as the homeserver counts."""
        anew = json.dumps({"room": {"timeline": {"limit": next(limits)}}})  # Synapse keeps answers for two minutes
        joined = (await reader.call("GET", "/sync", query={"timeout": "0", "filter": anew}))["rooms"]["join"]
        found = {room: joined[room]["unread_notifications"] for room in rooms}
        return {room: (one["notification_count"], one["highlight_count"]) for room, one in found.items()}

    before = await rings()
    count, called = before[community.announcements]
    after = before | {community.announcements: (count + 1, called)}
    await community.announce("rings **once**")

    async def rung() -> bool:
        assert await rings() == after
        return True

    await eventually(rung)
    right = await estate.state(community.announcements, "m.room.power_levels")
    await estate.put_state(community.announcements, "m.room.power_levels", right | {"events_default": 0})

    async def healed() -> bool:
        return await estate.state(community.announcements, "m.room.power_levels") == right

    await eventually(healed)
    assert await rings() == after


async def test_a_plain_text_has_no_markup(school: School) -> None:
    event_id = await school.community.announce('Is 1 < 2 & "so on"?')
    for person in school.members:
        message = await person.wait_text(school.community.announcements, 'Is 1 < 2 & "so on"?')
        assert message.event_id == event_id
        assert "formatted_body" not in message.content


async def test_a_client_that_trusts_signed_devices_only_reads_the_announcer(school: School) -> None:
    assert list((await school.marge.devices(ANNOUNCER)).values()) == [True]
    await school.marge.only_signed_devices()
    try:
        await school.community.announce("for careful clients")
        message = await school.marge.wait_text(school.community.announcements, "for careful clients")
        assert message.shield == "none"
    finally:
        await school.marge.only_signed_devices(False)


@pytest.mark.parametrize("who", ["owner", "admin"])
async def test_members_read_what_an_admin_posts(estate: Estate, school: School, who: str) -> None:
    room, author = school.community.announcements, getattr(school, who)
    event_id = await author.send(room, f"from the {who}", html=f"<em>from the {who}</em>")
    for person in school.members:
        message = await person.wait_text(room, f"from the {who}")
        assert message.decrypted
        assert (message.event_id, message.sender) == (event_id, author.user_id)
        assert message.content["formatted_body"] == f"<em>from the {who}</em>"
    await estate.taken_in(event_id)
    assert (await school.homer.event(room, event_id))["content"]["algorithm"]


@pytest.mark.parametrize("who", ["homer", "marge", "edna"])
async def test_a_member_cannot_post(school: School, who: str) -> None:
    room, member = school.community.announcements, getattr(school, who)
    refused = await refusal(member.send(room, "buy my car"))
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    attempts = {
        "m.room.message": {"msgtype": "m.text", "body": "in the clear"},
        "m.room.encrypted": {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA", "session_id": "a"},
        "m.sticker": {"body": "a sticker", "url": "mxc://example.org/a", "info": {}},
        "m.poll.start": {"m.poll": {}},
        "org.example.unknown": {"text": "anything else"},
        "m.call.invite": {"call_id": "1", "version": "1", "lifetime": 1},
    }
    for event_type, content in attempts.items():
        assert (await refusal(member.send_raw(room, event_type, content))).status == 403, event_type
    pieces = {
        "m.room.name": {"name": "Homer’s room"},
        "m.room.topic": {"topic": "cars"},
        "m.room.power_levels": {"users": {member.user_id: 100}},
        "m.room.pinned_events": {"pinned": []},
        "m.beacon_info": {"timeout": 1},
        "org.example.unknown": {},
    }
    for event_type, content in pieces.items():
        assert (await refusal(member.put_state(room, event_type, "", content))).status == 403, event_type
    assert (await refusal(member.invite(room, "@nelson:example.org"))).status == 403


async def test_members_react_and_take_reactions_back(estate: Estate, school: School) -> None:
    room = school.community.announcements
    announcement = await school.community.announce("do you like it?")

    async def react(member: Client) -> None:
        await member.wait_text(room, "do you like it?")
        reaction = await member.react(room, announcement, "👍")
        await estate.taken_in(reaction)
        assert (await member.event(room, reaction))["content"]["m.relates_to"]["key"] == "👍"
        await member.redact(room, reaction)
        assert not (await member.event(room, reaction))["content"]

    await asyncio.gather(*(react(member) for member in school.members))


async def test_a_text_dressed_up_as_a_reaction_is_redacted(estate: Estate, school: School) -> None:
    room = school.community.announcements
    announcement = await school.community.announce("react shortly")
    longest = await school.homer.react(room, announcement, "x" * 32)
    too_long = await school.homer.react(room, announcement, "y" * 33)

    async def redacted() -> bool:
        return not (await school.owner.event(room, too_long))["content"]

    await eventually(redacted)
    reaction = await school.homer.react(room, announcement, "👍")
    await school.homer.redact(room, reaction)
    reaction = await school.homer.react(room, announcement, "👎")
    address = f"/rooms/{quote(room)}/redact/{quote(reaction)}/wordy"
    wordy = await school.homer.call("PUT", address, {"reason": {"text": "a text"}, "body": "a text"})

    async def said_no_more() -> bool:
        event = await school.owner.event(room, wordy["event_id"])
        return "redacted_because" in event["unsigned"] and "text" not in str(event["content"])

    await eventually(said_no_more)
    await estate.taken_in(longest)
    assert (await school.owner.event(room, longest))["content"]
    # an admin may write what they like
    of_admin = await school.owner.react(room, announcement, "z" * 33)
    await estate.taken_in(of_admin)
    assert (await school.owner.event(room, of_admin))["content"]
