"""What can be asked about calendars that programs subscribe to, by chat, by the local door or by a command alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.app.naming import text_of
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import UserId, parse_user_id
from bridge.features.members import answer_language

DEEDS = frozenset(
    {"calendar address", "calendar reset", "calendar caution", "calendar on", "calendar off", "calendar show"}
)


class CalendarDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one of `DEEDS`. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `source`, what asks for it; `private`, whether nobody else reads the answer; and `user`, whom the
                operator means.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        calendars, language = self._house.newsroom.calendars, answer_language(community, by)
        match deed:
            case "calendar address" | "calendar reset":
                user = self._user(by, what)
                another = deed == "calendar reset"
                found = await calendars.address(community, user, text_of(what, "source"), another=another)
                said = texts.calendar_address(found.webcal, found.https, language)
                return {"said": [said], "user": user, "url": found.https, "webcal": found.webcal}
            case "calendar caution":
                await calendars.check(community, by)
                name = await self._house.reconciler.name_of(community.id)
                return {"said": [texts.calendar_caution(name, language)]}
            case "calendar on":
                await calendars.open(community, by, text_of(what, "source"))
                name = await self._house.reconciler.name_of(community.id)
                return {"said": [texts.calendar_is_open(name, language)], "open": True}
            case "calendar off":
                await calendars.close(community, by, text_of(what, "source"))
                return {"said": [texts.calendar_is_closed(language)], "open": False}
            case _ if by is None:
                is_open, readers = await calendars.is_open(community.id), await calendars.readers(community.id)
                return {"said": [], "open": is_open, "addresses": readers}
            case _:
                raise Refused(f"{deed!r} is for the operator")

    def _user(self, by: UserId | None, what: Mapping[str, Any]) -> UserId:
        """Whose address is meant."""
        if by is None:
            try:
                return parse_user_id(text_of(what, "user"))
            except ValueError as error:
                raise Refused(str(error), where="user", remedy="write it like @homer:example.org") from error
        if what.get("private") is not True:
            raise Refused(
                "an address of the calendar is for one person alone", remedy="write `calendar` to me in a direct chat"
            )
        return by
