"""Announcements that wait for their time: set, changed, and handed on once for each run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from bridge.core import texts
from bridge.core.access import Deed, may
from bridge.core.announcements import EVERYBODY, Audience, Kind, Part, first_words
from bridge.core.community import CONTROL, Community, Role
from bridge.core.errors import Refused
from bridge.core.files import rings, worded
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.lines import one_line
from bridge.core.markup import Marked
from bridge.core.messages import Announce, Pill, RunSchedule, SendMessage, call, notice
from bridge.core.schedule import ON_TIME_MS, Appointment, Fate, Late, Step, step
from bridge.core.when import LONGEST, read_when
from bridge.ports import Clock
from bridge.store import schedules as store
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex
from bridge.store.schedules import Scheduled

Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""
OPERATOR = "operator"
MOST_SHOWN = 3
"""How many coming runs are shown of one schedule."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator says of scheduled announcements."""

    zone: str = "UTC"
    """The IANA name of the time zone of communities that name none."""
    late: Late = Late.SEND
    grace_ms: int = 3_600_000
    most: int = 50
    """How many may wait in one community."""


class Schedules:
    """Keeps what is scheduled. Each run is one job, due at its time; done, it has become one `Announce` job whose
    source is the schedule and the run, in the database transaction that goes on to the next run: so none is announced
    twice, whatever the clock does."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        declared: Callable[[CommunityId], Community | None],
        role_of: Callable[[CommunityId, UserId], Awaitable[Role | None]],
        language_of: Callable[[CommunityId], Language],
        clock: Clock,
        rules: Rules,
    ) -> None:
        """
        Args:
            declared: a community as it is to be; None for one that there is no more.
            role_of: the role in force of somebody; None for who is not in the community.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._declared = declared
        self._role_of = role_of
        self._language_of = language_of
        self._clock = clock
        self.rules = rules

    def zone_of(self, community: CommunityId) -> str:
        """The IANA name of the time zone in which a community means times."""
        declared = self._declared(community)
        return (declared and declared.timezone) or self.rules.zone

    # --- by somebody's word -----------------------------------------------------------------------------------------

    async def add(
        self,
        *,
        source: str,
        community: CommunityId,
        author: str,
        when: str,
        parts: Sequence[Part],
        audience: Audience = EVERYBODY,
        kind: Kind = Kind.TEXT,
        reply_room: RoomId | None = None,
    ) -> Scheduled:
        """Have something announced at a time, or by a rule.

        Args:
            source: what it comes from; the same source again is the same schedule, whatever the time by then.
            when: in words, meant in the community's time zone.

        Raises:
            Refused: the time is not understood or not allowed, or too many wait already.
        """
        async with self._database.transaction() as tx:
            known = await store.get(tx, store.id_of(source))
        if known is not None:
            return known
        appointment = await self.appoint(community, when)
        async with self._database.transaction() as tx:
            added = await self.add_in(
                tx,
                source=source,
                community=community,
                author=author,
                appointment=appointment,
                parts=parts,
                audience=audience,
                kind=kind,
                reply_room=reply_room,
            )
        self._wake()
        return added

    async def appoint(self, community: CommunityId, when: str) -> Appointment:
        """When something would be announced; nothing is scheduled yet.

        Args:
            when: in words, meant in the community's time zone.

        Raises:
            Refused: the time is not understood or not allowed, or too many wait already.
        """
        now = self._clock.now_ms()
        timing = read_when(when, now, self.zone_of(community))
        timing.check(now)
        async with self._database.transaction() as tx:
            await self._check_room(tx, community)
        return Appointment(one_line(when, LONGEST), timing)

    async def add_in(
        self,
        tx: Transaction,
        *,
        source: str,
        community: CommunityId,
        author: str,
        appointment: Appointment,
        parts: Sequence[Part],
        audience: Audience,
        kind: Kind,
        reply_room: RoomId | None,
    ) -> Scheduled:
        """Have something announced, within the database transaction of what that follows from. See `add`.

        Raises:
            Refused: its time has passed meanwhile, or too many wait already.
        """
        schedule, now = store.id_of(source), self._clock.now_ms()
        known = await store.get(tx, schedule)
        if known is not None:
            return known
        words, timing = appointment.words, appointment.timing
        next_at = timing.check(now)
        one = Scheduled(
            schedule, community, 0, author, reply_room, tuple(parts), kind, audience, words, timing, next_at
        )
        await self._check_room(tx, community)
        await store.add(tx, one, now)
        await self._plan(tx, schedule, next_at)
        await record(tx, now, community, "", author, "scheduled an announcement", schedule)
        added = await store.get(tx, schedule)
        assert added is not None
        return added

    async def _check_room(self, tx: Transaction, community: CommunityId) -> None:
        if len(await store.coming(tx, community)) >= self.rules.most:
            raise Refused(
                f"{self.rules.most} announcements wait here already, and no more may",
                where=str(community),
                remedy="cancel one: `scheduled` shows them",
            )

    async def edit(
        self,
        community: CommunityId,
        number: int,
        *,
        source: str,
        author: str,
        reply_room: RoomId | None,
        when: str | None = None,
        text: str | None = None,
        pills: Sequence[Pill] = (),
    ) -> Scheduled:
        """Give a schedule another time, another text, or both; whoever does that answers for it from then on. Files
        stay, and so does what it asks for: that everybody is notified, or confirms it.

        Args:
            source: the message that asks for it; the same again changes nothing more.
            pills: the people whom the new text mentions.

        Raises:
            Refused: there is none of that number, the time is not understood or not allowed, or the text is too long.
        """
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            one, run, obeyed = await self._addressed(tx, community, number, source)
            if obeyed:
                return one
            if when is not None:
                timing = read_when(when, now, self.zone_of(community))
                one = replace(one, timing=timing, words=one_line(when, LONGEST), next_at=timing.check(now))
            if text is not None:
                one = replace(one, parts=worded(one.parts, text, pills, ring=rings(one.parts)))
            one = replace(one, author=author, reply_room=reply_room)
            if not await store.change(tx, one, run):
                raise _just_ran(community)
            await self._replan(tx, one, run)
            await store.obey(tx, one.id, source, run)
            await record(tx, now, community, "", author, "changed a scheduled announcement", one.id)
        self._wake()
        return one

    async def skip(self, community: CommunityId, number: int, *, source: str, author: str) -> tuple[int, Scheduled]:
        """Leave the next run of a schedule out; gives that run, and the schedule as it goes on.

        Args:
            source: the message that asks for it; the same again leaves no second run out.

        Raises:
            Refused: there is none of that number.
        """
        async with self._database.transaction() as tx:
            one, run, obeyed = await self._addressed(tx, community, number, source)
            if obeyed:
                return run, one
            one = replace(one, next_at=one.timing.next_after(run))
            await self._go_on(tx, one, run, source)
            now = self._clock.now_ms()
            await record(tx, now, community, "", author, "skipped a scheduled announcement", one.id)
        self._wake()
        return run, one

    async def cancel(self, community: CommunityId, number: int, *, source: str, author: str) -> Scheduled:
        """Call a schedule off, and forget what it says.

        Args:
            source: the message that asks for it, which may come again.

        Raises:
            Refused: there is none of that number.
        """
        async with self._database.transaction() as tx:
            one, run, obeyed = await self._addressed(tx, community, number, source)
            if not obeyed:
                one = replace(one, next_at=None)
                await self._go_on(tx, one, run, source)
                now = self._clock.now_ms()
                await record(tx, now, community, "", author, "cancelled a scheduled announcement", one.id)
        return one

    async def _addressed(
        self, tx: Transaction, community: CommunityId, number: int, source: str
    ) -> tuple[Scheduled, int, bool]:
        """What somebody means, the run that it was at when they said so, and whether that was obeyed before."""
        one = await store.numbered(tx, community, number)
        before = None if one is None else await store.obeyed(tx, one.id, source)
        if one is not None and before is not None:
            return one, before, True
        if one is None or one.next_at is None:
            raise _nothing(community, number)
        return one, one.next_at, False

    async def _go_on(self, tx: Transaction, one: Scheduled, run: int, source: str) -> None:
        if not await store.advance(tx, one.id, run, one.next_at):
            raise _just_ran(one.community)
        await self._replan(tx, one, run)
        await store.obey(tx, one.id, source, run)

    async def listed(self, community: CommunityId) -> list[Scheduled]:
        """What is scheduled in a community, the next one first."""
        async with self._database.transaction() as tx:
            return await store.coming(tx, community)

    async def get(self, community: CommunityId, number: int) -> Scheduled:
        """The schedule of that number.

        Raises:
            Refused: there is none, or it has ended.
        """
        async with self._database.transaction() as tx:
            one = await store.numbered(tx, community, number)
        if one is None or one.next_at is None:
            raise _nothing(community, number)
        return one

    async def _plan(self, tx: Transaction, schedule: str, due: int) -> None:
        job = RunSchedule(schedule, due)
        await self._jobs.add(tx, _job_of(schedule, due), f"schedule {schedule}", job, due)

    async def _replan(self, tx: Transaction, one: Scheduled, was: int) -> None:
        await self._jobs.complete(tx, _job_of(one.id, was))
        if one.next_at is not None:
            await self._plan(tx, one.id, one.next_at)

    # --- when it is time --------------------------------------------------------------------------------------------

    async def run(self, job: RunSchedule, complete: Complete) -> None:
        """Announce what is due, if it is not too late and its author still may; and go on to the next run.

        Raises:
            MatrixError: whether they may cannot be read now.
        """
        one, allowed = None, False
        while True:
            async with self._database.transaction() as tx:
                now_is = await store.get(tx, job.schedule)
                if now_is is None or now_is.next_at != job.due:  # it was changed, skipped or cancelled meanwhile
                    await complete(tx)
                    return
                if now_is == one:
                    await complete(tx)
                    await self._run(tx, one, allowed=allowed)
                    break
            one, allowed = now_is, await self._may(now_is)  # asked outside, since the homeserver may have to be
        self._wake()

    async def _run(self, tx: Transaction, one: Scheduled, *, allowed: bool) -> None:
        assert one.next_at is not None
        now, rules = self._clock.now_ms(), self.rules
        what = step(one.timing, one.next_at, now, late=rules.late, grace_ms=rules.grace_ms)
        if what.fate is Fate.WAIT:  # the clock was set back after this was begun
            await self._replan(tx, one, one.next_at)
            return
        if not await store.advance(tx, one.id, one.next_at, what.next_at):
            return
        if what.next_at is not None:
            await self._plan(tx, one.id, what.next_at)
        if self._declared(one.community) is None:  # it ended, and there is nobody to tell
            return
        if what.fate is Fate.SEND and allowed:
            await self._announce(tx, one, what)
        else:
            await self._refuse(tx, one, what, allowed=allowed)

    async def _may(self, one: Scheduled) -> bool:
        if one.author == OPERATOR:
            return True
        return may(await self._role_of(one.community, UserId(one.author)), Deed.ANNOUNCE)

    async def _announce(self, tx: Transaction, one: Scheduled, what: Step) -> None:
        now, source = self._clock.now_ms(), f"schedule-{one.id}-{what.run}"
        job = Announce(
            one.community,
            source,
            one.author,
            one.parts,
            one.audience.as_words(),
            one.kind.value,
            one.reply_room,
        )
        await self._jobs.add(tx, f"announce-{source}", f"announce {one.community}", job, now)
        if what.missed or now - what.run > ON_TIME_MS:
            text = texts.schedule_caught_up(shown(one), what.missed, self._language(one))
            await self._tell(tx, one, f"late-{what.run}", text)

    async def _refuse(self, tx: Transaction, one: Scheduled, what: Step, *, allowed: bool) -> None:
        """Tell of a run that is not announced; its author is told nothing any more if they may not announce."""
        language = self._language(one)
        if what.fate is Fate.SKIP:
            text = texts.schedule_missed(shown(one), what.run, what.missed, language)
            await self._tell(tx, one, f"missed-{what.run}", text, author=allowed)
            return
        text = texts.schedule_not_permitted(shown(one), what.next_at is not None, language)
        await self._tell(tx, one, f"refused-{what.run}", text, author=False)

    async def given_up(self, job: RunSchedule, reason: str) -> None:
        """Tell that a run was given up. It is parked; released, it goes on from there."""
        async with self._database.transaction() as tx:
            one = await store.get(tx, job.schedule)
            if one is not None and one.next_at == job.due:
                text = texts.schedule_stuck(shown(one), reason, self._language(one))
                await self._tell(tx, one, f"stuck-{job.due}", text)
        self._wake()

    async def dropped(self, job: RunSchedule) -> None:
        """Go on to the next run after one that was given up and shall not be tried again."""
        async with self._database.transaction() as tx:
            one = await store.get(tx, job.schedule)
            if one is not None and one.next_at == job.due:
                following = one.timing.next_after(max(job.due, self._clock.now_ms()))
                if await store.advance(tx, one.id, job.due, following):
                    await self._replan(tx, replace(one, next_at=following), job.due)
        self._wake()

    def _language(self, one: Scheduled) -> Language:
        return self._language_of(one.community)

    async def _tell(self, tx: Transaction, one: Scheduled, what: str, text: Marked, *, author: bool = True) -> None:
        """Tell the control room, and the author in their chat, of what became of a run: once."""
        now, key = self._clock.now_ms(), f"schedule-told-{one.id}-{what}"
        control = self._index.room_of(one.community, CONTROL)
        if control is not None:
            await self._jobs.add(tx, f"{key}-control", control, SendMessage(control, notice(text)), now)
        chat = one.reply_room if author else None
        if chat is not None and chat != control:
            content = call(text, [one.author] if one.author.startswith("@") else [])
            await self._jobs.add(tx, key, chat, SendMessage(chat, content), now)


