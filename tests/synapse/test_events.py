"""An event, as members on two libraries see it and answer it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bridge.core.events import SIGNS, Answer
from tests.harness.calendars import events_in
from tests.harness.community import ANNOUNCER, Estate
from tests.synapse.conftest import School
from tests.synapse.test_chats import answer, chat_with_announcer
from tests.synapse.test_handouts import file_in


async def test_members_answer_an_event_and_one_waits_for_a_seat(estate: Estate, schools: dict[str, School]) -> None:
    school = schools["12"]
    community, owner, homer, marge = school.community, school.owner, school.homer, school.marge
    room = community.announcements
    begins = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=30)
    await owner.send(community.control, f"!event Summer party; {begins:%Y-%m-%d %H:%M}; School yard; 1")
    for member in school.members:
        told = await member.wait_text(room, lambda message: "Summer party" in message.text)
        assert told.decrypted
        assert f"{begins:%Y-%m-%d %H:%M} UTC" in told.text
    file = await homer.wait_text(room, lambda message: message.content.get("filename") == "event.ics")
    [calendar] = events_in(await file_in(homer, file, estate))
    assert (str(calendar["SUMMARY"]), calendar["DTSTART"].dt) == ("Summer party", begins)
    signs = [
        event["content"]["m.relates_to"]["key"]
        for event in homer.timeline(room)
        if event["type"] == "m.reaction"
        and event["sender"] == ANNOUNCER
        and event["content"].get("m.relates_to", {}).get("event_id") == told.event_id
    ]
    assert signs == list(SIGNS.values())
    [(number,)] = estate.rows(
        """SELECT number FROM announcement_number AS counted JOIN announcement_copy AS copy
           ON copy.announcement = counted.announcement AND copy.community = counted.community WHERE event_id = $1""",
        told.event_id,
    )

    chat = await chat_with_announcer(homer)
    coming = await marge.react(room, told.event_id, SIGNS[Answer.GOING])
    await estate.taken_in(coming)
    await homer.send(chat, f"rsvp {community.id} #{number} going")
    await answer(homer, chat, f"Event #{number} is full: you are on the waiting list")
    await marge.redact(room, coming)
    moved_up = await homer.wait_text(chat, lambda message: "There is a seat for you" in message.text)
    assert moved_up.decrypted
    await homer.send(chat, f"event show {community.id} #{number}")
    await answer(homer, chat, "1 is coming")

    await owner.send(community.control, f"!event cancel #{number}")
    await homer.wait_text(chat, lambda message: message.text == "“Summer party” is cancelled.")
    edit = await marge.wait_text(room, lambda message: message.text.startswith("* Cancelled"))
    assert edit.sender == ANNOUNCER
    again = await marge.wait_text(
        room,
        lambda message: message.content.get("filename") == "event.ics" and message.event_id != file.event_id,
    )
    [calendar] = events_in(await file_in(marge, again, estate))
    assert (str(calendar["STATUS"]), int(calendar["SEQUENCE"])) == ("CANCELLED", 1)
