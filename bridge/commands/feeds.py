"""Commands about announcements that are read outside of Matrix."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

WANTED = arguments.choice("on|off", {"on": True, "off": False, "an": True, "aus": False}, names={DE: "an|aus"})


async def feed(deeds: Deeds, request: Request) -> str:
    what = {"wanted": request.asked[WANTED], "source": str(request.event_id)}
    answer = await deeds.announcements("feed", request.community, what, request.person)
    return Marked("\n".join(answer["said"]))


async def caution(deeds: Deeds, request: Request) -> Caution | None:
    """What leaves encryption needs another word; nothing does that is closed."""
    if not request.asked[WANTED]:
        return None
    answer = await deeds.announcements("feed caution", request.community, {}, request.person)
    return Caution(what=Marked("\n".join(answer["said"])), asked=request.asked)


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
