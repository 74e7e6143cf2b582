"""Looks in a room for a message of the announcer's, to tell whether it arrived when it was sent before."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from bridge.core.errors import Unreachable
from bridge.core.ids import DeviceId, EventId, RoomId, UserId
from bridge.matrix.client import Client, path

PAGE_EVENTS = 100
MOST_PAGES = 200
CLOCKS_MS = 60 * 60 * 1000
"""How far the homeserver's clock may be from ours."""


def seal_of(content: Mapping[str, Any]) -> str:
    """By what an encrypted event is known again: no two have the same ciphertext. Empty for what is in clear."""
    ciphertext = content.get("ciphertext")
    return hashlib.sha256(ciphertext.encode()).hexdigest() if isinstance(ciphertext, str) else ""


async def find(
    client: Client,
    room_id: RoomId,
    *,
    announcer: UserId,
    device_id: DeviceId | None,
    txn_id: str,
    seals: Collection[str],
    since_ms: int,
) -> EventId | None:
    """The announcer's message of that transaction id, or with one of these seals; None if it is not in the room.

    A homeserver gives the transaction id of an event to the device that sent it (client-server API, `unsigned`), also
    when it would no longer know it in a `PUT`, and of an event that was redacted. To another device it does not: then
    the seals find it.

    Args:
        since_ms: when it was first sent, in milliseconds since 1970; what is older is not looked at.

    Raises:
        MatrixError: the homeserver refuses, cannot be asked, or does not come to an end.
    """
    shown = {"senders": [announcer], "types": ["m.room.encrypted", "m.room.message"]}
    query = {"dir": "b", "limit": str(PAGE_EVENTS), "filter": orjson.dumps(shown).decode()}
    for _ in range(MOST_PAGES):
        page = await client.request(
            "GET", path("v3", "rooms", room_id, "messages"), as_user=announcer, device_id=device_id, query=query
        )
        events = [event for event in page.get("chunk", []) if event.get("sender") == announcer]
        for event in events:
            if _is_it(event, txn_id, seals):
                return EventId(event["event_id"])
        after = page.get("end")
        if after is None or any(event["origin_server_ts"] < since_ms - CLOCKS_MS for event in events):
            return None
        query["from"] = str(after)
    raise Unreachable(
        "whether a message arrived cannot be told: the room has no end",
        where=room_id,
        remedy="see `matrix-communities parked`",
    )


def _is_it(event: Mapping[str, Any], txn_id: str, seals: Collection[str]) -> bool:
    if event.get("unsigned", {}).get("transaction_id") == txn_id:
        return True
    seal = seal_of(event.get("content", {}))
    return bool(seal) and seal in seals
