"""Commands about announcements."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

TEXT = arguments.text()


async def announce(deeds: Deeds, request: Request) -> None:
    """The answer comes when the announcement is there."""
    await deeds.publish(
        [request.community],
        request.asked[TEXT],
        source=request.event_id,
        author=request.person,
        reply_room=request.room_id,
    )


ROWS = (
    Row(
        name="announce",
        names={DE: "ankündigen"},
        aliases=("ankuendigen", "ansage", "melden"),
        arguments=(TEXT,),
        deed=Deed.ANNOUNCE,
        explain=texts.explain_announce,
        run=announce,
    ),
)
