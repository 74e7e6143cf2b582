"""Talking to the announcer: in encrypted chats of two, and in the control room."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from bridge.cli.demo.person import Client, ReceivedMessage
from bridge.commands.patience import BURST
from tests.harness.community import ANNOUNCER, Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School


async def chat_with_announcer(person: Client) -> str:
    """Open an encrypted chat of two, and wait to be greeted."""
    room = await person.create_dm(ANNOUNCER)
    await person.wait_joined(room, ANNOUNCER)
    assert "I am the announcer" in (await answer(person, room, "I am")).text
    return room


async def answer(person: Client, room: str, *parts: str) -> ReceivedMessage:
    """Wait for an encrypted answer of the announcer with these parts."""
    message = await person.wait_text(
        room, lambda message: message.sender == ANNOUNCER and all(part in message.text for part in parts)
    )
    assert message.decrypted
    assert message.content["msgtype"] == "m.notice"
    return message


@pytest.mark.parametrize("who", ["owner", "admin"])
async def test_an_admin_announces_in_a_chat(school: School, who: str) -> None:
    community, person = school.community, getattr(school, who)
    room = await chat_with_announcer(person)
    await person.send(room, "help")
    assert community.id in (await answer(person, room, "You can write to me", "announce")).text

    text = f"From the {who}:\n\n*no school* tomorrow"
    await person.send(room, f"Announce {community.id} {text}")
    told = await answer(person, room, f"Sent to {community.declaration['name']}.", "devices can read it")
    for member in school.members:
        message = await member.wait_text(community.announcements, text)
        assert message.sender == ANNOUNCER
        assert message.decrypted
        assert "<em>no school</em>" in message.content["formatted_body"]
    assert told.text.partition(". ")[2].split()[0].isdigit()

    await person.send(room, "status")
    assert f"({community.id})" in (await answer(person, room, "rooms.", str(community.declaration["name"]))).text
    await person.send(room, f"announce {community.id}")
    await answer(person, room, "Something is missing", "announce [community] [--ack]")
    await person.send(room, "sing a song")
    await answer(person, room, "I do not know “sing”")


async def test_the_only_community_goes_without_saying_and_mistakes_are_understood(schools: dict[str, School]) -> None:
    school = schools["12"]
    community, person, homer = school.community, school.owner, school.homer
    room = await chat_with_announcer(person)
    text = f"School is closed, says {room}"
    await person.send(room, f"anounce {text}")
    meant = await answer(person, room, "Did you mean `announce`?")
    assert "Did you mean <code>announce</code>?" in meant.content["formatted_body"]
    await person.send(room, f"announce {text}")
    await answer(person, room, f"Sent to {community.declaration['name']}.")
    assert (await homer.wait_text(community.announcements, text)).decrypted

    await person.send(room, "help who")
    await answer(person, room, "who <user>", "For example: `who @homer:example.org`")
    await person.send(room, "who homer")
    await answer(person, room, "“homer” is not what I expected as `user`")
    link = f'<a href="https://matrix.to/#/{school.edna.user_id}">Edna K</a>'
    await person.send(room, "who Edna K", html=f"who {link}")
    await answer(person, room, f"{school.edna.user_id}: moderator", "Groups: general, ", "chess", "class-1a")


async def test_members_are_shown_without_asking_the_homeserver_for_each(
    estate: Estate, schools: dict[str, School]
) -> None:
    school = schools["12"]
    room = await chat_with_announcer(school.admin)
    before = len(estate.asked.heard)
    await school.admin.send(room, "members")
    shown = await answer(school.admin, room, "people are in", f"{school.owner.user_id}: owner")
    assert f"{school.homer.user_id}: member" in shown.text
    assert (
        f'<a href="https://matrix.to/#/%40{school.homer.user_id[1:].replace(":", "%3A")}">'
        in shown.content["formatted_body"]
    )
    # in the others keys may be under way
    rooms = {room_id for key, room_id in school.community.rooms.items() if key not in ("announcements", "control")}
    asked = [one.path for one in estate.asked.since(before, "")]
    assert not [one for one in asked if "/profile/" in one or any(quote(room, safe="!") in one for room in rooms)]
    await school.admin.send(room, "members board")
    found = await answer(school.admin, room, "1 matches", school.owner.user_id)
    assert school.homer.user_id not in found.text


async def test_a_stranger_gets_one_polite_answer(estate: Estate, folk: People) -> None:
    stranger = await folk.nio("stranger")
    room = await chat_with_announcer(stranger)
    for text in ("hello", "help", "announce something", "status"):
        await estate.taken_in(await stranger.send(room, text))
    await answer(stranger, room, "You are in none of them")
    await estate.idle()
    said = [message for message in stranger.messages(room) if message.sender == ANNOUNCER]
    assert len(said) == 2  # the greeting, and that


async def test_a_community_is_spoken_to_in_its_language(estate: Estate, schools: dict[str, School]) -> None:
    school = schools["12"]
    community, owner = school.community, school.owner
    community.declaration["language"] = "de"
    estate.write_config()
    await estate.reload()
    try:
        room = await owner.create_dm(ANNOUNCER)
        await owner.wait_joined(room, ANNOUNCER)
        await answer(owner, room, "Ich bin der Ansager")
        await owner.send(room, "Hilfe")
        await answer(owner, room, "Das kannst du mir schreiben:", "`ankündigen [--bestätigen] [--um …] [--an …]")
        await owner.send(room, f"ankündigen Morgen frei, sagt {room}")
        await answer(owner, room, f"An {community.declaration['name']} geschickt.")
    finally:
        del community.declaration["language"]
        estate.write_config()
        await estate.reload()


async def test_a_member_is_told_clearly_that_they_may_not(estate: Estate, school: School) -> None:
    community = school.community
    for member in school.members:
        room = await chat_with_announcer(member)
        await member.send(room, f"announce {community.id} lemonade, one dollar")
        await answer(member, room, "Only owners and admins of a community and moderators of its groups can do that")
        await member.send(room, "help")
        await answer(member, room, "You can write to me", "digest")
        await member.send(room, "status")
        await answer(member, room, "Only owners and admins")
        for command in (f"thaw {community.id}", f"apply {community.id} 0123456789abcdef"):
            await member.send(room, command)
            await member.wait_text(room, lambda message: "Only an owner" in message.text)
    await estate.idle()
    for member in school.members:
        assert all("lemonade" not in message.text for message in member.messages(community.announcements))


async def test_an_admin_may_not_do_what_owners_do(school: School) -> None:
    community = school.community
    room = await chat_with_announcer(school.admin)
    await school.admin.send(room, f"thaw {community.id}")
    await answer(school.admin, room, "Only an owner")
    other = await chat_with_announcer(school.owner)
    await school.owner.send(other, f"apply {community.id} 0123456789abcdef")
    await answer(school.owner, other, "No change is waiting")


async def test_an_invite_to_a_chat_in_the_clear_is_declined(estate: Estate, folk: People) -> None:
    lisa = await folk.nio("lisa")
    room = await lisa.create_dm(ANNOUNCER, encrypted=False)
    declined = await lisa.wait_membership(room, ANNOUNCER, "leave")
    assert declined["sender"] == ANNOUNCER
    assert declined["unsigned"]["prev_content"]["membership"] == "invite"
    assert "encrypt" in declined["content"]["reason"]
    assert estate.rows("SELECT 1 FROM chat WHERE room_id = ?", room) == []


async def test_the_announcer_leaves_when_a_third_is_asked_in(estate: Estate, folk: People) -> None:
    lisa, bart = await folk.nio("lisa"), await folk.nio("bart")
    room = await chat_with_announcer(lisa)
    await lisa.invite(room, bart.user_id)
    left = await lisa.wait_membership(room, ANNOUNCER, "leave")
    assert left["sender"] == ANNOUNCER
    assert "chats of two" in left["content"]["reason"]
    # nor does it enter a chat where a third waits already
    crowd = await lisa.create_room(encrypted=True, preset="private_chat", invite=[bart.user_id, ANNOUNCER])
    await lisa.wait_event(
        crowd, lambda event: event.get("state_key") == ANNOUNCER and event["content"]["membership"] == "leave"
    )
    # and when its partner goes, it goes
    again = await chat_with_announcer(lisa)
    await lisa.leave(again)

    async def gone() -> bool:
        joined = (await estate.as_service("GET", "joined_rooms", as_user=ANNOUNCER))["joined_rooms"]
        return not {room, crowd, again} & set(joined)

    await eventually(gone)


async def test_talk_in_the_control_room_is_no_command(estate: Estate, school: School) -> None:
    community, owner, admin = school.community, school.owner, school.admin
    before = len(said_by_announcer(owner, community))
    for text in ("help", f"announce {community.id} not meant so", "status", "what do you think?"):
        await estate.taken_in(await admin.send(community.control, text))
    await admin.send(community.control, "!nonsense")
    await answer(owner, community.control, "I do not know “nonsense”")
    await estate.idle()
    assert len(said_by_announcer(owner, community)) == before + 1
    assert all("not meant so" not in message.text for message in school.homer.messages(community.announcements))

    await admin.send(community.control, f"!announce meant so, by {admin.user_id}")
    for member in school.members:
        await member.wait_text(community.announcements, f"meant so, by {admin.user_id}")
    await admin.send(community.control, f"!thaw {community.id}")
    await answer(owner, community.control, "Only an owner")


def said_by_announcer(person: Client, community: Community) -> list[ReceivedMessage]:
    return [message for message in person.messages(community.control) if message.sender == ANNOUNCER]


async def test_a_flood_is_answered_so_often_and_harms_nobody_else(estate: Estate, schools: dict[str, School]) -> None:
    school = schools["12"]
    marge, edna = school.marge, school.edna
    room = await chat_with_announcer(edna)
    for number in range(BURST + 12):
        last = await edna.send(room, f"flood {number}")
    await estate.taken_in(last)
    await answer(edna, room, "more than I can keep up with")
    said = [message for message in edna.messages(room) if message.sender == ANNOUNCER]
    assert len(said) <= BURST + 12  # the greeting, as many as the bucket has, and one word more
    assert sum("more than I can keep up with" in message.text for message in said) == 1
    other = await chat_with_announcer(marge)
    await marge.send(other, "help")
    await answer(marge, other, "You can write to me", "digest")
