"""What can be asked about announcements that wait for their time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.app.naming import mentioned
from bridge.core import texts
from bridge.core.announcements import EVERYBODY, Audience, Kind
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import RoomId, UserId
from bridge.core.rendering import render
from bridge.features.members import answer_language
from bridge.features.schedules import OPERATOR, shown

DEEDS = frozenset({"schedule", "scheduled", "schedule show", "schedule edit", "schedule skip", "schedule cancel"})


class ScheduleDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one of `DEEDS`. Gives `said`, a list of sentences, and `scheduled`: one, or a list of them.

        Args:
            by: who asks; None for the operator.
            what: `source`, what asks for it, with every deed that changes something; `room`, the chat in which whoever
                asks is told of what comes of it; `when`, `text`; `audience` as `Audience.as_words` gives it, or `to` as
                people say it; `acknowledge`; `pills`, whom the text mentions; `number`: as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        schedules, language = self._house.newsroom.schedules, answer_language(community, by)
        room = what.get("room")
        reply_room = RoomId(room) if by is not None and isinstance(room, str) else None
        author = OPERATOR if by is None else str(by)
        if deed == "schedule":
            audience = _audience(what)
            if by is not None:
                to = [str(word) for word in what.get("to") or ()]
                audience = await self._house.newsroom.audiences.audience_of(community.id, by, to)
            one = await schedules.add(
                source=_word(what, "source"),
                community=community.id,
                author=author,
                when=_word(what, "when"),
                parts=[render(_word(what, "text"), mentioned(what))],
                audience=audience,
                reply_room=reply_room,
                kind=Kind.ACKNOWLEDGE if what.get("acknowledge") is True else Kind.TEXT,
            )
            return {"said": [texts.schedule_set(shown(one), language)], "scheduled": shown(one)}
        if deed == "scheduled":
            every = [shown(one) for one in await schedules.listed(community.id)]
            return {"said": [texts.schedules_listed(every, community.id, language)], "scheduled": every}
        number = _number(what)
        match deed:
            case "schedule show":
                one = await schedules.get(community.id, number)
                said = texts.schedule_shown(shown(one), language)
            case "schedule edit":
                one = await schedules.edit(
                    community.id,
                    number,
                    source=_word(what, "source"),
                    author=author,
                    reply_room=reply_room,
                    when=_word(what, "when") if what.get("when") is not None else None,
                    text=_word(what, "text") if what.get("text") is not None else None,
                    pills=mentioned(what),
                )
                said = texts.schedule_set(shown(one), language)
            case "schedule skip":
                run, one = await schedules.skip(community.id, number, source=_word(what, "source"), author=author)
                said = texts.schedule_skipped(run, shown(one), language)
            case _:
                one = await schedules.cancel(community.id, number, source=_word(what, "source"), author=author)
                said = texts.schedule_cancelled(one.number, language)
        return {"said": [said], "scheduled": shown(one)}


def _word(what: Mapping[str, Any], name: str) -> str:
    value = what.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"{name} is missing")
    return value


def _number(what: Mapping[str, Any]) -> int:
    value = what.get("number")
    if type(value) is not int or not 1 <= value < 2**31:
        raise Refused("number is a whole number", remedy="`scheduled` shows them")
    return value


def _audience(what: Mapping[str, Any]) -> Audience:
    words = what.get("audience")
    if words is None:
        return EVERYBODY
    try:
        return Audience.of_words(str(word) for word in words)
    except (TypeError, ValueError) as error:
        raise Refused(str(error), where="audience") from error
