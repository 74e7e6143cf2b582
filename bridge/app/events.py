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
from bridge.core.events import MOST_GUESTS, MOST_SEATS, Answer, Happening, happening_of, span_of
from bridge.core.ids import RoomId, UserId
from bridge.core.languages import Language
from bridge.core.lines import one_line
from bridge.features.members import answer_language

FIELDS = ("title", "when", "place", "description", "seats")
_GUESTS = re.compile(r"\+([0-9]{1,3})\Z")


DEEDS = frozenset({"event", "event show", "event change", "event cancel", "rsvp"})


class EventDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `source` and `room` (the message and where it was written), `reply_to` (what it answers), and
                `text`, `announcement`, `field`, `answer`, `guests`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
            MatrixError: the homeserver cannot be asked.
        """
        language = answer_language(community, by)
        if deed == "event":
            return await self._invite(community, by, what, language)
        number, found = await announcement_meant(self._house.newsroom.announcements, community.id, what, "event")
        events = self._house.newsroom.events
        match deed:
            case "event show":
                known, happening = await events.read(found.id)
                standing = await events.standing(found.id)
                said = events.said(known, happening, standing, language)
                return {"said": [said], "coming": standing.seats, "waiting": len(standing.waiting)}
            case "event change" | "event cancel":
                cancel = deed == "event cancel"
                known, happening = await events.read(found.id)
                changed = happening if cancel else self._changed(community, happening, what)
                source = text_of(what, "source")
                await events.change(known, changed, cancel=cancel, by=by or "operator", source=source)
                say = texts.event_cancelled if cancel else texts.event_changed
                return {"said": [say(number, language)], "number": number}
            case "rsvp":
                return await self._answer(number, found.id, by, what, language)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about events")

    async def _invite(
        self, community: Community, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        try:
            happening = happening_of(text_of(what, "text"), self._house.newsroom.zone_of(community.id))
        except ValueError as error:
            raise Refused(
                str(error), remedy="write it like this: `Summer party; 2026-07-04 18:30; School yard; Bring a cake; 80`"
            ) from error
        room = what.get("room")
        announcement = await self._house.newsroom.events.invite(
            community,
            happening,
            source=text_of(what, "source"),
            author=by or "operator",
            reply_room=RoomId(room) if by is not None and isinstance(room, str) else None,
        )
        return {
            "said": [texts.event_taken(await self._house.reconciler.name_of(community.id), language)],
            "announcement": announcement,
            "begins_at": happening.begins_at,
        }

    def _changed(self, community: Community, happening: Happening, what: Mapping[str, Any]) -> Happening:
        field, text = what.get("field"), text_of(what, "text").strip()
        try:
            match field:
                case "when":
                    begins_at, ends_at = span_of(text, self._house.newsroom.zone_of(community.id))
                    return replace(happening, begins_at=begins_at, ends_at=ends_at)
                case "seats" if text.isdigit() and len(text) < 7 and 1 <= int(text) <= MOST_SEATS:
                    return replace(happening, capacity=int(text))
                case "title" if one_line(text):
                    return replace(happening, title=one_line(text, 200))
                case "place":
                    return replace(happening, place=one_line(text, 300))
                case "description" if len(text) <= 4_000:
                    return replace(happening, description=text)
        except ValueError as error:
            raise Refused(str(error)) from error
        raise Refused(f"that cannot be changed so: {', '.join(FIELDS)} can", where=str(field)[:60])

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
