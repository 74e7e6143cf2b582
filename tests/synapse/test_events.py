"""An event, as members on two libraries see it and answer it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bridge.cli.demo.person import Client, ReceivedMessage
from bridge.core.events import SIGNS, Answer
from tests.harness.calendars import calendar_in, events_in
from tests.harness.community import ANNOUNCER, Estate
from tests.harness.joining import JOIN_URL, Visitor
from tests.harness.people import People
from tests.harness.wait import eventually
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
    await homer.send(chat, f"events {community.id}")
    await answer(homer, chat, "To come in", f"#{number} Summer party", "School yard", "1 is coming")
    table = await estate.command("event", "show", community.id, f"#{number}", "--csv", "-")
    assert [line.split(",")[:3] for line in table.out.splitlines()[1:]] == [[homer.user_id, "coming", "0"]]
    day = f"{begins + timedelta(days=1):%Y-%m-%d}"
    await owner.send(community.control, f"!event change #{number} when on {day} from 6:30 to 10 pm")
    said = f"{day} 18:30 UTC – {day} 22:00 UTC"
    assert f"It is on {said}" in await community.told(owner, f"Event #{number} is changed")
    await homer.wait_text(chat, lambda message: said in message.text and "has changed" in message.text)
    await marge.wait_text(room, lambda message: message.text.startswith("* ") and said in message.text)
    files = [file.event_id, (await file_beside(marge, room, file.event_id)).event_id]

    await owner.send(community.control, f"!event cancel #{number}")
    await homer.wait_text(chat, lambda message: message.text == "“Summer party” is cancelled.")
    edit = await marge.wait_text(room, lambda message: message.text.startswith("* Cancelled"))
    assert edit.sender == ANNOUNCER
    again = await file_beside(marge, room, *files)
    [calendar] = events_in(await file_in(marge, again, estate))
    assert (str(calendar["STATUS"]), int(calendar["SEQUENCE"])) == ("CANCELLED", 2)


async def file_beside(member: Client, room: str, *before: str) -> ReceivedMessage:
    """The calendar file that follows those."""
    return await member.wait_text(
        room, lambda message: message.content.get("filename") == "event.ics" and message.event_id not in before
    )


async def address_in(member: Client, chat: str, *, other_than: str = "") -> str:
    """The path of the calendar's address that somebody was told in their chat."""
    told = await member.wait_text(
        chat,
        lambda message: "your own address" in message.text and (not other_than or other_than not in message.text),
    )
    assert told.decrypted
    https, webcal = (
        next(line for line in told.text.splitlines() if line.startswith(start)) for start in ("https", "webcal")
    )
    assert webcal == https.replace("https://", "webcal://")
    return https.removeprefix(JOIN_URL)


async def test_members_subscribe_to_events_and_who_is_removed_reads_on_no_longer(
    estate: Estate, schools: dict[str, School], folk: People
) -> None:
    school = schools["11"]
    community, owner, marge = school.community, school.owner, school.marge
    place, room = community.id, community.announcements
    leaver = await folk.nio("leaver")
    await community.admit(leaver)

    made = await estate.command(
        "event",
        "new",
        place,
        "--title",
        "Concert",
        "--when",
        "in 20 days at 18:30 for 2 hours",
        "--place",
        "Gym",
        "--json",
    )
    begins = datetime.fromtimestamp(made.json["begins_at"] // 1000, UTC)
    assert (begins.hour, begins.minute) == (18, 30)
    assert timedelta(days=18) < begins - datetime.now(UTC) < timedelta(days=22)
    shown = await marge.wait_text(room, lambda message: "Concert" in message.text)
    file = await marge.wait_text(room, lambda message: message.content.get("filename") == "event.ics")
    [sent] = events_in(await file_in(marge, file, estate))

    chats = {member: await chat_with_announcer(member) for member in (owner, marge, leaver)}
    await marge.send(chats[marge], f"calendar {place}")
    await answer(marge, chats[marge], "no program can subscribe")
    await owner.send(chats[owner], f"calendar on {place}")
    await answer(owner, chats[owner], "leaves encryption")
    await owner.send(chats[owner], "yes")
    await answer(owner, chats[owner], "can subscribe to its events now")
    assert (await marge.wait_text(room, lambda message: "in their calendar programs" in message.text)).decrypted
    for member in (marge, leaver):
        await member.send(chats[member], f"calendar {place}")
    marges, leavers = [await address_in(member, chats[member]) for member in (marge, leaver)]
    assert marges != leavers

    async with Visitor(estate) as program:
        read = await program.read(marges)
        assert (read.status, read.headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
        assert "private" in read.headers["Cache-Control"]
        [event] = calendar_in(read.body).walk("VEVENT")
        assert (str(event["SUMMARY"]), str(event["LOCATION"])) == ("Concert", "Gym")
        assert (event["DTSTART"].dt, event["DTEND"].dt) == (begins, begins + timedelta(hours=2))
        assert str(event["UID"]) == str(sent["UID"]), "the same event as the file's"
        again = await program.read(marges, {"If-None-Match": read.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        assert (await program.read(leavers)).body == read.body
        assert (await program.read("/calendar/nonsense.ics")).status == 404

        await owner.kick(community.rooms["space"], leaver.user_id)
        await eventually(lambda: is_gone(program, leavers), interval=0.5)
        assert (await program.read(marges)).status == 200

        await marge.send(chats[marge], f"calendar reset {place}")
        newer = await address_in(marge, chats[marge], other_than=marges)
        assert (await program.read(marges)).status == 404
        assert (await program.read(newer)).status == 200

        withdrawn = await estate.command(
            "announcement", "withdraw", place, f"https://matrix.to/#/{room}/{shown.event_id}", "--yes", "--json"
        )
        assert withdrawn.json["done"]
        for event_id in (shown.event_id, file.event_id):
            assert (await marge.event(room, event_id))["content"] == {}, "the event, and its calendar file"
        await estate.command("calendar", "off", place)
        assert (await program.read(newer)).status == 404


async def is_gone(program: Visitor, path: str) -> bool:
    return (await program.read(path)).status == 404
