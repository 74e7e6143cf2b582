"""Commands about who belongs to a community, and as what: the same deeds that the command line has."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.ids import CommunityId
from bridge.core.languages import DE
from bridge.core.markup import Marked

WHO, WHOM = arguments.user(), arguments.user().repeated()
GROUP = arguments.group()
ASKED = arguments.text("group", names={DE: "Gruppe"})
"""By key or name. What groups there are beside those that one may ask for is nobody's business."""
GROUPS = arguments.group().optionally().repeated()
REASON = arguments.text("reason", names={DE: "Grund"}, optional=True)
REVOKE = arguments.flag("revoke-links", names={DE: "links-zurück"})
ROLE = arguments.choice("role", {"owner": "owner", "admin": "admin"}, names={DE: "Rolle"})


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> str:
    """Have it done; the rooms follow, and the answer does not wait for them."""
    asked = {"source": str(request.event_id), "room": str(request.room_id), **what}
    answer = await deeds.people(deed, request.community, request.person, wait=False, **asked)
    return Marked("\n".join(answer["said"]))


async def invite(deeds: Deeds, request: Request) -> str:
    return await _ask(
        deeds, request, "invite", users=list(request.asked.all(WHOM)), groups=list(request.asked.all(GROUPS))
    )


async def remove(deeds: Deeds, request: Request) -> str:
    return await _remove(deeds, request, "remove")


async def ban(deeds: Deeds, request: Request) -> str:
    return await _remove(deeds, request, "ban")


async def _remove(deeds: Deeds, request: Request, deed: str) -> str:
    return await _ask(
        deeds,
        request,
        deed,
        users=[request.asked[WHO]],
        reason=request.asked.get(REASON) or "",
        revoke_links=request.asked.get(REVOKE) is True,
    )


async def unban(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "unban", users=[request.asked[WHO]])


async def promote(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "promote", users=[request.asked[WHO]], role=request.asked[ROLE])


async def demote(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "demote", users=[request.asked[WHO]])


async def moderator_add(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "moderator", users=[request.asked[WHO]], group=request.asked[GROUP], add=True)


async def moderator_remove(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "moderator", users=[request.asked[WHO]], group=request.asked[GROUP], add=False)


async def transfer(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "transfer", users=[request.asked[WHO]])


async def transfer_caution(deeds: Deeds, request: Request) -> Caution:
    """Whoever has handed their ownership over cannot take it back. What could not be done is refused before a yes."""
    said = await _ask(deeds, request, "may transfer", users=[request.asked[WHO]])
    return Caution(what=said, asked=request.asked)


async def ask(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "ask", group=request.asked[ASKED])


def _can_ask(deeds: Deeds, community: CommunityId) -> bool:
    return bool(deeds.groups_to_ask_for(community))


async def requests(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "requests")


async def approve(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "approve", users=[request.asked[WHO]])


async def reject(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "reject", users=[request.asked[WHO]], reason=request.asked.get(REASON) or "")


ROWS = (
    Row(
        name="invite",
        names={DE: "einladen"},
        arguments=(WHOM, GROUPS),
        deed=Deed.INVITE,
        explain=texts.explain_invite,
        run=invite,
    ),
    Row(
        name="ask",
        names={DE: "beitreten"},
        aliases=("ask for",),
        arguments=(ASKED,),
        deed=Deed.ASK,
        explain=texts.explain_ask,
        run=ask,
        for_members=_can_ask,
    ),
    Row(
        name="approve",
        names={DE: "annehmen"},
        aliases=("accept",),
        arguments=(WHO,),
        deed=Deed.DECIDE,
        explain=texts.explain_approve,
        run=approve,
    ),
    Row(
        name="reject",
        names={DE: "ablehnen"},
        aliases=("decline",),
        arguments=(WHO, REASON),
        deed=Deed.DECIDE,
        explain=texts.explain_reject,
        run=reject,
    ),
    Row(name="requests", names={DE: "anfragen"}, deed=Deed.DECIDE, explain=texts.explain_requests, run=requests),
    Row(
        name="remove",
        names={DE: "entfernen"},
        aliases=("kick",),
        arguments=(WHO, REVOKE, REASON),
        deed=Deed.REMOVE,
        explain=texts.explain_remove,
        run=remove,
    ),
    Row(
        name="ban",
        names={DE: "sperren"},
        arguments=(WHO, REVOKE, REASON),
        deed=Deed.BAN,
        explain=texts.explain_ban,
        run=ban,
    ),
    Row(
        name="unban",
        names={DE: "entsperren"},
        arguments=(WHO,),
        deed=Deed.BAN,
        explain=texts.explain_unban,
        run=unban,
    ),
    Row(
        name="moderator add",
        names={DE: "moderator hinzu"},
        arguments=(GROUP, WHO),
        deed=Deed.MODERATORS,
        explain=texts.explain_moderator_add,
        run=moderator_add,
    ),
    Row(
        name="moderator remove",
        names={DE: "moderator weg"},
        arguments=(GROUP, WHO),
        deed=Deed.MODERATORS,
        explain=texts.explain_moderator_remove,
        run=moderator_remove,
    ),
    Row(
        name="promote",
        names={DE: "befördern"},
        arguments=(WHO, ROLE),
        deed=Deed.APPOINT,
        explain=texts.explain_promote,
        run=promote,
    ),
    Row(
        name="demote",
        names={DE: "zurückstufen"},
        arguments=(WHO,),
        deed=Deed.APPOINT,
        explain=texts.explain_demote,
        run=demote,
    ),
    Row(
        name="transfer",
        names={DE: "übergeben"},
        arguments=(WHO,),
        deed=Deed.TRANSFER,
        explain=texts.explain_transfer,
        run=transfer,
        confirm=transfer_caution,
    ),
)
