"""The announcer's keys at rest: its device, Olm sessions, device lists of others, room keys, and who was given them.

Each function is one step inside a database transaction of the caller's. Pickles are libolm's, encrypted with the
configured pickle key; times are milliseconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bridge.core.ids import UserId
from bridge.store.database import Transaction

BATCH = 900
"""Values in one `IN (…)`: below the limit of every SQLite."""

MAX_OLM_SESSIONS = 8
"""Olm sessions kept for one device of somebody else."""

MAX_FORMER = 100
"""Former devices of ours that are remembered."""

MAX_STRANGE, MAX_DEVICE_ID = 20, 100
"""How much is kept of what somebody else called devices, and of how many."""

MAX_ROOM_KEYS_OF_ONE_OWNER = 5_000
"""Room keys kept of one user: nobody fills the database by sending keys that nobody asked for."""

_T = TypeVar("_T")


def _batches(values: Iterable[_T]) -> Iterator[list[_T]]:
    every = list(values)
    for start in range(0, len(every), BATCH):
        yield every[start : start + BATCH]


def _marks(count: int, first: int = 1) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))


# --- our device -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountRow:
    """Our device. `generation` counts its starts, here and on the homeserver."""

    device_id: str
    pickle: bytes
    published: bool
    fallback_at: int | None
    generation: int
    next_batch: str | None
    renew_until: int | None = None
    """Until when room keys are renewed every hour; None where they never were."""
    former: tuple[str, ...] = ()
    """The devices that this one took the place of, as far as this database knows them."""
    strange: tuple[str, ...] = ()
    """The devices beside ours that were seen last and were never ours; empty where there were none."""
    strange_at: int | None = None
    """When they were seen."""


_ACCOUNT = "device_id, pickle, published, fallback_at, generation, next_batch, renew_until, former, strange, strange_at"


async def load_account(tx: Transaction, user_id: str) -> AccountRow | None:
    row = await tx.fetch_row(
        f"SELECT {_ACCOUNT} FROM crypto_account WHERE user_id = $1",  # noqa: S608 - names from above
        user_id,
    )
    if row is None:
        return None
    return AccountRow(
        row["device_id"],
        bytes(row["pickle"]),
        bool(row["published"]),
        row["fallback_at"],
        row["generation"],
        row["next_batch"],
        row["renew_until"],
        _names(row["former"]),
        _names(row["strange"]),
        row["strange_at"],
    )


def _names(stored: str) -> tuple[str, ...]:
    return tuple(json.loads(stored)) if stored else ()


async def begin_device(tx: Transaction, user_id: str, device_id: str, pickle: bytes) -> None:
    """Put a new device in the place of whatever was there: its sessions and shares end, keys received stay.

    So does what is known of the account itself: until when keys are renewed, and which devices were there.
    """
    before = await load_account(tx, user_id)
    await tx.execute("DELETE FROM crypto_account WHERE user_id = $1", user_id)
    for table in ("crypto_olm_session", "crypto_outbound", "crypto_share", "crypto_unwedged", "crypto_audience"):
        await tx.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
    await tx.execute("UPDATE crypto_user SET outdated = outdated + 1, failed_at = NULL")
    await tx.execute(
        "INSERT INTO crypto_account (user_id, device_id, pickle) VALUES ($1, $2, $3)", user_id, device_id, pickle
    )
    if before is not None:
        await tx.execute(
            "UPDATE crypto_account SET renew_until = $2, former = $3, strange = $4, strange_at = $5 WHERE user_id = $1",
            user_id,
            before.renew_until,
            json.dumps([*before.former, before.device_id][-MAX_FORMER:]),
            json.dumps(before.strange),
            before.strange_at,
        )


async def save_account(tx: Transaction, user_id: str, pickle: bytes) -> None:
    await tx.execute("UPDATE crypto_account SET pickle = $2 WHERE user_id = $1", user_id, pickle)


async def set_fallback_at(tx: Transaction, user_id: str, at: int | None) -> None:
    await tx.execute("UPDATE crypto_account SET fallback_at = $2 WHERE user_id = $1", user_id, at)


async def set_published(tx: Transaction, user_id: str, published: bool) -> None:
    await tx.execute("UPDATE crypto_account SET published = $2 WHERE user_id = $1", user_id, int(published))


async def set_generation(tx: Transaction, user_id: str, generation: int) -> None:
    await tx.execute("UPDATE crypto_account SET generation = $2 WHERE user_id = $1", user_id, generation)


async def set_renew_until(tx: Transaction, user_id: str, until: int) -> None:
    await tx.execute("UPDATE crypto_account SET renew_until = $2 WHERE user_id = $1", user_id, until)


async def note_strange(tx: Transaction, user_id: str, device_ids: Sequence[str], *, now_ms: int) -> None:
    """Note which devices the account has beside ours that were never ours; few of them, and of long ids the beginning.

    JSON keeps apart whatever they are called, and keeps out what PostgreSQL does not store.
    """
    names = json.dumps([device_id[:MAX_DEVICE_ID] for device_id in device_ids[:MAX_STRANGE]])
    await tx.execute(
        "UPDATE crypto_account SET strange = $2, strange_at = $3 WHERE user_id = $1", user_id, names, now_ms
    )


async def forget_strange(tx: Transaction, user_id: str) -> None:
    await tx.execute("UPDATE crypto_account SET strange = '', strange_at = NULL WHERE user_id = $1", user_id)


async def set_next_batch(tx: Transaction, user_id: str, next_batch: str | None) -> None:
    await tx.execute("UPDATE crypto_account SET next_batch = $2 WHERE user_id = $1", user_id, next_batch)


# --- Olm sessions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OlmRow:
    """An Olm session; `ed25519` is the signing key that it was verified to belong to, empty while it is not."""

    session_id: str
    curve25519: str
    ed25519: str
    pickle: bytes
    created_at: int
    used_at: int


_OLM = "session_id, curve25519, ed25519, pickle, created_at, used_at"


async def olm_sessions(tx: Transaction, curve25519_keys: Iterable[str]) -> dict[str, list[OlmRow]]:
    """All sessions with these devices, the one last used for receiving first."""
    found: dict[str, list[OlmRow]] = {}
    for batch in _batches(sorted(set(curve25519_keys))):
        rows = await tx.fetch(
            f"SELECT {_OLM} FROM crypto_olm_session WHERE curve25519 IN ({_marks(len(batch))}) "  # noqa: S608
            "ORDER BY used_at DESC, created_at DESC, session_id",
            *batch,
        )
        for row in rows:
            session = OlmRow(
                row["session_id"],
                row["curve25519"],
                row["ed25519"],
                bytes(row["pickle"]),
                row["created_at"],
                row["used_at"],
            )
            found.setdefault(session.curve25519, []).append(session)
    return found


async def newest_sessions(tx: Transaction, curve25519_keys: Iterable[str]) -> dict[tuple[str, str], tuple[str, bytes]]:
    """Of each device (both of its keys) the session that was last used for receiving: its id and its pickle."""
    found: dict[tuple[str, str], tuple[str, bytes]] = {}
    rows = await tx.fetch_many(
        {"curve25519": "text", "ed25519": "text", "session_id": "text", "pickle": "bytea"},
        f"SELECT curve25519, ed25519, session_id, pickle FROM crypto_olm_session WHERE curve25519 {tx.one_of('$1')} "  # noqa: S608
        "ORDER BY used_at DESC, created_at DESC, session_id",
        tx.texts(curve25519_keys),
    )
    for curve25519, ed25519, session_id, pickle in rows:
        found.setdefault((curve25519, ed25519), (session_id, bytes(pickle)))
    return found


async def move_ratchets(tx: Transaction, pickles: Sequence[tuple[str, bytes]]) -> None:
    """Store the next state of sessions that are there, by their ids; nothing else of them changes by sending."""
    await tx.set_each("crypto_olm_session", "session_id", "pickle", ("text", "bytea"), pickles)


async def save_olm_sessions(tx: Transaction, sessions: Iterable[OlmRow]) -> None:
    """Store sessions; none may be named twice."""
    await tx.put(
        "INSERT INTO crypto_olm_session (session_id, curve25519, ed25519, pickle, created_at, used_at) {rows} "
        "ON CONFLICT (session_id) DO UPDATE SET "
        "ed25519 = excluded.ed25519, pickle = excluded.pickle, used_at = excluded.used_at",
        ("text", "text", "text", "bytea", "bigint", "bigint"),
        [(s.session_id, s.curve25519, s.ed25519, s.pickle, s.created_at, s.used_at) for s in sessions],
    )


async def prune_olm_sessions(tx: Transaction, curve25519: str) -> None:
    """Keep the sessions with a device that were used last, and forget the others."""
    await tx.execute(
        "DELETE FROM crypto_olm_session WHERE curve25519 = $1 AND session_id NOT IN (SELECT session_id FROM "
        "crypto_olm_session WHERE curve25519 = $1 ORDER BY used_at DESC, created_at DESC, session_id LIMIT $2)",
        curve25519,
        MAX_OLM_SESSIONS,
    )


async def claim_unwedging(tx: Transaction, user_id: str, device_id: str, *, now_ms: int, pause_ms: int) -> bool:
    """Whether a device's broken session may be replaced now; if so the time is noted."""
    at = await tx.fetch_value(
        "SELECT at FROM crypto_unwedged WHERE user_id = $1 AND device_id = $2", user_id, device_id
    )
    if at is not None and now_ms - pause_ms < at <= now_ms:
        return False
    await tx.execute(
        "INSERT INTO crypto_unwedged (user_id, device_id, at) VALUES ($1, $2, $3) "
        "ON CONFLICT (user_id, device_id) DO UPDATE SET at = excluded.at",
        user_id,
        device_id,
        now_ms,
    )
    return True


