"""What the service remembers of communities: rooms, roles, invites, what was in force, fights, and the audit trail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.core.community import Role, RoomKind
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.plan.state import Known
from bridge.store.database import Transaction

LEVELS = "levels"
"""The aspect of a freeze that locks a room's levels; the other aspects are profile event types."""


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """One of our rooms. `room_id` is None while its creation is under way."""

    community: CommunityId
    key: RoomKeyName
    kind: RoomKind
    alias: str
    room_id: RoomId | None


@dataclass(frozen=True, slots=True)
class CommunityRecord:
    """What is remembered of a community as a whole."""

    in_force: str | None
    """The declaration that was last applied, as JSON."""
    held_digest: str | None
    """The plan that waits for an owner's word."""
    last_reconcile: int | None


async def load_rooms(tx: Transaction) -> list[RoomRecord]:
    """All rooms of all communities."""
    rows = await tx.fetch("SELECT community, key, kind, alias, room_id FROM room ORDER BY community, key")
    return [_room(row) for row in rows]


async def room_record(tx: Transaction, community: CommunityId, key: RoomKeyName) -> RoomRecord | None:
    row = await tx.fetch_row(
        "SELECT community, key, kind, alias, room_id FROM room WHERE community = $1 AND key = $2", community, key
    )
    return None if row is None else _room(row)


def _room(row: Any) -> RoomRecord:
    return RoomRecord(
        CommunityId(row["community"]),
        RoomKeyName(row["key"]),
        RoomKind(row["kind"]),
        row["alias"],
        None if row["room_id"] is None else RoomId(row["room_id"]),
    )


async def plan_room(tx: Transaction, community: CommunityId, key: RoomKeyName, kind: RoomKind, alias: str) -> None:
    """Record the alias under which a room is about to be made, before it is made."""
    await tx.execute(
        """INSERT INTO room (community, key, kind, alias) VALUES ($1, $2, $3, $4)
           ON CONFLICT (community, key) DO UPDATE SET
               kind = excluded.kind,
               alias = CASE WHEN room.alias = '' THEN excluded.alias ELSE room.alias END""",
        community, key, kind.value, alias,
    )  # fmt: skip


async def record_room(tx: Transaction, community: CommunityId, key: RoomKeyName, room_id: RoomId, at: int) -> None:
    await tx.execute(
        "UPDATE room SET room_id = $3, created_at = $4 WHERE community = $1 AND key = $2", community, key, room_id, at
    )


async def adopt_room(
    tx: Transaction, community: CommunityId, key: RoomKeyName, kind: RoomKind, room_id: RoomId, at: int
) -> None:
    """Record a room that others made as the one of that key; what was in force in one before it is forgotten."""
    await tx.execute(
        """INSERT INTO room (community, key, kind, alias, room_id, created_at, adopted)
           VALUES ($1, $2, $3, '', $4, $5, 1)
           ON CONFLICT (community, key) DO UPDATE SET
               kind = excluded.kind, alias = '', room_id = excluded.room_id, created_at = excluded.created_at,
               adopted = 1""",
        community, key, kind.value, room_id, at,
    )  # fmt: skip
    for table in ("settled", "heal", "frozen"):
        await tx.execute(f"DELETE FROM {table} WHERE community = $1 AND key = $2", community, key)  # noqa: S608 - names from the line above


async def alias_dropped(tx: Transaction, community: CommunityId, key: RoomKeyName) -> None:
    """Record that the alias under which a room was made is gone."""
    await tx.execute("UPDATE room SET alias = '' WHERE community = $1 AND key = $2", community, key)


async def leftover_aliases(tx: Transaction, community: CommunityId) -> dict[RoomKeyName, str]:
    """The aliases of rooms that are recorded, as far as they were not dropped."""
    rows = await tx.fetch(
        "SELECT key, alias FROM room WHERE community = $1 AND room_id IS NOT NULL AND alias <> ''", community
    )
    return {RoomKeyName(row["key"]): row["alias"] for row in rows}


async def set_kind(tx: Transaction, community: CommunityId, key: RoomKeyName, kind: RoomKind) -> None:
    await tx.execute("UPDATE room SET kind = $3 WHERE community = $1 AND key = $2", community, key, kind.value)


async def forget_room(tx: Transaction, community: CommunityId, key: RoomKeyName) -> None:
    """Forget a room that is gone, and everything remembered of it, so that it can be made anew."""
    for table in ("room", "moderator", "profile", "invited", "bidden", "settled", "heal", "frozen", "admitting"):
        await tx.execute(f"DELETE FROM {table} WHERE community = $1 AND key = $2", community, key)  # noqa: S608 - names from the line above


