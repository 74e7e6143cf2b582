"""Levels in rooms that others made: whatever the steward was given, it may write them, and stands above everybody."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.community import Posting, Role, RoomKind
from bridge.core.ids import RoomId, UserId
from bridge.core.power_levels import LOCKED, denied, users_of
from bridge.plan import takeover
from bridge.plan.desired import power_levels, within_reach
from bridge.plan.state import RoomState, StateEvent
from tests.unit.plan.simulation import ACCOUNTS

ANN, BEA, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "eve"))
ROLES = {ANN: Role.OWNER, BEA: Role.ADMIN}
level = st.integers(-10, 250)
parts = st.sampled_from(["kick", "ban", "redact", "invite", "events_default"])


def room(version: str = "11", **state: dict[str, Any]) -> RoomState:
    pieces = {(f"m.room.{kind}", ""): StateEvent(content) for kind, content in state.items()}
    return RoomState(RoomId("!room"), version, frozenset({"@maker:example.org"}), pieces)


@given(
    own=st.integers(100, 300),
    thresholds=st.dictionaries(parts, st.integers(0, 100)),
    events=st.dictionaries(st.sampled_from(["m.room.name", "m.room.tombstone", "m.reaction", "org.example.x"]), level),
    others=st.dictionaries(st.sampled_from([ANN, BEA, EVE]), level),
    kind=st.sampled_from([RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN]),
    archived=st.booleans(),
)  # fmt: skip
def test_the_steward_can_write_its_levels_and_nobody_whom_it_can_lower_reaches_it(
    own: int,
    thresholds: dict[str, int],
    events: dict[str, int],
    others: dict[UserId, int],
    kind: RoomKind,
    archived: bool,
) -> None:
    actual = {**thresholds, "events": events, "users": {**others, ACCOUNTS.steward: own}}
    before = room(power_levels=actual)
    policy = power_levels(kind, "11", ACCOUNTS, ROLES, moderators=frozenset({EVE}), archived=archived)
    wanted = within_reach(policy, before, ACCOUNTS.steward)
    verdict = denied(actual, wanted, sender=ACCOUNTS.steward, own=own)
    assert verdict.thresholds == ()
    assert set(verdict.equals) <= {user for user, has in others.items() if has >= own}
    top = min(own, LOCKED)
    users = users_of(wanted)
    assert users.pop(ACCOUNTS.steward) == top
    assert all(has < top for has in users.values())
    assert users[ANN] >= users[BEA] > users[EVE]
    assert wanted["state_default"] == top
    assert wanted["events"]["m.room.join_rules"] == top


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("public", RoomKind.OPEN),
        ("restricted", RoomKind.OPEN),
        ("knock", RoomKind.REQUEST),
        ("knock_restricted", RoomKind.REQUEST),
        ("invite", RoomKind.HIDDEN),
        ("org.example.new", RoomKind.HIDDEN),
        (None, RoomKind.HIDDEN),
    ],
)
def test_the_kind_never_opens_a_room_further(rule: str | None, kind: RoomKind) -> None:
    assert takeover.kind_of(room(join_rules={} if rule is None else {"join_rule": rule})) is kind


def test_what_shows_less_of_the_past_stays_and_what_shows_more_does_not() -> None:
    kept = [
        takeover.kept_history(room(history_visibility={"history_visibility": shown}))
        for shown in ("joined", "invited", "shared", "world_readable")
    ]
    assert kept == ["joined", "invited", "", ""]


def test_a_room_where_not_everybody_may_post_stays_so() -> None:
    assert takeover.posting_of(room(power_levels={"events_default": 25})) is Posting.MODERATORS
    assert takeover.posting_of(room(power_levels={})) is Posting.MEMBERS


def test_what_asks_for_more_than_an_admin_is_said() -> None:
    levels = {"users": {ACCOUNTS.steward: 100}, "events": {"m.room.join_rules": 150, "m.room.tombstone": 180}}
    lacking = takeover.lacking(room(power_levels=levels), ACCOUNTS)
    assert lacking is not None
    assert "needs 150" in lacking[0]
    assert takeover.lacking(room(power_levels={"users": {ACCOUNTS.steward: 100}}), ACCOUNTS) is None
