"""Commands about how far announcements came, and who confirmed them."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

WHICH = arguments.announcement().optionally()
CSV = arguments.flag("csv")


async def _ask(deeds: Deeds, request: Request, deed: str) -> str:
    what: dict[str, Any] = {
        "source": str(request.event_id),
        "announcement": request.asked.get(WHICH) or "",
        "reply_to": request.reply_to or "",
        "room": str(request.room_id),
        "file": request.asked.get(CSV) is True,
    }
    answer = await deeds.announcements(deed, request.community, what, request.person)
    return Marked("\n".join(answer["said"]))


async def stats(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "reach")


async def ack(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "acknowledgement")


ROWS = (
    Row(
        name="stats",
        names={DE: "reichweite"},
        aliases=("reach",),
        arguments=(WHICH, CSV),
        deed=Deed.SEE_REACH,
        explain=texts.explain_stats,
        run=stats,
    ),
    Row(
        name="ack",
        names={DE: "bestätigungen"},
        aliases=("bestaetigungen", "acknowledgements"),
        arguments=(WHICH, CSV),
        deed=Deed.SEE_REACH,
        explain=texts.explain_ack,
        run=ack,
    ),
)