async def move_room(tx: Transaction, source: CommunityId, target: CommunityId, key: RoomKeyName) -> None:
    """Move a room of one community, with what is remembered of it, to another. From then on it is one that others made:
    its mark, which cannot be changed, names the community in which it was made. What was in force in it is forgotten,
    but for fights.
    """
    for table in ("room", "moderator", "profile", "invited", "bidden", "heal", "frozen", "admitting"):
        await tx.execute(f"DELETE FROM {table} WHERE community = $1 AND key = $2", target, key)  # noqa: S608 - names from the line above
        await tx.execute(
            f"UPDATE {table} SET community = $1 WHERE community = $2 AND key = $3",  # noqa: S608 - names from the line above
            target, source, key,
        )  # fmt: skip
    await tx.execute("UPDATE room SET adopted = 1 WHERE community = $1 AND key = $2", target, key)
    for community in (source, target):
        await tx.execute(
            "DELETE FROM settled WHERE community = $1 AND (key = $2 OR (type = 'link' AND state_key = $2))",
            community, key,
        )  # fmt: skip


async def load_known(tx: Transaction, community: CommunityId) -> Known:
    """Everything remembered of a community."""
    rooms = await tx.fetch(
        "SELECT key, room_id, adopted FROM room WHERE community = $1 AND room_id IS NOT NULL ORDER BY key", community
    )
    roles = await tx.fetch("SELECT user_id, role FROM role WHERE community = $1 AND role > 0", community)
    profile = await tx.fetch("SELECT key, type, content FROM profile WHERE community = $1", community)
    invited = await tx.fetch("SELECT key, user_id FROM invited WHERE community = $1", community)
    waiting = await tx.fetch("SELECT user_id FROM must_agree WHERE community = $1", community)
    shut_out = await tx.fetch("SELECT user_id FROM shut_out WHERE community = $1", community)
    bidden = await tx.fetch("SELECT key, user_id FROM bidden WHERE community = $1", community)
    admitting = await tx.fetch("SELECT key FROM admitting WHERE community = $1", community)
    settled = await tx.fetch("SELECT key, type, state_key, digest FROM settled WHERE community = $1", community)
    freezes = await tx.fetch("SELECT key, aspect FROM frozen WHERE community = $1", community)
    moderators: dict[RoomKeyName, set[UserId]] = {}
    for row in await tx.fetch("SELECT key, user_id FROM moderator WHERE community = $1", community):
        moderators.setdefault(RoomKeyName(row["key"]), set()).add(UserId(row["user_id"]))
    named: dict[UserId, set[str]] = {}
    for row in await tx.fetch("SELECT user_id, place FROM named WHERE community = $1", community):
        named.setdefault(UserId(row["user_id"]), set()).add(row["place"])
    return Known(
        rooms={RoomKeyName(row["key"]): RoomId(row["room_id"]) for row in rooms},
        adopted=frozenset(RoomKeyName(row["key"]) for row in rooms if row["adopted"]),
        admitting=frozenset(RoomKeyName(row["key"]) for row in admitting),
        roles={UserId(row["user_id"]): Role(row["role"]) for row in roles},
        moderators={key: frozenset(users) for key, users in moderators.items()},
        profile={(RoomKeyName(row["key"]), row["type"]): json.loads(row["content"]) for row in profile},
        named={user: frozenset(where) for user, where in named.items()},
        invited=frozenset((RoomKeyName(row["key"]), UserId(row["user_id"])) for row in invited),
        waiting=frozenset(UserId(row["user_id"]) for row in waiting),
        shut_out=frozenset(UserId(row["user_id"]) for row in shut_out),
        bidden=frozenset((RoomKeyName(row["key"]), UserId(row["user_id"])) for row in bidden),
        settled={(RoomKeyName(row["key"]), row["type"], row["state_key"]): row["digest"] for row in settled},
        frozen=frozenset(RoomKeyName(row["key"]) for row in freezes if row["aspect"] == LEVELS),
        yielded=frozenset((RoomKeyName(row["key"]), row["aspect"]) for row in freezes if row["aspect"] != LEVELS),
    )


