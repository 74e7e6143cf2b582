"""Join requests and suggested groups: a person has one of each open at a time in a community; each is decided once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.core.community import RoomKind
from bridge.core.groups import Wish
from bridge.core.ids import CommunityId, EventId, RoomKeyName, UserId
from bridge.store.database import Transaction


class State(StrEnum):
    """How a join request stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"
    """The community was deactivated."""
    TOO_SOON = "too soon"
    """Asked again before the while was over after which they may."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody asked to come in, or for a group."""

    id: str
    community: CommunityId
    user: UserId
    name: str
    how: str
    detail: str
    keys: tuple[RoomKeyName, ...]
    asked_at: int
    state: State = State.OPEN
    decided_by: str = ""
    decided_at: int | None = None
    reason: str = ""
    card: EventId | None = None
    """The message in the control room that shows it."""
    words: str = ""
    """What was written with it, perhaps by somebody else."""
    wish: Wish | None = None
    """The group that they suggest; None where they ask to come in."""

    @property
    def is_for_group(self) -> bool:
        """Whether a member asks for a group."""
        return self.how == "ask"


_COLUMNS = """id, community, user_id, name, how, detail, keys, asked_at, state, decided_by, decided_at, reason, card,
    words, wish"""


async def add(tx: Transaction, request: JoinRequest) -> bool:
    """Add a request; whether it is new: not if it was added before, or if the person has an open one of its sort."""
    row = await tx.fetch_row(
        f"INSERT INTO join_request ({_COLUMNS}) "  # noqa: S608 - a constant
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING RETURNING id",
        request.id,
        request.community,
        request.user,
        request.name,
        request.how,
        request.detail,
        json.dumps(request.keys),
        request.asked_at,
        request.state.value,
        request.decided_by,
        request.decided_at,
        request.reason,
        request.card,
        request.words,
        "" if request.wish is None else json.dumps([request.wish.name, request.wish.kind.value, request.wish.key]),
    )
    return row is not None


async def find(tx: Transaction, request: str) -> JoinRequest | None:
    row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM join_request WHERE id = $1", request)  # noqa: S608
    return None if row is None else _request(row)


async def of_card(tx: Transaction, card: EventId) -> JoinRequest | None:
    """The request that a message in the control room shows."""
    row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM join_request WHERE card = $1", card)  # noqa: S608
    return None if row is None else _request(row)


async def open_of(
    tx: Transaction, community: CommunityId, user: UserId, *, suggestion: bool = False
) -> JoinRequest | None:
    """Somebody's open request to come in, or the group that they suggest."""
    sort = "wish <> ''" if suggestion else "wish = ''"
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM join_request WHERE community = $1 AND user_id = $2 AND state = 'open' AND {sort}",  # noqa: S608
        community,
        user,
    )
    return None if row is None else _request(row)


async def last_of(
    tx: Transaction, community: CommunityId, user: UserId, state: State, *, of_group: RoomKeyName | None = None
) -> JoinRequest | None:
    """Somebody's last request to come in that came out like that; or as a member into that group."""
    sort, more = ("how <> 'ask'", []) if of_group is None else ("how = 'ask' AND keys = $4", [json.dumps([of_group])])
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM join_request WHERE community = $1 AND user_id = $2 AND state = $3 AND wish = '' "  # noqa: S608
        f"AND {sort} ORDER BY asked_at DESC LIMIT 1",
        community,
        user,
        state.value,
        *more,
    )
    return None if row is None else _request(row)


async def all_open(tx: Transaction, community: CommunityId) -> list[JoinRequest]:
    """The open requests of a community, the oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM join_request WHERE community = $1 AND state = 'open' "  # noqa: S608 - a constant
        "ORDER BY asked_at, id",
        community,
    )
    return [_request(row) for row in rows]


async def add_keys(tx: Transaction, request: JoinRequest, keys: tuple[RoomKeyName, ...]) -> None:
    """Let an open request lead into more groups: they asked by another way, too."""
    together = (*request.keys, *(key for key in keys if key not in request.keys))
    await tx.execute("UPDATE join_request SET keys = $2 WHERE id = $1", request.id, json.dumps(together))


async def decide(tx: Transaction, request: str, state: State, by: str, reason: str, now: int) -> bool:
    """Decide an open request; whether it was open: of several who decide at once one does."""
    row = await tx.fetch_row(
        "UPDATE join_request SET state = $2, decided_by = $3, reason = $4, decided_at = $5 "
        "WHERE id = $1 AND state = 'open' RETURNING id",
        request,
        state.value,
        by,
        reason,
        now,
    )
    return row is not None


async def carded(tx: Transaction, request: str, card: EventId) -> None:
    """Record the message that shows a request."""
    await tx.execute("UPDATE join_request SET card = $2 WHERE id = $1", request, card)


async def forget_before(tx: Transaction, at: int) -> None:
    """Forget what was decided before that time."""
    await tx.execute("DELETE FROM join_request WHERE state <> 'open' AND decided_at < $1", at)


def _request(row: Any) -> JoinRequest:
    return JoinRequest(
        id=row["id"],
        community=CommunityId(row["community"]),
        user=UserId(row["user_id"]),
        name=row["name"],
        how=row["how"],
        detail=row["detail"],
        keys=tuple(RoomKeyName(key) for key in json.loads(row["keys"])),
        asked_at=row["asked_at"],
        state=State(row["state"]),
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
        card=None if row["card"] is None else EventId(row["card"]),
        words=row["words"],
        wish=_wish(row["wish"]),
    )


def _wish(text: str) -> Wish | None:
    if not text:
        return None
    name, kind, key = json.loads(text)
    return Wish(name, RoomKind(kind), key)
