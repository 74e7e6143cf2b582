"""The messages that `FakeMessenger` sent, as they stand in rooms: read, edited and redacted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.errors import Forbidden
from bridge.core.ids import EventId, RoomId, UserId
from bridge.store.database import inside_transaction
from tests.fakes.faults import Faults
from tests.fakes.messenger import FakeMessenger


class FakePosts:
    """Implements `ports.Posts`, and reads what was said. Its requests are named `REDACT room event`."""

    def __init__(self, messenger: FakeMessenger, faults: Faults) -> None:
        self._messenger = messenger
        self._faults = faults
        self.redacted: dict[EventId, bool] = {}
        """What was redacted, and whether as the announcer."""
        self.by_people: dict[EventId, tuple[RoomId, Mapping[str, Any]]] = {}
        """What people posted with their own clients."""

    def _all(self) -> dict[EventId, tuple[RoomId, Mapping[str, Any]]]:
        return {**self._messenger.posted, **self.by_people}

    async def content(self, room_id: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        """What a message says now; None where it is redacted."""
        self._point(f"READ {room_id} {event_id}")
        found = self._all().get(event_id)
        if found is None or found[0] != room_id or event_id in self.redacted:
            return None
        edits = [self._all()[edit][1] for edit in self._edits(event_id)]
        return edits[-1]["m.new_content"] if edits else found[1]

    async def edits_of(
        self, room_id: RoomId, event_id: EventId, *, sender: UserId, by_announcer: bool
    ) -> list[EventId]:
        self._point(f"EDITS {room_id} {event_id}")
        return [] if event_id in self.redacted else self._edits(event_id)

    def _edits(self, event_id: EventId) -> list[EventId]:
        def replaces(content: Mapping[str, Any]) -> bool:
            return bool(content.get("m.relates_to") == {"rel_type": "m.replace", "event_id": event_id})

        return [one for one, (_, content) in self._all().items() if replaces(content) and one not in self.redacted]

    async def redact(self, room_id: RoomId, event_id: EventId, reason: str, *, txn_id: str, by_announcer: bool) -> None:
        self._point(f"REDACT {room_id} {event_id}")
        if self._all()[event_id][0] != room_id:
            raise Forbidden("it is not in that room")
        self.redacted[event_id] = by_announcer
        self._faults.point(of_homeserver=True)

    def _point(self, name: str) -> None:
        if inside_transaction():
            raise RuntimeError(f"a network call inside a database transaction: {name}")
        self._faults.point(of_homeserver=True)
        self._faults.check(name)

    def reads(self, room_id: RoomId | None) -> list[str]:
        """What a client shows in a room: the words as they read now, without what is redacted."""
        shown = []
        for event_id, (room, content) in self._all().items():
            if room != room_id or event_id in self.redacted or "m.relates_to" in content:
                continue
            edits = self._edits(event_id)
            shown.append(str((self._all()[edits[-1]][1]["m.new_content"] if edits else content)["body"]))
        return shown