async def save_known(tx: Transaction, community: CommunityId, before: Known, after: Known, now: int) -> None:
    """Write what changed between two states of memory; rooms and freezes have functions of their own."""
    await _save_roles(tx, community, before.roles, after.roles, now)
    await _save_set(tx, "moderator", ("key", "user_id"), community, _pairs(before.moderators), _pairs(after.moderators))
    before_named = {(user, place) for user, where in before.named.items() for place in where}
    after_named = {(user, place) for user, where in after.named.items() for place in where}
    await _save_set(tx, "named", ("user_id", "place"), community, before_named, after_named)
    await _save_set(tx, "bidden", ("key", "user_id"), community, before.bidden, after.bidden)
    await _save_users(tx, "must_agree", community, before.waiting, after.waiting)
    await _save_users(tx, "shut_out", community, before.shut_out, after.shut_out)
    await tx.execute_many(
        "DELETE FROM admitting WHERE community = $1 AND key = $2",
        [(community, key) for key in sorted(before.admitting - after.admitting)],
    )
    await tx.execute_many(
        "INSERT INTO admitting (community, key) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        [(community, key) for key in sorted(after.admitting - before.admitting)],
    )
    gone = before.invited - after.invited
    new = after.invited - before.invited
    await tx.execute_many(
        "DELETE FROM invited WHERE community = $1 AND key = $2 AND user_id = $3",
        [(community, *pair) for pair in sorted(gone)],
    )
    await tx.execute_many(
        "INSERT INTO invited (community, key, user_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        [(community, *pair, now) for pair in sorted(new)],
    )
    await tx.execute_many(
        """INSERT INTO profile (community, key, type, content) VALUES ($1, $2, $3, $4)
           ON CONFLICT (community, key, type) DO UPDATE SET content = excluded.content""",
        [
            (community, key, event_type, json.dumps(content))
            for (key, event_type), content in after.profile.items()
            if before.profile.get((key, event_type)) != content
        ],
    )
    await tx.execute_many(
        """INSERT INTO settled (community, key, type, state_key, digest) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (community, key, type, state_key) DO UPDATE SET digest = excluded.digest""",
        [
            (community, *place, digest)
            for place, digest in after.settled.items()
            if before.settled.get(place) != digest
        ],
    )  # fmt: skip


def _pairs(moderators: Mapping[RoomKeyName, frozenset[UserId]]) -> set[tuple[str, str]]:
    return {(key, user) for key, users in moderators.items() for user in users}


async def _save_roles(
    tx: Transaction, community: CommunityId, before: Mapping[UserId, Role], after: Mapping[UserId, Role], now: int
) -> None:
    changed = [user for user in {*before, *after} if before.get(user) is not after.get(user)]
    await tx.execute_many(
        """INSERT INTO role (community, user_id, role, previous, changed_at) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (community, user_id)
           DO UPDATE SET role = excluded.role, previous = excluded.previous, changed_at = excluded.changed_at""",
        [
            (community, user, int(after.get(user, Role.MEMBER)), int(before.get(user, Role.MEMBER)), now)
            for user in sorted(changed)
        ],
    )


async def _save_users(
    tx: Transaction, table: str, community: CommunityId, before: frozenset[UserId], after: frozenset[UserId]
) -> None:
    await tx.execute_many(
        f"DELETE FROM {table} WHERE community = $1 AND user_id = $2",  # noqa: S608 - a name of ours
        [(community, user) for user in sorted(before - after)],
    )
    await tx.execute_many(
        f"INSERT INTO {table} (community, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",  # noqa: S608 - names of ours
        [(community, user) for user in sorted(after - before)],
    )


async def _save_set(
    tx: Transaction,
    table: str,
    columns: tuple[str, str],
    community: CommunityId,
    before: Iterable[tuple[str, str]],
    after: Iterable[tuple[str, str]],
) -> None:
    had, have = set(before), set(after)
    one, two = columns
    await tx.execute_many(
        f"DELETE FROM {table} WHERE community = $1 AND {one} = $2 AND {two} = $3",  # noqa: S608 - names of ours
        [(community, *pair) for pair in sorted(had - have)],
    )
    await tx.execute_many(
        f"INSERT INTO {table} (community, {one}, {two}) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",  # noqa: S608 - names of ours
        [(community, *pair) for pair in sorted(have - had)],
    )


async def role_at(tx: Transaction, community: CommunityId, user: UserId, at: int) -> Role:
    """The better of the role that somebody has, and of the one they had at `at` if it changed since.

    An event may reach us long after it was sent; whoever was an admin then was entitled to post.
    """
    row = await tx.fetch_row(
        "SELECT role, previous, changed_at FROM role WHERE community = $1 AND user_id = $2", community, user
    )
    if row is None:
        return Role.MEMBER
    now, previous = Role(row["role"]), Role(row["previous"])
    return max(now, previous) if at < row["changed_at"] else now


async def community_record(tx: Transaction, community: CommunityId) -> CommunityRecord:
    row = await tx.fetch_row("SELECT in_force, held_digest, last_reconcile FROM community WHERE id = $1", community)
    if row is None:
        return CommunityRecord(None, None, None)
    return CommunityRecord(row["in_force"], row["held_digest"], row["last_reconcile"])


async def communities_known(tx: Transaction) -> list[CommunityId]:
    """Every community of which there is a room."""
    rows = await tx.fetch("SELECT DISTINCT community FROM room ORDER BY community")
    return [CommunityId(row["community"]) for row in rows]


