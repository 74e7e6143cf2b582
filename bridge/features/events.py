"""Events: announced with a calendar file, answered by reactions or in direct chats, with seats and a waiting list.

The words of an event are read back from the room when they are needed. Who answered what is forgotten a day after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from bridge.core import texts
from bridge.core.afterwards import replacement
from bridge.core.announcements import Kind, Part, Target
from bridge.core.calendar import MEDIA_TYPE, Entry, file_of, uid_of
from bridge.core.community import Community
from bridge.core.errors import CannotDecrypt, Refused
from bridge.core.events import FIELD, REMIND_BEFORE_MS, SIGNS, Answer, Happening, Reply, Standing, answer_of, standing
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import (
    Announce,
    LookAfterEvent,
    Posted,
    PrepareEvent,
    Redacted,
    SeatPeople,
    SendMessage,
    ShowEvent,
    call,
)
from bridge.core.moments import shown
from bridge.plan.state import Accounts
from bridge.ports import Clock, File, Messenger
from bridge.store import announcements, events
from bridge.store.announcements import Copy
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.events import Known, Seat
from bridge.store.jobs import Jobs

SEAT_EVERY_MS = 2_000
"""Answers that come within this time are looked at together."""
SHOW_EVERY_MS = 600_000
"""How often counts are edited into an announcement at most: each edit is an event for everybody."""
FORGET_AFTER_MS = 24 * 3_600_000
"""So long after the end it is forgotten who answered what."""

Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""
ContentOf = Callable[[RoomId, EventId], Awaitable[Any]]
"""What a message says with its latest edit, read back and decrypted; None for what was redacted."""
IsMember = Callable[[CommunityId, UserId], Awaitable[bool]]
Completed = Callable[[str, Target, Part], Awaitable[Part]]
"""The words of an announcement as they stand in one copy of it, with what we put below them there."""


async def _as_it_is(_: str, __: Target, part: Part) -> Part:
    return part


class Events:
    """Announces events, takes answers, gives seats in the order in which answers came, and tells who is going."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        content_of: ContentOf,
        is_member: IsMember,
        chat_of: Callable[[UserId], RoomId | None],
        zone_of: Callable[[CommunityId], tzinfo],
        language_of: Callable[[CommunityId], Language],
        domain: str,
        accounts: Accounts,
        clock: Clock,
        completed: Completed = _as_it_is,
    ) -> None:
        """
        Args:
            chat_of: the direct chat with somebody.
            zone_of: the time zone in which a community lives.
            domain: the homeserver's name, for the ids of events in calendars.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._content_of = content_of
        self._is_member = is_member
        self._chat_of = chat_of
        self._zone_of = zone_of
        self._language_of = language_of
        self._domain = domain
        self._accounts = accounts
        self._clock = clock
        self._completed = completed

    # --- announcing -------------------------------------------------------------------------------------------------

    async def invite(
        self, community: Community, what: Happening, *, source: str, author: str, reply_room: RoomId | None
    ) -> str:
        """Announce an event to everybody in a community; the same source again is the same event. Gives its
        announcement.

        Raises:
            Refused: it is past.
        """
        announcement = announcements.id_of(source)
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            if await events.get(tx, announcement) is not None:
                return announcement
            if what.begins_at <= now:
                raise Refused("the event would be past", remedy="give a time that is to come")
            known = Known(announcement, community.id, what.begins_at, what.ends_at, what.capacity, changed_at=now)
            await events.add(tx, known)
            part = {**call(self._text(known, what, None), []), FIELD: what.words()}
            job = Announce(community.id, source, author, (part,), ("everybody",), Kind.EVENT.value, reply_room)
            await self._jobs.add(tx, f"event-{announcement}", f"event {announcement}", job, now)
            await self._plan(tx, known, now)
        self._wake()
        return announcement

    async def _plan(self, tx: Transaction, known: Known, now: int) -> None:
        """Plan the reminders that are still to come, and the end."""
        over = (known.ends_at or known.begins_at) + FORGET_AFTER_MS
        due = [(lead, known.begins_at - lead) for lead in REMIND_BEFORE_MS if known.begins_at - lead > now]
        for lead, at in (*due, (0, over)):
            job = LookAfterEvent(known.announcement, known.sequence, lead)
            job_id = f"remind-{known.announcement}-{known.sequence}-{lead}"
            await self._jobs.add(tx, job_id, f"remind {known.announcement}", job, at)

    async def delivered(self, tx: Transaction, announcement: str, target: Target, event_id: EventId) -> None:
        """A copy of an announcement has arrived: if it is an event, it gets signs to press and a calendar file."""
        if target.room_id is None or await events.get(tx, announcement) is None:
            return
        job = PrepareEvent(announcement, target.room_id, event_id)
        await self._jobs.add(tx, f"prepare-{event_id}", f"event {announcement}", job, self._clock.now_ms())

    async def prepare(self, job_id: str, job: PrepareEvent) -> None:
        """React with every answer, and send the calendar file.

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        known, what, copies = await self._read(job.announcement)
        if known is None or not copies:
            return
        for number, sign in enumerate(SIGNS.values(), start=1):
            await self._messenger.react(job.room_id, job.event_id, sign, txn_id=f"{job_id}-{number}")
        for copy in copies:
            if (copy.target.room_id, copy.event_id) == (job.room_id, job.event_id):
                await self._send_calendar(copy, known, what, f"{job_id}-file")

    async def _send_calendar(self, copy: Copy, known: Known, what: Happening, txn_id: str) -> None:
        """Send a calendar file beside a copy: noted before, so that it is withdrawn with that."""
        uid, cancelled = uid_of(known.announcement, self._domain), known.cancelled_at is not None
        entry = Entry(uid, known.sequence, cancelled, what, known.changed_at)
        file = File("event.ics", MEDIA_TYPE, file_of(entry))
        assert copy.target.room_id is not None
        if await self._begin(copy, txn_id):
            sent = await self._messenger.send_file(copy.target.room_id, file, txn_id=txn_id)
            async with self._database.transaction() as tx:
                await events.lies_beside(tx, known.announcement, txn_id, sent.event_id)

    async def _send_edit(self, copy: Copy, newer: Mapping[str, Any], txn_id: str) -> None:
        """Replace what a copy says; noted before, as long as nobody else can find it."""
        assert copy.event_id is not None
        assert copy.target.room_id is not None
        if await self._begin(copy, txn_id):
            await self._messenger.send(copy.target.room_id, replacement(copy.event_id, newer), txn_id=txn_id)
            async with self._database.transaction() as tx:
                await events.is_found(tx, copy.announcement, txn_id)

    async def _begin(self, copy: Copy, txn_id: str) -> bool:
        async with self._database.transaction() as tx:
            return await events.begin_beside(tx, copy.announcement, copy.target, txn_id)

    # --- answering --------------------------------------------------------------------------------------------------

    async def reacted(self, community: CommunityId, event: Posted) -> None:
        """Take a reaction in an announcement room as an answer, if it is one."""
        answer = answer_of(event.key) if event.short_reaction else None
        if answer is None or event.sender in self._accounts.both:
            return
        reply = Reply(event.sender, answer, 0, event.sent_at, self._clock.now_ms(), event.event_id)
        async with self._database.transaction() as tx:
            copy = await announcements.of_event(tx, event.room_id, event.to)
            known = None if copy is None else await events.get(tx, copy.announcement)
            if known is not None and self._is_open(known):
                await events.answer(tx, event.room_id, event.to, reply)
                await self._answered(tx, known)
            elif copy is None and await events.awaits_delivery(tx, community):  # its message may be there already
                await events.answer(tx, event.room_id, event.to, reply)
        self._wake()

    async def taken_back(self, event: Redacted) -> None:
        """A reaction was redacted: the answer that it was is none any more."""
        async with self._database.transaction() as tx:
            target = await events.answered(tx, event.room_id, event.redacts)
            if target is None:
                return
            await events.take_back(tx, event.redacts)
            copy = await announcements.of_event(tx, event.room_id, target)
            known = None if copy is None else await events.get(tx, copy.announcement)
            if known is not None:
                await self._answered(tx, known)
        self._wake()

    async def answer(
        self, announcement: str, user: UserId, answer: Answer, guests: int, *, source: str
    ) -> tuple[Answer, bool]:
        """Take what somebody said in their chat. Gives the answer, and whether they have a seat (else they wait).

        Raises:
            Refused: it is no event, it is over, or there are not so many seats.
        """
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            known = await events.get(tx, announcement)
            if known is None:
                raise Refused("that is no event")
            if not self._is_open(known):
                raise Refused("that event is over, or was cancelled")
            if known.capacity is not None and 1 + guests > known.capacity:
                raise Refused(f"there are {known.capacity} seats in all")
            reply = Reply(user, answer, guests if answer is Answer.GOING else 0, now, now, source)
            await events.answer_in_chat(tx, announcement, reply)
            await self._answered(tx, known)
        found = await self.standing(announcement)
        seated = any(one.user == user for one in found.going)
        waits = any(one.user == user for one in found.waiting)
        async with self._database.transaction() as tx:  # they are told in the answer, and again when that changes
            old = (await events.seats(tx, announcement)).get(user)
            now_told = Seat(seated if seated or waits else None, 0 if old is None else old.turn + 1)
            await events.seat(tx, announcement, user, now_told)
        self._wake()
        return answer, seated

    def _is_open(self, known: Known) -> bool:
        gone = known.withdrawn or known.cancelled_at is not None
        return not gone and (known.ends_at or known.begins_at) > self._clock.now_ms()

    async def _answered(self, tx: Transaction, known: Known) -> None:
        now = self._clock.now_ms()
        lane = f"event {known.announcement}"
        for name, job, every in (
            ("seat", SeatPeople(known.announcement), SEAT_EVERY_MS),
            ("counts", ShowEvent(known.announcement, {}, attach=False), SHOW_EVERY_MS),
        ):
            turn = now // every + 1
            await self._jobs.add(tx, f"{name}-{known.announcement}-{turn}", lane, job, turn * every)

    async def standing(self, announcement: str) -> Standing:
        """Who comes, of those who are members now; nobody where it is no event."""
        async with self._database.transaction() as tx:
            known = await events.get(tx, announcement)
            replies = await events.replies(tx, announcement)
        if known is None:
            return Standing()
        members = {user: await self._is_member(known.community, user) for user in {one.user for one in replies}}
        return standing([one for one in replies if members[one.user]], known.capacity)

    async def seat(self, job: SeatPeople, complete: Complete) -> None:
        """Give seats, and tell whoever waits for one, or has one now.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        known, what, _ = await self._read(job.announcement)
        if known is None or known.withdrawn or known.cancelled_at is not None:
            return
        found = await self.standing(job.announcement)
        now = self._clock.now_ms()
        language = self._language_of(known.community)
        async with self._database.transaction() as tx:
            before = await events.seats(tx, job.announcement)
            places: dict[UserId, bool | None] = dict.fromkeys(before)
            places |= {one.user: True for one in found.going} | {one.user: False for one in found.waiting}
            for user, seated in places.items():
                old = before.get(user)
                if old is not None and old.seated is seated:
                    continue
                turn = 0 if old is None else old.turn + 1
                await events.seat(tx, job.announcement, user, Seat(seated, turn))
                waited = old is not None and old.seated is False
                if seated is False or (seated and waited):
                    say = texts.seat_given if seated else texts.seat_awaited
                    await self._tell(tx, user, f"seat-{job.announcement}-{turn}", say(what.title, language), now)
            await complete(tx)
        self._wake()

    async def _tell(self, tx: Transaction, user: UserId, key: str, text: str, now: int) -> None:
        chat = self._chat_of(user)
        if chat is not None:
            await self._jobs.add(tx, f"{key}-{chat}", chat, SendMessage(chat, call(text, [user])), now)

    # --- changing ---------------------------------------------------------------------------------------------------

    async def read(self, announcement: str) -> tuple[Known, Happening]:
        """What is known of an event, its words included.

        Raises:
            Refused: it is no event, or was withdrawn.
            MatrixError: the homeserver cannot be asked.
        """
        known, what, copies = await self._read(announcement)
        if known is None:
            raise Refused("that is no event")
        if not copies:
            raise Refused("that event is not in its room")
        return known, what

    async def to_come(self, community: CommunityId, most: int) -> list[tuple[Known, Happening, Standing]]:
        """The events of a community that are not over, the next one first, with their words and who comes; none that is
        not in the room.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            found = await events.since(tx, community, self._clock.now_ms(), most)
        read = [(await self._read(one.announcement), await self.standing(one.announcement)) for one in found]
        return [(known, what, found) for (known, what, copies), found in read if known is not None and copies]

    async def change(self, before: Known, what: Happening, *, cancel: bool, by: str, source: str) -> None:
        """Change an event as it was read, or cancel it, and tell whoever comes.

        Raises:
            Refused: it is over, it would be past, or somebody else changed it meanwhile.
        """
        now = self._clock.now_ms()
        if not self._is_open(before):
            raise Refused("that event is over, or was cancelled")
        if what.begins_at <= now and what.begins_at != before.begins_at:
            raise Refused("the event would be past", remedy="give a time that is to come")
        if await self._jobs.find(f"changed-{before.announcement}-{before.sequence}") is not None:
            raise Refused("the last change is not in the room yet", remedy="ask again in a moment")
        found = await self.standing(before.announcement)  # who is out of the community is told nothing
        async with self._database.transaction() as tx:
            if not await events.change(tx, before, what, cancel=cancel, now=now):
                raise Refused("somebody else changed that event just now", remedy="look at it, and ask again")
            known = await events.get(tx, before.announcement)
            assert known is not None
            show = ShowEvent(known.announcement, what.words(), attach=True)
            job_id = f"changed-{known.announcement}-{known.sequence}"
            await self._jobs.add(tx, job_id, f"event {known.announcement}", show, now)
            await self._plan(tx, known, now)
            await self._answered(tx, known)
            language = self._language_of(known.community)
            text = texts.event_is_cancelled(what.title, language)
            if not cancel:
                when = self.when(known.community, what.begins_at, what.ends_at)
                text = texts.event_has_changed(what.title, when, what.place, language)
            for reply in (*found.going, *found.waiting):
                await self._tell(tx, reply.user, job_id, text, now)
            await record(
                tx, now, known.community, "", by, "cancelled an event" if cancel else "changed an event", source
            )
        self._wake()

    async def show(self, job_id: str, job: ShowEvent) -> None:
        """Edit an event as it is now into every copy, and after a change send its calendar file again.

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        known, what, copies = await self._read(job.announcement)
        if known is None or not copies:
            return
        if job.words:
            what = what.with_words({FIELD: job.words})
        found = await self.standing(job.announcement)
        said = {**call(self._text(known, what, found), []), FIELD: what.words()}
        for number, copy in enumerate(copies, start=1):
            newer = await self._completed(job.announcement, copy.target, said)
            await self._send_edit(copy, newer, f"{job_id}-{number}")
            if job.attach:
                await self._send_calendar(copy, known, what, f"{job_id}-{number}-file")

    async def look_after(self, job: LookAfterEvent, complete: Complete) -> None:
        """Remind whoever is going, or after the end forget who answered what.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        known, what, copies = await self._read(job.announcement)
        now = self._clock.now_ms()
        if known is None or known.sequence != job.sequence:
            return
        found = await self.standing(job.announcement)
        late = known.begins_at - now < job.lead_ms // 2  # of a service that was down
        async with self._database.transaction() as tx:
            if job.lead_ms == 0:
                await events.forget_answers(tx, job.announcement, known.community)
            elif known.cancelled_at is None and copies and not late:
                when = self.when(known.community, what.begins_at, what.ends_at)
                text = texts.event_reminder(what.title, when, what.place, self._language_of(known.community))
                for reply in found.going:
                    key = f"reminded-{job.announcement}-{job.sequence}-{job.lead_ms}"
                    await self._tell(tx, reply.user, key, text, now)
            await complete(tx)
        self._wake()

    # --- what both need ---------------------------------------------------------------------------------------------

    async def _read(self, announcement: str) -> tuple[Known | None, Happening, Sequence[Copy]]:
        """An event with its words as far as they can be read, and its copies that have arrived and are there."""
        async with self._database.transaction() as tx:
            known = await events.get(tx, announcement)
            copies = [copy for copy in await announcements.copies_of(tx, announcement) if copy.event_id is not None]
            asked = await announcements.get(tx, announcement)
        if known is None:
            return None, Happening("", 0), []
        if not copies or (asked is not None and asked.withdrawn_at is not None):
            return known, known.happening, []
        first = copies[0]
        assert first.target.room_id is not None
        assert first.event_id is not None
        try:
            content: Mapping[str, Any] | None = await self._content_of(first.target.room_id, first.event_id)
        except CannotDecrypt:
            content = {}
        if content is None:
            return known, known.happening, []
        return known, known.happening.with_words(content), copies

    def when(self, community: CommunityId, begins_at: int, ends_at: int | None) -> str:
        """From when to when an event is, as people of that community read it."""
        zone = self._zone_of(community)
        return " – ".join(shown(at, zone) for at in (begins_at, ends_at) if at is not None)

    def said(self, known: Known, what: Happening, found: Standing | None, language: Language | None = None) -> str:
        """An event as it stands in the announcement room, with who comes where that is known."""
        return self._text(known, what, found, language)

    def _text(self, known: Known, what: Happening, found: Standing | None, language: Language | None = None) -> str:
        counts = None if found is None else (found.seats, sum(1 + one.guests for one in found.waiting), found.maybe)
        return texts.event(
            what.title,
            self.when(known.community, what.begins_at, what.ends_at),
            what.place,
            what.description,
            what.capacity or 0,
            counts or (-1, 0, 0),
            known.cancelled_at is not None,
            language or self._language_of(known.community),
        )
