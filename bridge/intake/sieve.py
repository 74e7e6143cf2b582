"""What is worth keeping, decided on raw dictionaries before anything is parsed.

The steward sits in every group and is therefore sent every encrypted message of every group. Nobody here can read them
and nobody here needs them, so they have to go cheaply, and before they touch the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.core.ids import RoomId, UserId
from bridge.intake.interest import Interest, Rooms, is_id
from bridge.intake.parse import essence, is_verification

_READ = ("m.room.encrypted", "m.room.message", "m.room.redaction", "m.reaction")  # a type may be no text at all


_ORDERED = ("m.room.encrypted", "m.reaction")
"""What our accounts say in announcement rooms: people read up to it, so its place in the order matters."""


class Sieve:
    """Keeps the events that somebody needs.

    =================  ============================================================================
    room               kept
    =================  ============================================================================
    group, space       state and redactions; of a group in which a poll of ours is voted on so, `m.reaction`
    announcements      everything
    control, chat      state, redactions, `m.room.message`, `m.room.encrypted`, `m.reaction`, `m.key.verification.*`
    not ours           `m.room.member` of one of our two accounts
    =================  ============================================================================

    Messages to us are kept whole, of all else no more than is read.

    Messages that our accounts sent are dropped, but in announcement rooms: when something was said there matters to
    whoever comes later, and people read up to it. Their state events and redactions are kept: a drift that is made
    with our own token has to be seen like any other.
    """

    def __init__(self, rooms: Rooms, accounts: Iterable[UserId]) -> None:
        self._rooms = rooms
        self._accounts = tuple(accounts)

    def sift(self, events: Iterable[Any]) -> tuple[list[dict[str, Any]], int]:
        """Give what is to be kept of the wanted events, in their order, and how many of all were malformed."""
        interest_of = self._rooms.interest
        group, space = Interest.GROUP, Interest.SPACE
        wanted = []
        malformed = 0
        for event in events:
            room_id: Any = event.get("room_id") if type(event) is dict else None
            if type(room_id) is not str:
                malformed += 1
                continue
            interest = interest_of(room_id)  # type: ignore[arg-type]
            if "state_key" not in event:  # nearly all of them, and nearly all of these end here
                if interest is None:
                    continue
                if interest is group or interest is space:
                    kind = event.get("type")
                    voting = kind == "m.reaction" and self._rooms.is_voting(RoomId(room_id))
                    if kind != "m.room.redaction" and not voting:
                        continue
            if not self._is_wanted(event, interest):
                continue
            if is_id(event.get("event_id")) and is_id(room_id):
                wanted.append(self._kept(event, interest))
            else:
                malformed += 1
        return wanted, malformed

    def _is_wanted(self, event: dict[str, Any], interest: Interest | None) -> bool:
        if interest is None:
            return event.get("type") == "m.room.member" and event.get("state_key") in self._accounts
        if "state_key" in event:
            return True
        if event.get("sender") in self._accounts:
            kind = event.get("type")
            return kind == "m.room.redaction" or (interest is Interest.ANNOUNCEMENTS and kind in _ORDERED)
        if interest.is_read:
            kind = event.get("type")
            return kind in _READ or is_verification(kind)
        return True

    def _kept(self, event: dict[str, Any], interest: Interest | None) -> dict[str, Any]:
        if interest is not None and interest.is_read and "state_key" not in event:
            return event
        return essence(event)
