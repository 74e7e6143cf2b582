"""Announcements and where they were delivered."""

from __future__ import annotations

import hashlib
from typing import Any

from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.store.database import Transaction


async def add(tx: Transaction, source: str, author: str, text: str, reply_room: RoomId | None, now: int) -> str:
    """Record an announcement and give its id; the same source gives the same announcement."""
    announcement = hashlib.sha256(source.encode()).hexdigest()[:24]
    await tx.execute(
        """INSERT INTO announcement (id, source, author, text, reply_room, at) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT DO NOTHING""",
        announcement, source, author, text, reply_room, now,
    )  # fmt: skip
    return announcement


async def add_target(tx: Transaction, announcement: str, community: CommunityId, room_id: RoomId) -> None:
    await tx.execute(
        """INSERT INTO announcement_target (announcement, community, room_id) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING""",
        announcement, community, room_id,
    )  # fmt: skip


async def is_settled(tx: Transaction, announcement: str, community: CommunityId) -> bool:
    """Whether it was delivered there."""
    found = await tx.fetch_value(
        "SELECT event_id FROM announcement_target WHERE announcement = $1 AND community = $2", announcement, community
    )
    return found is not None


async def text_of(tx: Transaction, announcement: str) -> str | None:
    text: str | None = await tx.fetch_value("SELECT text FROM announcement WHERE id = $1", announcement)
    return text


async def author_of(tx: Transaction, announcement: str) -> str | None:
    """Who wrote it: a user id where it has a `reply_room`."""
    author: str | None = await tx.fetch_value("SELECT author FROM announcement WHERE id = $1", announcement)
    return author


async def reply_room(tx: Transaction, announcement: str) -> RoomId | None:
    room: str | None = await tx.fetch_value("SELECT reply_room FROM announcement WHERE id = $1", announcement)
    return None if room is None else RoomId(room)


async def delivered(
    tx: Transaction,
    announcement: str,
    community: CommunityId,
    event_id: EventId,
    *,
    devices: int,
    unreached: int,
    now: int,
) -> None:
    """Record a delivery, how many devices hold its key, and how many members have none that does.

    Once it is everywhere the text is forgotten: it then lies in the rooms alone, encrypted."""
    await tx.execute(
        """UPDATE announcement_target SET event_id = $3, devices = $4, unreached = $5, sent_at = $6, failed = NULL
           WHERE announcement = $1 AND community = $2""",
        announcement, community, event_id, devices, unreached, now,
    )  # fmt: skip
    await _forget_text(tx, announcement)


async def dropped(tx: Transaction, announcement: str, community: CommunityId) -> None:
    """Forget a delivery that will not be made; with the last of them the text."""
    await tx.execute(
        "DELETE FROM announcement_target WHERE announcement = $1 AND community = $2 AND event_id IS NULL",
        announcement, community,
    )  # fmt: skip
    await _forget_text(tx, announcement)


async def _forget_text(tx: Transaction, announcement: str) -> None:
    await tx.execute(
        """UPDATE announcement SET text = '' WHERE id = $1 AND NOT EXISTS
           (SELECT 1 FROM announcement_target WHERE announcement = $1 AND event_id IS NULL)""",
        announcement,
    )


async def failed(tx: Transaction, announcement: str, community: CommunityId, why: str) -> None:
    await tx.execute(
        "UPDATE announcement_target SET failed = $3 WHERE announcement = $1 AND community = $2",
        announcement, community, why,
    )  # fmt: skip


async def outcome(tx: Transaction, job_id: str) -> dict[str, Any]:
    """Where one delivery stands, by the id of its job."""
    _, announcement, community = job_id.split("-", 2)
    row = await tx.fetch_row(
        """SELECT room_id, event_id, devices, unreached, failed FROM announcement_target
           WHERE announcement = $1 AND community = $2""",
        announcement, community,
    )  # fmt: skip
    found = (
        {} if row is None else {name: row[name] for name in ("room_id", "event_id", "devices", "unreached", "failed")}
    )
    return {"community": community, **found}
