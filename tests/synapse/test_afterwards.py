"""Announcements after they were sent, as members see them in clients that are not ours."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.cli.demo.person import Client
from tests.harness.community import Estate
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.reading import reads
from tests.harness.wait import eventually
from tests.synapse.test_chats import answer, chat_with_announcer

FIRST, SECOND = "School closes at noon.", "School closes at **one**."


async def shows(person: JsPerson, room: str, event_id: str, **wanted: Any) -> None:
    """Wait until Element's library shows a message so."""

    async def so() -> bool:
        shown = await person.shown(room, event_id)
        assert shown is not None
        assert {name: shown[name] for name in wanted} == wanted
        return True

    await eventually(so, 30, interval=0.2)


async def is_pinned(person: Client, room: str, *events: str) -> None:
    """Wait until these messages are pinned, and no others."""

    async def so() -> bool:
        state = await person.state(room, "m.room.pinned_events")
        assert state is not None
        assert state["pinned"] == list(events)
        return True

    await eventually(so, 30, interval=0.2)


async def test_what_is_to_be_confirmed_is_edited_and_the_list_says_how_each_begins(
    estate: Estate, folk: People
) -> None:
    owner, marge = await asyncio.gather(folk.nio("owner"), folk.js("marge", cross_sign=True))
    community = estate.declare("confirmed", name="Confirmed", owners=[owner.user_id], members=[marge.user_id])
    for person in (owner, marge):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, marge)
    room, chat = community.announcements, await chat_with_announcer(owner)
    await owner.send(chat, f"announce {community.id}: --ack The trp is on Friday.")
    await answer(owner, chat, "Sent to Confirmed.")
    event = (await marge.wait_text(room, lambda message: message.text.startswith("The trp"))).event_id

    html = f'edit #1 The trip is on Friday, says <a href="https://matrix.to/#/{marge.user_id}">Marge</a>.'
    said = {"msgtype": "m.text", "body": "edit #1 The trip is on Friday, says Marge.", "formatted_body": html}
    await owner.send_event(chat, "m.room.message", {**said, "format": "org.matrix.custom.html"})
    await answer(owner, chat, "#1 has its new text in 1 room")
    line = "Please confirm by reacting with ✅ to this message. The admins see by name who has not confirmed yet."
    await shows(marge, room, event, body=f"The trip is on Friday, says Marge.\n\n{line}", edited=True)
    edit = await marge.wait_text(room, lambda message: message.text.startswith("* The trip"))
    assert edit.content["m.mentions"] == {"user_ids": [marge.user_id]}

    await marge.react(room, event, "✅")
    await owner.send(chat, "ack #1")
    await answer(owner, chat, "#1: 1 of 1 have confirmed.")
    await owner.send(room, "By `hand`")
    await owner.send(chat, "announcements")
    listed = await answer(owner, chat, "“By `hand`”")
    assert "“The trip is on Friday, says Marge. Please confirm" in listed.text


