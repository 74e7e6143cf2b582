"""Commands about calendars of events that programs subscribe to."""

from __future__ import annotations

from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE


async def address(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "calendar address", private=not request.mark)


async def reset(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "calendar reset", private=not request.mark)


async def on(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "calendar on")


async def caution(deeds: Deeds, request: Request) -> Caution | None:
    """What leaves encryption needs another word."""
    return Caution(what=await ask(deeds, request, "calendar caution"), asked=request.asked)


async def off(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "calendar off")


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
