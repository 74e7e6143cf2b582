"""Commands about announcements that were sent."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.asking import have_done, said
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.afterwards import LONGEST_PIN_SECONDS
from bridge.core.languages import DE
from bridge.core.markup import Marked

TEXT = arguments.text()
WHICH = arguments.announcement().optionally()
MARKED = arguments.announcement(marked=True).optionally()
"""Before a text, which may begin with a number of its own."""
SPAN = arguments.duration("for", 60, LONGEST_PIN_SECONDS, names={DE: "Dauer"}).optionally()
TARGET = arguments.word("target", names={DE: "wohin"})


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> dict[str, Any]:
    return await have_done(deeds, request, deed, announcement=request.asked.get(WHICH), **what)


async def edit(deeds: Deeds, request: Request) -> str | None:
    return said(await _ask(deeds, request, "edit", text=request.asked[TEXT], pills=request.pills))


async def withdraw(deeds: Deeds, request: Request) -> str | None:
    return said(await _ask(deeds, request, "withdraw"))


async def withdraw_caution(deeds: Deeds, request: Request) -> Caution:
    """What would be taken back; and what is named in the caution is what a yes is about."""
    answer = await _ask(deeds, request, "look")
    return Caution(what=Marked(answer["said"][0]), asked=request.asked.having(WHICH, f"#{answer['number']}"))


async def pin(deeds: Deeds, request: Request) -> str | None:
    seconds = request.asked.get(SPAN)
    return said(await _ask(deeds, request, "pin", **({} if seconds is None else {"seconds": seconds})))


async def unpin(deeds: Deeds, request: Request) -> str | None:
    return said(await _ask(deeds, request, "unpin"))


async def repost(deeds: Deeds, request: Request) -> str | None:
    return said(await _ask(deeds, request, "repost"))


async def forward(deeds: Deeds, request: Request) -> str | None:
    return said(await _ask(deeds, request, "forward", target=request.asked[TARGET].casefold()))


async def retry(deeds: Deeds, request: Request) -> str | None:
    return said(await _ask(deeds, request, "retry"))


ROWS = (
    Row(
        name="announcement edit",
        names={DE: "ankündigung ändern"},
        aliases=("edit", "ändern", "ankuendigung aendern"),
        arguments=(MARKED, TEXT),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_edit,
        run=edit,
    ),
    Row(
        name="announcement withdraw",
        names={DE: "ankündigung zurückziehen"},
        aliases=("withdraw", "zurückziehen", "ankuendigung zurueckziehen"),
        arguments=(WHICH,),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_withdraw,
        run=withdraw,
        confirm=withdraw_caution,
    ),
    Row(
        name="announcement pin",
        names={DE: "ankündigung anheften"},
        aliases=("pin", "anheften", "ankuendigung anheften"),
        arguments=(WHICH, SPAN),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_pin,
        run=pin,
    ),
    Row(
        name="announcement unpin",
        names={DE: "ankündigung lösen"},
        aliases=("unpin", "loslösen", "ankuendigung loesen"),
        arguments=(WHICH,),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_unpin,
        run=unpin,
    ),
    Row(
        name="announcement repost",
        names={DE: "ankündigung wiederholen"},
        aliases=("repost", "ankuendigung wiederholen"),
        arguments=(WHICH,),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_repost,
        run=repost,
    ),
    Row(
        name="announcement forward",
        names={DE: "ankündigung weiterleiten"},
        aliases=("forward", "weiterleiten", "ankuendigung weiterleiten"),
        arguments=(WHICH, TARGET),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_forward,
        run=forward,
    ),
    Row(
        name="announcement retry",
        names={DE: "ankündigung nachliefern"},
        aliases=("retry", "nachliefern", "ankuendigung nachliefern"),
        arguments=(WHICH,),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_retry,
        run=retry,
    ),
)
