"""What is handed out in chats as a file: made when it is sent, so that it is stored nowhere, and by a durable job."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from datetime import tzinfo

import segno

from bridge.app.roster import Roster
from bridge.core import texts
from bridge.core.access import Deed, may
from bridge.core.community import Role
from bridge.core.ids import CommunityId, EventId, UserId
from bridge.core.languages import Language
from bridge.core.links import shown
from bridge.core.messages import SendMembers, ShowLink, notice
from bridge.core.roster import as_csv, matching
from bridge.features.entering import Entering
from bridge.ports import Clock, File, Messenger
from bridge.store.database import Database
from bridge.store.jobs import Jobs

RoleOf = Callable[[CommunityId, UserId], Awaitable[Role | None]]

QR_SCALE, QR_BORDER = 8, 4
"""Pixels of a module, and modules around it, as the standard wants (ISO/IEC 18004)."""


def qr_code(url: str) -> File:
    """The QR code of an address, as a picture; its name says nothing of it."""
    code = segno.make(url, micro=False)
    drawn = io.BytesIO()
    code.save(drawn, kind="png", scale=QR_SCALE, border=QR_BORDER)
    side, _ = code.symbol_size(QR_SCALE, QR_BORDER)
    return File("invite-link.png", "image/png", drawn.getvalue(), (int(side), int(side)))


class Handouts:
    """Does the jobs whose outcome is a file. Whether whoever asked may still have it is asked anew."""

    def __init__(
        self,
        *,
        entering: Entering,
        role_of: RoleOf,
        roster: Roster,
        messenger: Messenger,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        address_of: Callable[[str], str],
        zone_of: Callable[[CommunityId], tzinfo],
        clock: Clock,
    ) -> None:
        """
        Args:
            address_of: the address of a link, by its secret.
            zone_of: the time zone in which a community lives.
        """
        self._entering = entering
        self._role_of = role_of
        self._roster = roster
        self._messenger = messenger
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._address_of = address_of
        self._zone_of = zone_of
        self._clock = clock

    async def do(self, job_id: str, job: ShowLink | SendMembers) -> None:
        """Make a file and send it: safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be sent now.
        """
        if isinstance(job, ShowLink):
            await self._show_link(job_id, job)
        else:
            await self._send_members(job_id, job)

    async def ask_for_members(self, job: SendMembers, source: EventId) -> None:
        """Have the table of members sent; the same source is the same file."""
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, f"members-{source}", job.room_id, job, self._clock.now_ms())
        self._wake()

    async def _send_members(self, job_id: str, job: SendMembers) -> None:
        if not await self._may(job.community, job.by, Deed.SEE_MEMBERS):
            return
        people = matching(await self._roster.everybody(job.community), job.word)
        data = as_csv(people).encode("utf-8-sig")  # by the mark at its beginning spreadsheets know that it is UTF-8
        file = File(f"members-{job.community}.csv", "text/csv", data)
        await self._messenger.send_file(job.room_id, file, txn_id=job_id)

    async def _show_link(self, job_id: str, job: ShowLink) -> None:
        token = self._entering.token_of(job.source)
        link = await self._entering.by_token(token)
        if link is None or not await self._may(link.community, job.by, Deed.MAKE_LINKS):
            return
        url = self._address_of(token)
        about = {**shown(link, self._clock.now_ms()), "role": link.role, "url": url, "revoked": job.revoked}
        text = texts.link_made(about, Language(job.language), self._zone_of(link.community))
        await self._messenger.send(job.room_id, notice(text), txn_id=job_id)
        await self._messenger.send_file(job.room_id, qr_code(url), txn_id=f"{job_id}-qr")

    async def _may(self, community: CommunityId, user: UserId, deed: Deed) -> bool:
        role = await self._role_of(community, user)
        return role is not None and may(role, deed)
