"""Announcements: taken once, delivered once into each room, and told to whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from markdown_it import MarkdownIt

from bridge.core import texts
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId
from bridge.core.languages import EN, Language
from bridge.core.messages import DeliverAnnouncement, SendMessage, call, notice
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger, Sent
from bridge.store import announcements as store
from bridge.store import shares
from bridge.store.communities import record
from bridge.store.database import Database
from bridge.store.jobs import Jobs

LONGEST_TEXT_BYTES = 40_000
"""A body and its formatted twin, as JSON, have to fit an encrypted event of 64 KiB, in base64."""


@dataclass(frozen=True, slots=True)
class Target:
    """One announcement room to announce into."""

    community: CommunityId
    room_id: RoomId


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
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._accounts = accounts
        self._clock = clock
        self._language_of = language_of

    async def publish(
        self, *, source: str, author: str, text: str, targets: Sequence[Target], reply_room: RoomId | None = None
    ) -> list[str]:
        """Take an announcement, and have it delivered into every target's room.

        Args:
            source: what it comes from (an event id, a request id); the same source again is the same announcement.
            author: who wrote it, for the audit trail.
            reply_room: the chat in which its author is told.

        Returns:
            The ids of the jobs that deliver it, one a target.

        Raises:
            Refused: empty, or too long.
        """
        body: str = render(text)["body"]
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            announcement = await store.add(tx, source, author, body, reply_room, now)
            ids = []
            for target in targets:
                await store.add_target(tx, announcement, target.community, target.room_id)
                job_id = f"announce-{announcement}-{target.community}"
                ids.append(job_id)
                if not await store.is_settled(tx, announcement, target.community):
                    job = DeliverAnnouncement(announcement, target.community, target.room_id)
                    if await self._jobs.add(tx, job_id, target.room_id, job, now):
                        await record(tx, now, target.community, target.room_id, author, "announced", announcement)
        self._wake()
        return ids

    async def deliver(self, job_id: str, job: DeliverAnnouncement) -> None:
        """Send one announcement into one room; the job's id is the transaction id, so a repeat is the same event."""
        async with self._database.transaction() as tx:
            text = await store.text_of(tx, job.announcement)
        if text is None:
            raise Refused("the announcement is gone", where=job.announcement)
        sent = await self._messenger.send(job.room_id, render(text), txn_id=job_id)
        await self._delivered(job_id, job, sent)

    async def _delivered(self, job_id: str, job: DeliverAnnouncement, sent: Sent) -> None:
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            reach = await shares.reach(tx, job.room_id, ours=self._accounts.both)
            await store.delivered(
                tx,
                job.announcement,
                job.community,
                sent.event_id,
                devices=sent.devices,
                unreached=reach.unreached,
                now=now,
            )
            await self._jobs.complete(tx, job_id)
            reply_room = await store.reply_room(tx, job.announcement)
            if reply_room is not None:
                content = notice(
                    texts.announced(job.community, sent.devices, reach.unreached, self._language_of(job.community))
                )
                await self._jobs.add(tx, f"told-{job_id}", reply_room, SendMessage(reply_room, content), now)
        if reply_room is not None:
            self._wake()

    async def failed(self, job: DeliverAnnouncement, job_id: str, why: str) -> None:
        """Record that an announcement did not reach a room, and tell its author."""
        async with self._database.transaction() as tx:
            await store.failed(tx, job.announcement, job.community, why)
            reply_room = await store.reply_room(tx, job.announcement)
            if reply_room is not None:
                language = self._language_of(job.community)
                author = await store.author_of(tx, job.announcement)
                content = call(texts.announcement_failed(job.community, why, language), [author] if author else [])
                now = self._clock.now_ms()
                # its id differs from that of the good news, which may follow when the job is released
                await self._jobs.add(tx, f"failed-{job_id}", reply_room, SendMessage(reply_room, content), now)
        self._wake()

    async def dropped(self, job: DeliverAnnouncement) -> None:
        """Forget an announcement that was given up and shall not be tried again, with its text."""
        async with self._database.transaction() as tx:
            await store.dropped(tx, job.announcement, job.community)

    async def outcomes(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Where the deliveries of `publish` stand: community, event id, devices, members without a device that holds
        the key, and why it failed.
        """
        async with self._database.transaction() as tx:
            return [await store.outcome(tx, job_id) for job_id in job_ids]
