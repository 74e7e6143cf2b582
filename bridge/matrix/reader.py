"""Homeserver state → actual: whole rooms, kept as the service's own copy until something is pushed about them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bridge.core.errors import Forbidden, NotFound
from bridge.core.ids import EventId, RoomId, UserId
from bridge.matrix.client import Client, path
from bridge.plan.state import LISTED, Membership, RoomState, StateEvent
from bridge.ports import Written


class Reader:
    """Implements `ports.RoomReader`: one request a room, none where the own copy is current."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rooms: dict[RoomId, RoomState] = {}
        self._locks: dict[RoomId, asyncio.Lock] = {}
        self._changes: dict[RoomId, int] = {}
        """Counts what was entered or dropped, so that an answer that was under way meanwhile is not kept."""
        self._readings: dict[RoomId, int] = {}

    def _lock(self, room_id: RoomId) -> asyncio.Lock:
        return self._locks.setdefault(room_id, asyncio.Lock())

    async def read(self, room_id: RoomId, *, fresh: bool = False) -> RoomState:
        """The whole state of a room (client-server API, `GET /rooms/{roomId}/state`).

        Raises:
            Forbidden, NotFound: the steward is not in the room, or it is gone.
        """
        async with self._lock(room_id):
            have = self._rooms.get(room_id)
            return await self._read(room_id) if have is None or fresh else have

    async def _read(self, room_id: RoomId) -> RoomState:
        self._rooms.pop(room_id, None)
        self._readings[room_id] = self.readings(room_id) + 1
        before = self._changes.get(room_id)
        answer = await self._client.request("GET", path("v3", "rooms", room_id, "state"))
        room = parse_state(room_id, answer.get("value"))
        if (room.content("m.room.create") or {}).get("type") == "m.space":
            room = room.with_state(LISTED, "", StateEvent(await self._listed(room_id)))
        if self._changes.get(room_id) == before:
            self._rooms[room_id] = room
        return room

    async def _listed(self, room_id: RoomId) -> dict[str, Any]:
        answer = await self._client.request("GET", path("v3", "directory", "list", "room", room_id))
        return {"listed": answer.get("visibility") == "public"}

    async def is_listed(self, room_id: RoomId) -> bool:
        """Whether a room stands in the public directory (client-server API, `GET /directory/list/room/{roomId}`)."""
        return bool((await self._listed(room_id))["listed"])

    async def refresh(self, room_id: RoomId, event_type: str, state_key: str) -> RoomState:
        """Read one piece of state again; the whole room where there is no copy of it yet."""
        async with self._lock(room_id):
            if room_id not in self._rooms:
                return await self._read(room_id)
            before = self._changes.get(room_id)
            parts = path("v3", "rooms", room_id, "state", event_type, state_key)
            try:
                event = await self._client.request("GET", parts, query={"format": "event"})
            except NotFound:
                event = {}
            have = self._rooms.get(room_id)
            if have is None:
                return RoomState(room_id, "", frozenset())
            room = with_event(have, event) if event else _without(have, event_type, state_key)
            if self._changes.get(room_id) == before:
                self._rooms[room_id] = room
            else:
                self._rooms.pop(room_id, None)
            return room

    async def latest(self, room_id: RoomId, event_type: str) -> Written | None:
        """The state event of that type, with an empty state key, as the homeserver has it now."""
        parts = path("v3", "rooms", room_id, "state", event_type, "")
        return await self._written(parts, {"format": "event"})

    async def written(self, room_id: RoomId, event_id: EventId) -> Written | None:
        """A state event, whether it holds still or not (client-server API, `GET /rooms/{roomId}/event/{eventId}`)."""
        return await self._written(path("v3", "rooms", room_id, "event", event_id), {})

    async def _written(self, parts: str, query: Mapping[str, str]) -> Written | None:
        try:
            event = await self._client.request("GET", parts, query=query)
        except NotFound:
            return None
        parsed = _parse(event)
        if parsed is None:
            return None
        piece, sent_at, unsigned = parsed[2], event.get("origin_server_ts"), event.get("unsigned")
        before = unsigned.get("replaces_state") if isinstance(unsigned, Mapping) else None
        return Written(
            piece.event_id,
            UserId(piece.sender),
            sent_at if isinstance(sent_at, int) else 0,
            piece.content,
            EventId(before) if isinstance(before, str) else None,
        )

    async def joined(self) -> list[RoomId]:
        """The rooms that the steward is in (client-server API, `GET /joined_rooms`)."""
        answer = await self._client.request("GET", path("v3", "joined_rooms"))
        return [RoomId(str(room_id)) for room_id in answer.get("joined_rooms", ())]

    async def mark(self, room_id: RoomId) -> tuple[str, str] | None:
        """Community and key of our mark in a room's creation content, None where it has none."""
        try:
            create = await self._client.request("GET", path("v3", "rooms", room_id, "state", "m.room.create", ""))
        except (Forbidden, NotFound):
            return None
        state = {("m.room.create", ""): StateEvent(create)}
        return RoomState(room_id, "", frozenset(), state).marker

    def peek(self, room_id: RoomId) -> RoomState | None:
        """The own copy, without asking."""
        return self._rooms.get(room_id)

    def readings(self, room_id: RoomId) -> int:
        """How often the room was read as a whole."""
        return self._readings.get(room_id, 0)

    def forget(self, room_id: RoomId) -> None:
        """Drop the own copy: the next `read` asks the homeserver."""
        self._changed(room_id)
        self._rooms.pop(room_id, None)

    def _changed(self, room_id: RoomId) -> None:
        self._changes[room_id] = self._changes.get(room_id, 0) + 1

    def wrote(self, room_id: RoomId, event_type: str, state_key: str, event: StateEvent) -> None:
        """Enter a change of our own into the copy."""
        self._changed(room_id)
        have = self._rooms.get(room_id)
        if have is not None:
            self._rooms[room_id] = have.with_state(event_type, state_key, event)

    def moved(self, room_id: RoomId, user: UserId, membership: Membership) -> None:
        """Enter a membership change of our own into the copy."""
        self._changed(room_id)
        have = self._rooms.get(room_id)
        if have is not None:
            self._rooms[room_id] = have.with_member(user, membership)


