"""What can be asked about polls, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.app.house import House
from bridge.app.naming import announcement_meant, announcement_named, text_of
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import RoomId, UserId
from bridge.core.moments import shown
from bridge.core.polls import ballot_of
from bridge.core.times import read_moment
from bridge.features.members import answer_language

DEEDS = frozenset({"poll", "poll show", "poll close", "vote"})


class PollDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `source` and `room` (the message and where it was written), `reply_to` (what it answers), and
                `text`, `multiple`, `hidden`, `until`, `announcement`, `choice`, `private`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
            MatrixError: the homeserver cannot be asked.
        """
        language = answer_language(community, by)
        polls, announcements = self._house.newsroom.polls, self._house.newsroom.announcements
        match deed:
            case "poll":
                return await self._ask(community, by, what)
            case "poll show":
                _, found = await announcement_meant(announcements, community.id, what, "poll")
                poll, ballot, tally = await polls.result(found.id)
                secret = poll.hidden and poll.counted is None
                counts = None if secret else list(tally.counts)
                said = polls.said(poll, ballot, tally, language)
                return {"said": [said], "counts": counts, "people": tally.people, "closes_at": poll.closes_at}
            case "poll close":
                number, found = await announcement_meant(announcements, community.id, what, "poll")
                await polls.close(found.id, by or "operator")
                return {"said": [texts.poll_ends(number, language)], "number": number}
            case "vote":
                return await self._vote(community, by, what)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about polls")

    async def _ask(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        try:
            ballot = ballot_of(text_of(what, "text"))
        except ValueError as error:
            raise Refused(str(error), remedy="write it like this: `Question | option | option`") from error
        closes_at = self._until(community, what)
        room = what.get("room")
        announcement = await self._house.newsroom.polls.ask(
            community,
            ballot,
            multiple=what.get("multiple") is True,
            hidden=what.get("hidden") is True,
            closes_at=closes_at,
            source=text_of(what, "source"),
            author=by or "operator",
            reply_room=RoomId(room) if by is not None and isinstance(room, str) else None,
        )
        closes = "" if closes_at is None else shown(closes_at, self._house.newsroom.zone_of(community.id))
        language = answer_language(community, by)
        said = texts.poll_taken(await self._house.reconciler.name_of(community.id), closes, language)
        return {"said": [said], "announcement": announcement, "closes_at": closes_at}

    def _until(self, community: Community, what: Mapping[str, Any]) -> int | None:
        if what.get("until") is None:
            return None
        zone = self._house.newsroom.schedules.zone_of(community.id)
        return read_moment(text_of(what, "until"), self._house.clock.now_ms(), zone)

    async def _vote(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        if by is None:
            raise Refused("votes are people's", remedy="write `vote` to the announcer in a direct chat")
        if what.get("private") is not True:
            raise Refused("votes in secret polls are given in a direct chat", remedy="write to me there")
        which, options = _choice(what.get("choice"))
        newsroom = self._house.newsroom
        found = await announcement_named(newsroom.announcements, community.id, {**what, "announcement": which}, "poll")
        number, chosen = await newsroom.polls.vote(
            community.id, None if found is None else found.id, by, options, source=text_of(what, "source")
        )
        return {"said": [texts.vote_taken(number, chosen, answer_language(community, by))], "number": number}


def _choice(words: Any) -> tuple[str | None, Sequence[int]]:
    """Which poll is named, and which options: `#12 2`."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Refused("a choice is a list of words")
    which = None
    if words and not words[0].isdigit() and len(words) > 1:
        which = words[0]
        words = words[1:]
    if not words or not all(word.isdigit() and len(word) < 4 for word in words):
        raise Refused("a vote is the number of an option", remedy="write it like this: `vote 2`, or `vote #12 2`")
    return which, [int(word) for word in words]