# --- device lists -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device of somebody, its self-signature verified before it was stored."""

    user_id: UserId
    device_id: str
    curve25519: str
    ed25519: str
    cross_signed: bool
    """Whether its owner's identity has signed it."""
    verified: bool = False
    """Whether moreover we have verified that identity."""


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user whose devices are followed; `outdated` counts the changes since the list was read."""

    user_id: UserId
    outdated: int
    failed_at: int | None
    master_key: str | None = None
    self_signing_key: str | None = None
    identity_changed_at: int | None = None
    """When the user was last seen with another identity than before; None where that never happened."""


async def tracked_users(tx: Transaction, users: Iterable[str]) -> dict[UserId, UserRow]:
    found: dict[UserId, UserRow] = {}
    for batch in _batches(sorted(set(users))):
        rows = await tx.fetch(
            "SELECT user_id, outdated, failed_at, master_key, self_signing_key, identity_changed_at "  # noqa: S608
            f"FROM crypto_user WHERE user_id IN ({_marks(len(batch))})",
            *batch,
        )
        for row in rows:
            user_id = UserId(row["user_id"])
            found[user_id] = UserRow(
                user_id,
                row["outdated"],
                row["failed_at"],
                row["master_key"],
                row["self_signing_key"],
                row["identity_changed_at"],
            )
    return found


async def follow(tx: Transaction, users: Iterable[str]) -> None:
    """Begin to follow the device lists of these users; they are outdated until they are read."""
    await tx.put(
        "INSERT INTO crypto_user (user_id, outdated) {rows} ON CONFLICT (user_id) DO NOTHING",
        ("text", "bigint"),
        [(user, 1) for user in users],
    )


async def mark_outdated(tx: Transaction, users: Iterable[str]) -> None:
    """Note that the device lists of these users changed; users who are not followed are left alone."""
    for batch in _batches(sorted(set(users))):
        await tx.execute(
            f"UPDATE crypto_user SET outdated = outdated + 1, failed_at = NULL WHERE user_id IN ({_marks(len(batch))})",  # noqa: S608
            *batch,
        )


async def mark_all_outdated(tx: Transaction) -> None:
    await tx.execute("UPDATE crypto_user SET outdated = outdated + 1, failed_at = NULL")


async def mark_failed(tx: Transaction, users: Iterable[str], *, now_ms: int) -> None:
    """Note that the device lists of these users could not be read."""
    await tx.execute_many(
        "INSERT INTO crypto_user (user_id, outdated, failed_at) VALUES ($1, 1, $2) "
        "ON CONFLICT (user_id) DO UPDATE SET failed_at = excluded.failed_at, "
        "outdated = CASE WHEN crypto_user.outdated = 0 THEN 1 ELSE crypto_user.outdated END",
        [(user, now_ms) for user in users],
    )


@dataclass(frozen=True, slots=True)
class DeviceList:
    """A user's devices as just read, and the count of changes that was known before the reading."""

    user_id: UserId
    seen: int
    devices: Sequence[DeviceRow]
    master_key: str | None = None
    self_signing_key: str | None = None


