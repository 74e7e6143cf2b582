"""Commands about announcements that wait for their time."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.announcing import ACK, RING, SINGLE, TEMPLATE, TEXT, TO, write
from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

WHEN = arguments.when("when", names={DE: "wann"})
NUMBER = arguments.number("number", 1, 999_999, names={DE: "Nummer"})
WHAT = arguments.choice("what", {"at": "when", "um": "when", "am": "when", "text": "text"}, names={DE: "was"})
CHANGE = arguments.text("new", names={DE: "neu"})


async def schedule(deeds: Deeds, request: Request) -> str | None:
    return await write(deeds, request, request.asked[WHEN])


async def scheduled(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "scheduled")


async def show(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "schedule show", number=request.asked[NUMBER])


async def edit(deeds: Deeds, request: Request) -> str:
    change = {request.asked[WHAT]: request.asked[CHANGE]}
    return await ask(deeds, request, "schedule edit", number=request.asked[NUMBER], pills=request.pills, **change)


async def skip(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "schedule skip", number=request.asked[NUMBER])


async def cancel(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "schedule cancel", number=request.asked[NUMBER])


SCHEDULE = Row(
    name="schedule",
    names={DE: "planen"},
    arguments=(ACK, TO, RING, TEMPLATE, SINGLE, WHEN, TEXT),
    deed=Deed.ANNOUNCE,
    explain=texts.explain_schedule,
    run=schedule,
)

ROWS = (
    SCHEDULE,
    Row(
        name="schedule list",
        names={DE: "planen liste"},
        aliases=("scheduled", "geplant"),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_scheduled,
        run=scheduled,
    ),
    Row(
        name="schedule show",
        names={DE: "planen zeigen"},
        arguments=(NUMBER,),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_schedule_show,
        run=show,
    ),
    Row(
        name="schedule edit",
        names={DE: "planen ändern"},
        aliases=("planen aendern",),
        arguments=(NUMBER, WHAT, CHANGE),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_schedule_edit,
        run=edit,
    ),
    Row(
        name="schedule skip",
        names={DE: "planen auslassen"},
        arguments=(NUMBER,),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_schedule_skip,
        run=skip,
    ),
    Row(
        name="schedule cancel",
        names={DE: "planen absagen"},
        arguments=(NUMBER,),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_schedule_cancel,
        run=cancel,
    ),
)
