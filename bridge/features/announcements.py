"""Announcements: taken once, delivered once into each room, and told to whoever wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from bridge.core import texts
from bridge.core.announcements import (
    EVERYBODY,
    Audience,
    Kind,
    Missed,
    Named,
    Part,
    Target,
    part_of,
    person_of,
    type_of,
    with_line,
)
from bridge.core.errors import Refused
from bridge.core.files import quiet
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.languages import EN, Language
from bridge.core.messages import (
    Announce,
    AskToAcknowledge,
    CloseCopies,
    DeliverAnnouncement,
    Posted,
    SendMessage,
    TellAuthor,
    WithdrawCopy,
    call,
    notice,
)
from bridge.core.rendering import render
from bridge.plan.state import Accounts, digest_of
from bridge.ports import Clock, Messenger, Sent
from bridge.store import announcements as store
from bridge.store import shares
from bridge.store.announcements import Announcement, Copy, Listed
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.reach import people_then as count_people

PACE_MS = 250
"""Between one person's copy and the next one's."""
PATIENCE_MS = 14 * 24 * 3_600_000
"""How long a copy waits for somebody to enter their chat; what it says is kept for so long."""
TargetsOf = Callable[[CommunityId, Audience], Awaitable[Sequence[Target]]]
"""Whom an audience of a community means now. Raises `Refused` where one of them cannot be announced to."""
Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""


Park = Callable[[Transaction], Awaitable[bool]]
"""Gives the job up within the database transaction that tells of it; whether it was not given up before."""


async def _is_parked(_: Transaction) -> bool:
    return True


AlsoDelivered = Callable[[Transaction, str, Target, EventId], Awaitable[None]]
"""What else is written in the database transaction that records a delivery: of which announcement, where, as what."""


async def _nothing_else(_: Transaction, __: str, ___: Target, ____: EventId) -> None:
    return


async def _everybody_is_nowhere(_: CommunityId, __: Audience) -> Sequence[Target]:
    return []


async def _place(target: Target) -> str:
    return target.place or str(target.community)


class Announcements:
    """The life of announcements between whoever writes them and the rooms that they reach."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        accounts: Accounts,
        clock: Clock,
        language_of: Callable[[CommunityId], Language] = lambda _: EN,
        targets_of: TargetsOf = _everybody_is_nowhere,
        name_of: Callable[[Target], Awaitable[str]] = _place,
        also_delivered: AlsoDelivered = _nothing_else,
    ) -> None:
        """
        Args:
            targets_of: whom an audience means; asked when an announcement goes out.
            name_of: what a room is called into which an announcement goes.
        """
        self._also_delivered = also_delivered
        self._targets_of = targets_of
        self._name_of = name_of
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._accounts = accounts
        self._clock = clock
        self._language_of = language_of

    async def publish(
        self,
        *,
        source: str,
        author: str,
        parts: Sequence[Part],
        targets: Sequence[Target],
        audience: Audience = EVERYBODY,
        kind: Kind = Kind.TEXT,
        reply_room: RoomId | None = None,
        within: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> str:
        """Take an announcement, and have it delivered to every target.

        Args:
            source: what it comes from (an event id, a request id); the same source again is the same announcement.
            author: who wrote it, for the audit trail.
            parts: the contents of its messages, the first of them the one that is edited, pinned and reacted to.
            reply_room: the chat in which its author is told.
            within: what else is written in the same database transaction.

        Returns:
            Its id; `Target.job_of` gives the ids of the jobs that deliver it.
        """
        now = self._clock.now_ms()
        if kind is Kind.ACKNOWLEDGE:
            parts = self._asking(parts, targets)
        content = orjson.dumps([dict(part) for part in parts]).decode()
        async with self._database.transaction() as tx:
            announcement = await store.add(tx, source, author, content, reply_room, now, kind=kind, audience=audience)
            people = 0
            for target in targets:
                await store.add_target(tx, announcement, target)
                if not await store.is_settled(tx, announcement, target):
                    direct = person_of(target.place) is not None
                    job = DeliverAnnouncement(announcement, target.community, target.room_id, target.place)
                    # people one after the other: many chats at once would hold up everything else
                    due = now + people * PACE_MS if direct else now
                    people += direct
                    if await self._jobs.add(tx, target.job_of(announcement), lane_of(target), job, due):
                        await record(tx, now, target.community, target.room_id or "", author, "announced", announcement)
            if people:
                close = CloseCopies(announcement)
                await self._jobs.add(tx, f"close-{announcement}", f"close {announcement}", close, now + PATIENCE_MS)
            if within is not None:
                await within(tx)
        self._wake()
        return announcement

    def _asking(self, parts: Sequence[Part], targets: Sequence[Target]) -> list[Part]:
        """The same announcement with the line that asks for a confirmation, in the language of the first community."""
        language = self._language_of(targets[0].community) if targets else EN
        return [with_line(parts[0], texts.please_acknowledge(language)), *parts[1:]]

    async def announce(self, job: Announce, complete: Complete) -> None:
        """Take an announcement that another feature prepared.

        Raises:
            Refused: whom it is meant for cannot be announced to.
        """
        audience = Audience.of_words(job.audience)
        await self.publish(
            source=job.source,
            author=job.author,
            parts=job.parts,
            targets=await self._targets_of(job.community, audience),
            audience=audience,
            kind=Kind(job.kind),
            reply_room=job.reply_room,
            within=complete,
        )

    async def not_announced(self, job: Announce, job_id: str, why: str, park: Park = _is_parked) -> None:
        """Tell the author that what was prepared could not be taken."""
        if job.reply_room is None:
            return
        name = await self._name_of(Target(job.community, None))
        text = texts.announcement_failed(name, why, self._language_of(job.community))
        content = call(text, [job.author] if job.author.startswith("@") else [])
        async with self._database.transaction() as tx:
            if not await park(tx):
                return
            send = SendMessage(job.reply_room, content)
            await self._jobs.add(tx, f"failed-{job_id}", job.reply_room, send, self._clock.now_ms())
        self._wake()

    async def deliver(
        self,
        job_id: str,
        job: DeliverAnnouncement,
        *,
        heard_in: RoomId | None = None,
        tell: bool = True,
        finish: Callable[[Part], Part] | None = None,
    ) -> None:
        """Send one announcement into one room; the same target is the same transaction id, so a repeat is the same
        event.

        Args:
            heard_in: the room in which everybody there has another copy, so that this one shall ring nobody.
            tell: whether its author is told.
            finish: what else stands in its first message there.
        """
        target = Target(job.community, job.room_id, job.place)
        txn_id = target.job_of(job.announcement)
        async with self._database.transaction() as tx:
            taken = await store.get(tx, job.announcement)
            if taken is not None and taken.withdrawn_at is not None:
                if not await store.was_begun(tx, job.announcement, job.community, job.place):
                    await store.dropped(tx, job.announcement, job.community, job.place)
                return  # of one that was begun whoever withdrew it sees to this copy, too
            content = await store.content_of(tx, job.announcement)
            if await store.is_settled(tx, job.announcement, target):
                return
            await store.begin(tx, job.announcement, job.community, job.place)
        if not content:
            raise Refused("the announcement is gone", where=job.announcement)
        if job.room_id is None:
            raise Refused("has no chat", where=job.place)
        parts = _parts(content)
        first, *more = parts if heard_in is None else quiet(parts, heard_in)
        first = first if finish is None else finish(first)
        sent = await self._messenger.send(job.room_id, first, txn_id=txn_id, event_type=type_of(first))
        others = [
            (await self._messenger.send(job.room_id, part, txn_id=part_of(txn_id, number))).event_id
            for number, part in enumerate(more, start=1)
        ]
        await self._delivered(job_id, job, sent, others, tell=tell)

    async def _delivered(
        self, job_id: str, job: DeliverAnnouncement, sent: Sent, others: Sequence[EventId], *, tell: bool
    ) -> None:
        assert job.room_id is not None
        now = self._clock.now_ms()
        names = await self._names_of(job.announcement)
        async with self._database.transaction() as tx:
            await store.hold(tx, job.announcement)
            reach = await shares.reach(tx, job.room_id, ours=self._accounts.both)
            await store.delivered(
                tx,
                job.announcement,
                Target(job.community, job.room_id, job.place),
                sent.event_id,
                others=others,
                devices=sent.devices,
                unreached=reach.unreached,
                now=now,
            )
            await count_people(tx, job.announcement, job.community, job.place, reach.people)
            await self._also_delivered(
                tx, job.announcement, Target(job.community, job.room_id, job.place), sent.event_id
            )
            await self._jobs.complete(tx, job_id)
            taken = await store.get(tx, job.announcement)
            withdrawn = taken is not None and taken.withdrawn_at is not None
            if withdrawn:  # meanwhile
                late = WithdrawCopy(job.announcement, job.community, job.place)
                await self._jobs.add(tx, f"late-{job_id}", f"withdraw {job.room_id}", late, now)
            if taken is not None and taken.kind is Kind.ACKNOWLEDGE and not job.place and not withdrawn:
                ask = AskToAcknowledge(job.announcement, job.community, job.room_id, sent.event_id, now)
                await self._jobs.add(tx, f"ask-{job_id}", f"ask {job.room_id}", ask, now)
            if tell and not withdrawn:
                await self._tell_author(tx, job.announcement, names)
        self._wake()

    async def failed(self, job: DeliverAnnouncement, job_id: str, why: str, park: Park = _is_parked) -> None:
        """Record that an announcement did not reach a room, and tell its author: once, also over a kill."""
        names = await self._names_of(job.announcement)
        async with self._database.transaction() as tx:
            if not await park(tx):
                return
            await store.hold(tx, job.announcement)
            await store.failed(tx, job.announcement, job.community, job.place, why)
            await self._tell_author(tx, job.announcement, names)
        self._wake()

    async def missed(self, announcement: str, target: Target, why: Missed, *, tell: bool) -> None:
        """Record that somebody will not get their copy, and why: nothing that anybody has to do something about."""
        names = await self._names_of(announcement)
        async with self._database.transaction() as tx:
            await store.hold(tx, announcement)
            await store.closed(tx, announcement, target, why)
            if tell:
                await self._tell_author(tx, announcement, names)
        self._wake()

    async def close_copies(self, job: CloseCopies) -> None:
        """Give up the copies of people who let their invitation to a chat lie; what it says is then forgotten."""
        async with self._database.transaction() as tx:
            await store.hold(tx, job.announcement)
            for one in await store.copies_of(tx, job.announcement):
                if person_of(one.target.place) is not None and one.event_id is None and not one.closed:
                    await store.closed(tx, job.announcement, one.target, Missed.LET_LIE)
            await store.forget_content(tx, job.announcement)

    async def tell(self, announcement: str) -> None:
        """Tell the author how their announcement stands, if nothing of it is under way any more."""
        names = await self._names_of(announcement)
        async with self._database.transaction() as tx:
            await store.hold(tx, announcement)
            await self._tell_author(tx, announcement, names)
        self._wake()

    async def _names_of(self, announcement: str) -> dict[Target, str]:
        """What the rooms are called into which an announcement goes."""
        return {one.target: await self._name_of(one.target) for one in await self.in_rooms(announcement)}

    async def _tell_author(self, tx: Transaction, announcement: str, names: Mapping[Target, str]) -> None:
        """Tell the author once nothing is under way any more: one summary, however many places there are.

        What happens to a copy afterwards, as when one that failed is tried again, makes another summary.
        """
        taken = await store.get(tx, announcement)
        if taken is None or taken.reply_room is None or await store.is_under_way(tx, announcement):
            return
        copies = await store.copies_of(tx, announcement)
        if not copies:
            return
        text = _summary(copies, names, self._language_of(copies[0].target.community))
        failed = any(one.failed is not None and not one.closed for one in copies)
        called = [taken.author] if taken.author.startswith("@") else []
        content = call(text, called) if failed else notice(text)
        # the same summary again is the same message; after a failure that was mended it differs
        job_id = f"told-{announcement}-{digest_of(text)}"
        told = TellAuthor(taken.reply_room, content, announcement)
        await self._jobs.add(tx, job_id, taken.reply_room, told, self._clock.now_ms())

    async def released(self, job: DeliverAnnouncement) -> None:
        """It is tried again, and so no longer failed."""
        async with self._database.transaction() as tx:
            await store.failed(tx, job.announcement, job.community, job.place, None)

    async def dropped(self, job: DeliverAnnouncement) -> None:
        """Forget an announcement that was given up and shall not be tried again, with its text."""
        async with self._database.transaction() as tx:
            await store.dropped(tx, job.announcement, job.community, job.place)

    async def noticed(self, community: CommunityId, event: Posted) -> None:
        """Count what an admin posted in the announcement room with their own client as an announcement: once."""
        if event.type != "m.room.encrypted" or event.relation in _NOT_NEW:
            return
        target = Target(community, event.room_id)
        async with self._database.transaction() as tx:
            announcement = await store.add(
                tx, f"posted-{event.event_id}", event.sender, "", None, event.sent_at, human=True
            )
            await store.add_target(tx, announcement, target)
            if not await store.is_settled(tx, announcement, target):
                await store.delivered(
                    tx, announcement, target, event.event_id, devices=None, unreached=None, now=event.sent_at
                )
                if event.relation != _THREAD:  # that belongs to what its thread is about
                    await self._also_delivered(tx, announcement, target, event.event_id)
        self._wake()

    async def find(self, community: CommunityId, named: Named) -> Announcement | None:
        """The announcement that somebody named, of those of this community."""
        async with self._database.transaction() as tx:
            found = await store.find(tx, community, named)
            return None if found is None else await store.get(tx, found)

    async def number_of(self, community: CommunityId, announcement: str) -> int:
        """The number of an announcement in a community; 0 where it is none of that community's."""
        async with self._database.transaction() as tx:
            return await store.number_of(tx, community, announcement) or 0

    async def copies_of(self, announcement: str) -> list[Copy]:
        """Every copy of an announcement, in whatever community."""
        async with self._database.transaction() as tx:
            return await store.copies_of(tx, announcement)

    async def in_rooms(self, announcement: str) -> list[Copy]:
        """The copies of an announcement that go into rooms, and not to people."""
        async with self._database.transaction() as tx:
            return await store.in_rooms(tx, announcement)

    async def listed(
        self,
        community: CommunityId,
        most: int,
        before: int | None = None,
        *,
        which: Callable[[Audience], bool] = lambda _: True,
    ) -> list[Listed]:
        """The announcements of a community, the newest first; with `before` only those with smaller numbers, with
        `which` only those to such an audience."""
        async with self._database.transaction() as tx:
            return await store.listed_of(tx, community, most, before, which)

    async def outcomes(self, announcement: str, targets: Sequence[Target]) -> list[dict[str, Any]]:
        """Where the deliveries of `publish` stand: community, room, event id, devices, members without a device that
        holds the key, and why it failed.
        """
        copies = {(one.target.community, one.target.place): one for one in await self.copies_of(announcement)}
        return [_outcome(target, copies.get((target.community, target.place))) for target in targets]


def lane_of(target: Target) -> str:
    """In which order announcements are delivered: one after the other in a room, and to a person."""
    assert target.room_id is not None or person_of(target.place) is not None
    return f"person {target.place}" if person_of(target.place) is not None else str(target.room_id)


def _summary(copies: Sequence[Copy], names: Mapping[Target, str], language: Language) -> str:
    """What the author is told of all copies, with names of rooms, and people counted."""
    rooms = [one for one in copies if person_of(one.target.place) is None]
    people = [one for one in copies if person_of(one.target.place) is not None]
    if len(copies) == 1 and rooms:
        [one], [name] = rooms, [names.get(rooms[0].target, str(rooms[0].target.community))]
        if one.failed is not None:
            return texts.announcement_failed(name, one.failed, language)
        return texts.announced(name, one.devices or 0, one.unreached or 0, language)
    there = [one for one in rooms if one.event_id is not None]
    named = {one.target: names.get(one.target, one.target.place or str(one.target.community)) for one in rooms}
    failed = [one for one in copies if one.failed is not None and not one.closed]
    gone = Counter(Missed(one.failed) for one in people if one.closed and one.failed in _MISSED)
    return texts.announced_to_several(
        [named[one.target] for one in there],
        sum(one.devices or 0 for one in there),
        sum(one.unreached or 0 for one in there),
        people=sum(one.event_id is not None for one in people),
        invited=sum(one.event_id is None and one.failed is None for one in people),
        gone=sorted(gone.items()),
        failed=[(named.get(one.target, one.target.place), one.failed or "") for one in failed],
        language=language,
    )


_THREAD = "m.thread"
_MISSED = frozenset(why.value for why in Missed)
_NOT_NEW = ("m.replace", "m.annotation", "m.reference")
"""Relations by which an event belongs to another one and is no announcement of its own."""


def _outcome(target: Target, copy: Copy | None) -> dict[str, Any]:
    if copy is None:
        return {"community": target.community, "place": target.place}
    return {
        "community": target.community,
        "room_id": copy.target.room_id,
        "event_id": copy.event_id,
        "devices": copy.devices,
        "unreached": copy.unreached,
        "failed": copy.failed,
        "place": target.place,
        "closed": copy.closed,
        "waits": person_of(target.place) is not None and not (copy.event_id or copy.failed or copy.under_way),
    }


def _parts(content: str) -> list[Part]:
    """What an announcement says, as it is stored; before it had parts, that was its text."""
    try:
        parts: object = orjson.loads(content)
    except orjson.JSONDecodeError:
        return [render(content)]
    return parts if isinstance(parts, list) else [render(content)]
