"""What can be asked about announcements, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from bridge.app import afterwards, calendars, events, outside, polling, scheduling
from bridge.app.house import House
from bridge.app.writing import Writing
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import CannotDecrypt, MatrixError, Refused
from bridge.core.ids import CommunityId, UserId
from bridge.features.members import answer_language
from bridge.store.announcements import Listed

log = logging.getLogger(__name__)

MOST_LISTED = 20
MOST_LISTED_AT_ONCE = 500


class AnnouncementDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._desks = (
            (afterwards.DEEDS, afterwards.AfterwardsDesk(house)),
            (scheduling.DEEDS, scheduling.ScheduleDesk(house)),
            (polling.DEEDS, polling.PollDesk(house)),
            (events.DEEDS, events.EventDesk(house)),
            (calendars.DEEDS, calendars.CalendarDesk(house)),
            (outside.DEEDS, outside.OutsideDesk(house)),
        )

    @property
    def _writing(self) -> Writing:
        house = self._house
        return Writing(
            newsroom=house.newsroom,
            conversations=house.conversations,
            files=house.files,
            decryptor=house.keys,
            accounts=house.accounts,
        )

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `most`, `before`, `announcement`, `reply_to`, `room`, `file`, `source`, and what `app/afterwards`,
                `app/scheduling`, `app/polling`, `app/events`, `app/calendars`, `app/outside` and, of `write` and
                `preview`, `app/writing` say, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        for deeds, desk in self._desks:
            if deed in deeds:
                return await desk.do(deed, community, by, what)
        language = answer_language(community, by)
        match deed:
            case "list":
                most = _number(what, "most", MOST_LISTED, MOST_LISTED_AT_ONCE)
                before = _number(what, "before", 2**53, 2**53)
                right = await self._house.newsroom.audiences.right_of(community.id, by)
                found = await self._house.newsroom.announcements.listed(community.id, most, before, which=right)
                shown = [_shown(one) for one in found]
                if by is not None:
                    shown = [{**one, "words": await self._words_of(community.id, one)} for one in shown]
                name = await self._house.reconciler.name_of(community.id)
                zone = self._house.newsroom.answer_zone(community.id, by)
                return {"said": [texts.announcements_listed(shown, name, language, zone)], "announcements": shown}
            case "write" if by is not None:
                return {"said": await self._writing.write(community, by, what)}
            case "preview":
                return {"said": [], "preview": await self._writing.previewed(community, by, what)}
            case "reach":
                return await self._house.newsroom.reach_desk.reach(community, by, what, language)
            case "acknowledgement":
                return await self._house.newsroom.reach_desk.acknowledgement(community, by, what, language)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about announcements")

    async def _words_of(self, community: CommunityId, one: Mapping[str, Any]) -> str:
        """The beginning of an announcement, read back from where it lies; empty where nobody can."""
        newsroom = self._house.newsroom
        copies = await newsroom.announcements.copies_of(str(one["id"]))
        for copy in sorted(copies, key=lambda copy: (copy.target.community != community, copy.target.place)):
            room_id, event_id = copy.target.room_id, copy.event_id
            if one["withdrawn_at"] is None and room_id is not None and event_id is not None:
                try:
                    return await newsroom.words_of(room_id, event_id)
                except (CannotDecrypt, MatrixError) as error:
                    log.info("announcement %s cannot be read for the list: %s", one["id"], error)
                    return ""
        return ""


def _shown(one: Listed) -> dict[str, Any]:
    """An announcement as the documented JSON has it."""
    about = dataclasses.asdict(one.announcement)
    return {
        "number": one.number,
        **{name: about[name] for name in ("id", "author", "at", "human", "withdrawn_at")},
        "kind": one.announcement.kind.value,
        "audience": list(one.announcement.audience.as_words()),
        "sent": one.sent,
        "waiting": one.waiting,
        "failed": one.failed,
    }


def _number(what: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = what.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        raise Refused(f"{name} is a whole number from 1 to {most:,}")
    return value
