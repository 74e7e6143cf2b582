"""Commands about communities within a community: made, moved and renamed by people."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

NAME = arguments.text("name", names={DE: "Name"})
ID = arguments.word("id", names={DE: "Kennung"}).as_option()
PARENT = arguments.word("parent", names={DE: "wohin"})


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> str:
    """Have it done; the rooms follow, and the answer does not wait for them."""
    answer = await deeds.subcommunities(
        deed, request.community, request.person, source=str(request.event_id), wait=False, **what
    )
    return Marked("\n".join(answer["said"]))


async def create(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "create", text=request.asked[NAME], key=request.asked.get(ID))


async def list_(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "list")


async def move(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "move", parent=request.asked[PARENT])


async def rename(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "rename", text=request.asked[NAME])


ROWS = (
    Row(
        name="subcommunity create",
        names={DE: "teil neu"},
        aliases=("subcommunity new",),
        arguments=(ID, NAME),
        deed=Deed.SUBCOMMUNITIES,
        explain=texts.explain_subcommunity_create,
        run=create,
    ),
    Row(
        name="subcommunity list",
        names={DE: "teile"},
        aliases=("subcommunities",),
        deed=Deed.SUBCOMMUNITIES,
        explain=texts.explain_subcommunity_list,
        run=list_,
    ),
    Row(
        name="subcommunity move",
        names={DE: "teil verlegen"},
        arguments=(PARENT,),
        deed=Deed.SUBCOMMUNITIES,
        explain=texts.explain_subcommunity_move,
        run=move,
    ),
    Row(
        name="subcommunity rename",
        names={DE: "teil umbenennen"},
        arguments=(NAME,),
        deed=Deed.SUBCOMMUNITIES,
        explain=texts.explain_subcommunity_rename,
        run=rename,
    ),
)
