"""Announcements that are to be confirmed: who is asked, who has confirmed, and reminders to the others, with an end.

Asked is who is in the announcement room when it is there; whoever comes later is not asked. Every step is a job:
asking, each reminder, each person of it, and the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bridge.core import texts
from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import (
    AskToAcknowledge,
    CloseAcknowledgement,
    MembershipChanged,
    RemindOne,
    RemindToAcknowledge,
    SendMessage,
    call,
    notice,
)
from bridge.core.reach import Standing
from bridge.plan.state import Accounts, digest_of
from bridge.ports import Clock, Messenger, RoomFacts
from bridge.store import acknowledgements as store
from bridge.store import announcements, reach
from bridge.store.acknowledgements import Acknowledgement
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs

YES = "✅"
AT_ONCE = 200
"""How many people are reminded in one database transaction."""
PACE_MS = 250
"""Between the reminders of two people."""
HOUR_MS = 3_600_000

Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""
ChatWith = Callable[[CommunityId, UserId], Awaitable[RoomId | None]]
"""The announcer's chat with somebody, made where there is none if it may be; None for who is not in one."""
Job = AskToAcknowledge | RemindToAcknowledge | RemindOne | CloseAcknowledgement


@dataclass(frozen=True, slots=True)
class Reminders:
    """The operator's settings; hours after an announcement was there."""

    hours: tuple[int, ...] = (24, 72)
    until: int = 168
    """Then nobody is asked any more."""


