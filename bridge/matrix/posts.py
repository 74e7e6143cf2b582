"""Messages that stand in rooms: what replaces them, and taking them away, as the steward or as the announcer."""

from __future__ import annotations

from bridge.core.errors import NotFound
from bridge.core.ids import EventId, RoomId, UserId
from bridge.matrix.client import Client, path

MOST_PAGES = 50


class Posts:
    """Implements `ports.Posts`."""

    def __init__(self, client: Client, announcer: UserId) -> None:
        self._client = client
        self._announcer = announcer

    async def edits_of(
        self, room_id: RoomId, event_id: EventId, *, sender: UserId, by_announcer: bool
    ) -> list[EventId]:
        """The events by which their author replaced a message (client-server API,
        `GET /rooms/{roomId}/relations/{eventId}/m.replace`); none of a message that is redacted.

        Raises:
            MatrixError: the homeserver refuses, or cannot be asked.
        """
        found: list[EventId] = []
        query: dict[str, str] = {"limit": "100"}
        for _ in range(MOST_PAGES):
            try:
                answer = await self._client.request(
                    "GET",
                    path("v1", "rooms", room_id, "relations", event_id, "m.replace"),
                    as_user=self._announcer if by_announcer else None,
                    query=query,
                )
            except NotFound:
                return found
            events = [event for event in answer.get("chunk", []) if event.get("sender") == sender]
            found += [EventId(str(event["event_id"])) for event in events]
            after = answer.get("next_batch")
            if after is None:
                return found
            query["from"] = str(after)
        return found

    async def redact(self, room_id: RoomId, event_id: EventId, reason: str, *, txn_id: str, by_announcer: bool) -> None:
        """Redact a message (client-server API, `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`); one that is redacted
        already stays so.

        Args:
            by_announcer: in direct chats, in which the steward is not; there only what the announcer sent.

        Raises:
            MatrixError: the homeserver refuses, or cannot be asked.
        """
        await self._client.request(
            "PUT",
            path("v3", "rooms", room_id, "redact", event_id, txn_id),
            as_user=self._announcer if by_announcer else None,
            body={"reason": reason} if reason else {},
        )
