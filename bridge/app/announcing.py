"""What can be asked about announcements, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bridge.app.events import EventDesk
from bridge.app.house import House
from bridge.app.polling import PollDesk
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import EventId, UserId
from bridge.features.members import answer_language
from bridge.store.announcements import Listed

MOST_LISTED = 20
MOST_LISTED_AT_ONCE = 500


class AnnouncementDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._polls = PollDesk(house)
        self._events = EventDesk(house)

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `most`, `before`, `wanted`, `text`, `source`, and what `app/polling` and `app/events` say, as the
                deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        language = answer_language(community, by)
        match deed:
            case "list":
                most = _number(what, "most", MOST_LISTED, MOST_LISTED_AT_ONCE)
                before = _number(what, "before", 2**53, 2**53)
                found = await self._house.newsroom.announcements.listed(community.id, most, before)
                shown = [_shown(one) for one in found]
                return {"said": [texts.announcements_listed(shown, community.id, language)], "announcements": shown}
            case "digest":
                if by is None:
                    raise Refused("summaries go to whoever asks for them", remedy="write `digest on` to the announcer")
                wanted = what.get("wanted") is True
                due = await self._house.newsroom.digests.want(community.id, by, wanted=wanted)
                name = community.name or community.id
                said = texts.digest_on(name, due, language) if wanted else texts.digest_off(name, language)
                return {"said": [said], "wanted": wanted, "due": due}
            case "poll" | "poll show" | "poll close" | "vote":
                return await self._polls.do(deed, community, by, what)
            case "event" | "event show" | "event change" | "event cancel" | "rsvp":
                return await self._events.do(deed, community, by, what)
            case "email caution":
                await self._house.newsroom.mailing.check(community, by)
                return {"said": [texts.mail_caution(community.name or community.id, language)]}
            case "email":
                allowed = what.get("wanted") is True
                source = str(what.get("source") or "")
                await self._house.newsroom.mailing.allow(community, by, source, allowed=allowed)
                return {"said": [texts.mail_is_allowed(language) if allowed else texts.mail_has_ended(language)]}
            case "digest email" | "digest code":
                return await self._by_mail(deed, community, by, what)
            case "feed caution":
                await self._house.newsroom.feeds.check(community, by)
                return {"said": [texts.feed_caution(community.name or community.id, language)]}
            case "feed":
                return await self._feed(community, by, what)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about announcements")

    async def _by_mail(
        self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Somebody's own letters."""
        if by is None:
            raise Refused("letters go to whoever asks for them", remedy="write `digest …` to the announcer")
        mailing, language = self._house.newsroom.mailing, answer_language(community, by)
        text = str(what.get("text") or "")
        if deed == "digest email":
            address = await mailing.ask(community, by, text, EventId(str(what.get("source") or "")))
            return {"said": [texts.code_sent(address, language)]}
        address = await mailing.confirm(community, by, text)
        due = await self._house.newsroom.digests.by_mail(community.id)
        return {"said": [texts.digest_email_on(address, due, language)]}

    async def _feed(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        feeds, language = self._house.newsroom.feeds, answer_language(community, by)
        source = str(what.get("source") or "")
        if what.get("wanted") is True and source:
            url = await feeds.open(community, by, source)
            return {"said": [texts.feed_address(url, language)], "url": url}
        await feeds.close(community, by, source)
        return {"said": [texts.feed_is_closed(language)], "url": None}


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