class Acknowledgements:
    """Asks for confirmations, and reminds those who have not given theirs."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        facts: RoomFacts,
        chat_with: ChatWith,
        is_there: Callable[[CommunityId], bool],
        name_of: Callable[[CommunityId], Awaitable[str]],
        language_of: Callable[[CommunityId], Language],
        accounts: Accounts,
        clock: Clock,
        reminders: Reminders,
    ) -> None:
        """
        Args:
            is_there: whether a community is declared and not deactivated.
            name_of: how a community is called.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._facts = facts
        self._chat_with = chat_with
        self._is_there = is_there
        self._name_of = name_of
        self._language_of = language_of
        self._accounts = accounts
        self._clock = clock
        self.reminders = reminders

    async def do(self, job_id: str, job: Job, complete: Complete) -> None:
        """Do one step: safe to repeat.

        Raises:
            MatrixError: the homeserver cannot be asked now.
        """
        match job:
            case AskToAcknowledge():
                await self._ask(job_id, job, complete)
            case RemindToAcknowledge():
                await self._remind(job, complete)
            case RemindOne():
                await self._remind_one(job_id, job)
            case CloseAcknowledgement():
                await self._close(job, complete)
        self._wake()

    async def _ask(self, job_id: str, job: AskToAcknowledge, complete: Complete) -> None:
        await self._messenger.react(job.room_id, job.event_id, YES, txn_id=f"{job_id}-yes")
        joined = [one.user_id for one in await self._facts.joined(job.room_id)]
        one = Acknowledgement(job.announcement, job.community, job.room_id, job.event_id, job.at, None)
        about = f"{job.announcement}-{job.community}"
        async with self._database.transaction() as tx:
            taken = await announcements.get(tx, job.announcement)
            author = None if taken is None else taken.author
            people = [user for user in joined if user not in self._accounts.both and user != author]
            if await store.open_one(tx, one, people):
                times = [hours for hours in self.reminders.hours if hours < self.reminders.until]
                for step, hours in enumerate(times, start=1):
                    remind = RemindToAcknowledge(job.announcement, job.community, step)
                    due = job.at + hours * HOUR_MS
                    await self._jobs.add(tx, f"remind-{step}-{about}", f"remind {about}", remind, due)
                close = CloseAcknowledgement(job.announcement, job.community)
                due = job.at + self.reminders.until * HOUR_MS
                await self._jobs.add(tx, f"close-{about}", f"remind {about}", close, due)
            await complete(tx)

    async def _remind(self, job: RemindToAcknowledge, complete: Complete) -> None:
        now = self._clock.now_ms()
        waiting = [] if await self._is_late(job, now) else await self._waiting(job.announcement, job.community)
        async with self._database.transaction() as tx:
            asked = await store.asked(tx, job.announcement, job.community)
        lane = f"reminders {job.announcement}-{job.community}"
        due = now
        for start in range(0, len(waiting), AT_ONCE):
            some = waiting[start : start + AT_ONCE]
            async with self._database.transaction() as tx:
                for user in some:
                    if asked.get(user, job.step) < job.step:
                        one = RemindOne(job.announcement, job.community, user, job.step)
                        about = digest_of([job.announcement, job.community, user, job.step])
                        await self._jobs.add(tx, f"remind-one-{about}", lane, one, due)
                        due += PACE_MS
                await store.reminded(tx, job.announcement, job.community, some, job.step)
        async with self._database.transaction() as tx:
            await complete(tx)

    async def _is_late(self, job: RemindToAcknowledge, now: int) -> bool:
        """Whether the next reminder is due, too, after the service was down: people are reminded once."""
        async with self._database.transaction() as tx:
            found = await store.get(tx, job.announcement, job.community)
        following = self.reminders.hours[job.step : job.step + 1]
        return found is not None and any(
            found.asked_at + hours * HOUR_MS <= now for hours in following if hours < self.reminders.until
        )

    async def _waiting(self, announcement: str, community: CommunityId) -> list[UserId]:
        """Who is still to be asked; nobody once it is over."""
        async with self._database.transaction() as tx:
            found = await self._open(tx, announcement, community)
        if found is None:
            return []
        return list((await self._standing(found, 0)).waiting)

    async def _open(self, tx: Transaction, announcement: str, community: CommunityId) -> Acknowledgement | None:
        """An acknowledgement for which people are still asked; None once it is over."""
        found = await store.get(tx, announcement, community)
        taken = await announcements.get(tx, announcement)
        if found is None or taken is None or found.closed_at is not None or taken.withdrawn_at is not None:
            return None
        over = found.asked_at + self.reminders.until * HOUR_MS <= self._clock.now_ms()
        return None if over or not self._is_there(community) else found

    async def _remind_one(self, job_id: str, job: RemindOne) -> None:
        async with self._database.transaction() as tx:
            found = await self._open(tx, job.announcement, job.community)
            given = [] if found is None else await reach.reactions(tx, [found.event_id])
            number = 0 if found is None else await announcements.number(tx, job.community, job.announcement)
        if found is None or _answers(given).get(job.user):
            return  # they have confirmed meanwhile, or it is over
        if job.user not in await self._facts.still_joined(found.room_id, [job.user]):
            return
        try:
            chat = await self._chat_with(job.community, job.user)
            if chat is None:
                return
            if job.user not in await self._facts.still_joined(chat, [job.user]):
                await self._wait_for(job, found, chat)
                return
        except (Forbidden, BadRequest):
            return  # they cannot be reached, or do not want to be
        name = await self._name_of(job.community)
        text = texts.confirm_reminder(name, number, found.room_id, found.event_id, self._language_of(job.community))
        await self._messenger.send(chat, call(text, [job.user]), txn_id=job_id)

    async def _wait_for(self, job: RemindOne, found: Acknowledgement, chat: RoomId) -> None:
        """Have somebody reminded who has not entered their chat yet, as soon as they do."""
        about = digest_of([job.announcement, job.community, job.user])
        until = found.asked_at + self.reminders.until * HOUR_MS
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, f"remind-there-{about}", _lane_of(job.user), job, until)
        # noted before it is asked again: who enters meanwhile is heard, or seen
        if job.user in await self._facts.still_joined(chat, [job.user]):
            async with self._database.transaction() as tx:
                await self._jobs.hasten(tx, _lane_of(job.user), self._clock.now_ms())

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody entered a chat: they are reminded now of what they could not be told before."""
        if event.membership == "join":
            async with self._database.transaction() as tx:
                waits = await self._jobs.hasten(tx, _lane_of(event.user), self._clock.now_ms())
            if waits:
                self._wake()

    async def _close(self, job: CloseAcknowledgement, complete: Complete) -> None:
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            found = await store.get(tx, job.announcement, job.community)
            taken = await announcements.get(tx, job.announcement)
            number = await announcements.number(tx, job.community, job.announcement) if found is not None else 0
        tell = None
        if found is not None and taken is not None and taken.reply_room and taken.withdrawn_at is None:
            try:
                standing = await self._standing(found, number)
                tell = texts.acknowledgement_over(
                    number, len(standing.confirmed), len(standing.waiting), self._language_of(job.community)
                )
            except Forbidden:
                tell = None  # the community's room is gone: so is what there was to tell
        async with self._database.transaction() as tx:
            await store.close(tx, job.announcement, job.community, now)
            if tell is not None and taken is not None and taken.reply_room:
                send = SendMessage(taken.reply_room, notice(tell))
                told = f"closed-{job.announcement}-{job.community}"
                await self._jobs.add(tx, told, taken.reply_room, send, now)
            await complete(tx)

    async def standing(self, community: CommunityId, announcement: str) -> Standing | None:
        """Where the acknowledgement of an announcement stands; None where none was asked for.

        Raises:
            MatrixError: who is in the room cannot be read.
        """
        async with self._database.transaction() as tx:
            found = await store.get(tx, announcement, community)
            if found is None:
                return None
            number = await announcements.number(tx, community, announcement)
        return await self._standing(found, number)

    async def _standing(self, found: Acknowledgement, number: int) -> Standing:
        joined = {one.user_id for one in await self._facts.joined(found.room_id)}
        async with self._database.transaction() as tx:
            asked = await store.asked(tx, found.announcement, found.community)
            given = await reach.reactions(tx, [found.event_id])
        answers: Mapping[UserId, bool] = _answers(given)
        there = [user for user in asked if user in joined]
        return Standing(
            number,
            found.asked_at,
            found.closed_at is not None,
            tuple(user for user in there if answers.get(user)),
            tuple(user for user in there if not answers.get(user)),
            frozenset(user for user in there if answers.get(user) is False),
            len(asked) - len(there),
        )

    async def forget_before(self, before: int) -> None:
        """Forget what was asked for before that time, in milliseconds since 1970."""
        async with self._database.transaction() as tx:
            await store.forget_before(tx, before)


def _lane_of(user: UserId) -> str:
    """Where reminders wait for somebody to enter their chat."""
    return f"reminder {user}"


def _answers(given: list[reach.Reaction]) -> dict[UserId, bool]:
    """Whether people confirm, of those who ever did: one confirmation that stands is enough."""
    answers: dict[UserId, bool] = {}
    for one in given:
        if one.key == YES:
            answers[one.user] = answers.get(one.user, False) or not one.withdrawn
    return answers
