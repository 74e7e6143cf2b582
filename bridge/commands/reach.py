"""Commands about how far announcements came, and who confirmed them."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

WHICH = arguments.announcement().optionally()
CSV = arguments.flag("csv")


def _which(request: Request) -> dict[str, Any]:
    return {"announcement": request.asked.get(WHICH), "file": request.asked.get(CSV) is True}


async def stats(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "reach", **_which(request))


async def ack(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "acknowledgement", **_which(request))


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
