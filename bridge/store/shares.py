"""Who is in a room, and who was given its key: asked for as differences, so that a room of thousands in which nothing
changed costs a few statements and no memory. Rows that come by thousands are tuples, which are made in a fifth of the
time of other frozen objects.

What these queries leave out is settled by one plain rule (held, with the same keys, under the same membership, by a
device that is admitted), and nothing else; what to do about the rest, `e2ee/recipients` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from bridge.core.ids import UserId
from bridge.ports import Member
from bridge.store.database import Row, Transaction

# --- who is in a room -------------------------------------------------------------------------------------------------


MEMBERS_AT_ONCE = 2000


async def meet(tx: Transaction, room_id: str, joined: Iterable[Member]) -> tuple[dict[str, str], list[str]]:
    """Compare the members of a room with those of the last time, `MEMBERS_AT_ONCE` at once.

    Returns:
        The memberships that are new or other ones, and the users who are gone.
    """
    ordered = sorted(joined, key=attrgetter("user_id"))
    fresh: dict[str, str] = {}
    gone: list[str] = []
    after = ""
    for start in range(0, max(1, len(ordered)), MEMBERS_AT_ONCE):
        piece = ordered[start : start + MEMBERS_AT_ONCE]
        until = piece[-1].user_id if start + MEMBERS_AT_ONCE < len(ordered) else None
        known = await _audience(tx, room_id, after, until)
        for member in piece:
            if known.pop(member.user_id, None) != member.event_id:
                fresh[member.user_id] = member.event_id
        gone += known
        after = until or ""
    return fresh, gone


async def _audience(tx: Transaction, room_id: str, after: str, until: str | None) -> dict[str, str]:
    """Of the users behind `after`, and where `until` is given up to that one, the membership that is known."""
    user = tx.bytewise("user_id")
    rows = await tx.fetch_many(
        {"user_id": "text", "member_event": "text"},
        f"SELECT user_id, member_event FROM crypto_audience WHERE room_id = $1 AND {user} > $2"  # noqa: S608
        f"{'' if until is None else f' AND {user} <= $3'}",
        room_id,
        after,
        *(() if until is None else (until,)),
    )
    return {row[0]: row[1] for row in rows}


async def save_audience(tx: Transaction, room_id: str, present: Mapping[str, str], gone: Iterable[str]) -> None:
    """Remember who is in a room now: these memberships are new, and those users are gone."""
    leavers = list(gone)
    if leavers:
        await tx.execute(
            f"DELETE FROM crypto_audience WHERE room_id = $1 AND user_id {tx.one_of('$2')}",  # noqa: S608
            room_id,
            tx.texts(leavers),
        )
    await tx.put(
        "INSERT INTO crypto_audience (room_id, user_id, member_event) {rows} "
        "ON CONFLICT (room_id, user_id) DO UPDATE SET member_event = excluded.member_event",
        ("text", "text", "text"),
        [(room_id, user, event) for user, event in present.items()],
    )


async def outdated_members(tx: Transaction, room_id: str, *, now_ms: int, pause_ms: int) -> list[UserId]:
    """Members of a room whose device lists are not known or changed; not those whose list just could not be read."""
    rows = await tx.fetch(
        "SELECT a.user_id FROM crypto_audience a LEFT JOIN crypto_user u ON u.user_id = a.user_id "
        "WHERE a.room_id = $1 AND (u.user_id IS NULL OR (u.outdated > 0 AND "
        "(u.failed_at IS NULL OR u.failed_at > $2 OR u.failed_at <= $3))) ORDER BY a.user_id",
        room_id,
        now_ms,
        now_ms - pause_ms,
    )
    return [UserId(row["user_id"]) for row in rows]


# --- who was given a session ------------------------------------------------------------------------------------------


class ShareRow(NamedTuple):
    """What a device was given of a session, from which message index on, and in which request.

    Where nothing could be sent, `txn_id` is the attempt's own id.
    """

    user_id: UserId
    device_id: str
    curve25519: str
    ed25519: str
    member_event: str
    first_index: int
    state: str
    txn_id: str


class Unsettled(NamedTuple):
    """A member's device that is not settled, as far as it is known; `share` is what it was given so far."""

    user_id: UserId
    member_event: str
    device_id: str
    curve25519: str
    ed25519: str
    cross_signed: bool
    verified: bool
    share: ShareRow | None


