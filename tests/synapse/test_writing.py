"""An announcement as it is written: seen first by its author, with files; then by independent clients of members."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import aiohttp
import pytest
from nio.crypto import encrypt_attachment

from bridge.cli.demo.person import Client, ReceivedMessage
from tests.harness.community import ANNOUNCER, STEWARD, Estate
from tests.harness.people import People
from tests.synapse.conftest import School
from tests.synapse.test_chats import answer, chat_with_announcer
from tests.synapse.test_handouts import file_in


async def upload(person: Client, estate: Estate, data: bytes) -> dict[str, Any]:
    """Put a file into the media repository, encrypted as clients do it; gives its `EncryptedFile`."""
    sealed, keys = encrypt_attachment(data)
    headers = {"Authorization": f"Bearer {person.account.access_token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{estate.synapse.url}/_matrix/media/v3/upload", data=sealed) as response,
    ):
        return {**keys, "url": (await response.json())["content_uri"]}


async def send_file(person: Client, room: str, file: dict[str, Any], **more: Any) -> str:
    name = more.pop("name")
    content = {"msgtype": "m.file", "body": name, "filename": name, "file": file, "info": {"size": 1}, **more}
    return await person.send_event(room, "m.room.message", content)


async def preview(person: Client, room: str, text: str) -> ReceivedMessage:
    """What is shown of an announcement."""
    return await person.wait_text(room, lambda message: message.sender == ANNOUNCER and message.text == text)


async def card(person: Client, room: str, *parts: str) -> str:
    """The message under which a preview is decided, once all reactions stand there."""
    message = await answer(person, room, "That is how members will see it:", "Its author decides", *parts)
    for key in ("✅", "✏️", "❌"):
        await person.wait_event(room, partial(_is_reaction, message.event_id, key))
    return message.event_id


def _is_reaction(event_id: str, key: str, event: dict[str, Any]) -> bool:
    relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
    return bool(event["content"].get("m.relates_to") == relation)


@pytest.mark.parametrize("who", ["owner", "admin"])
async def test_it_is_shown_edited_and_sent_and_its_files_open_for_members(
    estate: Estate, schools: dict[str, School], who: str
) -> None:
    school = schools["12"]
    community, person = school.community, getattr(school, who)
    await community.apply(preview=True)
    room = await chat_with_announcer(person)
    place, homer = community.id, school.homer.user_id

    # a text, which its author edits in their client, and sends by ✅
    source = await person.send(room, f"announce {place} Frist, by {who}")
    await preview(person, room, f"Frist, by {who}")
    await card(person, room, f"to everybody in {community.declaration['name']}")
    new = {"msgtype": "m.text", "body": f"announce {place} First, by {who} and Homer"}
    new |= {"format": "org.matrix.custom.html"}
    new |= {"formatted_body": f'announce First, by {who} and <a href="https://matrix.to/#/{homer}">Homer</a>'}
    relation = {"rel_type": "m.replace", "event_id": source}
    await person.send_event(
        room, "m.room.message", {**new, "body": f"* {new['body']}", "m.new_content": new, "m.relates_to": relation}
    )
    shown = await preview(person, room, f"First, by {who} and Homer")
    assert shown.content["m.mentions"] == {}
    await estate.idle()
    cards = estate.rows("SELECT card FROM draft WHERE source = ?", source)
    await person.react(room, cards[0][0], "✅")
    for member in school.members:
        message = await member.wait_text(community.announcements, f"First, by {who} and Homer")
        assert message.content["m.mentions"] == {"user_ids": [homer]}
        assert f'<a href="https://matrix.to/#/{homer.replace("@", "%40").replace(":", "%3A")}">' in str(message.content)
        assert all("Frist" not in one.text for one in member.messages(community.announcements))
    assert estate.rows("SELECT content FROM draft WHERE source = ?", source) == [("",)]

    # two files, one answered: sealed anew, and opened by members
    first, second = os.urandom(3000), os.urandom(4000)
    await send_file(person, room, await upload(person, estate, first), name=f"one-{who}.pdf")
    theirs = await upload(person, estate, second)
    answered = await send_file(person, room, theirs, name=f"two-{who}.pdf")
    reply = {"m.in_reply_to": {"event_id": answered}}
    await person.send(room, f"announce {place} --ring Read this, {who}", **{"m.relates_to": reply})
    shown = await preview(person, room, f"@room Read this, {who}")
    await card(person, room, "it notifies everybody")
    await person.send(room, "yes")
    for member in school.members:
        message = await member.wait_text(community.announcements, f"@room Read this, {who}")
        assert (message.content["filename"], message.content["m.mentions"]) == (f"one-{who}.pdf", {"room": True})
        assert await file_in(member, message, estate) == first
        other = await member.wait_text(community.announcements, f"two-{who}.pdf")
        assert await file_in(member, other, estate) == second
        file: Any = other.content["file"]
        assert file["url"] != theirs["url"]
        assert file["key"]["k"] != theirs["key"]["k"]

    # one that is dropped reaches nobody
    await person.send(room, f"announce {place} Never, by {who}")
    await preview(person, room, f"Never, by {who}")
    await estate.idle()
    await person.send(room, "no")
    await answer(person, room, "I leave it.")
    await estate.idle()
    assert all("Never" not in message.text for message in school.homer.messages(community.announcements))
    await community.apply(preview=False)


async def test_what_is_for_later_is_shown_with_its_time_and_read_then_once(
    estate: Estate, schools: dict[str, School]
) -> None:
    school = schools["12"]
    community, person, text = school.community, school.owner, "The doors open now"
    await community.apply(preview=True)
    room = await chat_with_announcer(person)
    asked = await person.send(room, f"announce {community.id} --at in 15 seconds: {text}")
    await preview(person, room, text)
    shown = await card(person, room, "when you agree")
    assert estate.rows("SELECT number FROM schedule WHERE author = ? AND next_at IS NOT NULL", person.user_id) == []
    await estate.idle()
    await person.react(room, shown, "✅")
    await answer(person, room, "Scheduled as number")
    due = estate.rows("SELECT first_at FROM draft WHERE source = ?", asked)[0][0]
    for member in school.members:
        message = await member.wait_text(community.announcements, text)
        wire = await member.event(community.announcements, message.event_id)
        assert wire["origin_server_ts"] >= due
    await estate.idle()
    for member in school.members:
        assert [one.text for one in member.messages(community.announcements)].count(text) == 1
    assert estate.rows("SELECT state, content FROM draft WHERE source = ?", asked) == [("sent", "")]
    await community.apply(preview=False)


async def test_in_the_control_room_the_author_alone_decides_and_the_command_line_sends_at_once(
    estate: Estate, schools: dict[str, School], folk: People
) -> None:
    school = schools["12"]
    community, owner, admin = school.community, school.owner, school.admin
    await community.apply(preview=True, announcement_templates={"snow": "No school on {day}: {why}."})
    room = community.control
    source = await admin.send(room, "!announce Wrong words")
    await preview(owner, room, "Wrong words")
    await estate.idle()
    card_id = estate.rows("SELECT card FROM draft WHERE source = ?", source)[0][0]
    await estate.taken_in(await owner.react(room, card_id, "✅"))
    assert estate.rows("SELECT state FROM draft WHERE source = ?", source) == [("open",)]
    await admin.react(room, card_id, "✏️")
    await answer(owner, room, "Your next message here is the new text")
    await owner.send(room, "this is talk")
    await admin.send(room, "The *right* words")
    await preview(owner, room, "The *right* words")
    await estate.idle()  # a yes counts once the whole preview is there
    await admin.send(room, "!yes")
    for member in school.members:
        message = await member.wait_text(community.announcements, "The *right* words")
        assert "<em>right</em>" in str(message.content["formatted_body"])

    words = (community.id, "--template", "snow", "day=Monday", "why=heavy snow", "--ring")
    shown = (await estate.command("announce", *words, "--preview", "--json")).json
    text = "@room No school on Monday: heavy snow."
    joined = (await owner.call("GET", f"/rooms/{community.announcements}/joined_members"))["joined"]
    people = len(set(joined) - {STEWARD, ANNOUNCER})  # other tests may have brought in more
    assert [(one["content"]["body"], one["audience"], one["people"]) for one in shown] == [
        (text, ["everybody"], people)
    ]
    refused = await estate.command("announce", community.id, "--template", "snow", "day=Monday", expect=(1,))
    assert "why is missing" in refused.err + refused.out
    await estate.command("announce", *words)
    for member in school.members:
        assert (await member.wait_text(community.announcements, text)).content["m.mentions"] == {"room": True}
        assert [one.text for one in member.messages(community.announcements)].count(text) == 1
    await community.apply(preview=False, announcement_templates=None)
