"""Commands about the weekly summary: everybody decides for themselves."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

WANTED = arguments.choice("on|off", {"on": True, "off": False, "an": True, "aus": False}, names={DE: "an|aus"})


async def digest(deeds: Deeds, request: Request) -> str:
    what = {"wanted": request.asked[WANTED]}
    answer = await deeds.announcements("digest", request.community, what, request.person)
    return Marked("\n".join(answer["said"]))


ROWS = (
    Row(
        name="digest",
        names={DE: "zusammenfassung"},
        arguments=(WANTED,),
        deed=Deed.DIGEST,
        explain=texts.explain_digest,
        run=digest,
    ),
)
