"""Announcements after they were sent: edited and withdrawn in every copy, tried again where they failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from bridge.core import texts
from bridge.core.afterwards import is_same, replacement, reworded
from bridge.core.announcements import Kind, Part, Target, part_of, person_of, with_line
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import EN, Language
from bridge.core.messages import EditCopy, KeepPins, TellAuthor, WithdrawCopy, call, notice
from bridge.ports import Clock, Messenger, Posts
from bridge.store import afterwards as changes
from bridge.store import announcements as store
from bridge.store import events, pins
from bridge.store.afterwards import Change, Progress, What
from bridge.store.announcements import Announcement, Copy
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs

ContentOf = Callable[[RoomId, EventId], Awaitable[Mapping[str, Any] | None]]
"""The content of a message as it reads now, decrypted; None where it is redacted or gone."""
Completed = Callable[[str, Target, Part], Awaitable[Part]]
"""The words of an announcement as they stand in one copy of it, with what we put below them there."""
Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""


async def _as_it_is(_: str, __: Target, part: Part) -> Part:
    return part


class Afterwards:
    """Edits and withdraws: one durable job for each copy, and a word to whoever asked when all are done."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        posts: Posts,
        content_of: ContentOf,
        announcer: UserId,
        clock: Clock,
        still_belongs: Callable[[CommunityId, UserId], Awaitable[bool]],
        language_of: Callable[[CommunityId], Language] = lambda _: EN,
        completed: Completed = _as_it_is,
    ) -> None:
        """
        Args:
            content_of: what a message says, without what we put below its words.
            still_belongs: whether somebody is in a community: who is not is told nothing new in their chat.
        """
        self._completed = completed
        self._still_belongs = still_belongs
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._posts = posts
        self._content_of = content_of
        self._announcer = announcer
        self._clock = clock
        self._language_of = language_of

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def edit(
        self,
        announcement: str,
        words: Part,
        *,
        community: CommunityId,
        source: str,
        author: str,
        reply_room: RoomId | None = None,
    ) -> str:
        """Have an announcement say something else, in every copy; copies that are still to go out say it at once.

        Args:
            words: the new text as the content of a message. Of an announcement of several parts the first is edited; if
                that is a file, they become its caption.
            community: where it is asked for, and what it is recorded under.
            source: what asked for it; the same source again is the same edit.
            author: a user id, or `operator`.

        Returns:
            The id of the edit; `job_of_edit` gives those of its jobs.

        Raises:
            Refused: only the client of whoever wrote it can edit it, or it is withdrawn, or is more than a text.
        """
        now, change = self._clock.now_ms(), changes.id_of_edit(source)
        async with self._database.transaction() as tx:
            kind = await _must_be_editable(tx, announcement)
            copies = await store.copies_of(tx, announcement)
            if kind is Kind.ACKNOWLEDGE:  # what asks for the confirmation stays below it
                asks_in = copies[0].target.community if copies else community
                words = with_line(words, texts.please_acknowledge(self._language_of(asks_in)))
            content = orjson.dumps(dict(words)).decode()
            new = Change(change, announcement, community, What.EDIT, content, author, reply_room, now)
            if await changes.add(tx, new):
                await self._reword(tx, announcement, words)
                for copy in copies:
                    target = copy.target
                    await changes.add_copy(tx, change, target)
                    job = EditCopy(change, announcement, target.community, target.place)
                    await self._jobs.add(
                        tx, job_of_edit(change, target), await self._lane(tx, announcement, target), job, now
                    )
                await record(tx, now, community, "", author, "edited", announcement)
        self._wake()
        return change

    async def _reword(self, tx: Transaction, announcement: str, words: Part) -> None:
        parts = _parts(await store.content_of(tx, announcement))
        if parts:
            await changes.reword(tx, announcement, orjson.dumps([reworded(parts[0], words), *parts[1:]]).decode())

    async def _lane(self, tx: Transaction, announcement: str, target: Target) -> str:
        """The lane of the delivery while that is still to be made, so that this comes after it; else the room's."""
        lane = await self._jobs.lane_of(tx, target.job_of(announcement))
        return lane or target.room_id or f"person {target.place}"

    async def withdraw(
        self, announcement: str, *, community: CommunityId, author: str, reply_room: RoomId | None = None
    ) -> str:
        """Have an announcement redacted in every copy, with its edits and further parts; copies that wait are dropped,
        and what is on its way at this moment is redacted when it arrives.

        Gives the id of the withdrawal; `job_of_withdrawal` gives those of its jobs. Whoever asks again is not told
        again.
        """
        now, change = self._clock.now_ms(), changes.id_of_withdrawal(announcement)
        async with self._database.transaction() as tx:
            new = Change(change, announcement, community, What.WITHDRAW, "", author, reply_room, now)
            if await changes.add(tx, new):
                await changes.withdrawn(tx, announcement, now)
                for copy in await store.copies_of(tx, announcement):
                    target = copy.target
                    await changes.add_copy(tx, change, target)
                    # nobody shall wait for what fails in the room; what has not arrived is seen to behind its delivery
                    lane = f"withdraw {target.room_id}"
                    if copy.event_id is None:
                        lane = await self._lane(tx, announcement, target)
                    job = WithdrawCopy(announcement, target.community, target.place)
                    await self._jobs.add(tx, job_of_withdrawal(announcement, target), lane, job, now)
                for room_id in await pins.leave(tx, announcement):
                    keep = KeepPins(community, room_id)
                    await self._jobs.add(tx, f"unpin-{announcement}-{room_id}", f"pins {room_id}", keep, now)
                await record(tx, now, community, "", author, "withdrew", announcement)
        self._wake()
        return change

    async def progress(self, change: str) -> Progress:
        """In how many copies a change is done, failed, or still to come."""
        async with self._database.transaction() as tx:
            return await changes.progress(tx, change)

    async def withdrawal(self, announcement: str) -> Progress:
        """How far the withdrawal of an announcement has come."""
        return await self.progress(changes.id_of_withdrawal(announcement))

    async def retry(self, announcement: str, *, community: CommunityId, author: str) -> int:
        """Have everything about an announcement tried again that was given up; gives how much that was."""
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            copies = [copy for copy in await store.copies_of(tx, announcement) if copy.event_id is None]
            failed = await changes.failed_copies(tx, announcement)
        released = 0
        for target in [copy.target for copy in copies if copy.failed is not None]:
            if await self._jobs.release(target.job_of(announcement), now):
                released += 1
                async with self._database.transaction() as tx:
                    await changes.tried_again(tx, announcement, target)
        for change, target in failed:
            if await self._jobs.release(_job_of(change, target), now):
                released += 1
                async with self._database.transaction() as tx:
                    await changes.failed(tx, change.id, target.community, target.place, None)
        if released:
            async with self._database.transaction() as tx:
                await record(tx, now, community, "", author, "retried", announcement)
        self._wake()
        return released

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def edit_copy(self, job_id: str, job: EditCopy) -> None:
        """Replace one copy's words (client-server API, "Event replacements"). Safe to repeat: what reads so already is
        left alone, and the job's id is the transaction id.

        Raises:
            CannotDecrypt: the copy cannot be read any more, so that nobody knows what else is in it.
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        async with self._database.transaction() as tx:
            change = await changes.get(tx, job.change)
            taken, copy = await store.get(tx, job.announcement), await _copy(tx, job)
            half = await changes.is_half_done(tx, job.change, job.community, job.place)
            outdated = change is not None and await changes.is_outdated(tx, change)
        withdrawn = taken is None or taken.withdrawn_at is not None
        if copy is None or copy.event_id is None or copy.target.room_id is None:
            await self._settle(job_id, job.change, job)  # it goes out with the new words, or not at all
            return
        if withdrawn and half:
            await self._replace(job_id, job, copy, {"msgtype": "m.notice", "body": "…", "m.mentions": {}})
        elif not withdrawn and not outdated and change is not None and await self._may_read(job):
            says = await self._content_of(copy.target.room_id, copy.event_id)
            words = None if says is None or not change.content else reworded(says, orjson.loads(change.content))
            if words is not None and not is_same(says or {}, words):
                whole = await self._completed(job.announcement, copy.target, words)
                await self._replace(job_id, job, copy, whole, says)
        await self._settle(job_id, job.change, job)

    async def _may_read(self, job: EditCopy) -> bool:
        person = person_of(job.place)
        return person is None or await self._still_belongs(job.community, person)

    async def _replace(self, job_id: str, job: EditCopy, copy: Copy, words: Part, before: Part | None = None) -> None:
        assert copy.event_id is not None
        assert copy.target.room_id is not None
        async with self._database.transaction() as tx:
            await changes.begin(tx, job.change, job.community, job.place)
        sent = await self._messenger.send(copy.target.room_id, replacement(copy.event_id, words, before), txn_id=job_id)
        async with self._database.transaction() as tx:
            await changes.edited(tx, job.announcement, copy.target, sent.event_id)
            taken = await store.get(tx, job.announcement)
            if taken is not None and taken.withdrawn_at is not None:  # meanwhile, or before an earlier try
                late = WithdrawCopy(job.announcement, job.community, job.place)
                lane = f"withdraw {copy.target.room_id}"
                await self._jobs.add(tx, f"late-{job_id}", lane, late, self._clock.now_ms())

    async def withdraw_copy(self, job_id: str, job: WithdrawCopy) -> None:
        """Redact one copy with all that belongs to it, itself last. Safe to repeat.

        Of a delivery that was begun nobody may know whether it arrived. It is made with nothing in it: where the
        message is there already, its transaction id finds it, and either way it is redacted then.

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        change = changes.id_of_withdrawal(job.announcement)
        async with self._database.transaction() as tx:
            taken, copy = await store.get(tx, job.announcement), await _copy(tx, job)
            begun = await store.was_begun(tx, job.announcement, job.community, job.place)
            edits = [] if copy is None else await changes.edits_of(tx, job.announcement, copy.target)
            beside = [] if copy is None else await events.beside(tx, job.announcement, copy.target)
        if taken is None or copy is None:
            await self._settle(job_id, change, job)
            return
        if copy.event_id is None:
            arrived = await self._arrived(job, copy) if begun else None
            if arrived is None:
                async with self._database.transaction() as tx:
                    await self._jobs.complete(tx, copy.target.job_of(job.announcement))
                    await store.dropped(tx, job.announcement, job.community, job.place)
                await self._settle(job_id, change, job)
                return
            copy = arrived
        await self._redact(taken, copy, [*await self._beside(job, copy, beside), *edits])
        await self._settle(job_id, change, job)

    async def _arrived(self, job: WithdrawCopy, copy: Copy) -> Copy | None:
        room_id, delivery = copy.target.room_id, copy.target.job_of(job.announcement)
        if room_id is None:
            return None
        async with self._database.transaction() as tx:
            parts = _parts(await store.content_of(tx, job.announcement))
        content = notice(texts.withdrawn(self._language_of(job.community)))
        names = [delivery, *(part_of(delivery, number) for number in range(1, len(parts)))]
        events = [(await self._messenger.send(room_id, content, txn_id=name)).event_id for name in names]
        async with self._database.transaction() as tx:
            await store.delivered(
                tx, job.announcement, copy.target, events[0], others=events[1:], devices=None, unreached=None,
                now=self._clock.now_ms(),
            )  # fmt: skip
            await self._jobs.complete(tx, delivery)
            return await _copy(tx, job)

    async def _beside(
        self, job: WithdrawCopy, copy: Copy, begun: Sequence[tuple[str, EventId | None]]
    ) -> list[EventId]:
        """What lies beside a copy: what was begun and is not known to have arrived is found as a delivery is."""
        assert copy.target.room_id is not None
        found = []
        for txn_id, known in begun:
            if known is not None:
                found.append(known)
                continue
            content = notice(texts.withdrawn(self._language_of(job.community)))
            sent = await self._messenger.send(copy.target.room_id, content, txn_id=txn_id)
            found.append(sent.event_id)
            async with self._database.transaction() as tx:
                await events.lies_beside(tx, job.announcement, txn_id, sent.event_id)
        return found

    async def _redact(self, taken: Announcement, copy: Copy, beside: Sequence[EventId]) -> None:
        room_id, first = copy.target.room_id, copy.event_id
        assert room_id is not None
        assert first is not None
        by_announcer = person_of(copy.target.place) is not None
        sender = UserId(taken.author) if taken.human else self._announcer
        found = await self._posts.edits_of(room_id, first, sender=sender, by_announcer=by_announcer)
        reason = texts.withdrawn(self._language_of(copy.target.community))
        for event_id in dict.fromkeys((*beside, *found, *copy.others, first)):
            await self._posts.redact(
                room_id, event_id, reason, txn_id=f"withdraw-{event_id}", by_announcer=by_announcer
            )

    async def tell(self, job_id: str, job: TellAuthor, complete: Complete) -> None:
        """Tell an author what became of an announcement, and remember by which message."""
        sent = await self._messenger.send(job.room_id, job.content, txn_id=job_id)
        async with self._database.transaction() as tx:
            await changes.answered(tx, job.room_id, sent.event_id, job.announcement)
            await complete(tx)

    # --- what came of it --------------------------------------------------------------------------------------------

    async def _settle(self, job_id: str, change: str, job: EditCopy | WithdrawCopy) -> None:
        """Record that a job is done; whoever asked is told with the last of them."""
        async with self._database.transaction() as tx:
            first = await changes.settle(tx, change, job.community, job.place)
            await changes.forget_words(tx, change)
            await self._jobs.complete(tx, job_id)
            found = await changes.get(tx, change)
            if first and found is not None and not await changes.is_waiting(tx, change):
                progress = await changes.progress(tx, change)
                number = await store.number_of(tx, found.community, job.announcement)
                say = texts.announcement_edited if found.what is What.EDIT else texts.announcement_withdrawn
                said = say(number or 0, progress.done, progress.failed, self._language_of(found.community))
                await self._tell(tx, f"told-{job_id}", found, notice(said))
        self._wake()

    async def failed(self, job: EditCopy | WithdrawCopy, job_id: str, why: str) -> None:
        """Record that a change was given up in one copy, and tell whoever asked for it."""
        change = job.change if isinstance(job, EditCopy) else changes.id_of_withdrawal(job.announcement)
        async with self._database.transaction() as tx:
            await changes.failed(tx, change, job.community, job.place, why)
            found = await changes.get(tx, change)
            if found is not None:
                number = await store.number_of(tx, found.community, job.announcement) or 0
                say = texts.edit_failed if found.what is What.EDIT else texts.withdrawal_failed
                said = say(number, job.community, why, self._language_of(found.community))
                author = [found.author] if found.author.startswith("@") else []
                await self._tell(tx, f"failed-{job_id}", found, call(said, author))
        self._wake()

    async def _tell(self, tx: Transaction, job_id: str, change: Change, content: Mapping[str, Any]) -> None:
        if change.reply_room is not None:
            job = TellAuthor(change.reply_room, content, change.announcement)
            await self._jobs.add(tx, job_id, change.reply_room, job, self._clock.now_ms())

    async def dropped(self, job: EditCopy | WithdrawCopy) -> None:
        """Forget a change in one copy that was given up and shall not be tried again."""
        change = job.change if isinstance(job, EditCopy) else changes.id_of_withdrawal(job.announcement)
        async with self._database.transaction() as tx:
            await changes.drop_copy(tx, change, job.community, job.place)
            await changes.forget_words(tx, change)