async def set_in_force(tx: Transaction, community: CommunityId, declaration: str) -> None:
    await _community_column(tx, community, "in_force", declaration)


async def set_held(tx: Transaction, community: CommunityId, digest: str | None) -> None:
    await _community_column(tx, community, "held_digest", digest)


async def set_reconciled(tx: Transaction, community: CommunityId, at: int) -> None:
    await _community_column(tx, community, "last_reconcile", at)


async def _community_column(tx: Transaction, community: CommunityId, column: str, value: Any) -> None:
    await tx.execute(
        f"""INSERT INTO community (id, {column}) VALUES ($1, $2)
            ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}""",  # noqa: S608 - a name of ours
        community, value,
    )  # fmt: skip


async def note_heal(
    tx: Transaction, community: CommunityId, key: RoomKeyName, aspect: str, now: int, window_ms: int
) -> int:
    """Record that something was put back, and count how often that was within the window."""
    await tx.execute("DELETE FROM heal WHERE at < $1", now - window_ms)
    await tx.execute(
        "INSERT INTO heal (community, key, aspect, at) VALUES ($1, $2, $3, $4)", community, key, aspect, now
    )
    count: int = await tx.fetch_value(
        "SELECT COUNT(*) FROM heal WHERE community = $1 AND key = $2 AND aspect = $3", community, key, aspect
    )
    return count


async def freeze(tx: Transaction, community: CommunityId, key: RoomKeyName, aspect: str, now: int) -> None:
    await tx.execute(
        "INSERT INTO frozen (community, key, aspect, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        community, key, aspect, now,
    )  # fmt: skip


async def thaw(tx: Transaction, community: CommunityId) -> None:
    """End all fights of a community."""
    await tx.execute("DELETE FROM frozen WHERE community = $1", community)
    await tx.execute("DELETE FROM heal WHERE community = $1", community)


async def new_reports(
    tx: Transaction, community: CommunityId, reports: Mapping[str, str], now: int
) -> tuple[dict[str, str], list[str]]:
    """Remember what is being reported, by digest; give what was not reported before, and the digests of what is over.

    What is no longer the case is forgotten, so that it is reported again if it returns.
    """
    rows = await tx.fetch("SELECT digest FROM report WHERE community = $1", community)
    had = {row["digest"] for row in rows}
    fresh = [digest for digest in reports if digest not in had]
    over = sorted(had - set(reports))
    await tx.execute_many(
        "DELETE FROM report WHERE community = $1 AND digest = $2", [(community, digest) for digest in over]
    )
    await tx.execute_many(
        "INSERT INTO report (community, digest, text, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        [(community, digest, reports[digest], now) for digest in fresh],
    )
    return {digest: reports[digest] for digest in fresh}, over


async def record(tx: Transaction, now: int, community: str, room_id: str, actor: str, what: str, detail: str) -> None:
    """Add a line to the audit trail."""
    await tx.execute(
        "INSERT INTO audit (at, community, room_id, actor, what, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        now, community, room_id, actor, what, detail,
    )  # fmt: skip


async def is_recorded(tx: Transaction, community: str, room_id: str, what: str, detail: str) -> bool:
    """Whether the audit trail has such a line of a room, whoever did it."""
    row = await tx.fetch_row(
        "SELECT 1 FROM audit WHERE community = $1 AND room_id = $2 AND what = $3 AND detail = $4 LIMIT 1",
        community, room_id, what, detail,
    )  # fmt: skip
    return row is not None


async def open_chat(tx: Transaction, room_id: RoomId, user: UserId, now: int) -> None:
    await tx.execute(
        """INSERT INTO chat (room_id, user_id, at) VALUES ($1, $2, $3)
           ON CONFLICT (room_id) DO UPDATE SET user_id = excluded.user_id""",
        room_id, user, now,
    )  # fmt: skip


async def close_chat(tx: Transaction, room_id: RoomId) -> None:
    await tx.execute("DELETE FROM chat WHERE room_id = $1", room_id)


async def load_chats(tx: Transaction) -> dict[RoomId, UserId]:
    """The direct chats that the announcer is in, and with whom."""
    rows = await tx.fetch("SELECT room_id, user_id FROM chat ORDER BY at, room_id")
    return {RoomId(row["room_id"]): UserId(row["user_id"]) for row in rows}


async def is_moderator(tx: Transaction, community: CommunityId, key: RoomKeyName, user: UserId) -> bool:
    """Whether somebody is remembered as a moderator of a group."""
    found = await tx.fetch_value(
        "SELECT 1 FROM moderator WHERE community = $1 AND key = $2 AND user_id = $3", community, key, user
    )
    return found is not None