class AnnouncerEyes:
    """What the announcer sees of rooms in which the steward is not."""

    def __init__(self, client: Client, announcer: UserId) -> None:
        self._client = client
        self._announcer = announcer

    async def chat_facts(self, room_id: RoomId) -> tuple[bool, set[UserId]]:
        """Whether a room is encrypted, and who is joined or invited."""
        answer = await self._client.request("GET", path("v3", "rooms", room_id, "state"), as_user=self._announcer)
        room = parse_state(room_id, answer.get("value"))
        encryption = room.content("m.room.encryption") or {}
        encrypted = encryption.get("algorithm") == "m.megolm.v1.aes-sha2"
        return encrypted, {user for user, here in room.members.items() if here.present}


def parse_state(room_id: RoomId, events: object) -> RoomState:
    """Make a room of the homeserver's state events; what is malformed is left out."""
    version, creators = "1", frozenset[str]()
    state: dict[tuple[str, str], StateEvent] = {}
    members: dict[UserId, Membership] = {}
    for event in events if isinstance(events, list) else []:
        parsed = _parse(event)
        if parsed is None:
            continue
        event_type, state_key, piece = parsed
        if event_type == "m.room.member":
            members[UserId(state_key)] = _membership(piece)
            continue
        state[event_type, state_key] = piece
        if event_type == "m.room.create":
            version = str(piece.content.get("room_version", "1"))
            creators = _creators(piece)
    return RoomState(room_id, version, creators, state, members)


def with_event(room: RoomState, event: Mapping[str, Any]) -> RoomState:
    """A room with one more state event of the homeserver."""
    parsed = _parse(event)
    if parsed is None:
        return room
    event_type, state_key, piece = parsed
    if event_type == "m.room.member":
        return room.with_member(UserId(state_key), _membership(piece))
    return room.with_state(event_type, state_key, piece)


def _without(room: RoomState, event_type: str, state_key: str) -> RoomState:
    if event_type == "m.room.member":
        members = {user: here for user, here in room.members.items() if user != state_key}
        return RoomState(room.room_id, room.version, room.creators, room.state, members)
    state = {place: event for place, event in room.state.items() if place != (event_type, state_key)}
    return RoomState(room.room_id, room.version, room.creators, state, room.members)


def _parse(event: object) -> tuple[str, str, StateEvent] | None:
    if not isinstance(event, Mapping):
        return None
    event_type, state_key, content = event.get("type"), event.get("state_key"), event.get("content")
    if not isinstance(event_type, str) or not isinstance(state_key, str):
        return None
    sender = event.get("sender") or event.get("user_id")
    unsigned = event.get("unsigned")
    return (
        event_type,
        state_key,
        StateEvent(
            content if isinstance(content, Mapping) else {},
            sender if isinstance(sender, str) else "",
            EventId(str(event.get("event_id", ""))),
            redacted=isinstance(unsigned, Mapping) and "redacted_because" in unsigned,
        ),
    )


def _membership(piece: StateEvent) -> Membership:
    return Membership(str(piece.content.get("membership", "leave")), piece.sender, piece.event_id)


def _creators(create: StateEvent) -> frozenset[str]:
    """The creators of a room: its sender, and from version 12 on the `additional_creators` (MSC4289)."""
    more = create.content.get("additional_creators")
    extra = [user for user in more if isinstance(user, str)] if isinstance(more, list) else []
    return frozenset([create.sender, *extra])
