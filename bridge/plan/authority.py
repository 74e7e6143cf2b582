"""Whether the steward, or the announcer, has the power for each action, by the authorisation rules of the room.

What it has no power for is reported with the remedy and never tried: a try would fail again at every look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.core.community import Role
from bridge.core.ids import RoomKeyName, UserId
from bridge.core.power_levels import LOCKED, denied, users_of
from bridge.plan.actions import (
    Action,
    AdoptProfile,
    AdoptRole,
    Ban,
    Blocked,
    BringAnnouncer,
    CreateRoom,
    Invite,
    Kick,
    Link,
    SetListed,
    SetState,
    Unban,
)
from bridge.plan.state import Accounts, Membership, RoomState, StateEvent, same

_LEVELS = "m.room.power_levels"


def sift(
    actions: Sequence[Action],
    rooms: Mapping[RoomKeyName, RoomState],
    accounts: Accounts,
    adopted: frozenset[RoomKeyName] = frozenset(),
) -> tuple[list[Action], list[Blocked]]:
    """Part the actions into what can be done and what is blocked.

    Args:
        adopted: rooms that others made, in which an admin's level is enough for the steward.

    Each action is judged by the levels that hold when its turn comes: what the plan itself writes before counts.
    Rooms that the plan makes are the steward's own, and not judged.
    """
    judge = _Judge(dict(rooms), accounts, adopted)
    done: list[Action] = []
    blocked: dict[Blocked, None] = {}
    for action in actions:
        if isinstance(action, AdoptRole | AdoptProfile | CreateRoom) or action.room not in rooms:
            done.append(action)
            continue
        possible, reasons = judge.weigh(action)
        done += [possible] if possible is not None else []
        blocked.update(dict.fromkeys(Blocked(action.room, reason) for reason in reasons))
    return done, list(blocked)


def beyond_limits(rooms: Mapping[RoomKeyName, RoomState], accounts: Accounts) -> list[Blocked]:
    """People whom no level limits: creators of a room of version 12 who are not the steward (MSC4289)."""
    return [
        Blocked(
            key,
            f"{creator} is a creator of this room, and no level can limit a creator in room version {room.version}: "
            "only a new room helps",
        )
        for key, room in sorted(rooms.items())
        for creator in sorted(room.creators - accounts.both)
        if room.outranked_by_creators and room.members.get(UserId(creator), _NOWHERE).present
    ]


_NOWHERE = Membership("")


class _Judge:
    """The rooms as they will be when an action's turn comes."""

    def __init__(
        self, rooms: dict[RoomKeyName, RoomState], accounts: Accounts, adopted: frozenset[RoomKeyName]
    ) -> None:
        self._rooms = rooms
        self._accounts = accounts
        self._adopted = adopted
        self._enough = LOCKED

    def weigh(self, action: Action) -> tuple[Action | None, list[str]]:
        """The action, or what is possible of it, and what stands against it."""
        room = self._rooms[action.room]
        self._enough = Role.ADMIN.level if action.room in self._adopted else LOCKED
        steward = self._accounts.steward
        if room.members.get(steward, _NOWHERE).state != "join":
            return None, [f"the steward {steward} is not in the room: invite it, or let a server admin make it join"]
        match action:
            case SetState(type=event_type) if event_type == _LEVELS:
                return self._levels(action, room)
            case SetState(type="m.room.tombstone", content=content) if not content:  # it is redacted: see the executor
                return self._if_none(action, self._lacks(room, room.threshold("redact"), action.summary))
            case SetState(type=event_type) | Link(type=event_type):
                return self._if_none(action, self._lacks(room, room.needed(event_type), action.summary))
            case SetListed():
                return self._if_none(action, self._lacks(room, room.needed("m.room.canonical_alias"), action.summary))
            case Kick(user=user):
                return self._if_none(action, self._removal(room, user, "kick"))
            case Ban(user=user):
                return self._if_none(action, self._removal(room, user, "ban"))
            case Unban(user=user):
                return self._if_none(action, self._removal(room, user, "kick", "ban"))
            case BringAnnouncer():
                return self._announcer(action, room)
            case Invite():
                return self._if_none(action, self._invite(action, room))
            case _:
                return action, []

    @staticmethod
    def _if_none(action: Action, obstacle: str | None) -> tuple[Action | None, list[str]]:
        return (action, []) if obstacle is None else (None, [obstacle])

    def _lacks(self, room: RoomState, need: int, what: str) -> str | None:
        own = room.level(self._accounts.steward)
        return None if own >= need else self._raise(what, own, need)

    def _raise(self, what: str, own: int, need: int) -> str:
        return (
            f"{what}: the steward has level {own}, the room asks for {need}; "
            f"somebody with more power has to raise {self._accounts.steward} to {max(need, self._enough)}"
        )

    def _levels(self, action: SetState, room: RoomState) -> tuple[Action | None, list[str]]:
        """Levels are written as far as possible: whoever cannot be lowered keeps their level, the rest is put right."""
        if obstacle := self._lacks(room, room.needed(_LEVELS), action.summary):
            return None, [obstacle]
        before, own = room.content(_LEVELS), room.level(self._accounts.steward)
        verdict = denied(before, action.content, sender=self._accounts.steward, own=own)
        if verdict.thresholds:
            return None, [self._raise(f"{action.summary} ({', '.join(verdict.thresholds)})", own, self._enough)]
        possible = action
        if verdict.equals:
            have = users_of(before or {})
            users = {**users_of(action.content), **{user: have[user] for user in verdict.equals}}
            possible = replace(action, content={**action.content, "users": dict(sorted(users.items()))})
        reasons = [
            f"{action.summary}: {user} has level {room.level(user)}, as much power as the steward: they must step down"
            for user in verdict.equals
        ]
        if before is not None and same(before, possible.content):
            return None, reasons
        self._rooms[action.room] = room.with_state(_LEVELS, "", replace(_event(room), content=possible.content))
        return possible, reasons

    def _removal(self, room: RoomState, user: UserId, *keys: str) -> str | None:
        need = max(room.threshold(key) for key in keys)
        what = "lifting bans" if "ban" in keys and "kick" in keys else "removing people"
        if obstacle := self._lacks(room, need, what):
            return obstacle
        if room.level(user) >= room.level(self._accounts.steward):
            return (
                f"{user} cannot be removed: they have as much power here as the steward, and must leave by themselves"
            )
        return None

    def _announcer(self, action: BringAnnouncer, room: RoomState) -> tuple[Action | None, list[str]]:
        announcer = self._accounts.announcer
        obstacle = self._removal(room, announcer, "kick", "ban") if action.banned else None
        if obstacle is None and not action.invited:
            obstacle = self._lacks(room, room.threshold("invite"), "inviting the announcer")
        if obstacle is None:
            self._rooms[action.room] = room.with_member(announcer, Membership("join", announcer))
        return self._if_none(action, obstacle)

    def _invite(self, action: Invite, room: RoomState) -> str | None:
        if not action.by_announcer:
            return self._lacks(room, room.threshold("invite"), "inviting people")
        announcer = self._accounts.announcer
        if room.members.get(announcer, _NOWHERE).state != "join":
            return f"inviting people: the announcer {announcer} is not in the room"
        own, need = room.level(announcer), room.threshold("invite")
        return None if own >= need else f"inviting people: the announcer has level {own}, the room asks for {need}"


def _event(room: RoomState) -> StateEvent:
    return room.state.get((_LEVELS, ""), StateEvent({}))
