"""Commands about announcements."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.commands.schedules import AT, at_a_time
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.markup import Marked

ACK = arguments.flag("ack", names={DE: "bestätigen"})
TEXT = arguments.text()
TO = arguments.word("to", names={DE: "an"}).as_option().repeated()


async def announce(deeds: Deeds, request: Request) -> str | None:
    """The answer comes when the announcement is there; of one for later, at once."""
    when = request.asked.get(AT)
    if when is not None:
        more: dict[str, Any] = {"to": to} if (to := request.asked.all(TO)) else {}
        return await at_a_time(
            deeds, request, when, **more, **({"acknowledge": True} if request.asked.get(ACK) else {})
        )
    await deeds.publish(
        request.community,
        request.asked[TEXT],
        source=request.event_id,
        author=request.person,
        reply_room=request.room_id,
        to=request.asked.all(TO),
        acknowledge=request.asked.get(ACK) is True,
    )
    return None


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> str:
    answer = await deeds.announcements(
        deed, request.community, {"source": str(request.event_id), **what}, request.person
    )
    return Marked("\n".join(answer["said"]))


async def list_(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "list")


ROWS = (
    Row(
        name="announce",
        names={DE: "ankündigen"},
        aliases=("ankuendigen", "ansage", "melden"),
        arguments=(ACK, AT, TO, TEXT),
        deed=Deed.ANNOUNCE_IN_GROUPS,
        explain=texts.explain_announce,
        run=announce,
    ),
    Row(
        name="announcements",
        names={DE: "ankündigungen"},
        aliases=("ankuendigungen",),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_announcements,
        run=list_,
    ),
)
