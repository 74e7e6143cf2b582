"""Commands about a community as a whole: how it is set up, and its end."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

ASPECTS = {
    "name": "name",
    "description": "description",
    "picture": "avatar",
    "welcome": "welcome",
    "rules": "rules",
    "rules-required": "rules_required",
    "language": "language",
    "timezone": "timezone",
    "join": "join",
    "groups-by": "groups_by",
    "members-may-invite": "members_may_invite",
    "reach-names": "reach_names",
    "discussion": "discussion",
    "beschreibung": "description",
    "bild": "avatar",
    "begrüßung": "welcome",
    "regeln": "rules",
    "regeln-pflicht": "rules_required",
    "sprache": "language",
    "zeitzone": "timezone",
    "beitritt": "join",
    "gruppen-von": "groups_by",
    "mitglieder-laden-ein": "members_may_invite",
    "namen-der-lesenden": "reach_names",
    "diskussion": "discussion",
}

WHAT = arguments.choice("what", ASPECTS, names={DE: "was"})
VALUE = arguments.text("value", names={DE: "Wert"})
REMOVE = arguments.flag("remove", names={DE: "entfernen"})
TYPED = arguments.text("name", names={DE: "Name"}, optional=True)


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> str:
    """Have it done; the rooms follow, and the answer does not wait for them."""
    answer = await deeds.community(deed, request.community, request.person, wait=False, **what)
    return Marked("\n".join(answer["said"]))


async def about(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "about")


async def set_(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "set", key=request.asked[WHAT], text=request.asked[VALUE])


async def reset(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "reset", key=request.asked[WHAT])


async def picture(deeds: Deeds, request: Request) -> str:
    """The picture is the one under which the command stands, or that of the message that it answers."""
    return await _ask(
        deeds,
        request,
        "picture",
        remove=request.asked.get(REMOVE) is True,
        picture=request.picture,
        reply_to=request.reply_to,
        room=request.room_id,
    )


async def deactivate(deeds: Deeds, request: Request) -> str:
    """Whoever types the name of the community means it; before that they are told what comes of it."""
    typed = request.asked.get(TYPED)
    if typed is None:
        form = f"{request.mark}{DEACTIVATE.called(request.language)} {request.community} {{name}}"
        return await _ask(deeds, request, "caution", form=form)
    return await _ask(deeds, request, "deactivate", text=typed)


DEACTIVATE = Row(
    name="community deactivate",
    names={DE: "gemeinschaft auflösen"},
    aliases=("subcommunity dissolve", "dissolve", "teil auflösen"),
    arguments=(TYPED,),
    deed=Deed.DEACTIVATE,
    explain=texts.explain_deactivate,
    run=deactivate,
)

ROWS = (
    Row(
        name="community about",
        names={DE: "gemeinschaft zeigen"},
        aliases=("settings",),
        deed=Deed.SET_UP,
        explain=texts.explain_about,
        run=about,
    ),
    Row(
        name="community set",
        names={DE: "gemeinschaft setzen"},
        arguments=(WHAT, VALUE),
        deed=Deed.SET_UP,
        explain=texts.explain_set,
        run=set_,
    ),
    Row(
        name="community reset",
        names={DE: "gemeinschaft leeren"},
        arguments=(WHAT,),
        deed=Deed.SET_UP,
        explain=texts.explain_reset,
        run=reset,
    ),
    Row(
        name="community picture",
        names={DE: "gemeinschaft bild"},
        arguments=(REMOVE,),
        deed=Deed.SET_UP,
        explain=texts.explain_community_picture,
        run=picture,
    ),
    DEACTIVATE,
)
