"""Commands about calendars of events that programs subscribe to."""

from __future__ import annotations

from typing import Any

from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> Marked:
    given = {"source": str(request.event_id), **what}
    answer = await deeds.announcements(deed, request.community, given, request.person)
    return Marked("\n".join(answer["said"]))


async def address(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "calendar address", private=not request.mark)


async def reset(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "calendar reset", private=not request.mark)


async def on(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "calendar on")


async def caution(deeds: Deeds, request: Request) -> Caution | None:
    """What leaves encryption needs another word."""
    return Caution(what=await _ask(deeds, request, "calendar caution"), asked=request.asked)


async def off(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "calendar off")


ROWS = (
    Row(
        name="calendar",
        names={DE: "kalender"},
        deed=Deed.CALENDAR,
        explain=texts.explain_calendar,
        run=address,
    ),
    Row(
        name="calendar reset",
        names={DE: "kalender ersetzen"},
        deed=Deed.CALENDAR,
        explain=texts.explain_calendar_reset,
        run=reset,
    ),
    Row(
        name="calendar on",
        names={DE: "kalender an"},
        deed=Deed.OUTSIDE,
        explain=texts.explain_calendar_on,
        run=on,
        confirm=caution,
    ),
    Row(
        name="calendar off",
        names={DE: "kalender aus"},
        deed=Deed.OUTSIDE,
        explain=texts.explain_calendar_off,
        run=off,
    ),
)
