"""Threads of announcements in discussion rooms, and how far each has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.store.database import Transaction


class Piece(StrEnum):
    """A message of ours that belongs to a thread."""

    ROOT = "root"
    """In the discussion room, with the first words of the announcement: under it the thread stands."""
    OPENING = "opening"
    """The first message of the thread, with a link to the announcement."""
    POINTER = "pointer"
    """In the announcement room, where the announcement does not carry the link to the thread itself."""


@dataclass(frozen=True, slots=True)
class Thread:
    """The thread of one announcement in one community, as far as it has come."""

    room_id: RoomId
    """The discussion room; empty as long as nothing was tried."""
    linked: bool | None
    """Whether the announcement carries the link; None before that is decided, which is for good."""
    pieces: dict[Piece, EventId]
    """Those that are there."""
    words: str
    """A digest of the words of the root."""
    sending: Piece | None
    """What was about to be sent, and may be there."""
    closed: bool
    """Whether it was taken back."""

    @property
    def root(self) -> EventId | None:
        return self.pieces.get(Piece.ROOT)


async def get(tx: Transaction, announcement: str, community: CommunityId) -> Thread | None:
    row = await tx.fetch_row(
        """SELECT room_id, linked, root, opening, pointer, words, sending, closed FROM discussion_thread
           WHERE announcement = $1 AND community = $2""",
        announcement, community,
    )  # fmt: skip
    if row is None:
        return None
    return Thread(
        RoomId(row["room_id"]),
        None if row["linked"] is None else bool(row["linked"]),
        {piece: EventId(row[piece.value]) for piece in Piece if row[piece.value] is not None},
        row["words"],
        Piece(row["sending"]) if row["sending"] else None,
        bool(row["closed"]),
    )


async def begin(tx: Transaction, announcement: str, community: CommunityId, room_id: RoomId, piece: Piece) -> None:
    """Record that a message of a thread is about to be sent: from now on it may be there.

    Args:
        room_id: the discussion room.
    """
    await tx.execute(
        """INSERT INTO discussion_thread (announcement, community, room_id, sending) VALUES ($1, $2, $3, $4)
           ON CONFLICT (announcement, community) DO UPDATE
           SET sending = excluded.sending, room_id = excluded.room_id""",
        announcement, community, room_id, piece.value,
    )  # fmt: skip


async def sent(
    tx: Transaction, announcement: str, community: CommunityId, piece: Piece, event_id: EventId, words: str
) -> None:
    """Record that a message of a thread is there.

    Args:
        words: of the root: the digest of its words.
    """
    root = ", words = $4" if piece is Piece.ROOT else ""
    await tx.execute(
        f"""UPDATE discussion_thread SET {piece.value} = $3, sending = ''{root}
            WHERE announcement = $1 AND community = $2""",  # noqa: S608 - a column's name
        announcement, community, event_id, *([words] if root else []),
    )  # fmt: skip


async def decide(tx: Transaction, announcement: str, community: CommunityId, *, linked: bool) -> None:
    """Record for good whether an announcement carries the link to its thread."""
    await tx.execute(
        """INSERT INTO discussion_thread (announcement, community, linked) VALUES ($1, $2, $3)
           ON CONFLICT (announcement, community) DO UPDATE SET linked = excluded.linked
           WHERE discussion_thread.linked IS NULL""",
        announcement, community, int(linked),
    )  # fmt: skip


async def reworded(tx: Transaction, announcement: str, community: CommunityId, words: str) -> None:
    """Record which words the root has now."""
    await tx.execute(
        "UPDATE discussion_thread SET words = $3 WHERE announcement = $1 AND community = $2",
        announcement, community, words,
    )  # fmt: skip


async def close(tx: Transaction, announcement: str, community: CommunityId) -> None:
    """Record that a thread was taken back."""
    await tx.execute(
        "UPDATE discussion_thread SET closed = 1, sending = '' WHERE announcement = $1 AND community = $2",
        announcement, community,
    )  # fmt: skip
