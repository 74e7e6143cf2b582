"""Ballots of secret polls: one for each member in their direct chat, on which they vote by reaction.

Whoever is in the announcement room when the poll is there gets one, and whoever enters it while the poll is open. Who
is only invited to a chat gets theirs when they enter it. Every ballot is a job of its own, and is sent once. How votes
are counted is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Any

from bridge.core import texts
from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import (
    EndBallot,
    EndBallots,
    MembershipChanged,
    Reacted,
    Redacted,
    SendBallot,
    SendBallots,
    TellAuthor,
    call,
    notice,
    replacing,
)
from bridge.core.moments import shown
from bridge.core.polls import KEYS, Ballot, Vote, option_of
from bridge.plan.state import Accounts, digest_of
from bridge.ports import Clock, Messenger, Posts, RoomFacts
from bridge.store import announcements, polls
from bridge.store import ballots as store
from bridge.store.ballots import Handed, Paper, State
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.polls import Poll

PACE_MS = 250
"""Between one person's ballot and the next one's."""
AT_ONCE = 200
"""How many people's ballots are planned in one database transaction."""

Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""
Park = Callable[[Transaction], Awaitable[bool]]
"""Gives the job up within the database transaction that tells of it; whether it was not given up before."""
Job = SendBallots | SendBallot | EndBallots | EndBallot


