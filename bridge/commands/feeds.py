"""Commands about announcements that are read outside of Matrix."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

WANTED = arguments.choice("on|off", {"on": True, "off": False, "an": True, "aus": False}, names={DE: "an|aus"})


async def feed(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "feed", wanted=request.asked[WANTED])


async def caution(deeds: Deeds, request: Request) -> Caution | None:
    """What leaves encryption needs another word; nothing does that is closed."""
    if not request.asked[WANTED]:
        return None
    return Caution(what=await ask(deeds, request, "feed caution"), asked=request.asked)


ROWS = (
    Row(
        name="feed",
        arguments=(WANTED,),
        deed=Deed.OUTSIDE,
        explain=texts.explain_feed,
        run=feed,
        confirm=caution,
    ),
)
