"""Commands about invite links: the same deeds that the command line has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.community import Role
from bridge.core.languages import DE
from bridge.core.messages import ShowLink

MOST_SHOWN = 20
GROUPS = arguments.group().optionally().repeated()
EXPIRES = arguments.word("expires", names={DE: "Frist"}).as_option()
USES = arguments.number("uses", 1, 1_000_000, names={DE: "Plätze"}).as_option()
APPROVAL = arguments.flag("needs-approval", names={DE: "mit-Zustimmung"})
ROLE = arguments.choice(
    "role", {"member": "member", "moderator": "moderator", "admin": "admin"}, names={DE: "Rolle"}
).as_option()
LINK = arguments.word("link", names={DE: "Link"})


def _terms(request: Request) -> dict[str, Any]:
    return {
        "groups": list(request.asked.all(GROUPS)),
        "expires": request.asked.get(EXPIRES) or "7d",
        "uses": request.asked.get(USES),
        "needs_approval": request.asked.get(APPROVAL) or False,
        "role": request.asked.get(ROLE) or "member",
        "by": request.person,
        "show": ShowLink(request.room_id, request.event_id, request.person, str(request.language), None),
    }


def _with_role(link: Mapping[str, Any]) -> dict[str, Any]:
    return {**link, "role": Role[link["role"].upper()]}


async def new(deeds: Deeds, request: Request) -> None:
    """The answer is a message of its own: it has a secret in it, which is stored nowhere."""
    await deeds.links.new(request.community, **_terms(request))


async def reset(deeds: Deeds, request: Request) -> None:
    await deeds.links.reset(request.community, **_terms(request))


async def reset_caution(deeds: Deeds, request: Request) -> Caution:
    """Whoever holds an old link is turned away from then on."""
    name = await deeds.name_of(request.community)
    return Caution(what=texts.link_reset_caution(name, request.language), asked=request.asked)


async def list_(deeds: Deeds, request: Request) -> str:
    found = await deeds.links.list(request.community, by=request.person)
    usable = [link for link in found if link["verdict"] == "ok"]
    name, shown = await deeds.name_of(request.community), [_with_role(link) for link in usable[:MOST_SHOWN]]
    return texts.links(name, shown, len(usable), len(found), request.language, deeds.zone_of(request.community))


async def revoke(deeds: Deeds, request: Request) -> str:
    revoked = await deeds.links.revoke(request.asked[LINK], by=request.person)
    return texts.link_revoked(revoked, request.language)


ROWS = (
    Row(
        name="link new",
        names={DE: "link neu"},
        aliases=("new link", "invite link"),
        arguments=(GROUPS, EXPIRES, USES, APPROVAL, ROLE),
        deed=Deed.MAKE_LINKS,
        explain=texts.explain_link_new,
        run=new,
    ),
    Row(
        name="link list",
        names={DE: "link liste"},
        aliases=("links",),
        deed=Deed.MAKE_LINKS,
        explain=texts.explain_link_list,
        run=list_,
    ),
    Row(
        name="link revoke",
        names={DE: "link zurückziehen"},
        aliases=("revoke",),
        arguments=(LINK,),
        deed=Deed.MAKE_LINKS,
        explain=texts.explain_link_revoke,
        run=revoke,
    ),
    Row(
        name="link reset",
        names={DE: "link ersetzen"},
        arguments=(GROUPS, EXPIRES, USES, APPROVAL, ROLE),
        deed=Deed.MAKE_LINKS,
        explain=texts.explain_link_reset,
        run=reset,
        confirm=reset_caution,
    ),
)
