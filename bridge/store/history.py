"""What is remembered for newcomers: who was in a room when, what was said when, and who was given which past keys.

Each function is one step inside a database transaction of the caller's; times are milliseconds since 1970, as the
homeserver has them where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from bridge.core.ids import UserId
from bridge.store.database import Row, Transaction
from bridge.store.keys import BATCH, DeviceRow, InboundRow

PENDING = "pending"
HELD = "held"
REFUSED = "refused"
"""The homeserver refuses the request, for whatever device; it is not made again."""
BUNDLE = "bundle"
"""Stands in the place of a session's id for the bundle of other people's."""
PAGE = 1_000
"""Devices that are looked at together."""


def _marks(count: int, first: int) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))


def _batches(values: Iterable[str]) -> Iterable[list[str]]:
    every = sorted(set(values))
    for start in range(0, len(every), BATCH):
        yield every[start : start + BATCH]


# --- who was in a room when -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MoveRow:
    """A change of somebody's membership of a room."""

    user_id: str
    event_id: str
    membership: str
    sender: str
    at: int


async def save_move(tx: Transaction, room_id: str, row: MoveRow) -> None:
    """Note a change of membership; the same event again changes nothing."""
    await tx.execute(
        "INSERT INTO crypto_moved (room_id, user_id, event_id, membership, sender, at) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (room_id, user_id, event_id) DO NOTHING",
        room_id,
        row.user_id,
        row.event_id,
        row.membership,
        row.sender,
        row.at,
    )