def job_of_edit(change: str, target: Target) -> str:
    """The id of the job that makes an edit in a copy."""
    return _named(f"edit-{change}", target)


def job_of_withdrawal(announcement: str, target: Target) -> str:
    """The id of the job that withdraws a copy."""
    return _named(f"withdraw-{announcement}", target)


def _job_of(change: Change, target: Target) -> str:
    if change.what is What.EDIT:
        return job_of_edit(change.id, target)
    return job_of_withdrawal(change.announcement, target)


def _named(name: str, target: Target) -> str:
    job = f"{name}-{target.community}"
    return f"{job}-{target.place}" if target.place else job


async def _copy(tx: Transaction, job: EditCopy | WithdrawCopy) -> Copy | None:
    return await store.copy_of(tx, job.announcement, job.community, job.place)


async def _must_be_editable(tx: Transaction, announcement: str) -> Kind:
    """Whether it can be edited; gives what it is."""
    taken = await store.get(tx, announcement)
    if taken is None:
        raise Refused("there is no such announcement")
    if taken.human:
        raise Refused(
            "this was posted by somebody with their own app, and only its author can edit it",
            remedy="ask them to edit it there, or withdraw it and announce it anew",
        )
    if taken.withdrawn_at is not None:
        raise Refused("it is withdrawn", remedy="announce it anew")
    if taken.kind not in (Kind.TEXT, Kind.ACKNOWLEDGE):
        raise Refused("only texts can be edited so", remedy="withdraw it, and announce it anew")
    return taken.kind


def _parts(content: str | None) -> list[Mapping[str, Any]]:
    """What waits to be sent, as it is stored; nothing of a text of before there were parts."""
    try:
        parts: object = orjson.loads(content or "[]")
    except orjson.JSONDecodeError:
        return []
    return parts if isinstance(parts, list) else []
