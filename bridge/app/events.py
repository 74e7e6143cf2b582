"""What can be asked about events, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.app.house import House
from bridge.app.naming import announcement_meant, text_of
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.events import MOST_GUESTS, Answer, Happening, Standing, guest_list, happening_of, seats_of
from bridge.core.events import happening as happening_from
from bridge.core.ids import RoomId, UserId
from bridge.core.languages import Language
from bridge.core.lines import one_line
from bridge.core.times import read_time
from bridge.features.members import answer_language
from bridge.store.events import Known

FIELDS = ("title", "when", "place", "description", "seats")
_GUESTS = re.compile(r"\+([0-9]{1,3})\Z")


DEEDS = frozenset({"event", "event list", "event show", "event change", "event cancel", "rsvp"})
MOST_LISTED = 20


class EventDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `source` and `room` (the message and where it was written), `reply_to` (what it answers), and
                `text` (or for a new event, in parts: `title`, `when`, `place`, `description`, `seats`), `announcement`,
                `field` (or `fields`, with a text for each), `answer`, `guests`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
            MatrixError: the homeserver cannot be asked.
        """
        language = answer_language(community, by)
        if deed == "event":
            return await self._invite(community, by, what, language)
        if deed == "event list":
            return await self._list(community, language)
        number, found = await announcement_meant(self._house.newsroom.announcements, community.id, what, "event")
        events = self._house.newsroom.events
        match deed:
            case "event show":
                known, happening = await events.read(found.id)
                standing = await events.standing(found.id)
                said = events.said(known, happening, standing, language)
                answer = {"said": [said], **self._shown(number, known, happening, standing)}
                return answer if by is not None else {**answer, "csv": guest_list(standing)}
            case "event change" | "event cancel":
                cancel = deed == "event cancel"
                known, happening = await events.read(found.id)
                changed = happening if cancel else self._changed(community, happening, what)
                source = text_of(what, "source")
                await events.change(known, changed, cancel=cancel, by=by or "operator", source=source)
                if cancel:
                    return {"said": [texts.event_cancelled(number, language)], "number": number}
                said = texts.event_changed(number, self._when(community, changed), language)
                return {"said": [said], "number": number}
            case "rsvp":
                return await self._answer(number, found.id, by, what, language)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about events")

    async def _invite(
        self, community: Community, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        now, zone = self._house.clock.now_ms(), self._zone_of(community)
        if what.get("title") is not None:
            parts = {name: text_of(what, name) for name in ("place", "description", "seats") if what.get(name)}
            happening = happening_from(text_of(what, "title"), text_of(what, "when"), now, zone, **parts)
        else:
            happening = happening_of(text_of(what, "text"), now, zone)
        room = what.get("room")
        announcement = await self._house.newsroom.events.invite(
            community,
            happening,
            source=text_of(what, "source"),
            author=by or "operator",
            reply_room=RoomId(room) if by is not None and isinstance(room, str) else None,
        )
        name = await self._house.reconciler.name_of(community.id)
        return {
            "said": [texts.event_taken(name, self._when(community, happening), language)],
            "when": self._when(community, happening),
            "announcement": announcement,
            "begins_at": happening.begins_at,
            "ends_at": happening.ends_at,
        }

    def _zone_of(self, community: Community) -> str:
        return self._house.newsroom.schedules.zone_of(community.id)

    def _when(self, community: Community, happening: Happening) -> str:
        return self._house.newsroom.events.when(community.id, happening.begins_at, happening.ends_at)

    async def _list(self, community: Community, language: Language) -> dict[str, Any]:
        newsroom = self._house.newsroom
        shown = []
        for known, happening, standing in await newsroom.events.to_come(community.id, MOST_LISTED):
            number = await newsroom.announcements.number_of(community.id, known.announcement)
            when = self._when(community, happening)
            shown.append({**self._shown(number, known, happening, standing), "when": when})
        name = await self._house.reconciler.name_of(community.id)
        return {"said": [texts.events_listed(shown, name, language)], "events": shown}

    def _shown(self, number: int, known: Known, happening: Happening, standing: Standing) -> dict[str, Any]:
        """An event as the documented JSON has it."""
        return {
            "number": number,
            "id": known.announcement,
            "title": happening.title,
            "begins_at": happening.begins_at,
            "ends_at": happening.ends_at,
            "place": happening.place,
            "description": happening.description,
            "seats": happening.capacity,
            "cancelled": known.cancelled_at is not None,
            "coming": standing.seats,
            "waiting": sum(1 + reply.guests for reply in standing.waiting),
            "maybe": standing.maybe,
            "no": standing.no,
        }

    def _changed(self, community: Community, happening: Happening, what: Mapping[str, Any]) -> Happening:
        fields = what.get("fields")
        if not isinstance(fields, Mapping):
            fields = {str(what.get("field")): text_of(what, "text")}
        if not fields:
            raise Refused("nothing to change is given", remedy=f"{', '.join(FIELDS)} can be changed")
        for field in fields:
            happening = self._with(community, happening, str(field), text_of(fields, field).strip())
        return happening

    def _with(self, community: Community, happening: Happening, field: str, text: str) -> Happening:
        match field:
            case "when":
                begins_at, ends_at = read_time(text, self._house.clock.now_ms(), self._zone_of(community))
                return replace(happening, begins_at=begins_at, ends_at=ends_at)
            case "seats":
                return replace(happening, capacity=seats_of(text))
            case "title" if one_line(text):
                return replace(happening, title=one_line(text, 200))
            case "place":
                return replace(happening, place=one_line(text, 300))
            case "description" if len(text) <= 4_000:
                return replace(happening, description=text)
        raise Refused(f"that cannot be changed so: {', '.join(FIELDS)} can", where=field[:60])

    async def _answer(
        self, number: int, announcement: str, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        if by is None:
            raise Refused("answers are people's", remedy="write `rsvp` to the announcer in a direct chat")
        guests = 0
        if what.get("guests") is not None:
            found = _GUESTS.match(text_of(what, "guests"))
            if found is None or int(found[1]) > MOST_GUESTS:
                raise Refused(f"guests are written as +1 to +{MOST_GUESTS}")
            guests = int(found[1])
        answer, seated = await self._house.newsroom.events.answer(
            announcement, by, Answer(text_of(what, "answer")), guests, source=text_of(what, "source")
        )
        return {"said": [texts.rsvp_taken(number, answer.value, guests, seated, language)], "seated": seated}