class Ballots:
    """Hands ballots out, takes what is pressed on them as votes, and says on each how the poll ended."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        posts: Posts,
        facts: RoomFacts,
        chat_with: Callable[[UserId], Awaitable[RoomId]],
        belongs: Callable[[CommunityId, UserId], Awaitable[bool]],
        words_of: Callable[[str], Awaitable[Ballot | None]],
        ended: Callable[[str], Awaitable[str | None]],
        name_of: Callable[[CommunityId], Awaitable[str]],
        zone_of: Callable[[CommunityId], tzinfo],
        language_of: Callable[[CommunityId], Language],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        """
        Args:
            chat_with: the announcer's chat with somebody, made where there is none.
            belongs: whether somebody is in a community, as it is now.
            words_of: what a poll asks; None where that is gone.
            ended: a poll that was counted, with its result; None where it is gone.
            name_of: what people call a community.
            zone_of: the time zone in which a community lives.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._posts = posts
        self._facts = facts
        self._chat_with = chat_with
        self._belongs = belongs
        self._words_of = words_of
        self._ended = ended
        self._name_of = name_of
        self._zone_of = zone_of
        self._language_of = language_of
        self._accounts = accounts
        self._clock = clock

    async def do(self, job_id: str, job: Job, complete: Complete) -> None:
        """Do one step: safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        match job:
            case SendBallots():
                await self._send_all(job, complete)
            case SendBallot():
                await self._send(job_id, job)
            case EndBallots():
                await self._end_all(job, complete)
            case EndBallot():
                await self._end(job_id, job)
        self._wake()

    # --- handing out ------------------------------------------------------------------------------------------------

    async def _send_all(self, job: SendBallots, complete: Complete) -> None:
        joined = {one.user_id for one in await self._facts.joined(job.room_id)}
        people = sorted(joined - self._accounts.both)
        due = self._clock.now_ms()
        for start in range(0, len(people), AT_ONCE):
            async with self._database.transaction() as tx:
                if await self._open(tx, job.announcement, due) is None:
                    break
                for user in await store.add(tx, job.announcement, people[start : start + AT_ONCE], State.NEW):
                    one = SendBallot(job.announcement, user)
                    await self._jobs.add(tx, _ballot(job.announcement, user), f"person {user}", one, due)
                    due += PACE_MS
        async with self._database.transaction() as tx:
            await announcements.hold(tx, job.announcement)
            await complete(tx)
            await self._tell(tx, job.announcement)

    async def _open(self, tx: Transaction, announcement: str, at: int) -> Poll | None:
        """A poll on which somebody may vote at that time; None where it is over or withdrawn."""
        poll = await polls.get(tx, announcement)
        asked = await announcements.get(tx, announcement)
        if poll is None or not poll.takes(1, at) or asked is None or asked.withdrawn_at is not None:
            return None
        return poll

    async def _send(self, job_id: str, job: SendBallot) -> None:
        first = job_id == _ballot(
            job.announcement, job.user
        )  # whoever comes or enters their chat later is nobody's news
        async with self._database.transaction() as tx:
            poll = await self._open(tx, job.announcement, self._clock.now_ms())
            paper = await store.get(tx, job.announcement, job.user)
        if paper is None:
            return
        if poll is None:
            await self._becomes(job, State.MISSED, tell=False)
            return
        if paper.event_id is None:
            paper = await self._find_and_send(job, poll, first=first)
        if paper is not None and paper.room_id is not None and paper.event_id is not None:
            for number, key in enumerate(KEYS[: poll.options], start=1):
                await self._messenger.react(
                    paper.room_id, paper.event_id, key, txn_id=f"{_ballot(job.announcement, job.user)}-{number}"
                )

    async def _find_and_send(self, job: SendBallot, poll: Poll, *, first: bool) -> Paper | None:
        """Send somebody their ballot, if they are in their chat; gives it where it is there."""
        if not await self._belongs(poll.community, job.user):
            await self._becomes(job, State.MISSED, tell=first)
            return None
        try:
            chat = await self._chat_with(job.user)
        except (Forbidden, BadRequest):
            await self._becomes(job, State.MISSED, tell=first)
            return None
        # recorded before anybody is asked whether they are there: who enters meanwhile is heard, and their ballot found
        async with self._database.transaction() as tx:
            await store.has_chat(tx, job.announcement, job.user, chat)
        if job.user not in await self._facts.still_joined(chat, [job.user]):
            await self._becomes(job, State.WAITS, tell=first)
            return None
        words = await self._words_of(job.announcement)
        if words is None:
            await self._becomes(job, State.MISSED, tell=first)
            return None
        content = await self._content(job, poll, words)
        sent = await self._messenger.send(chat, content, txn_id=_ballot(job.announcement, job.user))
        async with self._database.transaction() as tx:
            await announcements.hold(tx, job.announcement)
            await store.sent(tx, job.announcement, job.user, chat, sent.event_id)
            if await self._open(tx, job.announcement, self._clock.now_ms()) is None:  # meanwhile
                await self._plan_end(tx, job.announcement, job.user, "late", self._clock.now_ms())
            if first:
                await self._tell(tx, job.announcement)
            return await store.get(tx, job.announcement, job.user)

    async def _content(self, job: SendBallot, poll: Poll, words: Ballot) -> dict[str, Any]:
        async with self._database.transaction() as tx:
            number = await announcements.number(tx, poll.community, job.announcement)
        text = texts.ballot(
            await self._name_of(poll.community),
            number,
            words.question,
            list(zip(KEYS, words.options, strict=False)),
            poll.multiple,
            "" if poll.closes_at is None else shown(poll.closes_at, self._zone_of(poll.community)),
            self._language_of(poll.community),
        )
        return call(text, [job.user])

    async def _becomes(self, job: SendBallot, state: State, *, tell: bool) -> None:
        async with self._database.transaction() as tx:
            await announcements.hold(tx, job.announcement)
            await store.becomes(tx, job.announcement, job.user, state)
            if tell:
                await self._tell(tx, job.announcement)

    async def _tell(self, tx: Transaction, announcement: str) -> None:
        """Tell the author how many ballots are out, once everybody's was tried."""
        asked, poll = await announcements.get(tx, announcement), await polls.get(tx, announcement)
        found = await store.handed(tx, announcement)
        if asked is None or poll is None or asked.reply_room is None or asked.withdrawn_at is not None:
            return
        if found.new or not (found.sent or found.waiting or found.missed):
            return
        if await self._jobs.lane_of(tx, _all(announcement)) is not None:
            return  # more people are still to be found
        number = await announcements.number(tx, poll.community, announcement)
        text = texts.ballots_out(number, found.sent, found.waiting, found.missed, self._language_of(poll.community))
        told = TellAuthor(asked.reply_room, notice(text), announcement)
        now = self._clock.now_ms()
        await self._jobs.add(tx, f"ballots-told-{announcement}", asked.reply_room, told, now)

    async def handed(self, announcement: str) -> Handed:
        """How many people have a ballot of a poll."""
        async with self._database.transaction() as tx:
            return await store.handed(tx, announcement)

    async def given_up(self, job_id: str, job: SendBallot, park: Park) -> None:
        """Record that a ballot could not be sent."""
        async with self._database.transaction() as tx:
            if not await park(tx):
                return
            await announcements.hold(tx, job.announcement)
            await store.becomes(tx, job.announcement, job.user, State.MISSED)
            if job_id == _ballot(job.announcement, job.user):
                await self._tell(tx, job.announcement)
        self._wake()

    # --- who comes and goes -----------------------------------------------------------------------------------------

    async def entered(self, community: CommunityId, event: MembershipChanged) -> None:
        """Somebody came into an announcement room: polls that are open there are open to them."""
        if event.membership != "join" or event.before == "join" or event.user in self._accounts.both:
            return
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            for _, poll in await polls.open_hidden(tx, community, now):
                copies = await announcements.copies_of(tx, poll.announcement)
                if not any(one.target.room_id == event.room_id and one.event_id is not None for one in copies):
                    continue
                if not await store.add(tx, poll.announcement, [event.user], State.WAITS):
                    paper = await store.get(tx, poll.announcement, event.user)
                    if paper is None or paper.state is not State.MISSED or paper.event_id is not None:
                        continue
                    await store.becomes(tx, poll.announcement, event.user, State.WAITS)
                await self._send_later(tx, poll.announcement, event, now)
        self._wake()

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody entered the chat in which a ballot waits for them, or declined or left it."""
        if event.membership not in ("join", "leave", "ban"):
            return
        async with self._database.transaction() as tx:
            for paper in await store.waiting_in(tx, event.room_id):
                if paper.user != event.user:
                    continue
                if event.membership == "join":
                    await self._send_later(tx, paper.announcement, event, self._clock.now_ms())
                elif paper.state is State.WAITS:  # of a new one its own job finds out
                    await store.becomes(tx, paper.announcement, paper.user, State.MISSED)
        self._wake()

    async def _send_later(self, tx: Transaction, announcement: str, event: MembershipChanged, now: int) -> None:
        job_id = f"{_ballot(announcement, event.user)}-{event.event_id}"
        await self._jobs.add(tx, job_id, f"person {event.user}", SendBallot(announcement, event.user), now)

    # --- voting -----------------------------------------------------------------------------------------------------

    async def reacted(self, event: Reacted) -> None:
        """Take a reaction in a chat as a vote, if it is its owner's on their ballot."""
        option = option_of(event.key)
        if option is None or event.sender in self._accounts.both:
            return
        made = Vote(event.sender, option, event.sent_at, event.event_id)
        async with self._database.transaction() as tx:
            paper = await store.of_event(tx, event.room_id, event.to)
            if paper is None:  # their ballot may be there before that is recorded
                waiting = await store.waiting_in(tx, event.room_id)
                if any(one.user == event.sender for one in waiting):
                    await polls.vote(tx, event.room_id, event.to, made)
                return
            poll = await self._open(tx, paper.announcement, event.sent_at)
            if paper.user == event.sender and poll is not None and option <= poll.options:
                await polls.vote(tx, event.room_id, event.to, made)

    async def taken_back(self, event: Redacted) -> None:
        """A reaction in a chat was redacted: the vote that it was is none any more, unless the poll was over."""
        async with self._database.transaction() as tx:
            target = await polls.voted(tx, event.room_id, event.redacts)
            if target is None:
                return
            paper = await store.of_event(tx, event.room_id, target)
            poll = None if paper is None else await polls.get(tx, paper.announcement)
            if poll is None or poll.takes(1, event.sent_at):
                await polls.take_back(tx, event.redacts)

    # --- the end ----------------------------------------------------------------------------------------------------

    async def withdrawn(self, announcement: str) -> None:
        """A poll is being withdrawn: its ballots are taken away. Safe to repeat."""
        async with self._database.transaction() as tx:
            poll = await polls.get(tx, announcement)
            if poll is None or not poll.hidden:
                return
            job = EndBallots(announcement)
            lane = f"ballots {announcement}"
            await self._jobs.add(tx, f"ballots-withdrawn-{announcement}", lane, job, self._clock.now_ms())
        self._wake()

    async def _end_all(self, job: EndBallots, complete: Complete) -> None:
        async with self._database.transaction() as tx:
            await announcements.hold(tx, job.announcement)  # what is sent after this sees that it is over
            asked = await announcements.get(tx, job.announcement)
            papers = await store.of(tx, job.announcement)
        what = "withdrawn" if asked is None or asked.withdrawn_at is not None else "ended"
        due = self._clock.now_ms()
        for start in range(0, len(papers), AT_ONCE):
            async with self._database.transaction() as tx:
                for paper in papers[start : start + AT_ONCE]:
                    if paper.event_id is None:
                        await store.becomes(tx, paper.announcement, paper.user, State.MISSED)
                    else:
                        await self._plan_end(tx, paper.announcement, paper.user, what, due)
                        due += PACE_MS
        async with self._database.transaction() as tx:
            await complete(tx)

    async def _plan_end(self, tx: Transaction, announcement: str, user: UserId, what: str, due: int) -> None:
        job_id = f"ballot-{what}-{announcement}-{digest_of(user)}"
        await self._jobs.add(tx, job_id, f"person {user}", EndBallot(announcement, user), due)

    async def _end(self, job_id: str, job: EndBallot) -> None:
        async with self._database.transaction() as tx:
            poll, paper = await polls.get(tx, job.announcement), await store.get(tx, job.announcement, job.user)
            asked = await announcements.get(tx, job.announcement)
        if poll is None or paper is None or paper.room_id is None or paper.event_id is None:
            return
        gone = asked is None or asked.withdrawn_at is not None
        if poll.counted is None and not gone:
            return  # it is counted in a moment, and every ballot seen to then
        try:
            text = (
                None
                if gone or not await self._belongs(poll.community, job.user)
                else await self._ended(poll.announcement)
            )
            if text is None:
                await self._take_away(paper.room_id, paper.event_id, poll.community)
            else:
                content = replacing(paper.event_id, call(text, []))
                await self._messenger.send(paper.room_id, content, txn_id=job_id)
        except Forbidden:
            return  # they or we have left that chat

    async def _take_away(self, room_id: RoomId, event_id: EventId, community: CommunityId) -> None:
        edits = await self._posts.edits_of(room_id, event_id, sender=self._accounts.announcer, by_announcer=True)
        reason = texts.withdrawn(self._language_of(community))
        for each in (*edits, event_id):
            await self._posts.redact(room_id, each, reason, txn_id=f"withdraw-{each}", by_announcer=True)

    async def forget_before(self, before: int) -> None:
        """Forget who had ballots of polls that ended before that time, in milliseconds since 1970."""
        async with self._database.transaction() as tx:
            await store.forget_before(tx, before)


def _all(announcement: str) -> str:
    return f"ballots-{announcement}"


def _ballot(announcement: str, user: UserId) -> str:
    """The job that sends somebody their ballot, and the transaction id of the message."""
    return f"ballot-{announcement}-{digest_of(user)}"
