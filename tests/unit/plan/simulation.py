"""A pure homeserver of one community: applies plans to room states, and judges each action by the authorisation rules.

The judge follows the specification's rules of room versions 11 and 12 (membership, power levels), written for itself:
it shares no code with the planner.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.core.community import SPACE, Community, RoomKind
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.plan.actions import (
    Action,
    AdoptProfile,
    AdoptRole,
    Ban,
    BringAnnouncer,
    CreateRoom,
    Invite,
    Kick,
    Link,
    Plan,
    SetListed,
    SetState,
    Unban,
)
from bridge.plan.desired import Setting
from bridge.plan.diff import Comparison, compare
from bridge.plan.kin import ALONE, Kin
from bridge.plan.state import LISTED, MARKER, Accounts, Known, Membership, RoomState, StateEvent, digest_of

ACCOUNTS = Accounts(UserId("@communities:example.org"), UserId("@announcements:example.org"))
LEVELS = "m.room.power_levels"


class Forbidden(Exception):
    """What a homeserver answers with 403 (or 400)."""


def words(plan: Plan) -> list[str]:
    """A plan's actions as one reads them."""
    return [f"{action.room}: {action.summary}" for action in plan.actions]


class World:
    """The rooms of one community as they are, and what the service remembers."""

    def __init__(self, version: str = "12", name: str = "school") -> None:
        self.version = version
        self.name = name
        self.others: Mapping[CommunityId, World] = {}
        """Other communities on the same homeserver, by id."""
        self.rooms: dict[RoomKeyName, RoomState] = {}
        self.known = Known()
        self.unreadable: set[RoomKeyName] = set()
        self.events = itertools.count(1)
        self.made: dict[RoomKeyName, int] = {}

    def __repr__(self) -> str:
        members = {
            key: {user: f"{here.state} by {here.sender}" for user, here in room.members.items()}
            for key, room in self.rooms.items()
        }
        return f"<World of version {self.version}: {members}>"

    @property
    def setting(self) -> Setting:
        return Setting(ACCOUNTS, self.version)

    @property
    def readable(self) -> dict[RoomKeyName, RoomState]:
        return {key: room for key, room in self.rooms.items() if key not in self.unreadable}

    def compare(self, community: Community) -> Comparison:
        return compare(community, self.known, self.readable, self.setting, self.kin(community))

    def kin(self, community: Community) -> Kin:
        """What other communities ask of this one; here nothing."""
        return ALONE

    def carry_out(self, community: Community) -> Comparison:
        """Plan, do every action in order, and remember."""
        comparison = self.compare(community)
        for action in comparison.plan.actions:
            self.do(action)
        self.remember(community, comparison)
        return comparison

    def remember(self, community: Community, comparison: Comparison) -> None:
        """What the service writes down after a plan was carried out."""
        invited = {(action.room, action.user) for action in comparison.plan.actions if isinstance(action, Invite)}
        settled = {
            (key, event_type, state_key): digest_of(content)
            for key, room in comparison.desired.items()
            for (event_type, state_key), content in room.state.items()
        }
        links = {
            (action.room, "link", str(action.of)): digest_of(action.content)
            for action in comparison.plan.actions
            if isinstance(action, Link)
        }
        self.known = replace(
            comparison.known,
            rooms={key: room.room_id for key, room in self.rooms.items()},
            invited=comparison.known.invited | invited,
            settled={**comparison.known.settled, **settled, **links},
        )

    # --- actions --------------------------------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        """Do one action, as the account that the service does it with."""
        steward, announcer = ACCOUNTS.steward, ACCOUNTS.announcer
        match action:
            case CreateRoom():
                self._create(action)
            case SetState():
                self.write(action.room, action.type, action.state_key, action.content, by=steward)
            case Link():
                self.write(action.room, action.type, self._linked(action.of), action.content, by=steward)
            case SetListed():
                self._judge_state(action.room, "m.room.canonical_alias", steward)
                self._put(action.room, LISTED, "", {"listed": action.listed}, "")
            case BringAnnouncer():
                self._bring_announcer(action)
            case Invite():
                self.move(action.room, action.user, "invite", by=announcer if action.by_announcer else steward)
            case Kick() | Ban() | Unban():
                self.move(action.room, action.user, "ban" if isinstance(action, Ban) else "leave", by=steward)
            case AdoptRole() | AdoptProfile():
                pass

    def _linked(self, key: RoomKeyName) -> RoomId:
        other, _, space = key.partition("/")
        return self.others[CommunityId(other)].rooms[SPACE].room_id if space else self.rooms[key].room_id

    def _bring_announcer(self, action: BringAnnouncer) -> None:
        steward, announcer = ACCOUNTS.steward, ACCOUNTS.announcer
        if action.banned:
            self.move(action.room, announcer, "leave", by=steward)
        if not action.invited:
            self.move(action.room, announcer, "invite", by=steward)
        self.move(action.room, announcer, "join", by=announcer)

    def _create(self, action: CreateRoom) -> None:
        key, steward = action.room, ACCOUNTS.steward
        state = {
            ("m.room.create", ""): StateEvent({MARKER: {"community": self.name, "key": key}}, steward),
            **{(kind, where): StateEvent(self._filled(content), steward) for kind, where, content in action.state},
        }
        if action.parent is not None:
            state["m.space.parent", self.rooms[SPACE].room_id] = StateEvent(action.parent, steward)
        if action.room_kind is RoomKind.SPACE:
            state[LISTED, ""] = StateEvent({"listed": action.listed})
        members = {steward: Membership("join", steward)}
        self.made[key] = self.made.get(key, 0) + 1
        name = key if self.name == "school" else f"{self.name}-{key}"
        room_id = RoomId(f"!{name}:example.org" if self.made[key] == 1 else f"!{name}-{self.made[key]}:example.org")
        room = RoomState(room_id, action.version, frozenset({steward}), state, members)
        users = room.power_levels["users"]
        if room.version == "12" and steward in users:
            raise Forbidden("a creator must not appear in users")
        if room.version == "11" and users.get(steward) != 200:
            raise Forbidden("the steward has to have its level from the beginning")
        self.rooms[key] = room
        self.known = replace(self.known, rooms={**self.known.rooms, key: room.room_id})

    def _filled(self, content: Mapping[str, Any]) -> dict[str, Any]:
        allow = content.get("allow")
        if not allow or all(rule["room_id"] for rule in allow):
            return dict(content)
        space = self.rooms[SPACE].room_id
        return {**content, "allow": [{**rule, "room_id": rule["room_id"] or space} for rule in allow]}

    # --- what anybody does ----------------------------------------------------------------------------------------

    def write(
        self, key: RoomKeyName, event_type: str, state_key: str, content: Mapping[str, Any], *, by: UserId
    ) -> None:
        """Write state as somebody.

        Raises:
            Forbidden: the authorisation rules say no.
        """
        self._judge_state(key, event_type, by)
        if event_type == LEVELS:
            self._judge_levels(key, content, by)
        self._put(key, event_type, state_key, content, by)

    def move(self, key: RoomKeyName, user: UserId, to: str, *, by: UserId) -> None:
        """Change a membership as somebody.

        Raises:
            Forbidden: the authorisation rules say no.
        """
        self._judge_move(self.rooms[key], user, to, by)
        self.rooms[key] = self.rooms[key].with_member(user, Membership(to, by))

    def tamper(self, key: RoomKeyName, event_type: str, content: Mapping[str, Any], *, by: str = "") -> None:
        """Put state there whatever the rules say: for what somebody did in ways that nobody foresaw."""
        self._put(key, event_type, "", content, by or ACCOUNTS.steward)

    def _put(self, key: RoomKeyName, event_type: str, state_key: str, content: Mapping[str, Any], by: str) -> None:
        event = StateEvent(content, by, EventId(f"$new-{next(self.events)}-{event_type}"))
        self.rooms[key] = self.rooms[key].with_state(event_type, state_key, event)

    # --- the rules ------------------------------------------------------------------------------------------------

    def level(self, key: RoomKeyName, user: str) -> int:
        return _level(self.rooms[key], user)

    def may_send(self, key: RoomKeyName, user: str, event_type: str) -> bool:
        """Whether somebody could send a message of this type, were they in the room."""
        content = self.rooms[key].power_levels
        need = _number(_part(content, "events").get(event_type), _number(content.get("events_default"), 0))
        return self.level(key, user) >= int(need)

    def _judge_state(self, key: RoomKeyName, event_type: str, by: str) -> None:
        room = self.rooms[key]
        if _membership(room, by) != "join":
            raise Forbidden(f"{by} is not in {key}")
        content = room.content(LEVELS)
        default = 0 if content is None else _number(content.get("state_default"), 50)
        need = _number(_part(content or {}, "events").get(event_type), default)
        if _level(room, by) < need:
            raise Forbidden(f"{by} has {_level(room, by)} in {key}, {event_type} needs {need}")

    def _judge_levels(self, key: RoomKeyName, new: Mapping[str, Any], by: str) -> None:
        room = self.rooms[key]
        if room.version == "12" and room.creators & set(new.get("users", {})):
            raise Forbidden("a creator must not appear in users")
        old = room.content(LEVELS)
        if old is None:
            return
        own = _level(room, by)
        places = [(old, new, name, False) for name in _NAMES]
        for part in ("events", "notifications", "users"):
            before, after = _part(old, part), _part(new, part)
            places += [(before, after, name, part == "users") for name in {*before, *after}]
        for before, after, name, is_user in places:
            was, will = _number(before.get(name)), _number(after.get(name))
            if was == will:
                continue
            if is_user and name != by and was is not None and was >= own:
                raise Forbidden(f"{name} has as much power as {by}")
            if max(_number(was, own), _number(will, own)) > own:
                raise Forbidden(f"{name}: {was} → {will} is beyond {own} of {by}")

    def _judge_move(self, room: RoomState, user: UserId, to: str, by: UserId) -> None:
        content = room.content(LEVELS) or {}
        here = _membership(room, user)
        if to == "join":
            rules = room.content("m.room.join_rules") or {}
            open_to = {rule.get("room_id") for rule in rules.get("allow", ())}
            rooms = [one for world in (self, *self.others.values()) for one in world.rooms.values()]
            allowed = here in ("invite", "join") or (
                rules.get("join_rule") in ("restricted", "knock_restricted")
                and any(_membership(one, user) == "join" for one in rooms if one.room_id in open_to)
                and here != "ban"
            )
            if user != by or not allowed:
                raise Forbidden(f"{by} cannot join {user}")
            return
        if to == "knock":
            if user != by or here in ("join", "invite", "ban"):
                raise Forbidden(f"{user} cannot knock")
            return
        if to == "leave" and user == by and here in ("join", "invite", "knock"):
            return
        if _membership(room, by) != "join":
            raise Forbidden(f"{by} is not in the room")
        own, other = _level(room, by), _level(room, user)
        if to == "invite":
            if here in ("join", "ban") or own < _number(content.get("invite"), 0):
                raise Forbidden(f"{by} ({own}) cannot invite {user} ({here})")
            return
        if to == "leave" and here == "ban" and own < _number(content.get("ban"), 50):
            raise Forbidden(f"{by} cannot unban")
        if own < _number(content.get("ban" if to == "ban" else "kick"), 50) or own <= other:
            raise Forbidden(f"{by} ({own}) cannot {to} {user} ({other})")


_NAMES = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def _membership(room: RoomState, user: str) -> str:
    return room.members.get(UserId(user), Membership("")).state


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = content.get(key)
    return part if isinstance(part, Mapping) else {}


def _number(value: object, default: Any = None) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _level(room: RoomState, user: str) -> int:
    if room.version == "12" and user in room.creators:
        return 10**12
    content = room.content(LEVELS)
    if content is None:
        return 100 if user in room.creators else 0
    level: int = _number(_part(content, "users").get(user), _number(content.get("users_default"), 0))
    return level


def settled_world(community: Community, version: str = "12") -> World:
    """A community as it is when everything was made and everybody accepted."""
    world = World(version)
    for _ in range(4):
        comparison = world.carry_out(community)
        if comparison.plan.empty:
            return world
        accept_all(world)
    raise AssertionError(f"never settles: {world.compare(community).plan.actions}")


def accept_all(world: World) -> None:
    """Everybody who is invited joins."""
    for key, room in world.rooms.items():
        for user, here in room.members.items():
            if here.state == "invite":
                world.move(key, user, "join", by=user)
