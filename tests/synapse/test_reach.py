"""How far announcements come, and who confirms them: told of what people's clients send, and take back."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.harness.community import ANNOUNCER, STEWARD, Estate
from tests.harness.wait import eventually
from tests.synapse.conftest import School
from tests.synapse.test_chats import answer, chat_with_announcer
from tests.synapse.test_handouts import file_in


async def reach(estate: Estate, school: School, event_id: str) -> dict[str, Any]:
    """What the operator is told of one announcement, named by its link."""
    link = f"https://matrix.to/#/{school.community.announcements}/{event_id}"
    answer = await estate.ask("announcements", deed="reach", community=school.community.id, announcement=link)
    [one] = answer["announcements"]
    return dict(one)


async def test_receipts_reactions_and_confirmations_are_counted_and_taken_back(
    estate: Estate, schools: dict[str, School]
) -> None:
    school = schools["12"]
    place, room = school.community.id, school.community.announcements
    homer, marge, edna, owner = school.homer, school.marge, school.edna, school.owner
    joined = (await owner.call("GET", f"/rooms/{room}/joined_members"))["joined"]
    everybody = set(joined) - {STEWARD, ANNOUNCER}  # other tests may have brought in more

    async def until(event_id: str, **wanted: Any) -> dict[str, Any]:
        async def found() -> dict[str, Any]:
            one = await reach(estate, school, event_id)
            assert {name: one[name] for name in wanted} == wanted
            return one

        return await eventually(found, 20, f"{wanted} of {event_id}")

    ran = await estate.command("announce", place, "--text", "Trip on Friday", "--ack", "--json")
    trip = str(ran.json["targets"][0]["event_id"])
    message = await homer.wait_text(room, lambda one: one.event_id == trip)
    assert message.text.startswith("Trip on Friday\n\nPlease confirm by reacting with ✅")
    assert "by name" in message.text, "members are told that they are seen"

    one = await until(trip, read=0, reacted=0)
    there = len(everybody)
    assert (one["joined"], one["people"], one["delivered"]) == (there, there, there)
    assert "read_by" not in one, "counts, where the community does not allow names"
    yes = await homer.wait_event(
        room,
        lambda event: (
            event["sender"] == ANNOUNCER
            and event["type"] == "m.reaction"
            and event["content"]["m.relates_to"] == {"rel_type": "m.annotation", "event_id": trip, "key": "✅"}
        ),
    )

    # read: by a receipt at it, by one at something later, and not by a private one, nor by one in another room
    await homer.mark_read(room, trip)
    await edna.mark_read(room, yes["event_id"])
    private = f"/rooms/{room}/read_markers"
    await marge.call("POST", private, {"m.read.private": trip})
    general = school.community["general"]
    chatter = await homer.send(general, "who comes?")
    await marge.wait_text(general, "who comes?")
    await marge.mark_read(general, chatter)
    await until(trip, read=2, reacted=0)

    # what an admin posts from their own client counts as well; a receipt at it is one at what came before, too
    news = await owner.send(room, "The bus is late")
    await marge.wait_text(room, "The bus is late")
    await marge.mark_read(room, news)
    await until(news, read=2, human=True, people=None, delivered=None)  # marge, and who wrote it
    await until(trip, read=3)
    assert {row[0] for row in estate.rows("SELECT DISTINCT room_id FROM receipt")} <= {
        one.community.announcements for one in schools.values()
    }, "nobody asks who reads what in groups"

    # reactions, and reactions taken back
    like = await homer.react(room, trip, "👍")
    confirmed = await marge.react(room, trip, "✅")
    await until(trip, reacted=2, reactions={"👍": 1, "✅": 1})
    await homer.redact(room, like)
    await until(trip, reacted=1, reactions={"✅": 1})
    await homer.react(room, trip, "✅")
    await until(trip, reactions={"✅": 2})

    chat = await chat_with_announcer(owner)
    number = (await reach(estate, school, trip))["number"]
    await owner.send(chat, f"ack {place} #{number} csv")
    told = (await answer(owner, chat, f"#{number}: 2 of {there}", "Not confirmed:")).text
    waiting = told.partition("Not confirmed:")[2]
    assert edna.user_id in waiting
    assert homer.user_id not in waiting
    assert marge.user_id not in waiting
    table = await owner.wait_text(chat, lambda one: one.content.get("filename") == f"confirmations-{number}.csv")
    data = (await file_in(owner, table, estate)).decode("utf-8-sig")
    states = {row["user"]: row["state"] for row in csv.DictReader(io.StringIO(data, newline=""))}
    assert states[marge.user_id] == "confirmed"
    assert states[edna.user_id] == "waiting"

    await marge.redact(room, confirmed)

    async def taken_back() -> bool:
        shown = await estate.ask("announcements", deed="acknowledgement", community=place, announcement=str(number))
        return marge.user_id in shown["acknowledgement"]["withdrawn"]

    await eventually(taken_back, 20, "the confirmation to be taken back")

    await owner.send(chat, f"stats {place}")
    await answer(owner, chat, f"How far announcements came in {school.community.declaration['name']}", f"#{number}")
    picture = await owner.wait_text(chat, lambda one: one.content.get("filename") == f"reach-{place}.png")
    assert (await file_in(owner, picture, estate)).startswith(b"\x89PNG\r\n")