async def test_the_life_of_an_announcement_after_it_was_sent(estate: Estate, folk: People) -> None:
    owner, marge = await asyncio.gather(folk.nio("owner"), folk.js("marge", cross_sign=True))
    community = estate.declare("afterwards", name="Afterwards", owners=[owner.user_id], members=[marge.user_id])
    other = estate.declare("elsewhere", name="Elsewhere", room_version="11", members=[marge.user_id])
    for person in (owner, marge):
        person.accept_invites()
    await estate.apply(community, other)
    await community.inside(owner, marge)
    await other.inside(marge)
    room, place = community.announcements, community.id
    chat = await chat_with_announcer(owner)
    await owner.put_state(room, "m.room.pinned_events", "", {"pinned": ["$theirs"]})

    await owner.send(chat, f"announce {place} {FIRST}")
    told = await answer(owner, chat, "Sent to Afterwards.")
    event = (await marge.wait_text(room, FIRST)).event_id

    # edited, by a reply to the answer
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": told.event_id}}}
    await owner.send_event(chat, "m.room.message", {"msgtype": "m.text", "body": f"edit {SECOND}", **reply})
    await answer(owner, chat, "#1 has its new text in 1 room")
    await shows(marge, room, event, body=SECOND, edited=True, redacted=False)
    edit = await owner.wait_text(room, f"* {SECOND}")
    assert edit.content["m.relates_to"] == {"rel_type": "m.replace", "event_id": event}
    assert edit.content["m.new_content"]["formatted_body"] == "<p>School closes at <strong>one</strong>.</p>"
    raw = await owner.event(room, edit.event_id)
    assert raw["type"] == "m.room.encrypted"
    assert "closes" not in str(raw["content"])

    # pinned beside what people pinned
    await owner.send(chat, "pin #1 24h")
    await answer(owner, chat, "#1 is pinned until")
    await is_pinned(marge, room, "$theirs", event)
    await owner.send(chat, "unpin #1")
    await answer(owner, chat, "#1 is pinned no longer")
    await is_pinned(marge, room, "$theirs")
    await owner.send(chat, "pin #1")
    await is_pinned(marge, room, "$theirs", event)

    # whoever comes now is given the edited text
    lisa = await folk.js("lisa", cross_sign=True)
    await community.admit(lisa)
    await reads(lisa, room, {edit.event_id: f"* {SECOND}"})
    await shows(lisa, room, event, body=SECOND, edited=True)

    # forwarded, as it reads now, by the operator; and what a human posted is read back as well
    given = {"community": place, "announcement": "#1", "target": other.id, "source": "test"}
    forwarded = await estate.ask("announcements", deed="forward", **given)
    assert forwarded["done"], forwarded
    there = await marge.wait_text(other.announcements, SECOND)
    assert "m.relates_to" not in there.content
    human = await owner.send(room, "posted by hand")
    await estate.taken_in(human)
    await owner.send(chat, "edit #2 no")
    await answer(owner, chat, "only its author can edit it")
    await owner.send(chat, "repost #2")
    await answer(owner, chat, "Sent to Afterwards.")
    again = await lisa.wait_text(room, lambda message: message.text == "posted by hand" and message.event_id != human)
    assert again.sender == estate.announcer

    ran = await estate.command("announcement", "edit", place, "3", "--text", "by the operator")
    assert "#3 has its new text in 1 room" in ran.out
    await shows(lisa, room, again.event_id, body="by the operator", edited=True)
    nothing = await estate.ask("announcements", deed="retry", community=place, announcement="3")
    assert (nothing["count"], nothing["done"]) == (0, True)

    # withdrawn, after a yes: nothing of it is left, neither for those who are there nor for whoever comes later
    await owner.send(chat, "withdraw #1")
    await answer(owner, chat, "#1", "would be taken back from 1 room")
    await owner.send(chat, "yes")
    await answer(owner, chat, "#1 is withdrawn from 1 room")
    await shows(marge, room, event, redacted=True)
    for gone in (event, edit.event_id):
        assert (await owner.event(room, gone))["content"] == {}
    await is_pinned(marge, room, "$theirs")
    await owner.send(chat, "withdraw #2")
    await answer(owner, chat, "#2", "would be taken back")
    await owner.send(chat, "yes")
    await answer(owner, chat, "#2 is withdrawn from 1 room")
    assert (await owner.event(room, human))["content"] == {}
    bart = await folk.js("bart", cross_sign=True)
    await community.admit(bart)
    await shows(bart, room, again.event_id, body="by the operator")
    [late] = [one.event_id for one in bart.messages(room) if one.event_id != again.event_id]
    assert late not in (event, human, edit.event_id)
    ran = await estate.command("announcement", "withdraw", place, "3", "--yes")
    assert "#3 is withdrawn from 1 room" in ran.out
    await shows(bart, room, again.event_id, redacted=True)
    assert (await owner.event(room, late))["content"] == {}
