"""Announcements to groups that let them in, and to people one by one, with clients as witnesses."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from bridge.cli.demo.person import Client
from tests.harness.community import ANNOUNCER, STEWARD, Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.test_chats import answer, chat_with_announcer
from tests.synapse.test_writing import send_file, upload


async def club(estate: Estate, folk: People, version: str, **group: str) -> tuple[Community, Client, Client, Client]:
    """A community of a test's own: others look at what was ever in the rooms of the schools. With its owner, the
    moderator of its group (of which `group` says more), and a member."""
    admin, edna, homer = await folk.js("admin", cross_sign=True), await folk.nio("edna"), await folk.nio("homer")
    community = estate.declare(
        f"club{version}",
        room_version=version,
        name=f"Club {version}",
        timezone="Europe/Berlin",
        owners=[admin.user_id],
        members=[homer.user_id],
        groups={"class-1a": {"name": "Class 1A", "kind": "open", "moderators": [edna.user_id], **group}},
    )
    for person in (admin, edna, homer):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(admin, edna, homer)
    await community.inside(admin, keys=("control",))
    await community.inside(edna, keys=("class-1a",))
    return community, admin, edna, homer


async def test_a_group_lets_announcements_in_and_out_again(estate: Estate, folk: People, room_version: str) -> None:
    community, admin, edna, homer = await club(estate, folk, room_version)
    group = community["class-1a"]
    await homer.join(group)
    await edna.wait_joined(group, homer.user_id)
    office = await chat_with_announcer(admin)
    await admin.send(office, f"announce {community.id} --to group:class-1a Nothing")
    await answer(admin, office, "does not let announcements in")

    chat = await chat_with_announcer(edna)
    await edna.send(chat, f"group announcements {community.id} class-1a on")
    await answer(edna, chat, "could read what is written there")
    await edna.send(chat, "yes")
    await answer(edna, chat, "Announcements can be posted in", "from now on")
    await homer.wait_joined(group, ANNOUNCER)
    hello = await homer.wait_text(group, lambda message: "This group lets announcements of" in message.text)
    assert (hello.sender, hello.decrypted) == (ANNOUNCER, True)
    assert (await estate.state(group, "m.room.power_levels"))["users"].get(ANNOUNCER) is None

    text = f"Bring a book, {group}"
    await edna.send(chat, f"announce {community.id} --to class-1a {text}")
    await answer(edna, chat, "Sent to Class 1A.", "can read it")
    for reader in (homer, edna):
        message = await reader.wait_text(group, text)
        assert (message.sender, message.decrypted) == (ANNOUNCER, True)

    # what went there alone is its moderator's, and told in the community's time zone; what went to everybody is not
    await edna.send(chat, f"announcement pin {community.id} #1 1h")
    await answer(edna, chat, "#1 is pinned until", "CE")
    await admin.send(office, f"announce {community.id} --to everybody,class-1a For all")
    await answer(admin, office, "Sent to")
    await edna.send(chat, f"announcements {community.id}")
    shown = await answer(edna, chat, "Announcements in", "#1")
    assert "#2" not in shown.text
    await edna.send(chat, f"stats {community.id} #1")
    await answer(edna, chat, "in the room: 2", "read: unknown")
    await edna.send(chat, f"announcement withdraw {community.id} #2")
    await answer(edna, chat, "did not go into groups that you moderate alone")
    await edna.send(chat, f"announcement edit {community.id} #1 Bring two books")
    await answer(edna, chat, "#1 has its new text")
    await homer.wait_text(group, lambda message: "Bring two books" in message.text)
    await edna.send(chat, f"announce {community.id} For everybody")
    await answer(edna, chat, "moderators announce into the groups that they moderate alone")

    # what is said there: the announcer's device is given the key, the service keeps it not
    before = len(estate.pushed.heard)
    said = await homer.send(group, "Which book?")
    assert (await edna.wait_text(group, "Which book?")).decrypted
    last = await admin.send(community.control, "!help")
    await estate.taken_in(last)
    assert STEWARD not in {sent.user_id for sent in homer.sent_to_device}
    assert len(estate.pushed.heard) > before
    owners = {owner for (owner,) in estate.rows("SELECT owner FROM crypto_inbound WHERE room_id = ?", group)}
    assert owners <= {ANNOUNCER}
    assert not estate.rows("SELECT 1 FROM inbox WHERE event_id = ?", said)

    await edna.send(chat, f"group announcements {community.id} class-1a off")
    await answer(edna, chat, "Announcements are posted in", "no longer")
    assert (await homer.wait_text(group, lambda message: "ended announcements in this group" in message.text)).decrypted

    async def out() -> bool:
        return await estate.membership(group, ANNOUNCER) == "leave"

    await eventually(out, 20, "the announcer is out")


async def test_a_picture_for_everybody_and_a_group_rings_in_one_of_both(estate: Estate, folk: People) -> None:
    community, admin, edna, _ = await club(estate, folk, "12")
    group, room = community["class-1a"], community.announcements
    lisa = await folk.js("lisa", cross_sign=True)
    lisa.accept_invites()
    await estate.ask("people", deed="invite", community=community.id, users=[lisa.user_id], groups=["class-1a"])
    await community.inside(lisa)
    await lisa.wait_joined(group)
    chat = await chat_with_announcer(edna)
    await edna.send(chat, f"group announcements {community.id} class-1a on")
    await answer(edna, chat, "could read what is written there")
    await edna.send(chat, "yes")
    await lisa.wait_joined(group, ANNOUNCER)

    office = await chat_with_announcer(admin)
    file = await upload(admin, estate, b"a picture")
    picture = await send_file(admin, office, file, name="plan.png", msgtype="m.image")
    reply = {"m.in_reply_to": {"event_id": picture}}
    command = f"announce {community.id} --to everybody,class-1a The new timetable"
    await admin.send_event(office, "m.room.message", {"msgtype": "m.text", "body": command, "m.relates_to": reply})
    await answer(admin, office, "Sent to", "Class 1A")

    loud = await lisa.wait_text(room, "The new timetable")
    assert (loud.content["msgtype"], await lisa.notifies(room, loud.event_id)) == ("m.image", True)
    line = f"📎 plan.png: https://matrix.to/#/{quote(room)}"
    quiet = await lisa.wait_text(group, f"The new timetable\n\n{line}")
    assert (quiet.content["msgtype"], await lisa.notifies(group, quiet.event_id)) == ("m.notice", False)
    await admin.send(office, f"edit {community.id} #1 The newest timetable")
    await answer(admin, office, "#1 has its new text in 2 rooms")
    edit = await lisa.wait_text(group, f"* The newest timetable\n\n{line}")
    assert not await lisa.notifies(group, edit.event_id)
    assert not await lisa.notifies(group, quiet.event_id)
    found = await lisa.shown(room, loud.event_id)
    assert found is not None
    assert (found["body"], found["edited"]) == ("The newest timetable", True)


async def chat_of(person: Client, community: Community) -> str:
    """The one room that somebody is in beside the community's."""
    own = await eventually(lambda: person.rooms - set(community.rooms.values()), 20, "a chat with the announcer")
    [chat] = own
    return chat


