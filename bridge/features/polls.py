"""Polls in announcement rooms: asked as an announcement, answered by reactions or in direct chats, counted once.

What a poll asks is read back from the room when its message is edited or its result announced. Votes are stored as
long as they are counted, and not beyond.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from bridge.core import texts
from bridge.core.announcements import Kind, Part, Target
from bridge.core.community import Community
from bridge.core.errors import CannotDecrypt, Forbidden, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.markup import plain
from bridge.core.messages import (
    Announce,
    CountPoll,
    EndBallots,
    EndPoll,
    PlaceOptions,
    Posted,
    Redacted,
    SendBallots,
    ShowPoll,
    call,
)
from bridge.core.moments import shown
from bridge.core.polls import FIELD, KEYS, POLL_END, Ballot, Tally, Vote, native_end, option_of, tally
from bridge.core.polls import native as native_poll
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger
from bridge.store import announcements, polls
from bridge.store.announcements import Copy
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.polls import Poll

SETTLE_MS = 5_000
"""So long after the end a poll is counted: votes that were given in time may still be on their way to us."""
AT_HAND_MS = 60_000
"""For how long what a poll asks is kept in memory once it was read back."""
SHOW_EVERY_MS = 600_000
"""How often a count is edited into an announcement at most: each edit is an event for everybody."""

Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""
ContentOf = Callable[[RoomId, EventId], Awaitable[Any]]
"""What a message said when it was sent, read back and decrypted; None for what was redacted."""
MayVote = Callable[[CommunityId, str, UserId], Awaitable[bool]]
"""Whether somebody is where a poll is asked: in a community, or (a key that is not empty) in a group of it."""
Completed = Callable[[str, Target, Part], Awaitable[Part]]
"""The words of an announcement as they stand in one copy of it, with what we put below them there."""


async def _as_it_is(_: str, __: Target, part: Part) -> Part:
    return part


@dataclass(frozen=True, slots=True)
class Listed:
    """A poll as a community counts it."""

    number: int
    withdrawn: bool
    poll: Poll
    ballot: Ballot
    tally: Tally


class Polls:
    """Asks, takes votes, and counts those of whoever is a member when they are counted."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        content_of: ContentOf,
        may_vote: MayVote,
        voting_changed: Callable[[Transaction], Awaitable[None]],
        zone_of: Callable[[CommunityId], tzinfo],
        language_of: Callable[[CommunityId], Language],
        accounts: Accounts,
        clock: Clock,
        completed: Completed = _as_it_is,
    ) -> None:
        """
        Args:
            voting_changed: a poll in a group begins or ends: from then on reactions there are votes, or none any more.
            zone_of: the time zone in which a community lives.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._content_of = content_of
        self._may_vote = may_vote
        self._voting_changed = voting_changed
        self._zone_of = zone_of
        self._language_of = language_of
        self._accounts = accounts
        self._clock = clock
        self._completed = completed
        self._at_hand: dict[str, tuple[Ballot, int]] = {}
        """What polls ask, and until when it is kept."""

    # --- asking -----------------------------------------------------------------------------------------------------

    async def ask(
        self,
        community: Community,
        ballot: Ballot,
        *,
        multiple: bool,
        hidden: bool,
        closes_at: int | None,
        source: str,
        author: str,
        reply_room: RoomId | None,
        place: str = "",
        native: bool = False,
    ) -> str:
        """Announce a poll to everybody in a community, or in a group of it; the same source again is the same poll.
        Gives its announcement.

        Args:
            place: the key of the group; empty for everybody.
            native: whether it is a poll of the clients, which they count (MSC3381): where members may post.
            closes_at: when it ends by itself, in milliseconds since 1970.
            source: what it comes from (an event id, a request id).

        Raises:
            Refused: the end is past.
        """
        announcement = announcements.id_of(source)
        now = self._clock.now_ms()
        poll = Poll(
            announcement, community.id, len(ballot.options), multiple, hidden, closes_at, place=place, native=native
        )
        asked = call(self._text(poll, ballot, None), [])
        if native:
            asked = native_poll(ballot, multiple=multiple, hidden=hidden)
        async with self._database.transaction() as tx:
            if await polls.get(tx, announcement) is not None:
                return announcement
            if closes_at is not None and closes_at <= now:
                raise Refused("the poll would have ended already", remedy="give a time that is to come")
            await polls.add(tx, poll)
            job = Announce(
                community.id,
                source,
                author,
                ({**asked, FIELD: ballot.as_json()},),
                _audience(poll),
                Kind.POLL.value,
                reply_room,
            )
            await self._jobs.add(tx, f"poll-{announcement}", f"poll {announcement}", job, now)
            if closes_at is not None:
                await self._plan_count(tx, poll, closes_at)
            await self._voting_changed(tx)
        self._wake()
        return announcement

    async def _plan_count(self, tx: Transaction, poll: Poll, closes_at: int) -> None:
        job_id = f"count-{poll.announcement}-{closes_at}"
        due = closes_at if poll.native else closes_at + SETTLE_MS
        await self._jobs.add(tx, job_id, f"count {poll.announcement}", CountPoll(poll.announcement), due)

    async def delivered(self, tx: Transaction, announcement: str, target: Target, event_id: EventId) -> None:
        """A copy of an announcement has arrived: if it is a poll, people are given what they can press."""
        poll = await polls.get(tx, announcement)
        if poll is None or target.room_id is None or poll.native:
            return
        now = self._clock.now_ms()
        if poll.hidden:
            send = SendBallots(announcement, target.room_id)
            await self._jobs.add(tx, f"ballots-{announcement}", f"ballots {announcement}", send, now)
        else:
            place = PlaceOptions(announcement, target.room_id, event_id)
            await self._jobs.add(tx, f"options-{event_id}", f"poll {announcement}", place, now)

    async def place(self, job_id: str, job: PlaceOptions) -> None:
        """React with every option, in their order."""
        async with self._database.transaction() as tx:
            poll = await polls.get(tx, job.announcement)
        if poll is None or poll.counted is not None:
            return
        for number, key in enumerate(KEYS[: poll.options], start=1):
            await self._messenger.react(job.room_id, job.event_id, key, txn_id=f"{job_id}-{number}")

    # --- voting -----------------------------------------------------------------------------------------------------

    async def reacted(self, community: CommunityId, event: Posted) -> None:
        """Take a reaction in an announcement room as a vote, if it is one."""
        option = option_of(event.key) if event.short_reaction else None
        if option is None or event.sender in self._accounts.both:
            return
        made = Vote(event.sender, option, event.sent_at, event.event_id)
        async with self._database.transaction() as tx:
            poll = await self._poll_at(tx, event.room_id, event.to)
            if poll is not None:
                if not poll.takes(option, event.sent_at) or poll.hidden or poll.native:
                    return
                await polls.vote(tx, event.room_id, event.to, made)
                await self._show_soon(tx, poll)
                return
            known = await announcements.of_event(tx, event.room_id, event.to) is not None
            if not known and await polls.awaits_delivery(tx, community):  # its message may be there already
                await polls.vote(tx, event.room_id, event.to, made)
        self._wake()

    async def taken_back(self, event: Redacted) -> None:
        """A reaction was redacted: the vote that it was is none any more, unless the poll was over."""
        async with self._database.transaction() as tx:
            target = await polls.voted(tx, event.room_id, event.redacts)
            if target is None:
                return
            poll = await self._poll_at(tx, event.room_id, target)
            if poll is not None and not poll.takes(1, event.sent_at):
                return
            await polls.take_back(tx, event.redacts)
            if poll is not None:
                await self._show_soon(tx, poll)
        self._wake()

    async def vote(
        self,
        community: CommunityId,
        announcement: str | None,
        user: UserId,
        options: Sequence[int],
        *,
        source: str,
        at: int | None = None,
    ) -> tuple[int, tuple[str, ...]]:
        """Take what somebody chose in their chat, in the place of what they chose before. Gives the poll's number, and
        the options as they are shown.

        Args:
            announcement: which poll is meant; None where only one can be.
            options: from 1.

        Raises:
            Refused: it is not clear which is meant, it is over, or it is not voted on in that way.
            MatrixError: the homeserver cannot be asked.
        """
        now = self._clock.now_ms() if at is None else at
        async with self._database.transaction() as tx:
            open_ones = await polls.open_hidden(tx, community, now)
            found = [(number, poll) for number, poll in open_ones if announcement in (None, poll.announcement)]
            if announcement is not None and not found:
                await self._refuse(tx, announcement)
        if len(found) != 1:
            known = ", ".join(f"#{number}" for number, _ in found)
            raise Refused(
                "several secret polls are open" if found else "no secret poll is open",
                where=str(community),
                remedy=f"name one of {known}: `vote #… …`" if found else "",
            )
        [(number, poll)] = found
        chosen = sorted(set(options))
        if not chosen or chosen[0] < 1 or chosen[-1] > poll.options or (len(chosen) > 1 and not poll.multiple):
            several = "one or more numbers" if poll.multiple else "one number"
            raise Refused(f"in poll #{number} choose {several} from 1 to {poll.options}", where=str(community))
        ballot = await self._ballot(poll)
        async with self._database.transaction() as tx:
            again = await polls.get(tx, poll.announcement)
            if again is None or not again.takes(chosen[-1], now):
                raise Refused(f"poll #{number} is over", where=str(community))
            await polls.vote_in_chat(tx, poll.announcement, user, chosen, source, now)
        return number, tuple(_named(KEYS[option - 1], ballot.options[option - 1]) for option in chosen)

    async def _refuse(self, tx: Transaction, announcement: str) -> None:
        poll = await polls.get(tx, announcement)
        if poll is None:
            raise Refused("that is no poll", remedy="name one by its number, as `announcements` shows it to admins")
        if poll.native:
            raise Refused("that poll is the group's: people vote on it there", remedy="open it in the group")
        if poll.hidden:
            raise Refused("that poll is over")
        raise Refused("that poll is open: people vote on it with reactions", remedy="press a sign below its message")

    async def _poll_at(self, tx: Transaction, room_id: RoomId, event_id: EventId) -> Poll | None:
        copy = await announcements.of_event(tx, room_id, event_id)
        return None if copy is None else await polls.get(tx, copy.announcement)

    # --- showing ----------------------------------------------------------------------------------------------------

    async def _show_soon(self, tx: Transaction, poll: Poll) -> None:
        turn = self._clock.now_ms() // SHOW_EVERY_MS + 1
        await self._jobs.add(
            tx,
            f"show-{poll.announcement}-{turn}",
            f"poll {poll.announcement}",
            ShowPoll(poll.announcement),
            turn * SHOW_EVERY_MS,
        )

    async def show(self, job_id: str, job: ShowPoll, complete: Complete) -> None:
        """Edit the count into every copy of a poll (client-server API, "Event replacements").

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        poll, found, copies = await self._standing(job.announcement)
        if poll is None or found == poll.shown or (poll.hidden and poll.counted is None):
            return
        ballot = await self._read(poll, copies)
        if ballot is not None:
            said = {**call(self._text(poll, ballot, found), []), FIELD: ballot.as_json()}
            for number, copy in enumerate(copies, start=1):
                newer = await self._completed(job.announcement, copy.target, said)
                relation = {"rel_type": "m.replace", "event_id": copy.event_id}
                edit = {**newer, "body": f"* {newer['body']}", "m.new_content": newer, "m.relates_to": relation}
                assert copy.target.room_id is not None
                await self._messenger.send(copy.target.room_id, edit, txn_id=f"{job_id}-{number}")
        async with self._database.transaction() as tx:
            await polls.show(tx, job.announcement, found)
            await complete(tx)

    async def result(self, announcement: str) -> tuple[Poll, Ballot, Tally]:
        """How people voted so far, or in the end; of a hidden poll that is open, only how many did.

        Raises:
            Refused: it is no poll.
            MatrixError: the homeserver cannot be asked.
        """
        poll, found, copies = await self._standing(announcement)
        if poll is None:
            raise Refused("that is no poll")
        ballot = await self._read(poll, copies) or _wordless(poll)
        return poll, ballot, found

    async def listed(self, community: CommunityId, most: int) -> list[Listed]:
        """The polls of a community, the newest first, with their words as far as they can be read.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            found = await polls.listed(tx, community, most)
        every = []
        for number, withdrawn, poll in found:
            _, counted, copies = await self._standing(poll.announcement)
            ballot = await self._read(poll, copies)
            every.append(Listed(number, withdrawn, poll, ballot or _wordless(poll), counted))
        return every

    def is_open(self, poll: Poll) -> bool:
        """Whether votes count now."""
        return poll.takes(1, self._clock.now_ms())

    def said(self, poll: Poll, ballot: Ballot, found: Tally, language: Language) -> str:
        """A poll with its count, as a text."""
        return self._text(poll, ballot, found, language)

    def _text(self, poll: Poll, ballot: Ballot, found: Tally | None, language: Language | None = None) -> str:
        """A poll as a text; without a count where there is none, or it must not be shown."""
        closed = poll.closes_at is not None and poll.closes_at <= self._clock.now_ms()
        closes = "" if poll.closes_at is None else shown(poll.closes_at, self._zone_of(poll.community))
        if poll.native:
            over = closed or poll.counted is not None
            return texts.native_poll(
                ballot.question, ballot.options, closes, over, language or self._language_of(poll.community)
            )
        secret = poll.hidden and poll.counted is None
        return texts.poll(
            ballot.question,
            _options(ballot, None if secret else found),
            poll.multiple,
            poll.hidden,
            closes,
            -1 if found is None else found.people,
            closed and found is not None,
            language or self._language_of(poll.community),
        )

    # --- the end ----------------------------------------------------------------------------------------------------

    async def close(self, announcement: str, by: str) -> bool:
        """End a poll now; one that has ended stays as it is. Gives whether clients count it.

        Raises:
            Refused: it is no poll.
        """
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            poll = await polls.get(tx, announcement)
            if poll is None:
                raise Refused("that is no poll")
            if poll.closes_at is None or poll.closes_at > now:
                await polls.end(tx, announcement, now)
                await self._plan_count(tx, poll, now)
                await record(tx, now, poll.community, "", by, "closed a poll", announcement)
        self._wake()
        return poll.native

    async def count(self, job: CountPoll, complete: Complete) -> None:
        """Count a poll that has ended, once; announce the result, and edit it into the poll.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        poll, _, copies = await self._standing(job.announcement)
        over = poll is not None and poll.closes_at is not None and poll.closes_at <= self._clock.now_ms()
        if poll is None or not over or poll.counted is not None:
            return
        ballot = await self._read(poll, copies)
        members: dict[UserId, bool] = {}
        while True:
            async with self._database.transaction() as tx:
                votes = await polls.votes(tx, poll)
                unknown = {vote.user for vote in votes} - members.keys()
                if not unknown:
                    found = _counted(poll, votes, members)
                    await self._ended(tx, poll, found, ballot)
                    await complete(tx)
                    break
            members |= {user: await self._may_vote(poll.community, poll.place, user) for user in sorted(unknown)}
        self._wake()

    async def _ended(self, tx: Transaction, poll: Poll, found: Tally, ballot: Ballot | None) -> None:
        await polls.count(tx, poll, found)
        await self._voting_changed(tx)
        now = self._clock.now_ms()
        if poll.native:
            await self._end_native(tx, poll, ballot, now)
            return
        if poll.hidden:
            end = EndBallots(poll.announcement)
            await self._jobs.add(tx, f"ballots-ended-{poll.announcement}", f"ballots {poll.announcement}", end, now)
        if ballot is None:  # it never arrived, or was withdrawn
            return
        lane = f"poll {poll.announcement}"
        await self._jobs.add(tx, f"show-{poll.announcement}-end", lane, ShowPoll(poll.announcement), now)
        asked = await announcements.get(tx, poll.announcement)
        leading = [ballot.options[option - 1] or KEYS[option - 1] for option in found.leading]
        language = self._language_of(poll.community)
        text = texts.poll_result(ballot.question, _options(ballot, found), leading, found.people, language)
        source = f"result-{poll.announcement}"
        author = "operator" if asked is None else asked.author
        job = Announce(poll.community, source, author, (call(text, []),), _audience(poll), Kind.TEXT.value, None)
        await self._jobs.add(tx, source, f"result {poll.announcement}", job, now)

    async def _end_native(self, tx: Transaction, poll: Poll, ballot: Ballot | None, now: int) -> None:
        if ballot is None:
            return
        for copy in await self._copies(tx, poll.announcement):
            assert copy.target.room_id is not None
            assert copy.event_id is not None
            job = EndPoll(poll.announcement, poll.community, copy.target.room_id, copy.event_id)
            await self._jobs.add(tx, f"end-{copy.event_id}", f"poll {poll.announcement}", job, now)

    async def end(self, job_id: str, job: EndPoll) -> None:
        """Say that a poll of the clients has ended. Safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        text = plain(texts.native_poll_over(self._language_of(job.community)))
        content = native_end(job.event_id, text)
        with suppress(Forbidden):  # the group lets us in no longer
            await self._messenger.send(job.room_id, content, txn_id=job_id, event_type=POLL_END)

    # --- what both need ---------------------------------------------------------------------------------------------

    async def _standing(self, announcement: str) -> tuple[Poll | None, Tally, list[Copy]]:
        """A poll, its count, and its copies that have arrived."""
        async with self._database.transaction() as tx:
            poll = await polls.get(tx, announcement)
            votes = [] if poll is None or poll.counted is not None else await polls.votes(tx, poll)
            copies = await self._copies(tx, announcement)
        if poll is None:
            return None, Tally((), 0), []
        if poll.counted is not None:
            return poll, poll.counted, copies
        users = {vote.user for vote in votes}
        members = {user: await self._may_vote(poll.community, poll.place, user) for user in sorted(users)}
        return poll, _counted(poll, votes, members), copies

    async def _ballot(self, poll: Poll) -> Ballot:
        """What a poll asks, or its bare numbers where that cannot be read."""
        return await self.words(poll.announcement) or _wordless(poll)

    async def words(self, announcement: str) -> Ballot | None:
        """What a poll asks, or its bare numbers where that cannot be read; None where it is not there (any more).

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            poll, copies = await polls.get(tx, announcement), await self._copies(tx, announcement)
        return None if poll is None else await self._read(poll, copies)

    async def ended(self, announcement: str) -> str | None:
        """A poll that was counted with its result, as a text; None where it is not there (any more).

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            poll, copies = await polls.get(tx, announcement), await self._copies(tx, announcement)
        if poll is None or poll.counted is None:
            return None
        ballot = await self._read(poll, copies)
        return None if ballot is None else self._text(poll, ballot, poll.counted)

    @staticmethod
    async def _copies(tx: Transaction, announcement: str) -> list[Copy]:
        """The copies of a poll that have arrived; none of what was withdrawn."""
        asked = await announcements.get(tx, announcement)
        if asked is not None and asked.withdrawn_at is not None:
            return []
        return [copy for copy in await announcements.copies_of(tx, announcement) if copy.event_id is not None]

    async def _read(self, poll: Poll, copies: Sequence[Copy]) -> Ballot | None:
        """What a poll asks, read back from where it lies; None where it is not there (any more). For a short time it is
        kept in memory: everybody's ballot says it."""
        if not copies:
            return None
        now = self._clock.now_ms()
        known, until = self._at_hand.get(poll.announcement, (None, 0))
        if known is not None and now < until:
            return known
        found = await self._read_back(poll, copies)
        self._at_hand = {name: one for name, one in self._at_hand.items() if now < one[1]}
        if found is not None and found != _wordless(poll):
            self._at_hand[poll.announcement] = found, now + AT_HAND_MS
        return found

    async def _read_back(self, poll: Poll, copies: Sequence[Copy]) -> Ballot | None:
        first = copies[0]
        assert first.target.room_id is not None
        assert first.event_id is not None
        try:
            content = await self._content_of(first.target.room_id, first.event_id)
        except CannotDecrypt:
            return _wordless(poll)
        except Forbidden:
            return None  # we are in that room no longer
        if content is None:
            return None
        ballot = Ballot.within(content)
        return ballot if ballot is not None and len(ballot.options) == poll.options else _wordless(poll)


def _counted(poll: Poll, votes: Sequence[Vote], members: dict[UserId, bool]) -> Tally:
    return tally([vote for vote in votes if members[vote.user]], poll.options, multiple=poll.multiple)


def _audience(poll: Poll) -> tuple[str, ...]:
    return (f"group:{poll.place}",) if poll.place else ("everybody",)


def _options(ballot: Ballot, found: Tally | None) -> list[tuple[str, str, int]]:
    counts = [-1] * len(ballot.options) if found is None else found.counts
    return list(zip(KEYS, ballot.options, counts, strict=False))


def _wordless(poll: Poll) -> Ballot:
    return Ballot("…", ("",) * poll.options)


def _named(key: str, words: str) -> str:
    return f"{key} {words}".strip()
