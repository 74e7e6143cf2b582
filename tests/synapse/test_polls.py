"""A poll, as members on two libraries see it and vote on it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from bridge.cli.demo.person import Client
from bridge.core.polls import KEYS
from tests.harness.community import ANNOUNCER, Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School
from tests.synapse.test_audience import chat_of, club
from tests.synapse.test_chats import answer, chat_with_announcer


async def pressed(person: Client, room: str, event_id: str, many: int = 2) -> list[str]:
    """The signs that the announcer put under a message, once so many are there."""

    def found() -> list[str]:
        relations = [
            event["content"]["m.relates_to"]
            for event in person.timeline(room)
            if event["type"] == "m.reaction" and event["sender"] == ANNOUNCER and event["content"]
        ]
        return [relation["key"] for relation in relations if relation["event_id"] == event_id]

    await eventually(lambda: len(found()) == many)
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


async def ballot_in(person: Client, chat: str, question: str) -> str:
    """The ballot that somebody got, with the signs that they can press on it."""
    ballot = await person.wait_text(chat, lambda message: question in message.text and "your ballot" in message.text)
    assert (ballot.sender, ballot.decrypted) == (ANNOUNCER, True)
    assert await pressed(person, chat, ballot.event_id) == list(KEYS[:2])
    return ballot.event_id


def redacts(event: dict[str, Any], event_id: str) -> bool:
    return event["type"] == "m.room.redaction" and event_id in (event.get("redacts"), event["content"].get("redacts"))


async def voted(estate: Estate, community: Community, number: int, people: int) -> None:
    async def counted() -> bool:
        shown = await estate.command("poll", "show", community.id, str(number), "--json")
        return bool(json.loads(shown.out)["people"] == people)

    await eventually(counted, 30, f"{people} votes")


async def test_votes_of_a_secret_poll_are_given_on_ballots_in_direct_chats(estate: Estate, folk: People) -> None:
    community, admin, edna, homer = await club(estate, folk, "12")
    room, question = community.announcements, f"Who shall lead {community.id}?"
    office = await chat_with_announcer(admin)
    await admin.send(office, f"poll {community.id}: --hidden {question} | Ann | Bea")
    told = await answer(admin, office, "ballot", "in their direct chat")
    announced = await homer.wait_text(room, lambda message: question in message.text)
    chats = {edna: await chat_of(edna, community), homer: await chat_of(homer, community), admin: office}
    ballots = {person: await ballot_in(person, chat, question) for person, chat in chats.items()}
    assert "Poll #1: " in told.text

    # a change of mind, a vote that is taken back, and one by word
    await homer.react(chats[homer], ballots[homer], KEYS[0])
    await voted(estate, community, 1, 1)
    changed = await homer.react(chats[homer], ballots[homer], KEYS[1])
    taken = await edna.react(chats[edna], ballots[edna], KEYS[0])
    await estate.taken_in(changed)
    await estate.taken_in(taken)
    await voted(estate, community, 1, 2)
    await estate.taken_in(await edna.redact(chats[edna], taken))
    await voted(estate, community, 1, 1)
    await admin.react(office, ballots[admin], KEYS[0])
    await voted(estate, community, 1, 2)
    await admin.send(office, f"vote {community.id} #1 2")
    await answer(admin, office, "You voted in poll #1", "Bea")
    for event in homer.timeline(room):  # nobody sees anything of that where everybody is
        assert event["type"] != "m.reaction"

    # who comes while it is open has a vote, too; who goes has none
    lisa = await folk.nio("lisa")
    lisa.accept_invites()
    await estate.ask("people", deed="invite", community=community.id, users=[lisa.user_id])
    await community.inside(lisa)
    chats[lisa] = await chat_of(lisa, community)
    ballots[lisa] = await ballot_in(lisa, chats[lisa], question)
    await lisa.react(chats[lisa], ballots[lisa], KEYS[1])
    await voted(estate, community, 1, 3)
    await homer.leave(community.space)
    await community.gone(homer)

    refused = await estate.command("poll", "show", community.id, "1", "--csv", expect=(1,))
    assert "secret votes are not counted before the end" in refused.out + refused.err
    listed = json.loads((await estate.command("poll", "list", community.id, "--json")).out)
    assert [(one["number"], one["question"], one["open"], one["hidden"]) for one in listed] == [
        (1, question, True, True)
    ]
    assert [option["votes"] for option in listed[0]["options"]] == [None, None]
    await estate.command("poll", "close", community.id, "1")
    result = await edna.wait_text(room, lambda message: "Most votes: Bea. " in message.text)
    assert "2 people voted" in result.text

    async def ended(person: Client) -> None:
        edit = await person.wait_text(
            chats[person],
            lambda message: "The poll has ended. 2 people voted." in message.text and "Bea" in message.text,
        )
        assert edit.sender == ANNOUNCER

    await asyncio.gather(*(ended(person) for person in (admin, edna, lisa)))
    await homer.wait_event(chats[homer], lambda event: redacts(event, ballots[homer]))
    shown = json.loads((await estate.command("poll", "show", community.id, "#1", "--json")).out)
    assert shown["options"] == [{"option": "Ann", "votes": 0}, {"option": "Bea", "votes": 2}]
    assert (shown["people"], shown["open"], shown["ballots"]["sent"]) == (2, False, 4)
    table = await estate.command("poll", "show", community.id, "1", "--csv")
    assert table.out.splitlines() == ["option,votes", "Ann,0", "Bea,2"]
    assert estate.rows("SELECT COUNT(*) FROM poll_vote WHERE user_id = ?", lisa.user_id) == [(0,)]

    # asked by command, and withdrawn: the ballots go with it
    await estate.command("poll", "new", community.id, "Tea or coffee?", "Tea", "Coffee", "--hidden")
    second = await ballot_in(edna, chats[edna], "Tea or coffee?")
    assert announced.event_id != second
    number = json.loads((await estate.command("poll", "list", community.id, "--json")).out)[0]["number"]
    await estate.command("announcement", "withdraw", community.id, str(number), "--yes")
    await edna.wait_event(chats[edna], lambda event: redacts(event, second))


def response(poll: str, answer: int) -> dict[str, Any]:
    """What a client sends when somebody votes in a poll of the clients."""
    relation = {"rel_type": "m.reference", "event_id": poll}
    return {"org.matrix.msc3381.poll.response": {"answers": [str(answer)]}, "m.relates_to": relation}


async def test_in_a_group_clients_take_and_count_the_votes(estate: Estate, folk: People, room_version: str) -> None:
    community, admin, edna, homer = await club(estate, folk, room_version)
    marge = await folk.js("marge", cross_sign=True)
    marge.accept_invites()
    await estate.ask("people", deed="invite", community=community.id, users=[marge.user_id])
    await community.inside(marge)
    group = community["class-1a"]
    for person in (homer, marge):
        await person.join(group)
        await edna.wait_joined(group, person.user_id)
    office, chat = await chat_with_announcer(admin), await chat_with_announcer(edna)
    await edna.send(chat, f"poll {community.id}: --to group:class-1a Tea or coffee? | Tea | Coffee")
    await answer(edna, chat, "does not let announcements in")
    await edna.send(chat, f"group announcements {community.id} class-1a on")
    await answer(edna, chat, "could read what is written there")
    await edna.send(chat, "yes")
    await marge.wait_joined(group, ANNOUNCER)
    await edna.send(chat, f"poll {community.id} For everybody? | Yes | No")
    await answer(edna, chat, "moderators announce into the groups that they moderate alone")
    await edna.send(chat, f"poll {community.id}: --to group:class-1a Tea or coffee? | Tea | Coffee")
    await answer(edna, chat, "Sent to Class 1A.")
    [(poll,)] = estate.rows("SELECT event_id FROM announcement_copy WHERE room_id = ?", group)
    wire = await marge.wait_event(group, lambda event: event["event_id"] == poll)
    assert (wire["type"], wire["sender"]) == ("m.room.encrypted", ANNOUNCER)

    async def shows(ended: bool, tea: int, coffee: int) -> bool:
        return await marge.poll(group, poll) == {
            "question": "Tea or coffee?",
            "kind": "org.matrix.msc3381.poll.disclosed",
            "most": 1,
            "ended": ended,
            "votes": {"Tea": tea, "Coffee": coffee},
        }

    await eventually(lambda: shows(False, 0, 0), 30, "the poll")
    sent = [await homer.send_event(group, "org.matrix.msc3381.poll.response", response(poll, 1))]
    await eventually(lambda: shows(False, 1, 0), 30, "a vote")
    sent += [
        await homer.send_event(group, "org.matrix.msc3381.poll.response", response(poll, 2)),
        await marge.send_event(group, "org.matrix.msc3381.poll.response", response(poll, 2)),
    ]
    await eventually(lambda: shows(False, 0, 2), 30, "a change of mind and a second vote")

    await admin.send(office, f"poll show {community.id} #1")
    await answer(admin, office, "Tea or coffee?", "I do not read what is said in groups")
    await edna.send(chat, f"poll close {community.id} #1")
    await answer(edna, chat, "Poll #1 has ended")
    await eventually(lambda: shows(True, 0, 2), 30, "the end")
    await homer.send_event(group, "org.matrix.msc3381.poll.response", response(poll, 1))
    last = await admin.send(community.control, "!poll list")
    await community.told(admin, "ended, in a group")
    await estate.taken_in(last)
    assert await shows(True, 0, 2), "what comes after the end does not count"
    listed = json.loads((await estate.command("poll", "list", community.id, "--json")).out)
    assert [(one["group"], one["native"], one["open"], one["people"]) for one in listed] == [
        ("class-1a", True, False, None)
    ]

    # the service has kept nothing of the votes, nor a key that would open them
    assert not any(estate.rows("SELECT 1 FROM inbox_seen WHERE event_id = ?", event_id) for event_id in sent)
    owners = {owner for (owner,) in estate.rows("SELECT owner FROM crypto_inbound WHERE room_id = ?", group)}
    assert owners <= {ANNOUNCER}


async def test_where_moderators_alone_post_a_group_votes_by_reaction(estate: Estate, folk: People) -> None:
    community, admin, edna, homer = await club(estate, folk, "12", posting="moderators")
    group = community["class-1a"]
    await homer.join(group)
    await edna.wait_joined(group, homer.user_id)
    office = await chat_with_announcer(admin)
    await admin.send(office, f"group announcements {community.id} class-1a on")
    await answer(admin, office, "could read what is written there")
    await admin.send(office, "yes")
    await homer.wait_joined(group, ANNOUNCER)
    before = await homer.react(group, await community_hello(homer, group), KEYS[0])
    await estate.command("poll", "new", community.id, "Which way?", "Left", "Right", "--to", "group:class-1a")
    asked = await homer.wait_text(group, lambda message: "Which way?" in message.text)
    assert await pressed(homer, group, asked.event_id) == list(KEYS[:2])
    for person in (homer, edna):
        await estate.taken_in(await person.react(group, asked.event_id, KEYS[1]))
    taken = await edna.react(group, asked.event_id, KEYS[0])
    await estate.taken_in(taken)
    await estate.taken_in(await edna.redact(group, taken))
    await voted(estate, community, 1, 2)
    await estate.command("poll", "close", community.id, "1")
    result = await homer.wait_text(group, lambda message: "Most votes: Right. 2 people voted." in message.text)
    assert result.sender == ANNOUNCER
    assert not any("Which way?" in message.text for message in homer.messages(community.announcements))
    # reactions there are heard while it is open, and not before or after
    after = await homer.react(group, asked.event_id, KEYS[0])
    last = await admin.send(community.control, "!help")
    await estate.taken_in(last)
    for event_id in (before, after):
        assert not estate.rows("SELECT 1 FROM inbox_seen WHERE event_id = ?", event_id)


async def community_hello(person: Client, group: str) -> str:
    """Something that was said in a group before."""
    return (await person.wait_text(group, lambda message: "This group lets announcements of" in message.text)).event_id
