"""What is handed out in chats as a file: made when it is sent, so that it is stored nowhere, and by a durable job."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable

import segno

from bridge.core import texts
from bridge.core.access import Deed, may
from bridge.core.community import Role
from bridge.core.ids import CommunityId, UserId
from bridge.core.languages import Language
from bridge.core.links import shown
from bridge.core.messages import ShowLink, notice
from bridge.features.entering import Entering
from bridge.ports import Clock, File, Messenger

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
        messenger: Messenger,
        address_of: Callable[[str], str],
        clock: Clock,
    ) -> None:
        """
        Args:
            address_of: the address of a link, by its secret.
        """
        self._entering = entering
        self._role_of = role_of
        self._messenger = messenger
        self._address_of = address_of
        self._clock = clock

    async def show_link(self, job_id: str, job: ShowLink) -> None:
        """Show a new link to whoever asked for it: safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be sent now.
        """
        token = self._entering.token_of(job.source)
        link = await self._entering.by_token(token)
        if link is None or not await self._may(link.community, job.by, Deed.MAKE_LINKS):
            return
        url = self._address_of(token)
        about = {**shown(link, self._clock.now_ms()), "role": link.role, "url": url, "revoked": job.revoked}
        text = texts.link_made(about, Language(job.language))
        await self._messenger.send(job.room_id, notice(text), txn_id=job_id)
        await self._messenger.send_file(job.room_id, qr_code(url), txn_id=f"{job_id}-qr")

    async def _may(self, community: CommunityId, user: UserId, deed: Deed) -> bool:
        role = await self._role_of(community, user)
        return role is not None and may(role, deed)
