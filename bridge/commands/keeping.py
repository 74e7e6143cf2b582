"""Commands about how communities stand: held plans and locks."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.grammar import About
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

PLAN = arguments.word("plan", names={DE: "Plan"}).optionally()


async def status(deeds: Deeds, request: Request) -> str:
    chosen = request.where if request.asked.community is None else (request.asked.community,)
    return "\n\n".join([texts.status(await deeds.community_status(name), request.language) for name in chosen])


async def confirm_apply(deeds: Deeds, request: Request) -> Caution | None:
    """Whoever writes the plan's name has seen it; else they are shown why it was held, and its name is kept."""
    held = await deeds.held(request.community)
    if held is None or request.asked.get(PLAN) is not None:
        return None
    name, reasons = await deeds.name_of(request.community), await deeds.held_since(request.community)
    what = texts.apply_caution(name, reasons, request.language)
    return Caution(what, request.asked.having(PLAN, held))


async def apply(deeds: Deeds, request: Request) -> str:
    held = await deeds.held(request.community)
    if held is None:
        return texts.nothing_held(request.language)
    if (request.asked.get(PLAN) or "").lower() != held:
        return texts.which_plan(request.community, held, request.language)
    return texts.applied(await deeds.agree(request.community, held), request.language)


async def thaw(deeds: Deeds, request: Request) -> str:
    await deeds.thaw(request.community)
    return texts.thawed(request.language)


ROWS = (
    Row(
        name="status",
        names={DE: "stand"},
        about=About.ANY,
        deed=Deed.STATUS,
        explain=texts.explain_status,
        run=status,
    ),
    Row(
        name="apply",
        names={DE: "anwenden"},
        arguments=(PLAN,),
        deed=Deed.APPLY_HELD_PLAN,
        explain=texts.explain_apply,
        run=apply,
        confirm=confirm_apply,
    ),
    Row(name="thaw", names={DE: "auftauen"}, deed=Deed.THAW, explain=texts.explain_thaw, run=thaw),
)