async def moves_of(tx: Transaction, room_id: str, users: Iterable[str]) -> dict[str, list[MoveRow]]:
    """Every change of these users' memberships, in no order."""
    found: dict[str, list[MoveRow]] = {}
    for batch in _batches(users):
        rows = await tx.fetch(
            "SELECT user_id, event_id, membership, sender, at FROM crypto_moved WHERE room_id = $1 "  # noqa: S608
            f"AND user_id IN ({_marks(len(batch), 2)})",
            room_id,
            *batch,
        )
        for row in rows:
            one = MoveRow(row["user_id"], row["event_id"], row["membership"], row["sender"], row["at"])
            found.setdefault(one.user_id, []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class PresentRow:
    """Somebody who is in a room. `seen_at` is when we were told of their stay, by our own clock."""

    user_id: str
    member_event: str
    first_at: int
    came_at: int
    seen_at: int
    inviter: str | None


async def set_present(tx: Transaction, room_id: str, row: PresentRow) -> None:
    """Note that somebody is in a room. Where they have been since the same moment, what they were given stays."""
    same = await tx.fetch_value(
        "SELECT 1 FROM crypto_present WHERE room_id = $1 AND user_id = $2 AND came_at = $3",
        room_id,
        row.user_id,
        row.came_at,
    )
    if same:
        await tx.execute(
            "UPDATE crypto_present SET member_event = $3, first_at = $4 WHERE room_id = $1 AND user_id = $2",
            room_id,
            row.user_id,
            row.member_event,
            row.first_at,
        )
        return
    await set_absent(tx, room_id, [row.user_id])
    await tx.execute(
        "INSERT INTO crypto_present (room_id, user_id, member_event, first_at, came_at, seen_at, inviter) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        room_id,
        row.user_id,
        row.member_event,
        row.first_at,
        row.came_at,
        row.seen_at,
        row.inviter,
    )


async def set_absent(tx: Transaction, room_id: str, users: Iterable[str]) -> None:
    """Note that somebody is outside: when they come back, they are given anew."""
    for batch in _batches(users):
        for table in ("crypto_present", "crypto_served", "crypto_given"):
            await tx.execute(
                f"DELETE FROM {table} WHERE room_id = $1 AND user_id IN ({_marks(len(batch), 2)})",  # noqa: S608
                room_id,
                *batch,
            )


async def present(tx: Transaction, room_id: str) -> dict[str, PresentRow]:
    """Everybody who is known to be in a room."""
    rows = await tx.fetch(
        "SELECT user_id, member_event, first_at, came_at, seen_at, inviter FROM crypto_present WHERE room_id = $1",
        room_id,
    )
    found = [
        PresentRow(row["user_id"], row["member_event"], row["first_at"], row["came_at"], row["seen_at"], row["inviter"])
        for row in rows
    ]
    return {row.user_id: row for row in found}


async def rooms_of(tx: Transaction, users: Iterable[str]) -> list[str]:
    """The rooms in which any of these users is."""
    found: set[str] = set()
    for batch in _batches(users):
        rows = await tx.fetch(
            f"SELECT DISTINCT room_id FROM crypto_present WHERE user_id IN ({_marks(len(batch), 1)})",  # noqa: S608
            *batch,
        )
        found |= {row["room_id"] for row in rows}
    return sorted(found)


async def unread(tx: Transaction, room_id: str) -> tuple[list[UserId], list[UserId]]:
    """Present users whose device list has to be read: those who just came, and those who are not followed or whose list
    changed."""
    rows = await tx.fetch(
        "SELECT p.user_id, p.looked FROM crypto_present p LEFT JOIN crypto_user u ON u.user_id = p.user_id "
        "WHERE p.room_id = $1 AND (p.looked = 0 OR u.user_id IS NULL OR u.outdated > 0)",
        room_id,
    )
    new = [UserId(row["user_id"]) for row in rows if not row["looked"]]
    return new, [UserId(row["user_id"]) for row in rows if row["looked"]]


async def set_looked(tx: Transaction, room_id: str, users: Iterable[str]) -> None:
    for batch in _batches(users):
        await tx.execute(
            f"UPDATE crypto_present SET looked = 1 WHERE room_id = $1 AND user_id IN ({_marks(len(batch), 2)})",  # noqa: S608
            room_id,
            *batch,
        )


# --- who was given what -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device, and the membership of its owner."""

    device: DeviceRow
    member_event: str


_DEVICE = "d.user_id, d.device_id, d.curve25519, d.ed25519, d.cross_signed, d.verified, p.member_event"
_ADMITTED = (
    "(d.cross_signed = 1 OR $2 = 0) AND (d.verified = 1 OR ($3 = 0 AND "
    "(u.identity_changed_at IS NULL OR u.identity_changed_at < p.first_at)))"
)
"""Signed, where that is asked for; and verified, where that is asked for or the identity is another than at first."""


async def unserved(
    tx: Transaction, room_id: str, *, signed: bool, verified: bool, after: tuple[str, str] = ("", "")
) -> list[Candidate]:
    """Devices in a room that were not given its past yet, behind `after` by user and device id; at most `PAGE`.

    Args:
        signed: cross-signed ones alone.
        verified: those alone whose owner's identity was verified.
    """
    rows = await tx.fetch(
        f"SELECT {_DEVICE} FROM crypto_present p JOIN crypto_device d ON d.user_id = p.user_id "  # noqa: S608
        "JOIN crypto_user u ON u.user_id = p.user_id LEFT JOIN crypto_served s ON s.room_id = p.room_id "
        "AND s.user_id = d.user_id AND s.device_id = d.device_id AND s.ed25519 = d.ed25519 "
        f"AND s.curve25519 = d.curve25519 WHERE p.room_id = $1 AND {_ADMITTED} AND s.user_id IS NULL "
        "AND (d.user_id > $4 OR (d.user_id = $4 AND d.device_id > $5)) "
        f"ORDER BY d.user_id, d.device_id LIMIT {PAGE}",
        room_id,
        int(signed),
        int(verified),
        *after,
    )
    return [_candidate(row) for row in rows]


def _candidate(row: Row) -> Candidate:
    device = DeviceRow(
        UserId(row["user_id"]),
        row["device_id"],
        row["curve25519"],
        row["ed25519"],
        bool(row["cross_signed"]),
        bool(row["verified"]),
    )
    return Candidate(device, row["member_event"])


async def serve_all(tx: Transaction, room_id: str, *, signed: bool, verified: bool) -> None:
    """Note of every device in a room that is admitted (as in `unserved`) that there is nothing to give to it.

    Of the others nothing is noted: once they are admitted, they miss what is said until then.
    """
    await tx.execute(
        "INSERT INTO crypto_served (room_id, user_id, device_id, curve25519, ed25519) "  # noqa: S608
        "SELECT p.room_id, d.user_id, d.device_id, d.curve25519, d.ed25519 FROM crypto_present p "
        "JOIN crypto_device d ON d.user_id = p.user_id JOIN crypto_user u ON u.user_id = p.user_id "
        f"WHERE p.room_id = $1 AND {_ADMITTED} "
        "ON CONFLICT (room_id, user_id, device_id) DO UPDATE SET curve25519 = excluded.curve25519, "
        "ed25519 = excluded.ed25519",
        room_id,
        int(signed),
        int(verified),
    )


async def unserve(tx: Transaction, room_id: str, session_id: str, index: int, others: Iterable[str]) -> int:
    """Note of the devices that were served and do not hold what was said now that they miss it, and nothing else.

    Args:
        session_id: under which it was said. Who was given it is known of the room's present session and of the one
            before it; of earlier ones nobody is known to hold them, so everybody misses them.
        others: the sessions that they miss nothing of, having been served.

    Returns:
        How many devices that are.
    """
    rows = await tx.fetch(
        "DELETE FROM crypto_served WHERE room_id = $1 "
        "AND NOT EXISTS (SELECT 1 FROM crypto_share h WHERE h.session_id = $2 AND h.user_id = crypto_served.user_id "
        "AND h.device_id = crypto_served.device_id AND h.curve25519 = crypto_served.curve25519 "
        "AND h.ed25519 = crypto_served.ed25519 AND h.state = 'held' AND h.first_index <= $3) "
        "RETURNING user_id, device_id, ed25519",
        room_id,
        session_id,
        index,
    )
    had = [
        GivenRow(other, row["user_id"], row["device_id"], row["ed25519"], HELD, "")
        for other in set(others) - {session_id}
        for row in rows
    ]
    await save_given(tx, room_id, had)
    return len(rows)


async def serve_holders(tx: Transaction, room_id: str, session_id: str, first_index: int) -> None:
    """Note of the devices that hold the room's present session from that index on that they need no more of it."""
    await tx.execute(
        "INSERT INTO crypto_served (room_id, user_id, device_id, curve25519, ed25519) "
        "SELECT p.room_id, h.user_id, h.device_id, h.curve25519, h.ed25519 FROM crypto_share h "
        "JOIN crypto_present p ON p.user_id = h.user_id WHERE p.room_id = $1 AND h.session_id = $2 "
        "AND h.first_index <= $3 AND h.state = 'held' "
        "ON CONFLICT (room_id, user_id, device_id) DO UPDATE SET curve25519 = excluded.curve25519, "
        "ed25519 = excluded.ed25519",
        room_id,
        session_id,
        first_index,
    )


async def serve(tx: Transaction, room_id: str, devices: Collection[DeviceRow]) -> None:
    """Note that these devices were given everything; what they were given piece by piece is forgotten."""
    await tx.put(
        "INSERT INTO crypto_served (room_id, user_id, device_id, curve25519, ed25519) {rows} "
        "ON CONFLICT (room_id, user_id, device_id) DO UPDATE SET curve25519 = excluded.curve25519, "
        "ed25519 = excluded.ed25519",
        ("text",) * 5,
        [(room_id, one.user_id, one.device_id, one.curve25519, one.ed25519) for one in devices],
    )
    await tx.execute_many(
        "DELETE FROM crypto_given WHERE room_id = $1 AND user_id = $2 AND device_id = $3 AND session_id <> $4",
        [(room_id, one.user_id, one.device_id, BUNDLE) for one in devices],
    )


@dataclass(frozen=True, slots=True)
class GivenRow:
    """A past session, or the bundle, that is being given to a device."""

    session_id: str
    user_id: str
    device_id: str
    ed25519: str
    state: str
    txn_id: str


async def given(tx: Transaction, room_id: str, users: Iterable[str]) -> list[GivenRow]:
    """What devices of these users were given so far, of what they are still to be given more of."""
    found: list[GivenRow] = []
    for batch in _batches(users):
        rows = await tx.fetch(
            "SELECT session_id, user_id, device_id, ed25519, state, txn_id FROM crypto_given "  # noqa: S608
            f"WHERE room_id = $1 AND user_id IN ({_marks(len(batch), 2)})",
            room_id,
            *batch,
        )
        found += [
            GivenRow(row["session_id"], row["user_id"], row["device_id"], row["ed25519"], row["state"], row["txn_id"])
            for row in rows
        ]
    return found


async def save_given(tx: Transaction, room_id: str, rows: Iterable[GivenRow]) -> None:
    await tx.put(
        "INSERT INTO crypto_given (room_id, session_id, user_id, device_id, ed25519, state, txn_id) {rows} "
        "ON CONFLICT (room_id, session_id, user_id, device_id) DO UPDATE SET "
        "ed25519 = excluded.ed25519, state = excluded.state, txn_id = excluded.txn_id",
        ("text",) * 7,
        [(room_id, row.session_id, row.user_id, row.device_id, row.ed25519, row.state, row.txn_id) for row in rows],
    )


async def settle_given(tx: Transaction, room_id: str, session_id: str, txn_id: str) -> None:
    """Mark everything of one request as held, now that it was answered."""
    await tx.execute(
        "UPDATE crypto_given SET state = 'held' WHERE room_id = $1 AND session_id = $2 AND txn_id = $3",
        room_id,
        session_id,
        txn_id,
    )


async def refuse_given(tx: Transaction, room_id: str, session_id: str, devices: Iterable[tuple[str, str]]) -> None:
    """Mark what the homeserver does not take for these devices (user and device id)."""
    await tx.execute_many(
        "UPDATE crypto_given SET state = 'refused' WHERE room_id = $1 AND session_id = $2 AND user_id = $3 "
        "AND device_id = $4",
        [(room_id, session_id, *device) for device in devices],
    )


async def hold(
    tx: Transaction, session_id: str, rows: Iterable[Candidate], first_index: int, txn_id: str, *, now_ms: int
) -> None:
    """Note that devices are given the room's present session, where they do not hold it already."""
    await tx.put(
        "INSERT INTO crypto_share (session_id, user_id, device_id, curve25519, ed25519, member_event, first_index, "
        "state, txn_id, at) {rows} "
        "ON CONFLICT (session_id, user_id, device_id) DO UPDATE SET curve25519 = excluded.curve25519, "
        "ed25519 = excluded.ed25519, member_event = excluded.member_event, first_index = excluded.first_index, "
        "state = excluded.state, txn_id = excluded.txn_id, at = excluded.at "
        "WHERE crypto_share.state NOT IN ('pending', 'held', 'refused')",
        ("text", "text", "text", "text", "text", "text", "bigint", "text", "text", "bigint"),
        [
            (
                session_id,
                one.device.user_id,
                one.device.device_id,
                one.device.curve25519,
                one.device.ed25519,
                one.member_event,
                first_index,
                PENDING,
                txn_id,
                now_ms,
            )
            for one in rows
        ],
    )


async def settle_hold(tx: Transaction, session_id: str, txn_id: str) -> None:
    await tx.execute("UPDATE crypto_share SET state = 'held' WHERE session_id = $1 AND txn_id = $2", session_id, txn_id)


# --- what was said when -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpokenRow:
    """An encrypted message, as it stands on the wire."""

    event_id: str
    session_id: str
    owner: str
    index: int
    at: int


async def save_spoken(tx: Transaction, room_id: str, row: SpokenRow) -> bool:
    """Note a message; the same event again changes nothing. Gives whether it is a new one."""
    rows = await tx.fetch(
        "INSERT INTO crypto_spoken (room_id, event_id, session_id, owner, message_index, at) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (room_id, event_id) DO NOTHING RETURNING 1",
        room_id,
        row.event_id,
        row.session_id,
        row.owner,
        row.index,
        row.at,
    )
    return bool(rows)


async def count_spoken(tx: Transaction, room_id: str, owner: str) -> int:
    """How many messages of somebody are known."""
    return int(
        await tx.fetch_value("SELECT COUNT(*) FROM crypto_spoken WHERE room_id = $1 AND owner = $2", room_id, owner)
    )


async def spoken(tx: Transaction, room_id: str) -> list[SpokenRow]:
    """The messages of a room whose keys are here, in order of time."""
    rows = await tx.fetch(
        "SELECT s.event_id, s.session_id, s.owner, s.message_index, s.at FROM crypto_spoken s JOIN crypto_inbound k "
        "ON k.room_id = s.room_id AND k.session_id = s.session_id AND k.owner = s.owner "
        "WHERE s.room_id = $1 ORDER BY s.at, s.message_index",
        room_id,
    )
    return [
        SpokenRow(row["event_id"], row["session_id"], row["owner"], row["message_index"], row["at"]) for row in rows
    ]


async def shared_keys(tx: Transaction, room_id: str) -> list[InboundRow]:
    """The keys of a room that their owners agreed to give to newcomers (MSC3061)."""
    rows = await tx.fetch(
        "SELECT session_id, owner, curve25519, ed25519, verified, first_index, pickle, original FROM crypto_inbound "
        "WHERE room_id = $1 AND shared_history = 1",
        room_id,
    )
    return [
        InboundRow(
            room_id,
            row["session_id"],
            row["owner"],
            row["curve25519"],
            row["ed25519"],
            bool(row["verified"]),
            True,
            row["first_index"],
            bytes(row["pickle"]),
            None if row["original"] is None else bytes(row["original"]),
        )
        for row in rows
    ]


# --- bundles ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Awaiting:
    """Somebody who came in and may be given a bundle of keys, once."""

    user_id: UserId
    member_event: str
    seen_at: int


async def awaiting_bundle(tx: Transaction, room_id: str, *, since: int, inviter: str) -> list[Awaiting]:
    """Who was invited by `inviter` (or nobody knows by whom), came in after `since` (by our clock, and the
    homeserver's), and had no bundle yet.
    """
    rows = await tx.fetch(
        "SELECT user_id, member_event, seen_at FROM crypto_present WHERE room_id = $1 AND seen_at > $2 "
        "AND came_at > $2 AND bundle = '' AND (inviter IS NULL OR inviter = $3) ORDER BY user_id",
        room_id,
        since,
        inviter,
    )
    return [Awaiting(UserId(row["user_id"]), row["member_event"], row["seen_at"]) for row in rows]


async def admitted_devices(
    tx: Transaction, room_id: str, users: Iterable[str], *, signed: bool, verified: bool
) -> list[Candidate]:
    """The devices of these users that may be given the past, whether they were or not."""
    found: list[Candidate] = []
    for batch in _batches(users):
        rows = await tx.fetch(
            f"SELECT {_DEVICE} FROM crypto_present p JOIN crypto_device d ON d.user_id = p.user_id "  # noqa: S608
            f"JOIN crypto_user u ON u.user_id = p.user_id WHERE p.room_id = $1 AND {_ADMITTED} "
            f"AND p.user_id IN ({_marks(len(batch), 4)}) ORDER BY d.user_id, d.device_id",
            room_id,
            int(signed),
            int(verified),
            *batch,
        )
        found += [_candidate(row) for row in rows]
    return found


async def set_bundle(tx: Transaction, room_id: str, users: Mapping[str, str], state: str) -> None:
    """Note how it stands with the bundle of these users, as long as their membership event is the given one."""
    await tx.execute_many(
        "UPDATE crypto_present SET bundle = $4 WHERE room_id = $1 AND user_id = $2 AND member_event = $3",
        [(room_id, user, event, state) for user, event in users.items()],
    )


async def settle_bundles(tx: Transaction, room_id: str, users: Mapping[str, str]) -> None:
    """Note of those of these users, some of whose devices were given the bundle and none of whose waits for an answer,
    that they had it; what was noted of their devices is forgotten.
    """
    await tx.execute_many(
        "UPDATE crypto_present SET bundle = 'sent' WHERE room_id = $1 AND user_id = $2 AND member_event = $3 "
        "AND EXISTS (SELECT 1 FROM crypto_given g WHERE g.room_id = $1 AND g.user_id = $2 AND g.session_id = $4) "
        "AND NOT EXISTS (SELECT 1 FROM crypto_given g JOIN crypto_device d ON d.user_id = g.user_id "
        "AND d.device_id = g.device_id AND d.ed25519 = g.ed25519 WHERE g.room_id = $1 AND g.user_id = $2 "
        "AND g.session_id = $4 AND g.state = 'pending')",
        [(room_id, user, event, BUNDLE) for user, event in users.items()],
    )
    await tx.execute_many(
        "DELETE FROM crypto_given WHERE room_id = $1 AND user_id = $2 AND session_id = $4 AND EXISTS (SELECT 1 FROM "
        "crypto_present p WHERE p.room_id = $1 AND p.user_id = $2 AND p.member_event = $3 AND p.bundle <> '')",
        [(room_id, user, event, BUNDLE) for user, event in users.items()],
    )


async def no_bundles(tx: Transaction, room_id: str, *, before: int) -> None:
    """Note that there is no bundle to be sent to whoever was seen to come in up to that time."""
    await tx.execute(
        "UPDATE crypto_present SET bundle = 'none' WHERE room_id = $1 AND bundle = '' AND seen_at <= $2",
        room_id,
        before,
    )


# --- what is forgotten ------------------------------------------------------------------------------------------------


async def purge(tx: Transaction, room_id: str, *, before: int) -> None:
    """Forget the keys of a room that were last used before that time, and what is known of their messages."""
    await tx.execute(
        "DELETE FROM crypto_share WHERE session_id IN (SELECT session_id FROM crypto_inbound WHERE room_id = $1 "
        "AND at < $2 AND original IS NOT NULL) "
        "AND session_id NOT IN (SELECT session_id FROM crypto_outbound WHERE room_id = $1)",
        room_id,
        before,
    )
    await tx.execute(
        "DELETE FROM crypto_inbound WHERE room_id = $1 AND at < $2 "
        "AND session_id NOT IN (SELECT session_id FROM crypto_outbound WHERE room_id = $1) "
        "AND NOT EXISTS (SELECT 1 FROM crypto_spoken s WHERE s.room_id = crypto_inbound.room_id "
        "AND s.session_id = crypto_inbound.session_id AND s.owner = crypto_inbound.owner AND s.at >= $2)",
        room_id,
        before,
    )
    # What was said before that under a key that is kept has to be known: the key is given from behind it.
    await tx.execute(
        "DELETE FROM crypto_spoken WHERE room_id = $1 AND at < $2 "
        "AND (session_id, owner) NOT IN (SELECT session_id, owner FROM crypto_inbound WHERE room_id = $1) "
        "AND (session_id, owner) NOT IN (SELECT session_id, owner FROM crypto_spoken WHERE room_id = $1 AND at >= $2)",
        room_id,
        before,
    )
    await tx.execute(
        "DELETE FROM crypto_message_index WHERE room_id = $1 AND NOT EXISTS (SELECT 1 FROM crypto_inbound k "
        "WHERE k.room_id = crypto_message_index.room_id AND k.session_id = crypto_message_index.session_id "
        "AND k.owner = crypto_message_index.owner)",
        room_id,
    )
    # who has been away since then is a newcomer when they return
    await tx.execute(
        "DELETE FROM crypto_moved WHERE room_id = $1 AND user_id IN (SELECT user_id FROM crypto_moved "
        "WHERE room_id = $1 GROUP BY user_id HAVING MAX(at) < $2) "
        "AND user_id NOT IN (SELECT user_id FROM crypto_present WHERE room_id = $1)",
        room_id,
        before,
    )