def shown(one: Scheduled) -> dict[str, Any]:
    """A scheduled announcement as the documented JSON has it: `runs` are the next of them, at most three, in
    milliseconds since 1970."""
    return {
        "id": one.id,
        "number": one.number,
        "community": one.community,
        "author": one.author,
        "words": one.words,
        "zone": one.timing.zone,
        "rule": one.timing.rule or None,
        "recurring": bool(one.timing.rule),
        "runs": _runs(one),
        "kind": one.kind.value,
        "audience": list(one.audience.as_words()),
        "beginning": first_words(one.parts),
        "text": str(one.parts[0].get("body", "")) if one.parts else "",
    }


def _runs(one: Scheduled) -> list[int]:
    if one.next_at is None:
        return []
    return [one.next_at, *islice(one.timing.runs(one.next_at), MOST_SHOWN - 1)]


def _job_of(schedule: str, due: int) -> str:
    return f"schedule-{schedule}-{due}"


def _just_ran(community: CommunityId) -> Refused:
    return Refused(
        "it was announced or changed at this very moment",
        where=str(community),
        remedy="see with `scheduled` how it stands, and say it again",
    )


def _nothing(community: CommunityId, number: int) -> Refused:
    return Refused(
        f"nothing is scheduled under the number {number}",
        where=str(community),
        remedy="`scheduled` shows what is",
    )
