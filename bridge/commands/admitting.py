"""The command that lets the announcer into a group, for announcements."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

# a word: which hidden groups there are is nothing to suggest to moderators of others
GROUP = arguments.word("group", names={DE: "Gruppe"})
SWITCH = arguments.choice("on", {"on": "on", "off": "off", "an": "on", "aus": "off"}, names={DE: "an"})


async def announcements(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "announcements")


async def caution(deeds: Deeds, request: Request) -> Caution | None:
    """What letting the announcer in means is said first; that it goes needs no word more."""
    said = await _ask(deeds, request, "may announcements")
    return Caution(what=Marked(said), asked=request.asked) if said else None


async def _ask(deeds: Deeds, request: Request, deed: str) -> str:
    asked = request.asked
    answer = await deeds.groups(
        deed,
        request.community,
        request.person,
        key=asked[GROUP].casefold(),
        on=asked[SWITCH],
        source=str(request.event_id),
        wait=False,
    )
    return Marked("\n".join(answer["said"]))


ROWS = (
    Row(
        name="group announcements",
        names={DE: "gruppe ankündigungen"},
        aliases=("gruppe ankuendigungen",),
        arguments=(GROUP, SWITCH),
        deed=Deed.ADMIT_ANNOUNCER,
        explain=texts.explain_group_announcements,
        run=announcements,
        confirm=caution,
    ),
)
