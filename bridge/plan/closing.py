"""What the rooms of a deactivated community are left as. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.community import Role, RoomKind
from bridge.core.ids import RoomId, UserId
from bridge.core.power_levels import LOCKED
from bridge.plan.desired import power_levels
from bridge.plan.state import Accounts, RoomState

CHILD = "m.space.child"
PARENT = "m.space.parent"
_OPEN = ("m.room.redaction",)
"""What stays as it is: whoever has written something may take it back."""


def closed_levels(
    kind: RoomKind, room: RoomState, accounts: Accounts, roles: Mapping[UserId, Role]
) -> Mapping[str, Any]:
    """The whole `m.room.power_levels` content of a space or an announcement room that can only be read any more.

    Nobody but the steward posts, reacts, invites or changes anything; admins can still remove people and messages.
    """
    content = power_levels(kind, room.version, accounts, roles, creators=room.creators)
    events = {name: level if name in _OPEN else LOCKED for name, level in content["events"].items()}
    return {**content, "events": events, "events_default": LOCKED, "invite": LOCKED}


def foreign_children(space: RoomState, held: RoomId | None) -> list[RoomId]:
    """The rooms that a space lists (`m.space.child`, client-server API, Spaces), but for the one held."""
    return sorted(
        RoomId(key) for (kind, key), event in space.state.items() if kind == CHILD and event.content and key != held
    )


def on_the_way_in(room: RoomState, accounts: Accounts) -> list[UserId]:
    """Who is invited to a room, or knocks."""
    return sorted(
        user
        for user, here in room.members.items()
        if here.state in ("invite", "knock") and user not in accounts.both
    )  # fmt: skip