_SAME = "s.curve25519 = d.curve25519 AND s.ed25519 = d.ed25519 AND s.member_event = a.member_event"
_ADMITTED = "d.cross_signed + d.verified >= $3"
_UNSETTLED = f"""
    FROM crypto_audience a
    JOIN crypto_device d ON d.user_id = a.user_id
    LEFT JOIN crypto_share s ON s.session_id = $2 AND s.user_id = d.user_id AND s.device_id = d.device_id
    WHERE a.room_id = $1 AND a.user_id <> $4 AND (s.state IS NULL OR NOT (
        {_SAME} AND (
            ({_ADMITTED} AND (s.state = 'held' OR (s.state IN ('no_olm', 'pending', 'refused') AND s.txn_id = $5)))
            OR (NOT {_ADMITTED} AND s.state = 'withheld')
        )))"""
_COLUMNS = """a.user_id, a.member_event, d.device_id, d.curve25519, d.ed25519, d.cross_signed, d.verified,
    s.state, s.curve25519 AS s_curve25519, s.ed25519 AS s_ed25519, s.member_event AS s_member_event, s.first_index,
    s.txn_id"""
_TYPES = {
    **dict.fromkeys(("user_id", "member_event", "device_id", "curve25519", "ed25519"), "text"),
    **dict.fromkeys(("cross_signed", "verified"), "integer"),
    **dict.fromkeys(("state", "s_curve25519", "s_ed25519", "s_member_event"), "text"),
    "first_index": "bigint",
    "txn_id": "text",
}


@dataclass(frozen=True, slots=True)
class Question:
    """Of which room, session and trust it is asked who is not settled.

    `standing` is what a device has to have: 1 for signed by its owner's identity, 2 for verified by us moreover.
    Devices that could not be reached in this `attempt` already are left alone.
    """

    room_id: str
    session_id: str
    me: str
    standing: int
    attempt: str

    @property
    def args(self) -> tuple[Any, ...]:
        return self.room_id, self.session_id, self.standing, self.me, self.attempt


async def unsettled(tx: Transaction, question: Question, *, after: tuple[str, str], limit: int) -> list[Unsettled]:
    """Devices behind `after` (user and device), in order; without those of requests that were never answered."""
    rows = await tx.fetch_many(
        _TYPES,
        f"SELECT {_COLUMNS} {_UNSETTLED} AND (s.state IS NULL OR s.state <> 'pending') "
        # by the columns of an index, so that a page costs what is in it, and not the whole room
        "AND a.user_id >= $6 AND (d.user_id, d.device_id) > ($6, $7) ORDER BY d.user_id, d.device_id LIMIT $8",
        *question.args,
        *after,
        limit,
    )
    return [_unsettled(row) for row in rows]


async def unanswered(tx: Transaction, question: Question, txn_id: str) -> list[Unsettled]:
    """The devices of one request that was never answered."""
    rows = await tx.fetch_many(
        _TYPES,
        f"SELECT {_COLUMNS} {_UNSETTLED} AND s.state = 'pending' AND s.txn_id = $6 ORDER BY a.user_id, d.device_id",
        *question.args,
        txn_id,
    )
    return [_unsettled(row) for row in rows]


async def count_unsettled(tx: Transaction, question: Question) -> int:
    return int(await tx.fetch_value(f"SELECT COUNT(*) {_UNSETTLED}", *question.args))


