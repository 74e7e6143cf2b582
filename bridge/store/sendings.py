"""Messages on their way: noted before each try, so that a later one can tell whether an earlier one arrived."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.ids import DeviceId, RoomId
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Sending:
    """The tries so far of one message."""

    device_id: DeviceId
    """The device of the first try; empty where there was none."""
    begun_at: int
    """When that was, in milliseconds since 1970."""
    seals: frozenset[str]
    """By these what any of the tries sent is known again (`matrix/own_posts.seal_of`); none of what went in clear."""
    devices: int
    """How many devices held the key at the last try."""


async def find(tx: Transaction, room_id: RoomId, txn_id: str) -> Sending | None:
    """The tries so far; None before the first."""
    row = await tx.fetch_row(
        "SELECT device_id, begun_at, seals, devices FROM sending WHERE txn_id = $1 AND room_id = $2", txn_id, room_id
    )
    if row is None:
        return None
    return Sending(DeviceId(row["device_id"]), row["begun_at"], frozenset(row["seals"].split()), row["devices"])


async def note(
    tx: Transaction, room_id: RoomId, txn_id: str, *, device_id: DeviceId, seal: str, devices: int, now: int
) -> None:
    """Note a try that is about to be made; commit before it is."""
    await tx.execute(
        """INSERT INTO sending (txn_id, room_id, device_id, begun_at, seals, devices) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (txn_id, room_id) DO UPDATE
           SET seals = sending.seals || ' ' || excluded.seals, devices = excluded.devices""",
        txn_id, room_id, device_id, now, seal, devices,
    )  # fmt: skip


async def settle(tx: Transaction, txn_id: str) -> None:
    """Forget a message whose job is done, or was dropped."""
    await tx.execute("DELETE FROM sending WHERE txn_id = $1", txn_id)


async def sweep(tx: Transaction) -> None:
    """Forget all messages whose jobs are gone. The transaction id of a job's message begins with the job's id."""
    await tx.execute(
        """DELETE FROM sending WHERE NOT EXISTS
           (SELECT 1 FROM job WHERE substr(sending.txn_id, 1, length(job.id)) = job.id)"""
    )
