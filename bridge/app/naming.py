"""What somebody named in what they ask: the announcement, a text, the people whom it mentions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.announcements import Named, named
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.messages import Pill
from bridge.features.announcements import Announcements
from bridge.store.announcements import Announcement


async def announcement_named(
    announcements: Announcements, community: CommunityId, what: Mapping[str, Any], kind: str = "announcement"
) -> Announcement | None:
    """The announcement that `announcement` (`#12`, or a link) names, or that was answered by `reply_to` in `room`: by
    an answer to it, to what its author wrote, or to what was said about it. None where nothing is named, and where what
    was answered is no announcement.

    Raises:
        Refused: what is named is not there.
    """
    word, reply_to, room = what.get("announcement"), what.get("reply_to"), what.get("room")
    if isinstance(word, str) and word:
        name = named(word)
        found = None if name is None else await announcements.find(community, name)
        if found is None:
            raise Refused(
                f"there is no {kind} {word[:80]!r} in {community}",
                remedy="name it by its number, such as #12, or by its link; `announcements` shows the numbers",
            )
        return found
    if isinstance(reply_to, str) and reply_to and isinstance(room, str):
        return await announcements.find(community, Named(room_id=RoomId(room), event_id=EventId(reply_to)))
    return None


async def announcement_meant(
    announcements: Announcements, community: CommunityId, what: Mapping[str, Any], kind: str = "announcement"
) -> tuple[int, Announcement]:
    """The announcement that has to be named (see `announcement_named`), with its number.

    Raises:
        Refused: none is, or it is not there.
    """
    found = await announcement_named(announcements, community, what, kind)
    if found is None:
        raise Refused(
            f"which {kind} is meant is not said",
            where=str(community),
            remedy="name it by its number, such as #12, or by its link; or reply to it, or to my answer to it",
        )
    return await announcements.number_of(community, found.id), found


def text_of(what: Mapping[str, Any], name: str) -> str:
    """A text that has to be given.

    Raises:
        Refused: it is not.
    """
    value = what.get(name)
    if not isinstance(value, str):
        raise Refused(f"{name} is missing")
    return value


def mentioned(what: Mapping[str, Any]) -> tuple[Pill, ...]:
    """The people whom a text mentions (`pills`)."""
    return tuple(pill for pill in what.get("pills") or () if isinstance(pill, Pill))
