"""The announcement that somebody named in what they ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.core.announcements import Named, named
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import EventId, RoomId
from bridge.store.announcements import Announcement


async def announcement_of(
    house: House, community: Community, which: Named | None, what: Mapping[str, Any]
) -> Announcement | None:
    """The announcement that is named, or the one that the message answers (`reply_to` in `room_id`); None for none."""
    reply_to, room_id = what.get("reply_to"), what.get("room_id")
    if which is None and isinstance(reply_to, str) and isinstance(room_id, str):
        which = Named(room_id=RoomId(room_id), event_id=EventId(reply_to))
    return None if which is None else await house.newsroom.announcements.find(community.id, which)


async def found_announcement(
    house: House, community: Community, what: Mapping[str, Any], kind: str
) -> tuple[int, Announcement]:
    """The announcement that `named` (or else the answered message) says, and its number.

    Raises:
        Refused: there is none.
    """
    word = what.get("named")
    found = await announcement_of(house, community, named(word) if isinstance(word, str) else None, what)
    if found is None:
        raise Refused(
            f"there is no such {kind}",
            where=str(community.id),
            remedy="name it by its number, such as #12, or by its link, or answer its message",
        )
    return await house.newsroom.announcements.number_of(community.id, found.id), found


def text_of(what: Mapping[str, Any], name: str) -> str:
    """A text that has to be given.

    Raises:
        Refused: it is not.
    """
    value = what.get(name)
    if not isinstance(value, str):
        raise Refused(f"{name} is missing")
    return value
