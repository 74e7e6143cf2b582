"""A poll, as members on two libraries see it and vote on it."""

from __future__ import annotations

import asyncio

from bridge.cli.demo.person import Client
from bridge.core.polls import KEYS
from tests.harness.community import ANNOUNCER, Estate
from tests.harness.wait import eventually
from tests.synapse.conftest import School


async def pressed(person: Client, room: str, event_id: str) -> list[str]:
    """The signs that the announcer put under a message, once they are there."""

    def found() -> list[str]:
        relations = [
            event["content"]["m.relates_to"]
            for event in person.timeline(room)
            if event["type"] == "m.reaction" and event["sender"] == ANNOUNCER and event["content"]
        ]
        return [relation["key"] for relation in relations if relation["event_id"] == event_id]

    await eventually(lambda: len(found()) == 2)
    return found()


async def test_members_vote_with_reactions_and_in_secret(estate: Estate, school: School) -> None:
    community, owner = school.community, school.owner
    room = community.announcements
    await owner.send(community.control, "!poll When do we meet? | on Monday | on Tuesday")
    asked = await school.homer.wait_text(room, lambda message: "When do we meet?" in message.text)
    assert asked.decrypted
    assert asked.sender == ANNOUNCER
    assert await pressed(school.homer, room, asked.event_id) == list(KEYS[:2])
    await community.told(owner, "Sent to School")

    first = await school.homer.react(room, asked.event_id, KEYS[0])
    second = await school.homer.react(room, asked.event_id, KEYS[1])
    taken_back = await school.edna.react(room, asked.event_id, KEYS[0])
    others = [await member.react(room, asked.event_id, KEYS[1]) for member in (school.marge, school.admin)]
    redacted = await school.edna.redact(room, taken_back)
    for event_id in (first, second, taken_back, *others, redacted):
        await estate.taken_in(event_id)
    [(number,)] = estate.rows(
        """SELECT number FROM announcement_number AS counted JOIN announcement_copy AS copy
           ON copy.announcement = counted.announcement AND copy.community = counted.community WHERE event_id = $1""",
        asked.event_id,
    )
    await owner.send(community.control, f"!poll show #{number}")
    await community.told(owner, "3 people have voted so far", "on Tuesday – 3 votes")

    secret = f"!poll --hidden Who shall lead, {community.id}? | Ann | Bea"
    await owner.send(community.control, secret)
    hidden = await school.marge.wait_text(room, lambda message: "Who shall lead" in message.text)
    chat = await school.homer.create_dm(ANNOUNCER)
    await school.homer.wait_joined(chat, ANNOUNCER)
    await school.homer.send(chat, f"vote {community.id} 2")
    told = await school.homer.wait_text(chat, lambda message: "You voted in poll" in message.text)
    assert f"{KEYS[1]} Bea" in told.text
    await owner.send(community.control, f"!vote #{number + 1} 2")
    await community.told(owner, "given in a direct chat")

    await owner.send(community.control, f"!poll close #{number}")
    await owner.send(community.control, f"!poll close #{number + 1}")

    async def ended(member: Client) -> None:
        for winner, people in (("on Tuesday", "3 people"), ("Bea", "1 person")):
            result = await member.wait_text(
                room,
                lambda message, name=winner: f"Most votes: {name}. " in message.text,  # type: ignore[misc]
            )
            assert f"{people} voted." in result.text
        for event_id in (asked.event_id, hidden.event_id):
            edit = await member.wait_event(
                room,
                lambda event, of=event_id: (
                    event["content"].get("m.relates_to", {}).get("event_id") == of  # type: ignore[misc]
                    and event["content"]["m.relates_to"]["rel_type"] == "m.replace"
                ),
            )
            assert edit["sender"] == ANNOUNCER

    await asyncio.gather(*(ended(member) for member in school.members))
    texts = [message.text for message in school.marge.messages(room)]
    assert any("The poll has ended. 3 people voted." in text and "on Tuesday – 3 votes" in text for text in texts)
    assert estate.rows("SELECT COUNT(*) FROM poll_vote") == [(0,)]