async def save_device_lists(tx: Transaction, lists: Sequence[DeviceList], *, now_ms: int) -> None:
    """Replace the stored devices of these users.

    A list that changed again meanwhile stays outdated. An identity in the place of another one is noted with the time;
    an identity that vanished is remembered, so that another one in its place is noticed.
    """
    for batch in _batches(one.user_id for one in lists):
        await tx.execute(f"DELETE FROM crypto_device WHERE user_id IN ({_marks(len(batch))})", *batch)  # noqa: S608
    await tx.put(
        "INSERT INTO crypto_device (user_id, device_id, curve25519, ed25519, cross_signed, verified) {rows} "
        "ON CONFLICT (user_id, device_id) DO UPDATE SET curve25519 = excluded.curve25519, ed25519 = excluded.ed25519, "
        "cross_signed = excluded.cross_signed, verified = excluded.verified",
        ("text", "text", "text", "text", "integer", "integer"),
        [
            (
                device.user_id,
                device.device_id,
                device.curve25519,
                device.ed25519,
                int(device.cross_signed),
                int(device.verified),
            )
            for one in lists
            for device in one.devices
        ],
    )
    await tx.execute_many(
        "INSERT INTO crypto_user (user_id, outdated, master_key, self_signing_key) VALUES ($1, 0, $3, $4) "
        "ON CONFLICT (user_id) DO UPDATE SET failed_at = NULL, "
        "identity_changed_at = CASE WHEN crypto_user.master_key <> excluded.master_key THEN $5 "
        "ELSE crypto_user.identity_changed_at END, "
        "master_key = COALESCE(excluded.master_key, crypto_user.master_key), "
        "self_signing_key = excluded.self_signing_key, "
        "outdated = CASE WHEN crypto_user.outdated = $2 THEN 0 ELSE crypto_user.outdated END",
        [(one.user_id, one.seen, one.master_key, one.self_signing_key, now_ms) for one in lists],
    )


