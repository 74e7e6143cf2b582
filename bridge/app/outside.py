"""What can be asked about announcements that are summed up or read outside of Matrix: digests, letters, feeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import EventId, UserId
from bridge.features.members import answer_language

DEEDS = frozenset({"digest", "digest email", "digest code", "email caution", "email", "feed caution", "feed"})


class OutsideDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed of `DEEDS`. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `wanted`, `text`, `source`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        language = answer_language(community, by)
        match deed:
            case "digest":
                if by is None:
                    raise Refused("summaries go to whoever asks for them", remedy="write `digest on` to the announcer")
                wanted = what.get("wanted") is True
                due = await self._house.newsroom.digests.want(community.id, by, wanted=wanted)
                name, zone = await self._name(community), self._house.newsroom.zone_of(community.id)
                said = texts.digest_on(name, due, language, zone) if wanted else texts.digest_off(name, language)
                return {"said": [said], "wanted": wanted, "due": due}
            case "email caution":
                await self._house.newsroom.mailing.check(community, by)
                return {"said": [texts.mail_caution(await self._name(community), language)]}
            case "email":
                allowed = what.get("wanted") is True
                source = str(what.get("source") or "")
                await self._house.newsroom.mailing.allow(community, by, source, allowed=allowed)
                return {"said": [texts.mail_is_allowed(language) if allowed else texts.mail_has_ended(language)]}
            case "digest email" | "digest code":
                return await self._by_mail(deed, community, by, what)
            case "feed caution":
                await self._house.newsroom.feeds.check(community, by)
                return {"said": [texts.feed_caution(await self._name(community), language)]}
            case "feed":
                return await self._feed(community, by, what)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about summaries and feeds")

    async def _name(self, community: Community) -> str:
        return await self._house.reconciler.name_of(community.id)

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
        return {"said": [texts.digest_email_on(address, due, language, self._house.newsroom.zone_of(community.id))]}

    async def _feed(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        feeds, language = self._house.newsroom.feeds, answer_language(community, by)
        source = str(what.get("source") or "")
        if what.get("wanted") is True and source:
            url = await feeds.open(community, by, source)
            return {"said": [texts.feed_address(url, language)], "url": url}
        await feeds.close(community, by, source)
        return {"said": [texts.feed_is_closed(language)], "url": None}