async def open_requests(tx: Transaction, session_id: str) -> list[str]:
    """The transaction ids of requests with this session's key that were never answered."""
    rows = await tx.fetch(
        "SELECT DISTINCT txn_id FROM crypto_share WHERE session_id = $1 AND state = 'pending' ORDER BY txn_id",
        session_id,
    )
    return [row["txn_id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Stray:
    """A device that may hold the key and should not: a share, and what is there of its owner and of itself now."""

    share: ShareRow
    member_event: str | None
    curve25519: str | None
    ed25519: str | None
    cross_signed: bool
    verified: bool


async def strays(tx: Transaction, question: Question, *, limit: int = 1) -> list[Stray]:
    """Holders who left (or left and returned), and devices that are gone, have other keys, or are not admitted."""
    rows = await tx.fetch(
        "SELECT s.user_id, s.device_id, s.curve25519 AS s_curve25519, s.ed25519 AS s_ed25519, s.first_index, s.state, "  # noqa: S608
        "s.member_event AS s_member_event, s.txn_id, a.member_event, d.curve25519, d.ed25519, d.cross_signed, "
        "d.verified FROM crypto_share s "
        "LEFT JOIN crypto_audience a ON a.room_id = $1 AND a.user_id = s.user_id AND a.user_id <> $4 "
        "LEFT JOIN crypto_device d ON d.user_id = s.user_id AND d.device_id = s.device_id "
        "WHERE s.session_id = $2 AND s.state IN ('pending', 'held', 'refused') "
        "AND (a.member_event IS NULL OR d.ed25519 IS NULL "
        f"OR NOT ({_SAME}) OR NOT ({_ADMITTED})) ORDER BY s.user_id, s.device_id LIMIT $5",
        *question.args[:4],
        limit,
    )
    return [
        Stray(
            _share(row),
            row["member_event"],
            row["curve25519"],
            row["ed25519"],
            bool(row["cross_signed"]),
            bool(row["verified"]),
        )
        for row in rows
    ]


def _unsettled(row: Sequence[Any]) -> Unsettled:
    user, event, device, curve25519, ed25519, cross_signed, verified, state, *given = row
    share = None
    if state is not None:
        s_curve25519, s_ed25519, s_event, first_index, txn_id = given
        share = ShareRow(user, device, s_curve25519, s_ed25519, s_event, first_index, state, txn_id)
    return Unsettled(user, event, device, curve25519, ed25519, bool(cross_signed), bool(verified), share)


def _share(row: Row) -> ShareRow:
    return ShareRow(
        UserId(row["user_id"]),
        row["device_id"],
        row["s_curve25519"],
        row["s_ed25519"],
        row["s_member_event"],
        row["first_index"],
        row["state"],
        row["txn_id"],
    )


async def save_shares(tx: Transaction, session_id: str, rows: Iterable[ShareRow], *, now_ms: int) -> None:
    """Note what is about to leave, or was told, device by device; no device may be named twice."""
    alike: dict[tuple[int, str, str], list[ShareRow]] = {}
    for row in rows:
        alike.setdefault((row.first_index, row.state, row.txn_id), []).append(row)
    for (first_index, state, txn_id), some in alike.items():
        await tx.put(
            "INSERT INTO crypto_share (user_id, device_id, curve25519, ed25519, member_event, session_id, first_index, "
            "state, txn_id, at) {rows} "
            "ON CONFLICT (session_id, user_id, device_id) DO UPDATE SET curve25519 = excluded.curve25519, "
            "ed25519 = excluded.ed25519, member_event = excluded.member_event, first_index = excluded.first_index, "
            "state = excluded.state, txn_id = excluded.txn_id, at = excluded.at",
            ("text",) * 5,
            [(row.user_id, row.device_id, row.curve25519, row.ed25519, row.member_event) for row in some],
            always={
                "session_id": session_id,
                "first_index": first_index,
                "state": state,
                "txn_id": txn_id,
                "at": now_ms,
            },
        )


async def settle_shares(
    tx: Transaction, session_id: str, txn_id: str, state: str, *, users: Iterable[str], now_ms: int
) -> None:
    """Give all shares of one request their state, now that it was answered.

    Args:
        users: whose devices it was for.
    """
    await tx.execute(
        "UPDATE crypto_share SET state = $3, at = $4 "  # noqa: S608
        f"WHERE session_id = $1 AND user_id {tx.one_of('$5')} AND txn_id = $2",
        session_id,
        txn_id,
        state,
        now_ms,
        tx.texts(users),
    )


async def refuse_shares(
    tx: Transaction, session_id: str, txn_id: str, devices: Iterable[tuple[str, str]], *, attempt: str | None = None
) -> None:
    """Note that the homeserver takes no request for these devices (user and device id), which may hold the key.

    Args:
        txn_id: the request that was refused.
        attempt: in which they are not tried again.
    """
    await tx.execute_many(
        "UPDATE crypto_share SET state = 'refused', txn_id = $5 "
        "WHERE session_id = $1 AND txn_id = $2 AND user_id = $3 AND device_id = $4",
        [(session_id, txn_id, user, device, attempt or txn_id) for user, device in devices],
    )


async def forget_earlier_holders(tx: Transaction, room_id: str, *, but: Iterable[str]) -> None:
    """Forget who was given sessions of ours in a room, but for these."""
    await tx.execute(
        "DELETE FROM crypto_share WHERE session_id IN (SELECT session_id FROM crypto_inbound WHERE room_id = $1 "  # noqa: S608
        f"AND original IS NOT NULL) AND NOT session_id {tx.one_of('$2')}",
        room_id,
        tx.texts(but),
    )


async def count_held(tx: Transaction, session_id: str) -> int:
    """How many devices hold a session's key."""
    query = "SELECT COUNT(*) FROM crypto_share WHERE session_id = $1 AND state = 'held'"
    return int(await tx.fetch_value(query, session_id))


async def count_states(tx: Transaction) -> dict[str, int]:
    """Devices by the state of their share, over the current sessions of all rooms."""
    rows = await tx.fetch(
        "SELECT s.state, COUNT(*) AS number FROM crypto_share s JOIN crypto_outbound o ON o.session_id = s.session_id "
        "GROUP BY s.state"
    )
    return {row["state"]: int(row["number"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Reach:
    """Who can read a room's next message, as far as keys were given."""

    devices: int
    """That hold the key."""
    without: Mapping[str, int]
    """Devices that do not, by the state of their share: `withheld`, `no_olm`, `refused`, `pending`."""
    people: int
    """Members besides us."""
    unreached: int
    """Members of whom no device holds the key."""


async def devices_in(tx: Transaction, rooms: Iterable[str]) -> int:
    """How many devices hold the key of what is said next in one of these rooms, each counted once."""
    number = await tx.fetch_value(
        "SELECT COUNT(*) FROM (SELECT DISTINCT s.user_id, s.device_id FROM crypto_share s "  # noqa: S608 - a placeholder
        "JOIN crypto_outbound o ON o.session_id = s.session_id "
        f"WHERE s.state = 'held' AND o.room_id {tx.one_of('$1')}) AS one",
        tx.texts(rooms),
    )
    return int(number)


async def reach(tx: Transaction, room_id: str, *, ours: Iterable[str]) -> Reach:
    """Who can read what is said next in a room, as far as keys were given by now; our own accounts not counted."""
    session_id = await tx.fetch_value("SELECT session_id FROM crypto_outbound WHERE room_id = $1", room_id)
    counts = await tx.fetch(
        "SELECT state, COUNT(*) AS number FROM crypto_share WHERE session_id = $1 GROUP BY state", session_id
    )
    row = await tx.fetch_row(
        "SELECT COUNT(*) AS people, COALESCE(SUM(CASE WHEN NOT EXISTS (SELECT 1 FROM crypto_share s WHERE "  # noqa: S608
        "s.session_id = $2 AND s.user_id = a.user_id AND s.state = 'held') THEN 1 ELSE 0 END), 0) AS unreached "
        "FROM crypto_audience a WHERE a.room_id = $1 AND NOT a.user_id "
        f"{tx.one_of('$3')}",
        room_id,
        session_id,
        tx.texts(ours),
    )
    assert row is not None
    by_state = {str(one["state"]): int(one["number"]) for one in counts}
    return Reach(by_state.pop("held", 0), by_state, int(row["people"]), int(row["unreached"]))
