"""The discussion room: members follow the link of an announcement into its thread, and talk there, on two libraries."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from bridge.cli.demo.person import Client, Person, ReceivedMessage
from bridge.core.announcements import named
from tests.harness.community import ANNOUNCER, STEWARD, Community, Estate
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.test_afterwards import shows
from tests.synapse.test_chats import answer, chat_with_announcer


@dataclass(frozen=True)
class Club:
    """A community with a discussion room, and people in all of it."""

    community: Community
    owner: Person
    homer: Person
    marge: JsPerson

    @property
    def discussion(self) -> str:
        return self.community["discussion"]


async def club(estate: Estate, folk: People, version: str) -> Club:
    owner, homer, marge = await asyncio.gather(
        folk.nio("owner"), folk.nio("homer"), folk.js("marge", cross_sign=True)
    )  # fmt: skip
    community = estate.declare(
        f"talk{version}",
        room_version=version,
        name=f"Talk {version}",
        owners=[owner.user_id],
        members=[homer.user_id, marge.user_id],
        discussion=True,
    )
    for person in (owner, homer, marge):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, homer, marge, keys=("space", "announcements", "discussion"))
    await homer.wait_joined(community["discussion"], ANNOUNCER)
    return Club(community, owner, homer, marge)


def followed(message: ReceivedMessage, room: str) -> str:
    """Where the link of a message leads: a message in that room."""
    found = named(re.findall(r"https://matrix\.to/\S+", message.text)[-1])
    assert found is not None
    assert found.room_id == room
    return str(found.event_id)


async def reads(person: Client, room: str, event_id: str) -> ReceivedMessage:
    """A message of the announcer, as somebody reads it who followed a link to it."""
    message = await person.wait_text(room, lambda message: message.event_id == event_id)
    assert (message.sender, message.decrypted) == (ANNOUNCER, True)
    assert message.content["msgtype"] == "m.notice"
    assert message.content["m.mentions"] == {}
    return message


def in_thread(root: str) -> dict[str, Any]:
    reply = {"is_falling_back": True, "m.in_reply_to": {"event_id": root}}
    return {"m.relates_to": {"rel_type": "m.thread", "event_id": root, **reply}}


async def is_redacted(person: Client, room: str, event_id: str) -> None:
    async def so() -> bool:
        assert (await person.event(room, event_id))["content"] == {}
        return True

    await eventually(so, 30, interval=0.2)


async def test_members_talk_about_an_announcement_in_its_thread(
    estate: Estate, folk: People, room_version: str
) -> None:
    here = await club(estate, folk, room_version)
    community, room, talk = here.community, here.community.announcements, here.discussion
    event = await community.announce("There is **no school** tomorrow")
    news = await here.homer.wait_text(room, lambda message: message.event_id == event)
    assert news.content["msgtype"] == "m.text"
    assert news.text.startswith("There is **no school** tomorrow\n\nDiscuss it here: ")
    root = followed(news, talk)
    for member in (here.homer, here.marge):
        assert (await reads(member, talk, root)).text == "Announced: There is **no school** tomorrow"
        opening = await member.wait_text(talk, lambda message: "Answer here, in this thread." in message.text)
        assert opening.content["m.relates_to"]["event_id"] == root
        assert followed(opening, room) == event
    assert 'href="https://matrix.to/#/' in news.content["formatted_body"]

    # one answers in the thread, the other reads it there; clients see the thread
    said = await here.homer.send(talk, "Why?", **in_thread(root))
    heard = await here.marge.wait_text(talk, "Why?")
    assert (heard.event_id, heard.decrypted) == (said, True)
    raw = await here.marge.event(talk, said)
    assert raw["type"] == "m.room.encrypted"
    assert raw["content"]["m.relates_to"]["event_id"] == root
    seen = (await here.marge.event(talk, root))["unsigned"]["m.relations"]["m.thread"]
    assert (seen["count"], seen["latest_event"]["event_id"]) == (2, said)

    # the announcer's device is given the key, as of any member; the service keeps none, and takes nothing in
    mark = await here.owner.send(community.control, "!help")
    await estate.taken_in(mark)
    assert STEWARD not in {sent.user_id for sent in here.homer.sent_to_device}
    owners = {owner for (owner,) in estate.rows("SELECT owner FROM crypto_inbound WHERE room_id = ?", talk)}
    assert owners <= {ANNOUNCER}
    assert not estate.rows("SELECT 1 FROM inbox WHERE event_id = ?", said)
    levels = await estate.state(talk, "m.room.power_levels")
    assert ANNOUNCER not in levels["users"]

    # edited: the link stays, and the thread has the new words
    chat = await chat_with_announcer(here.owner)
    await here.owner.send(chat, f"edit {community.id} #1 School is open")
    await answer(here.owner, chat, "#1 has its new text in 1 room")
    link = news.text.rpartition("\n\n")[2]
    await shows(here.marge, room, event, body=f"School is open\n\n{link}", edited=True)
    await shows(here.marge, talk, root, body="Announced: School is open", edited=True)

    # withdrawn: its words are gone, and what people answered is not
    await here.owner.send(chat, f"withdraw {community.id} #1")
    await answer(here.owner, chat, "#1", "would be taken back")
    await here.owner.send(chat, "yes")
    await answer(here.owner, chat, "#1 is withdrawn from 1 room")
    await shows(here.marge, talk, root, redacted=True)
    for gone in (root, opening.event_id):
        await is_redacted(here.marge, talk, gone)
    await shows(here.marge, talk, said, body="Why?", redacted=False)
    await estate.idle()
    assert len(estate.rows("SELECT 1 FROM discussion_thread WHERE community = ? AND closed = 1", community.id)) == 1


async def test_what_an_admin_posts_with_their_own_client_has_a_thread(
    estate: Estate, folk: People, room_version: str
) -> None:
    here = await club(estate, folk, room_version)
    room, talk = here.community.announcements, here.discussion
    event = await here.owner.send(room, "Coffee at four")
    pointer = await here.homer.wait_text(room, lambda message: message.text.startswith("Discuss it here:"))
    assert (pointer.sender, pointer.content["msgtype"]) == (ANNOUNCER, "m.notice")
    assert pointer.content["m.relates_to"]["event_id"] == event
    root = followed(pointer, talk)
    assert (await reads(here.marge, talk, root)).text == "Announced: Coffee at four"
    await here.marge.send(talk, "I bring cake", **in_thread(root))
    await here.homer.wait_text(talk, "I bring cake")

    # what they edit and redact themselves is followed, too
    newer = {"msgtype": "m.text", "body": "Coffee at five"}
    relation = {"rel_type": "m.replace", "event_id": event}
    edit = {**newer, "body": "* Coffee at five", "m.new_content": newer, "m.relates_to": relation}
    await here.owner.send_event(room, "m.room.message", edit)
    await shows(here.marge, talk, root, body="Announced: Coffee at five", edited=True)
    await here.owner.redact(room, event)
    await shows(here.marge, talk, root, redacted=True)
    await is_redacted(here.marge, room, pointer.event_id)


async def test_an_owner_turns_it_on_and_off_and_whoever_leaves_is_out(estate: Estate, folk: People) -> None:
    owner, homer, marge = await asyncio.gather(folk.nio("owner"), folk.nio("homer"), folk.js("marge"))
    community = estate.declare(
        "quiet", name="Quiet", owners=[owner.user_id], members=[homer.user_id, marge.user_id], general=False
    )
    for person in (owner, homer, marge):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, homer, marge)
    chat = await chat_with_announcer(owner)
    await owner.send(chat, f"community set {community.id} discussion yes")
    await answer(owner, chat, "threads in a discussion room")

    async def there() -> bool:
        await community.look()
        return "discussion" in community.rooms

    await eventually(there, 30, interval=0.2)
    talk = community["discussion"]
    await community.inside(owner, homer, marge, keys=("discussion",))
    await homer.wait_joined(talk, ANNOUNCER)
    listed = {room["room_id"]: room for room in await homer.hierarchy(community.space)}
    assert "the service could read" in listed[talk]["topic"]

    await owner.send(chat, f"poll {community.id} When? | Monday | Tuesday")
    asked = await homer.wait_text(community.announcements, lambda message: "Monday" in message.text)
    assert (await reads(marge, talk, followed(asked, talk))).text == "Announced: 📊 When?"

    await owner.send(chat, f"poll close {community.id} #1")
    closed = await homer.wait_text(community.announcements, lambda message: message.text.startswith("* 📊 When?"))
    assert followed(closed, talk) == followed(asked, talk)

    await marge.leave(community.space)
    await marge.wait_left(talk)
    await owner.send(chat, f"community set {community.id} discussion no")
    await homer.wait_membership(talk, ANNOUNCER, "leave")
    await homer.send(talk, "Now we are alone")
    await owner.wait_text(talk, "Now we are alone")
    event = await community.announce("Without a link")
    assert (await homer.wait_text(community.announcements, "Without a link")).event_id == event
