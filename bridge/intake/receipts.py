"""Who has read up to where, as the homeserver pushes it (application service API, "Pushing ephemeral data").

Of everything ephemeral only public receipts in announcement rooms are kept. What people read in groups is nobody's
business here, and `m.read.private` is no one's but theirs: homeservers do not send it, and here it would be dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Receipt
from bridge.intake.interest import Interest, Rooms, is_id

FIELDS = ("ephemeral", "de.sorunome.msc2409.ephemeral")
"""Of a transaction's body: since v1.13 of the specification, and before (MSC2409)."""


def receipts_of(ephemeral: Iterable[Any], rooms: Rooms, ours: Collection[UserId]) -> list[Receipt]:
    """The receipts that count: `m.read` of people, in announcement rooms (client-server API, "m.receipt").

    Somebody has several where they read threads too; each is given, the last one of each event. Never raises: other
    homeservers choose what stands in it.
    """
    found: dict[tuple[RoomId, UserId, EventId], Receipt] = {}
    for edu in ephemeral:
        if type(edu) is not dict or edu.get("type") != "m.receipt":
            continue
        room_id, content = edu.get("room_id"), edu.get("content")
        if type(room_id) is not str or type(content) is not dict:
            continue
        if rooms.interest(RoomId(room_id)) is not Interest.ANNOUNCEMENTS:
            continue
        for event_id, kinds in content.items():
            readers = kinds.get("m.read") if type(kinds) is dict else None
            if type(readers) is not dict or not is_id(event_id):
                continue
            for user in readers:
                if user not in ours and is_id(user) and user[0] == "@" and ":" in user:
                    one = Receipt(RoomId(room_id), UserId(user), EventId(event_id))
                    found[one] = one
    return list(found.values())