async def devices_of(tx: Transaction, users: Iterable[str]) -> dict[UserId, list[DeviceRow]]:
    found: dict[UserId, list[DeviceRow]] = {}
    for batch in _batches(sorted(set(users))):
        rows = await tx.fetch(
            "SELECT user_id, device_id, curve25519, ed25519, cross_signed, verified FROM crypto_device "  # noqa: S608
            f"WHERE user_id IN ({_marks(len(batch))}) ORDER BY user_id, device_id",
            *batch,
        )
        for row in rows:
            user_id = UserId(row["user_id"])
            found.setdefault(user_id, []).append(
                DeviceRow(
                    user_id,
                    row["device_id"],
                    row["curve25519"],
                    row["ed25519"],
                    bool(row["cross_signed"]),
                    bool(row["verified"]),
                )
            )
    return found


async def count_verified(tx: Transaction) -> int:
    """How many people have a device of an identity that we have verified."""
    return int(await tx.fetch_value("SELECT COUNT(DISTINCT user_id) FROM crypto_device WHERE verified = 1"))


async def rooms_with(tx: Transaction, users: Iterable[str]) -> list[str]:
    """The rooms in whose audience any of these users was at the last share."""
    found: set[str] = set()
    for batch in _batches(sorted(set(users))):
        rows = await tx.fetch(
            f"SELECT DISTINCT room_id FROM crypto_audience WHERE user_id IN ({_marks(len(batch))})",  # noqa: S608
            *batch,
        )
        found |= {row["room_id"] for row in rows}
    return sorted(found)


# --- our sessions, and who was given them -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutboundRow:
    """A room's current session of ours, its ratchet at the next message."""

    room_id: str
    session_id: str
    pickle: bytes
    created_at: int
    messages: int
    audience_digest: str


async def outbound(tx: Transaction, room_id: str) -> OutboundRow | None:
    row = await tx.fetch_row(
        "SELECT session_id, pickle, created_at, messages, audience_digest FROM crypto_outbound WHERE room_id = $1",
        room_id,
    )
    if row is None:
        return None
    return OutboundRow(
        room_id,
        row["session_id"],
        bytes(row["pickle"]),
        row["created_at"],
        row["messages"],
        row["audience_digest"],
    )


async def begin_outbound(tx: Transaction, session: OutboundRow) -> None:
    """Make this the room's session. Who was given the one before it is still known: `shares.forget_earlier_holders`
    forgets those of sessions before that."""
    await tx.execute(
        "INSERT INTO crypto_outbound (room_id, session_id, pickle, created_at, messages, audience_digest) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (room_id) DO UPDATE SET session_id = excluded.session_id, "
        "pickle = excluded.pickle, created_at = excluded.created_at, messages = excluded.messages, "
        "audience_digest = excluded.audience_digest",
        session.room_id,
        session.session_id,
        session.pickle,
        session.created_at,
        session.messages,
        session.audience_digest,
    )


