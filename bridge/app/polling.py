"""What can be asked about polls, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.app.house import House
from bridge.app.naming import announcement_meant, announcement_named, text_of
from bridge.core import texts
from bridge.core.access import Deed, may
from bridge.core.announcements import EVERYBODY, Audience
from bridge.core.community import Community, Posting
from bridge.core.errors import Refused
from bridge.core.ids import RoomId, RoomKeyName, UserId
from bridge.core.moments import shown
from bridge.core.polls import as_table, ballot_of, ballot_with
from bridge.core.times import read_moment
from bridge.features.members import answer_language
from bridge.features.polls import Listed

DEEDS = frozenset({"poll", "poll show", "poll close", "poll list", "vote"})
MOST_LISTED = 20


class PollDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and what belongs to the deed.

        Args:
            by: who asks; None for the operator.
            what: `source` and `room` (the message and where it was written), `reply_to` (what it answers), and
                `text` (with `options` the question alone), `to` (as `core/audience` reads it), `multiple`, `hidden`,
                `until`, `announcement`, `choice`, `private`, as the deed needs them.

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
                return await self._show(community, by, what)
            case "poll list":
                found = [self._shown(community, one) for one in await polls.listed(community.id, MOST_LISTED)]
                said = texts.polls_listed(found, await self._house.reconciler.name_of(community.id), language)
                return {"said": [said], "polls": found}
            case "poll close":
                number, found_one = await announcement_meant(announcements, community.id, what, "poll")
                if by is not None:
                    await self._house.newsroom.audiences.check_right(community.id, by, found_one.audience)
                native = await polls.close(found_one.id, by or "operator")
                return {"said": [texts.poll_ends(number, native, language)], "number": number}
            case "vote":
                return await self._vote(community, by, what)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about polls")

    async def _show(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        newsroom, language = self._house.newsroom, answer_language(community, by)
        number, found = await announcement_meant(newsroom.announcements, community.id, what, "poll")
        poll, ballot, tally = await newsroom.polls.result(found.id)
        if by is not None and poll.place and not await self._may_see(community, poll.place, by):
            raise Refused(f"poll #{number} is a group's, and seen by those who are in it", where=str(community))
        said = [newsroom.polls.said(poll, ballot, tally, language)]
        one = Listed(number, found.withdrawn_at is not None, poll, ballot, tally)
        shown_one = self._shown(community, one)
        if poll.hidden and not poll.native:
            out = await newsroom.ballots.handed(found.id)
            shown_one["ballots"] = {"sent": out.sent, "waiting": out.waiting + out.new, "missed": out.missed}
            if newsroom.polls.is_open(poll):
                said.append(texts.ballots_out(number, out.sent, out.waiting + out.new, out.missed, language))
        secret = poll.native or (poll.hidden and poll.counted is None)
        table = "" if secret else as_table(ballot, tally)
        return {"said": said, "poll": shown_one, "csv": table}

    async def _may_see(self, community: Community, place: str, by: UserId) -> bool:
        role = await self._house.reconciler.role_of(community.id, by)
        return may(role, Deed.POLL) or await self._house.newsroom.may_vote(community.id, place, by)

    def _shown(self, community: Community, one: Listed) -> dict[str, Any]:
        """A poll as the documented JSON has it: of a secret one no counts before the end, of a native one none."""
        poll, newsroom = one.poll, self._house.newsroom
        secret = poll.native or (poll.hidden and poll.counted is None)
        counts = [None] * len(one.ballot.options) if secret else list(one.tally.counts)
        closes = "" if poll.closes_at is None else shown(poll.closes_at, newsroom.zone_of(community.id))
        return {
            "number": one.number,
            "question": one.ballot.question,
            "options": [
                {"option": words, "votes": votes} for words, votes in zip(one.ballot.options, counts, strict=False)
            ],
            "people": None if poll.native else one.tally.people,
            "group": poll.place or None,
            "native": poll.native,
            "multiple": poll.multiple,
            "hidden": poll.hidden,
            "open": newsroom.polls.is_open(poll) and not one.withdrawn,
            "withdrawn": one.withdrawn,
            "closes_at": poll.closes_at,
            "closes": closes,
        }

    async def _ask(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        text, options = text_of(what, "text"), what.get("options")
        try:
            ballot = ballot_of(text) if options is None else ballot_with(text, [str(option) for option in options])
        except ValueError as error:
            raise Refused(str(error), remedy="write it like this: `Question | option | option`") from error
        closes_at = self._until(community, what)
        hidden = what.get("hidden") is True
        place, native = await self._place(community, by, what, hidden=hidden)
        room = what.get("room")
        announcement = await self._house.newsroom.polls.ask(
            community,
            ballot,
            multiple=what.get("multiple") is True,
            hidden=hidden,
            place=place,
            native=native,
            closes_at=closes_at,
            source=text_of(what, "source"),
            author=by or "operator",
            reply_room=RoomId(room) if by is not None and isinstance(room, str) else None,
        )
        closes = "" if closes_at is None else shown(closes_at, self._house.newsroom.zone_of(community.id))
        language = answer_language(community, by)
        group = community.group(RoomKeyName(place)) if place else None
        name = await self._house.reconciler.name_of(community.id) if group is None else group.name
        said = texts.poll_taken(name or place, closes, language)
        return {"said": [said], "announcement": announcement, "closes_at": closes_at}

    async def _place(
        self, community: Community, by: UserId | None, what: Mapping[str, Any], *, hidden: bool
    ) -> tuple[str, bool]:
        """Where a poll is asked (a group's key; empty for everybody), and whether clients count it."""
        audiences = self._house.newsroom.audiences
        words = what.get("to") or []
        if not isinstance(words, list):
            raise Refused("whom it is for is a list of words", where="to")
        audience = await audiences.audience_of(community.id, by, [str(word) for word in words])
        if audience == EVERYBODY:
            return "", False
        if audience != Audience(groups=audience.groups) or len(audience.groups) != 1:
            raise Refused(
                "a poll is asked in one place, so that it has one result",
                where=" ".join(audience.as_words()),
                remedy="leave `--to` out to ask everybody, or name one group: `--to group:chess`",
            )
        [key] = audience.groups
        await audiences.group(community.id, key)
        group = community.group(key)
        native = group is not None and group.posting is Posting.MEMBERS
        if hidden and not native:
            raise Refused(
                "a poll in a group in which only moderators post cannot be secret: votes are signs for all to see",
                where=str(key),
                remedy="leave `--hidden` out, or ask everybody",
            )
        return str(key), native

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
