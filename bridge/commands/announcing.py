"""Commands about announcements."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.asking import ask, have_done, said
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import NEEDED, Deed, may
from bridge.core.languages import DE

AT = arguments.when("at", names={DE: "um"}).as_option()
ACK = arguments.flag("ack", names={DE: "bestätigen"})
TO = arguments.word("to", names={DE: "an"}).as_option().repeated()
RING = arguments.flag("ring", names={DE: "läuten"})
TEMPLATE = arguments.word("template", names={DE: "vorlage"}).as_option()
SINGLE = arguments.flag("single", names={DE: "einzeln"})
TEXT = arguments.text(or_along=True, instead=("template",))


async def announce(deeds: Deeds, request: Request) -> str | None:
    """The answer is a preview; or, where the community wants none, it comes when the announcement is there. Of one for
    later it comes at once then."""
    return await write(deeds, request, request.asked.get(AT))


async def write(deeds: Deeds, request: Request, when: str | None) -> str | None:
    """Take an announcement, for later or for now, with all that its command says of it."""
    asked, community = request.asked, request.community
    if when is not None and not may(request.roles.get(community), Deed.ANNOUNCE):
        return texts.not_allowed(NEEDED[Deed.ANNOUNCE], request.language)
    return said(
        await have_done(
            deeds,
            request,
            "write",
            text=asked.get(TEXT) or "",
            at=when,
            to=list(asked.all(TO)),
            acknowledge=asked.get(ACK) is True,
            ring=asked.get(RING) is True,
            template=asked.get(TEMPLATE),
            single=asked.get(SINGLE) is True,
            pills=request.pills,
            file=request.file,
            edits=request.edits,
        )
    )


async def list_(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "list")


ANNOUNCE = Row(
    name="announce",
    names={DE: "ankündigen"},
    aliases=("ankuendigen", "ansage", "melden"),
    arguments=(ACK, AT, TO, RING, TEMPLATE, SINGLE, TEXT),
    deed=Deed.ANNOUNCE_IN_GROUPS,
    explain=texts.explain_announce,
    run=announce,
)

ROWS = (
    ANNOUNCE,
    Row(
        name="announcements",
        names={DE: "ankündigungen"},
        aliases=("ankuendigungen",),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_announcements,
        run=list_,
    ),
)
