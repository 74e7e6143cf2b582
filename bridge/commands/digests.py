"""Commands about the weekly summary: everybody decides for themselves, and an owner whether it may go by e-mail."""

from __future__ import annotations

import re

from bridge.commands import arguments
from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

WANTED = arguments.choice("on|off", {"on": True, "off": False, "an": True, "aus": False}, names={DE: "an|aus"})
HOW = arguments.word("on|off|e-mail address|code", names={DE: "an|aus|E-Mail-Adresse|Code"})
_SWITCH = {"on": True, "an": True, "off": False, "aus": False}
_CODE = re.compile(r"[0-9]{6}\Z")


async def digest(deeds: Deeds, request: Request) -> str:
    """On or off in the chat; by e-mail to an address, and the code that was sent there."""
    word = request.asked[HOW]
    if word.casefold() in _SWITCH:
        return await ask(deeds, request, "digest", wanted=_SWITCH[word.casefold()])
    if _CODE.match(word):
        return await ask(deeds, request, "digest code", text=word)
    if request.mark:  # an address is nobody else's business
        return texts.only_in_a_chat(request.language)
    return await ask(deeds, request, "digest email", text=word)


async def email(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "email", wanted=request.asked[WANTED])


async def caution(deeds: Deeds, request: Request) -> Caution | None:
    """What leaves encryption needs another word; nothing does that is ended."""
    if not request.asked[WANTED]:
        return None
    return Caution(what=await ask(deeds, request, "email caution"), asked=request.asked)


ROWS = (
    Row(
        name="digest",
        names={DE: "zusammenfassung"},
        arguments=(HOW,),
        deed=Deed.DIGEST,
        explain=texts.explain_digest,
        run=digest,
    ),
    Row(
        name="email",
        names={DE: "mail"},
        arguments=(WANTED,),
        deed=Deed.OUTSIDE,
        explain=texts.explain_email,
        run=email,
        confirm=caution,
    ),
)
