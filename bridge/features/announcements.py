"""Announcements: taken once, delivered once into each room, and told to whoever wrote them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from markdown_it import MarkdownIt

from bridge.core import texts
from bridge.core.announcements import EVERYBODY, Audience, Kind, Named, Part, Target
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.languages import EN, Language
from bridge.core.messages import Announce, DeliverAnnouncement, Posted, SendMessage, call, notice
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger, Sent
from bridge.store import announcements as store
from bridge.store import shares
from bridge.store.announcements import Announcement, Copy, Listed
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs

LONGEST_TEXT_BYTES = 40_000
"""A body and its formatted twin, as JSON, have to fit an encrypted event of 64 KiB, in base64."""


TargetsOf = Callable[[CommunityId, Audience], Awaitable[Sequence[Target]]]
"""Whom an audience of a community means now. Raises `Refused` where one of them cannot be announced to."""
Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""


AlsoDelivered = Callable[[Transaction, str, Target, EventId], Awaitable[None]]
"""What else is written in the database transaction that records a delivery: of which announcement, where, as what."""


async def _nothing_else(_: Transaction, __: str, ___: Target, ____: EventId) -> None:
    return


async def _everybody_is_nowhere(_: CommunityId, __: Audience) -> Sequence[Target]:
    return []


def render(text: str) -> dict[str, Any]:
    """The message content of a Markdown text: plain body, and where it has any markup its HTML.

    Raw HTML in the text stays text, so nothing but what Markdown makes reaches `formatted_body`. What no database and
    no homeserver takes (NUL, half characters) is left out or replaced.

    Raises:
        Refused: empty, or too long for one encrypted event.
    """
    body = text.replace("\0", "").encode(errors="replace").decode().strip()
    if not body:
        raise Refused("there is no text to announce", remedy="write the text behind the name of the community")
    _must_fit(len(body.encode()))
    html = MarkdownIt("commonmark", {"html": False, "breaks": True}).render(body).strip()
    content: dict[str, Any] = {"msgtype": "m.text", "body": body, "m.mentions": {}}
    if html != f"<p>{_escaped(body)}</p>":
        content |= {"format": "org.matrix.custom.html", "formatted_body": html}
    _must_fit(len(orjson.dumps(content)))
    return content


def _must_fit(size: int) -> None:
    if size > LONGEST_TEXT_BYTES:
        raise Refused(
            f"the text is too long: {size:,} bytes with its formatting, and {LONGEST_TEXT_BYTES:,} fit one message",
            remedy="shorten it, or send it in parts",
        )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


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
        also_delivered: AlsoDelivered = _nothing_else,
    ) -> None:
        self._also_delivered = also_delivered
        self._targets_of = targets_of
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
        content = orjson.dumps([dict(part) for part in parts]).decode()
        async with self._database.transaction() as tx:
            announcement = await store.add(tx, source, author, content, reply_room, now, kind=kind, audience=audience)
            for target in targets:
                await store.add_target(tx, announcement, target)
                if not await store.is_settled(tx, announcement, target):
                    job = DeliverAnnouncement(announcement, target.community, target.room_id, target.place)
                    lane = target.room_id or f"person {target.place}"
                    if await self._jobs.add(tx, target.job_of(announcement), lane, job, now):
                        await record(tx, now, target.community, target.room_id or "", author, "announced", announcement)
            if within is not None:
                await within(tx)
        self._wake()
        return announcement

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

    async def not_announced(self, job: Announce, job_id: str, why: str) -> None:
        """Tell the author that what was prepared could not be taken."""
        if job.reply_room is None:
            return
        text = texts.announcement_failed(job.community, why, self._language_of(job.community))
        content = call(text, [job.author] if job.author.startswith("@") else [])
        async with self._database.transaction() as tx:
            send = SendMessage(job.reply_room, content)
            await self._jobs.add(tx, f"failed-{job_id}", job.reply_room, send, self._clock.now_ms())
        self._wake()

    async def deliver(self, job_id: str, job: DeliverAnnouncement) -> None:
        """Send one announcement into one room; the job's id is the transaction id, so a repeat is the same event."""
        async with self._database.transaction() as tx:
            content = await store.content_of(tx, job.announcement)
        if not content:
            raise Refused("the announcement is gone", where=job.announcement)
        if job.room_id is None:
            raise Refused("has no chat", where=job.place)
        first, *more = _parts(content)
        sent = await self._messenger.send(job.room_id, first, txn_id=job_id)
        others = [
            (await self._messenger.send(job.room_id, part, txn_id=f"{job_id}-part{number}")).event_id
            for number, part in enumerate(more, start=1)
        ]
        await self._delivered(job_id, job, sent, others)

    async def _delivered(self, job_id: str, job: DeliverAnnouncement, sent: Sent, others: Sequence[EventId]) -> None:
        assert job.room_id is not None
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
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
            await self._also_delivered(
                tx, job.announcement, Target(job.community, job.room_id, job.place), sent.event_id
            )
            await self._jobs.complete(tx, job_id)
            taken = await store.get(tx, job.announcement)
            reply_room = None if taken is None else taken.reply_room
            if reply_room is not None:
                content = notice(
                    texts.announced(job.community, sent.devices, reach.unreached, self._language_of(job.community))
                )
                await self._jobs.add(tx, f"told-{job_id}", reply_room, SendMessage(reply_room, content), now)
        self._wake()

    async def failed(self, job: DeliverAnnouncement, job_id: str, why: str) -> None:
        """Record that an announcement did not reach a room, and tell its author."""
        async with self._database.transaction() as tx:
            await store.failed(tx, job.announcement, job.community, job.place, why)
            taken = await store.get(tx, job.announcement)
            if taken is not None and taken.reply_room is not None:
                language = self._language_of(job.community)
                author = [taken.author] if taken.author.startswith("@") else []
                content = call(texts.announcement_failed(job.community, why, language), author)
                now = self._clock.now_ms()
                # its id differs from that of the good news, which may follow when the job is released
                await self._jobs.add(
                    tx, f"failed-{job_id}", taken.reply_room, SendMessage(taken.reply_room, content), now
                )
        self._wake()

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

    async def find(self, community: CommunityId, named: Named) -> Announcement | None:
        """The announcement that somebody named, of those of this community."""
        async with self._database.transaction() as tx:
            found = await store.find(tx, community, named)
            return None if found is None else await store.get(tx, found)

    async def number_of(self, community: CommunityId, announcement: str) -> int:
        """The number of an announcement that `find` found in a community."""
        async with self._database.transaction() as tx:
            return await store.number(tx, community, announcement)

    async def copies_of(self, announcement: str) -> list[Copy]:
        """Every copy of an announcement, in whatever community."""
        async with self._database.transaction() as tx:
            return await store.copies_of(tx, announcement)

    async def listed(self, community: CommunityId, most: int, before: int | None = None) -> list[Listed]:
        """The announcements of a community, the newest first; with `before` only those with smaller numbers."""
        async with self._database.transaction() as tx:
            return await store.listed(tx, community, most, before)

    async def outcomes(self, announcement: str, targets: Sequence[Target]) -> list[dict[str, Any]]:
        """Where the deliveries of `publish` stand: community, room, event id, devices, members without a device that
        holds the key, and why it failed.
        """
        copies = {(one.target.community, one.target.place): one for one in await self.copies_of(announcement)}
        return [_outcome(target, copies.get((target.community, target.place))) for target in targets]


_NOT_NEW = ("m.replace", "m.annotation", "m.reference")
"""Relations by which an event belongs to another one and is no announcement of its own."""


def _outcome(target: Target, copy: Copy | None) -> dict[str, Any]:
    if copy is None:
        return {"community": target.community}
    return {
        "community": target.community,
        "room_id": copy.target.room_id,
        "event_id": copy.event_id,
        "devices": copy.devices,
        "unreached": copy.unreached,
        "failed": copy.failed,
    }


def _parts(content: str) -> list[Part]:
    """What an announcement says, as it is stored; before it had parts, that was its text."""
    try:
        parts: object = orjson.loads(content)
    except orjson.JSONDecodeError:
        return [render(content)]
    return parts if isinstance(parts, list) else [render(content)]
