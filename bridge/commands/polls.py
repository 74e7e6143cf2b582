"""Commands about polls."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.announcing import TO
from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

QUESTION = arguments.text("question | option | option …", names={DE: "Frage | Antwort | Antwort …"})
MULTIPLE = arguments.flag("multiple", names={DE: "mehrere"})
HIDDEN = arguments.flag("hidden", names={DE: "geheim"})
UNTIL = arguments.moment("until", names={DE: "bis"}).as_option()
NUMBER = arguments.word("number", names={DE: "Nummer"}).optionally()
CHOICE = arguments.word("number", names={DE: "Nummer"}).repeated()


async def poll(deeds: Deeds, request: Request) -> str:
    asked = request.asked
    return await ask(
        deeds,
        request,
        "poll",
        text=asked[QUESTION],
        multiple=asked.get(MULTIPLE) is True,
        hidden=asked.get(HIDDEN) is True,
        until=asked.get(UNTIL),
        to=list(asked.all(TO)),
    )


async def show(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "poll show", announcement=request.asked.get(NUMBER))


async def close(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "poll close", announcement=request.asked.get(NUMBER))


async def list_(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "poll list")


async def vote(deeds: Deeds, request: Request) -> str:
    words = request.asked.all(CHOICE)
    return await ask(deeds, request, "vote", choice=list(words), private=not request.mark)


ROWS = (
    Row(
        name="poll",
        names={DE: "umfrage"},
        arguments=(MULTIPLE, HIDDEN, UNTIL, TO, QUESTION),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_poll,
        run=poll,
    ),
    Row(
        name="poll show",
        names={DE: "umfrage zeigen"},
        arguments=(NUMBER,),
        deed=Deed.VOTE,
        explain=texts.explain_poll_show,
        run=show,
    ),
    Row(
        name="poll close",
        names={DE: "umfrage beenden"},
        arguments=(NUMBER,),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_poll_close,
        run=close,
    ),
    Row(
        name="poll list",
        names={DE: "umfrage liste"},
        aliases=("polls", "umfragen"),
        deed=Deed.POLL,
        explain=texts.explain_poll_list,
        run=list_,
    ),
    Row(
        name="vote",
        names={DE: "abstimmen"},
        arguments=(CHOICE,),
        deed=Deed.VOTE,
        explain=texts.explain_vote,
        run=vote,
    ),
)