async def test_whoever_carries_a_tag_reads_it_once_in_a_chat_of_their_own(estate: Estate, folk: People) -> None:
    community, admin, _, _ = await club(estate, folk, "12")
    lisa, bart, maggie = await folk.js("lisa", cross_sign=True), await folk.nio("bart"), await folk.nio("maggie")
    people = (lisa, bart, maggie)
    for person in people:
        person.accept_invites()
    users = [person.user_id for person in people]
    await estate.ask("people", deed="invite", community=community.id, users=users)
    await community.inside(*people)
    office = await chat_with_announcer(admin)
    await admin.send(office, f"tag {community.id} {lisa.user_id} band")
    await answer(admin, office, "band")
    await admin.send(office, f"tag {community.id} {bart.user_id} {maggie.user_id} choir")
    await answer(admin, office, "choir")
    await maggie.leave(community.space)
    await community.gone(maggie)

    text = f"The choir meets the band, {office}"
    await admin.send(office, f"announce {community.id} --to tag:band,tag:choir {text}")
    # they accept at once, so some may have it already when the summary is made; nobody is left out of it
    summary = (await answer(admin, office, "chat")).text
    counted = re.findall(r"([0-9]+) (?:person|people) (?:has|have|was|were) (?:it|invited)", summary)
    assert sum(map(int, counted)) == 2, summary
    for person in (lisa, bart):
        chat = await chat_of(person, community)
        message = await person.wait_text(chat, text)
        assert (message.sender, message.decrypted) == (ANNOUNCER, True)
    # again: the chats are there, and whoever carries both tags has one copy
    await admin.send(office, f"tag {community.id} {lisa.user_id} choir")
    await answer(admin, office, lisa.user_id)
    again = f"And once more, {office}"
    await admin.send(office, f"announce {community.id} --to tag:band,tag:choir {again}")
    await answer(admin, office, "2 people have it in direct chats.")
    for person in (lisa, bart):
        assert len(person.rooms - set(community.rooms.values())) == 1
        [chat] = person.rooms - set(community.rooms.values())
        await person.wait_text(chat, again)
    # by the operator's command
    ran = await estate.command("announce", community.id, "--to", "Tag:band", "--text", f"By hand, {office}", "--json")
    [one] = json.loads(ran.out)["targets"]
    assert (one["place"], bool(one["event_id"]), one["failed"]) == (lisa.user_id, True, None)
    copies = "SELECT place FROM announcement_copy WHERE event_id IS NOT NULL AND place LIKE '@%' AND community = ?"
    assert sorted(place for (place,) in estate.rows(copies, community.id)) == sorted(
        [lisa.user_id, bart.user_id] * 2 + [lisa.user_id]
    )
    assert not maggie.rooms - set(community.rooms.values())
