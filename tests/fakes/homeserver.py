"""A homeserver in memory: rooms, authorisation rules of versions 11 and 12, aliases, and what a repeat comes to.

It stands behind `bridge.matrix.client.Client`, so that reader and executor are the real ones. What it claims is what
`tests/contract` found a real homeserver to do.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

import orjson

from bridge.core.errors import BadRequest, Forbidden, NotFound
from bridge.core.ids import DeviceId, RoomId, UserId
from bridge.matrix.client import Client
from bridge.store.database import inside_transaction
from tests.fakes.faults import Faults

DOMAIN = "example.org"
STEWARD = UserId(f"@communities:{DOMAIN}")
ANNOUNCER = UserId(f"@announcements:{DOMAIN}")

Event = dict[str, Any]
T = TypeVar("T")
_INFINITE = 1 << 60
_LEVELS = "m.room.power_levels"
_TOP = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
}
_KEPT_BY_REDACTION = {
    "m.room.member": {"membership", "join_authorised_via_users_server"},
    "m.room.join_rules": {"join_rule", "allow"},
    "m.room.history_visibility": {"history_visibility"},
    _LEVELS: {*_TOP, "users", "events"},
}


def forbidden(why: str) -> Forbidden:
    return Forbidden(f"{why} (M_FORBIDDEN)", status=403, errcode="M_FORBIDDEN")


def missing(why: str) -> NotFound:
    return NotFound(f"{why} (M_NOT_FOUND)", status=404, errcode="M_NOT_FOUND")


def bad(why: str, errcode: str = "M_UNKNOWN") -> BadRequest:
    return BadRequest(f"{why} ({errcode})", status=400, errcode=errcode)


@dataclass
class FakeRoom:
    """One room: its current state, its timeline, and what those who left may still see."""

    room_id: RoomId
    version: str
    creators: frozenset[str]
    state: dict[tuple[str, str], Event] = field(default_factory=dict)
    timeline: list[Event] = field(default_factory=list)
    past: dict[str, dict[tuple[str, str], Event]] = field(default_factory=dict)
    public: bool = False

    def content(self, event_type: str, state_key: str = "") -> Mapping[str, Any] | None:
        event = self.state.get((event_type, state_key))
        return None if event is None else event["content"]

    def membership(self, user: str) -> str:
        return str((self.content("m.room.member", user) or {}).get("membership", ""))

    def members(self, *states: str) -> set[str]:
        """Whose membership is one of these."""
        return {key for kind, key in self.state if kind == "m.room.member" and self.membership(key) in states}

    def level(self, user: str) -> int:
        if self.version == "12" and user in self.creators:
            return _INFINITE
        levels = self.content(_LEVELS)
        if levels is None:
            return 100 if user in self.creators else 0
        users = levels.get("users", {})
        return int(users.get(user, levels.get("users_default", 0)))

    def needed(self, event_type: str, *, state: bool) -> int:
        levels = self.content(_LEVELS)
        if levels is None:
            return 0
        default = self.threshold("state_default" if state else "events_default")
        return int(levels.get("events", {}).get(event_type, default))

    def threshold(self, key: str) -> int:
        levels = self.content(_LEVELS)
        if levels is None and key == "state_default":
            return 0
        return int((levels or {}).get(key, _TOP[key]))


class FakeHomeserver:
    """Rooms and people. Everything of ours is asked through `client()`, what people do through `client(user)`."""

    def __init__(self, *, default_version: str = "12", faults: Faults | None = None) -> None:
        self.default_version = default_version
        self.faults = faults or Faults()
        self.rooms: dict[RoomId, FakeRoom] = {}
        self.aliases: dict[str, RoomId] = {}
        self.requests: list[str] = []
        self.feed: list[Event] = []
        """Every event, in order, as the homeserver would push it."""
        self.on_request: Callable[[str], None] = lambda _: None
        self.admins: set[UserId] = set()
        """Admins of the homeserver."""
        self.slow = False
        """Whether answers take their time, so that other things happen before they arrive."""
        self._numbers = itertools.count(1)
        self._now = itertools.count(1_000)
        self._sent: dict[tuple[str, str, str, str], str] = {}

    def client(self, user: UserId | None = None) -> FakeClient:
        """Requests with the service's token, or with somebody's own."""
        return FakeClient(self, user)

    @property
    def writes(self) -> list[str]:
        """The requests that change something."""
        return [request for request in self.requests if not request.startswith("GET ")]

    def room(self, room_id: str) -> FakeRoom:
        return self.rooms[RoomId(room_id)]

    def lose(self, room_id: RoomId) -> None:
        """A server admin deletes a room: everybody is out, and nothing of it can be read."""
        del self.rooms[room_id]

    def tamper(self, room_id: str, event_type: str, content: Mapping[str, Any], state_key: str = "", *, by: str) -> str:
        """Put state there whatever the rules say."""
        return str(self._put(self.room(room_id), event_type, state_key, dict(content), by)["event_id"])

    # --- requests -------------------------------------------------------------------------------------------------

    async def handle(
        self, user: UserId, method: str, path: str, body: Mapping[str, Any], query: Mapping[str, str]
    ) -> dict[str, Any]:
        name = f"{method} {path} as {user}"
        if inside_transaction():
            raise RuntimeError(f"a network call inside a database transaction: {name}")
        self.faults.point(of_homeserver=True)
        self.requests.append(name)
        self.faults.check(name)
        self.on_request(name)
        parts = [unquote(part) for part in path.removeprefix("/_matrix/client/v3/").split("/")]
        answer = copy.deepcopy(self._dispatch(user, method, parts, copy.deepcopy(dict(body)), query))
        self.faults.point(of_homeserver=True)
        if self.slow:
            await asyncio.sleep(0.01)
        return answer

    def _dispatch(
        self, user: UserId, method: str, parts: list[str], body: dict[str, Any], query: Mapping[str, str]
    ) -> dict[str, Any]:
        match method, parts:
            case "POST", ["createRoom"]:
                return self._create(user, body)
            case "GET", ["joined_rooms"]:
                return {
                    "joined_rooms": [room.room_id for room in self.rooms.values() if room.membership(user) == "join"]
                }
            case "GET", ["directory", "room", alias]:
                if alias not in self.aliases:
                    raise missing("no such alias")
                return {"room_id": self.aliases[alias], "servers": [DOMAIN]}
            case "DELETE", ["directory", "room", alias]:
                if alias not in self.aliases:
                    raise missing("no such alias")
                del self.aliases[alias]
                return {}
            case _, ["directory", "list", "room", room_id]:
                return self._listing(user, method, RoomId(room_id), body)
            case "POST", ["join" | "knock" as what, room_id]:
                room = self._get(room_id)
                self._move(room, user, user, what, body)
                return {"room_id": room.room_id}
            case _, ["", "_synapse", "admin", *rest]:
                return self._as_admin(user, method, rest, body)
            case _, ["rooms", room_id, *rest]:
                return self._in_room(user, method, self._get(room_id), rest, body, query)
        raise bad(f"the fake knows no {method} {parts}", "M_UNRECOGNIZED")

    def _as_admin(self, by: UserId, method: str, parts: list[str], body: dict[str, Any]) -> dict[str, Any]:
        if by not in self.admins:
            raise Forbidden("You are not a server admin", status=403, errcode="M_FORBIDDEN")
        match method, parts:
            case "GET", ["v2", "users", name]:
                return {"name": name, "creation_ts": 1_560_432_506}
            case "POST", ["v1", "join", room_id]:
                return self._join_by_force(by, self._get(RoomId(room_id)), UserId(body["user_id"]))
        raise bad(f"the fake knows no {method} {parts}", "M_UNRECOGNIZED")

    def _join_by_force(self, by: UserId, room: FakeRoom, user: UserId) -> dict[str, Any]:
        self._move(room, by, user, "invite", {})
        self._move(room, user, user, "join", {})
        return {"room_id": room.room_id}

    def _in_room(
        self,
        user: UserId,
        method: str,
        room: FakeRoom,
        rest: list[str],
        body: dict[str, Any],
        query: Mapping[str, str],
    ) -> dict[str, Any]:
        match method, rest:
            case "GET", ["state"]:
                return {"value": list(self._visible(room, user).values())}
            case "GET", ["state", event_type, *key]:
                event = self._visible(room, user).get((event_type, "".join(key)))
                if event is None:
                    raise missing("no such state")
                return event if query.get("format") == "event" else dict(event["content"])
            case "GET", ["event", event_id]:
                self._visible(room, user)
                found = [event for event in room.timeline if event["event_id"] == event_id]
                if not found:
                    raise missing("no such event")
                return found[0]
            case "GET", ["members"]:
                events = self._visible(room, user).items()
                return {"chunk": [event for (kind, _), event in events if kind == "m.room.member"]}
            case "PUT", ["state", event_type, *key]:
                return {"event_id": self._write(room, user, event_type, "".join(key), body)}
            case "PUT", ["send", event_type, txn_id]:
                return {"event_id": self._send(room, user, event_type, txn_id, body)}
            case "PUT", ["redact", event_id, _]:
                return {"event_id": self._redact(room, user, event_id)}
            case "POST", ["invite" | "kick" | "ban" | "unban" as what]:
                self._move(room, user, UserId(body["user_id"]), what, body)
                return {}
            case "POST", ["leave"]:
                self._move(room, user, user, "leave", body)
                return {}
        raise bad(f"the fake knows no {method} {rest}", "M_UNRECOGNIZED")

    def _get(self, room_id: str) -> FakeRoom:
        room = self.rooms.get(RoomId(room_id))
        if room is None:
            raise forbidden(f"you are not in {room_id}")
        return room

    def _visible(self, room: FakeRoom, user: str) -> dict[tuple[str, str], Event]:
        """The current state for who is in, that of their leaving for who was, nothing for others."""
        if room.membership(user) == "join":
            return room.state
        if user in room.past:
            return room.past[user]
        raise forbidden(f"{user} is not in {room.room_id}")

    def _listing(self, user: str, method: str, room_id: RoomId, body: dict[str, Any]) -> dict[str, Any]:
        if room_id not in self.rooms:
            raise missing("no such room")
        room = self.rooms[room_id]
        if method == "PUT":
            if room.level(user) < room.needed("m.room.canonical_alias", state=True):
                raise forbidden("listing a room needs the level of m.room.canonical_alias")
            room.public = body["visibility"] == "public"
        return {"visibility": "public" if room.public else "private"}

    # --- events -----------------------------------------------------------------------------------------------------

    def _put(
        self, room: FakeRoom, event_type: str, state_key: str | None, content: dict[str, Any], sender: str
    ) -> Event:
        event: Event = {
            "type": event_type,
            "sender": sender,
            "content": content,
            "event_id": f"$event-{next(self._numbers)}",
            "room_id": room.room_id,
            "origin_server_ts": next(self._now),
        }
        if state_key is not None:
            event["state_key"] = state_key
            if (before := room.state.get((event_type, state_key))) is not None:
                event["unsigned"] = {"replaces_state": before["event_id"], "prev_content": before["content"]}
            room.state[event_type, state_key] = event
        room.timeline.append(event)
        self.feed.append(event)
        return event

    def _write(self, room: FakeRoom, user: str, event_type: str, state_key: str, content: dict[str, Any]) -> str:
        if event_type == "m.room.member":
            raise bad("the fake moves members by their own requests")
        if event_type == "m.room.create":
            raise forbidden("there is a create event already")
        self._may_write(room, user, event_type)
        if state_key.startswith("@") and state_key != user:
            raise forbidden("that state belongs to another user")
        if event_type == _LEVELS:
            self._may_level(room, user, content)
        have = room.state.get((event_type, state_key))
        if have is not None and have["content"] == content and have["sender"] == user:
            return str(have["event_id"])
        return str(self._put(room, event_type, state_key, content, user)["event_id"])

    def _may_write(self, room: FakeRoom, user: str, event_type: str) -> None:
        if room.membership(user) != "join":
            raise forbidden(f"{user} is not in the room")
        if room.level(user) < room.needed(event_type, state=True):
            raise forbidden(f"{event_type} needs {room.needed(event_type, state=True)}, {user} has {room.level(user)}")

    def _may_level(self, room: FakeRoom, user: str, new: Mapping[str, Any]) -> None:
        self._well_formed(room, new)
        old = room.content(_LEVELS)
        if old is None:
            return
        own = room.level(user)
        for before, after, name, is_user in _level_pairs(old, new):
            was, will = before.get(name), after.get(name)
            if was == will:
                continue
            if is_user and name != user and was is not None and was >= own:
                raise forbidden(f"{name} has as much power as you")
            if max(own if was is None else was, own if will is None else will) > own:
                raise forbidden(f"{name}: {was} to {will} is beyond {own}")

    def _well_formed(self, room: FakeRoom, content: Mapping[str, Any]) -> None:
        numbers = [content[key] for key in _TOP if key in content]
        for part in ("users", "events", "notifications"):
            numbers += content.get(part, {}).values()
        if not all(type(number) is int for number in numbers):
            raise bad("levels are integers", "M_BAD_JSON")
        if room.version == "12" and room.creators & content.get("users", {}).keys():
            raise bad("a creator must not appear in content.users", "M_BAD_JSON")

    def _send(self, room: FakeRoom, user: str, event_type: str, txn_id: str, content: dict[str, Any]) -> str:
        known = self._sent.get((user, room.room_id, event_type, txn_id))
        if known is not None:
            return known
        if room.membership(user) != "join":
            raise forbidden(f"{user} is not in the room")
        if room.level(user) < room.needed(event_type, state=False):
            raise forbidden(f"{event_type} needs more than {room.level(user)}")
        event_id = str(self._put(room, event_type, None, content, user)["event_id"])
        self._sent[user, room.room_id, event_type, txn_id] = event_id
        return event_id

    def _redact(self, room: FakeRoom, user: str, event_id: str) -> str:
        event = next((one for one in room.timeline if one["event_id"] == event_id), None)
        if event is None:
            raise missing("no such event")
        if room.membership(user) != "join":
            raise forbidden(f"{user} is not in the room")
        need = room.needed("m.room.redaction", state=False)
        if room.level(user) < need or (event["sender"] != user and room.level(user) < room.threshold("redact")):
            raise forbidden("redacting needs more")
        redaction = self._put(room, "m.room.redaction", None, {"redacts": event_id}, user)
        if event["type"] != "m.room.create":
            kept = _KEPT_BY_REDACTION.get(event["type"], set())
            event["content"] = {key: value for key, value in event["content"].items() if key in kept}
        event["unsigned"] = {**event.get("unsigned", {}), "redacted_because": dict(redaction)}
        return str(redaction["event_id"])

    # --- members ----------------------------------------------------------------------------------------------------

    def _move(self, room: FakeRoom, by: UserId, user: UserId, what: str, body: Mapping[str, Any]) -> None:
        here = room.membership(user)
        after = _AFTER[what]
        {
            "join": self._may_join,
            "knock": self._may_knock,
            "leave": self._may_leave,
            "invite": self._may_invite,
            "kick": self._may_kick,
            "ban": self._may_ban,
            "unban": self._may_unban,
        }[what](room, by, user, here)
        content = {"membership": after, **({"reason": body["reason"]} if body.get("reason") else {})}
        have = room.state.get(("m.room.member", user))
        if have is not None and here == after and (what == "join" or have["sender"] == by):
            return
        if here == "join":
            room.past[user] = {}
        event = self._put(room, "m.room.member", user, content, by)
        if here == "join":
            room.past[user] = dict(room.state)
        if after == "join":
            room.past.pop(user, None)
        assert event["content"]["membership"] == after

    def _may_join(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        if here in ("join", "invite"):
            return
        rules = room.content("m.room.join_rules") or {}
        rule = rules.get("join_rule", "invite")
        allowed = rule in ("restricted", "knock_restricted") and any(
            (other := self.rooms.get(RoomId(one.get("room_id", "")))) is not None and other.membership(user) == "join"
            for one in rules.get("allow", [])
        )
        if here == "ban" or not (rule == "public" or allowed):
            raise forbidden("you are not invited to this room")

    def _may_knock(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        rule = (room.content("m.room.join_rules") or {}).get("join_rule")
        if rule not in ("knock", "knock_restricted") or here in ("join", "invite", "ban"):
            raise forbidden("you cannot knock here")

    def _may_leave(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        if here not in ("join", "invite", "knock", "leave"):
            raise forbidden("you are not in the room")

    def _may_invite(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        self._inside(room, by)
        if here in ("join", "ban") or room.level(by) < room.threshold("invite"):
            raise forbidden(f"{user} is {here or 'absent'} already, or inviting needs more power")

    def _may_kick(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        self._inside(room, by)
        if here not in ("join", "invite", "knock"):
            raise forbidden(f"{user} is not in the room")
        if room.level(by) < room.threshold("kick") or room.level(by) <= room.level(user):
            raise forbidden("kicking needs more power")

    def _may_ban(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        self._inside(room, by)
        if room.level(by) < room.threshold("ban") or room.level(by) <= room.level(user):
            raise forbidden("banning needs more power")

    def _may_unban(self, room: FakeRoom, by: UserId, user: UserId, here: str) -> None:
        self._inside(room, by)
        if here not in ("ban", ""):
            raise forbidden(f"{user} is not banned")
        if room.level(by) < max(room.threshold("ban"), room.threshold("kick")) or room.level(by) <= room.level(user):
            raise forbidden("lifting a ban needs more power")

    def _inside(self, room: FakeRoom, by: str) -> None:
        if room.membership(by) != "join":
            raise forbidden(f"{by} is not in the room")

    # --- creation ---------------------------------------------------------------------------------------------------

    def _create(self, user: UserId, body: dict[str, Any]) -> dict[str, Any]:
        """Not atomic, and the alias comes first: a process or a homeserver that dies leaves some of it."""
        version = body.get("room_version", self.default_version)
        number = next(self._numbers)
        room_id = RoomId(f"!room-{number}" if version == "12" else f"!room-{number}:{DOMAIN}")
        room = FakeRoom(room_id, version, frozenset({user}))
        override = body.get("power_level_content_override", {})
        self._well_formed(room, override)
        alias = body.get("room_alias_name")
        if alias is not None:
            full = f"#{alias}:{DOMAIN}"
            if full in self.aliases:
                raise bad("Room alias already taken", "M_ROOM_IN_USE")
            self.aliases[full] = room_id
            self.faults.point(of_homeserver=True)
        initial = {(one["type"], one.get("state_key", "")): one["content"] for one in body.get("initial_state", [])}
        self.rooms[room_id] = room
        creation = {**body.get("creation_content", {}), "room_version": version}
        self._put(room, "m.room.create", "", creation, user)
        self._put(room, "m.room.member", user, {"membership": "join"}, user)
        self.faults.point(of_homeserver=True)
        for event_type, state_key, content in self._first_state(room, user, override, alias, initial):
            if event_type == _LEVELS:
                self._may_level(room, user, content)
            self._may_write(room, user, event_type)
            self._put(room, event_type, state_key, content, user)
            self.faults.point(of_homeserver=True)
        room.public = body.get("visibility") == "public"
        for invitee in body.get("invite", []):
            self._move(room, user, UserId(invitee), "invite", {})
            self.faults.point(of_homeserver=True)
        return {"room_id": room_id}

    def _first_state(
        self,
        room: FakeRoom,
        user: str,
        override: Mapping[str, Any],
        alias: str | None,
        initial: Mapping[tuple[str, str], dict[str, Any]],
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        levels: dict[str, Any] = {
            "users": {} if room.version == "12" else {user: 100},
            "users_default": 0,
            "events": {"m.room.name": 50, _LEVELS: 100, "m.room.tombstone": 150 if room.version == "12" else 100},
            "events_default": 0,
            "state_default": 50,
            "ban": 50,
            "kick": 50,
            "redact": 50,
            "invite": 0,
            "historical": 100,
        }
        yield _LEVELS, "", {**levels, **override}
        preset: dict[tuple[str, str], dict[str, Any]] = {
            ("m.room.join_rules", ""): {"join_rule": "invite"},
            ("m.room.history_visibility", ""): {"history_visibility": "shared"},
            ("m.room.guest_access", ""): {"guest_access": "can_join"},
        }
        if alias is not None:
            preset["m.room.canonical_alias", ""] = {"alias": f"#{alias}:{DOMAIN}"}
        for (event_type, state_key), content in {**preset, **initial}.items():
            yield event_type, state_key, content


_AFTER = {
    "join": "join",
    "knock": "knock",
    "leave": "leave",
    "invite": "invite",
    "kick": "leave",
    "ban": "ban",
    "unban": "leave",
}


def _level_pairs(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], str, bool]]:
    for name in _TOP:
        yield old, new, name, False
    for part in ("users", "events", "notifications"):
        before, after = old.get(part, {}), new.get(part, {})
        for name in sorted({*before, *after}):
            yield before, after, name, part == "users"


class FakeClient(Client):
    """The client, with the fake where the network would be. It tries once: what it raises stands after all retries."""

    def __init__(self, homeserver: FakeHomeserver, user: UserId | None) -> None:
        super().__init__("http://fake.invalid", "no token")
        self._homeserver = homeserver
        self._user = user

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def read(
        self,
        method: str,
        url_path: str,
        decode: Callable[[bytes], T],
        *,
        as_user: UserId | None = None,
        device_id: DeviceId | None = None,
        body: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        media_type: str = "",
        query: Mapping[str, str] | None = None,
        deadline: float = 60.0,
        long_poll: bool = False,
        retries: int | None = None,
    ) -> T:
        return decode(orjson.dumps(await self.request(method, url_path, as_user=as_user, body=body, query=query)))

    async def request(
        self,
        method: str,
        url_path: str,
        *,
        as_user: UserId | None = None,
        device_id: DeviceId | None = None,
        body: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        media_type: str = "",
        query: Mapping[str, str] | None = None,
        deadline: float = 60.0,
        long_poll: bool = False,
        retries: int | None = None,
    ) -> dict[str, Any]:
        self.requests += 1
        user = self._user or as_user or STEWARD
        return await self._homeserver.handle(user, method, url_path, body or {}, query or {})
