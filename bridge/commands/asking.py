"""How commands ask for something about announcements: what they say of the message that asks, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.commands.deeds import Deeds
from bridge.commands.row import Request
from bridge.core.markup import Marked


async def have_done(deeds: Deeds, request: Request, deed: str, **what: Any) -> dict[str, Any]:
    """Have a deed done that is asked for by a message (`source`) in a `room`, answering another one (`reply_to`)."""
    asking = {
        "source": str(request.event_id),
        "room": str(request.room_id),
        "reply_to": None if request.reply_to is None else str(request.reply_to),
    }
    return await deeds.announcements(deed, request.community, {**asking, **what}, request.person)


def said(answer: Mapping[str, Any]) -> str | None:
    """What is answered at once; None where the answer comes by itself, when it is done."""
    return Marked("\n".join(answer["said"])) if answer["said"] else None


async def ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> str:
    """Have a deed done that is always answered at once, and give the answer."""
    return Marked("\n".join((await have_done(deeds, request, deed, **what))["said"]))