async def end_outbound(tx: Transaction) -> None:
    """End all sessions of ours: the next message into each room begins a new one."""
    await tx.execute("DELETE FROM crypto_share")
    await tx.execute("DELETE FROM crypto_outbound")


async def advance_outbound(tx: Transaction, room_id: str, session_id: str, pickle: bytes) -> None:
    await tx.execute(
        "UPDATE crypto_outbound SET pickle = $3, messages = messages + 1 WHERE room_id = $1 AND session_id = $2",
        room_id,
        session_id,
        pickle,
    )


# --- room keys --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InboundRow:
    """A room key. Its owner is the user who sent it, and never changes.

    `verified` says that the keys were those of a device in the owner's list, and one that was trusted; `original` is
    there for our own sessions alone: the outbound session as it was before its first message.
    """

    room_id: str
    session_id: str
    owner: str
    curve25519: str
    ed25519: str
    verified: bool
    shared_history: bool
    first_index: int
    pickle: bytes
    original: bytes | None = None


async def save_inbound(tx: Transaction, row: InboundRow, *, now_ms: int) -> None:
    """Store a room key. Of two copies from the same device the one that begins earlier is kept, and first come wins
    between devices.
    """
    await tx.execute(
        "INSERT INTO crypto_inbound (room_id, session_id, owner, curve25519, ed25519, verified, shared_history, "
        "first_index, pickle, original, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
        "ON CONFLICT (room_id, session_id, owner) DO UPDATE SET first_index = excluded.first_index, "
        "pickle = excluded.pickle, verified = excluded.verified, shared_history = excluded.shared_history "
        "WHERE excluded.curve25519 = crypto_inbound.curve25519 AND excluded.ed25519 = crypto_inbound.ed25519 "
        "AND excluded.first_index < crypto_inbound.first_index",
        row.room_id,
        row.session_id,
        row.owner,
        row.curve25519,
        row.ed25519,
        int(row.verified),
        int(row.shared_history),
        row.first_index,
        row.pickle,
        row.original,
        now_ms,
    )


async def prune_inbound(tx: Transaction, owner: str) -> None:
    """Keep the newest room keys of one user, and forget the others."""
    await tx.execute(
        "DELETE FROM crypto_inbound WHERE owner = $1 AND at < (SELECT at FROM crypto_inbound WHERE owner = $1 "
        "ORDER BY at DESC LIMIT 1 OFFSET $2)",
        owner,
        MAX_ROOM_KEYS_OF_ONE_OWNER,
    )


async def inbound(tx: Transaction, room_id: str, session_id: str, owner: str) -> InboundRow | None:
    row = await tx.fetch_row(
        "SELECT curve25519, ed25519, verified, shared_history, first_index, pickle, original FROM crypto_inbound "
        "WHERE room_id = $1 AND session_id = $2 AND owner = $3",
        room_id,
        session_id,
        owner,
    )
    if row is None:
        return None
    original = row["original"]
    return InboundRow(
        room_id,
        session_id,
        owner,
        row["curve25519"],
        row["ed25519"],
        bool(row["verified"]),
        bool(row["shared_history"]),
        row["first_index"],
        bytes(row["pickle"]),
        None if original is None else bytes(original),
    )


async def has_inbound(tx: Transaction, room_id: str, session_id: str) -> bool:
    found = await tx.fetch_value(
        "SELECT 1 FROM crypto_inbound WHERE room_id = $1 AND session_id = $2 LIMIT 1", room_id, session_id
    )
    return found is not None


async def mark_inbound_verified(tx: Transaction, room_id: str, session_id: str, owner: str) -> None:
    await tx.execute(
        "UPDATE crypto_inbound SET verified = 1 WHERE room_id = $1 AND session_id = $2 AND owner = $3",
        room_id,
        session_id,
        owner,
    )


async def note_message(tx: Transaction, room_id: str, session_id: str, owner: str, index: int, event_id: str) -> str:
    """Bind a message index of a session to the event that first used it, and give that event back (no replays)."""
    await tx.execute(
        "INSERT INTO crypto_message_index (room_id, session_id, owner, message_index, event_id) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (room_id, session_id, owner, message_index) DO NOTHING",
        room_id,
        session_id,
        owner,
        index,
        event_id,
    )
    return str(
        await tx.fetch_value(
            "SELECT event_id FROM crypto_message_index WHERE room_id = $1 AND session_id = $2 AND owner = $3 "
            "AND message_index = $4",
            room_id,
            session_id,
            owner,
            index,
        )
    )
