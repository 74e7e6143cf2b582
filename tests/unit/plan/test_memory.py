"""What is to be remembered after a plan, and what the plan's own words are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, GENERAL, SPACE, Community, Group, Role, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.plan.actions import Plan
from bridge.plan.render import as_json, as_lines
from bridge.plan.safety import Thresholds
from bridge.plan.state import Membership, digest_of, same
from tests.unit.plan.simulation import ACCOUNTS, LEVELS, settled_world

OLGA, HOMER, MONA = UserId("@olga:example.org"), UserId("@homer:example.org"), UserId("@mona:example.org")
CHESS = RoomKeyName("chess")


def community(**changes: Any) -> Community:
    chess = Group(CHESS, RoomKind.REQUEST, name="Chess", moderators=frozenset({MONA}))
    fields: dict[str, Any] = {"name": "School", "owners": frozenset({OLGA}), "members": frozenset({HOMER})}
    return Community(CommunityId("school"), **{**fields, "groups": (chess,), **changes})


def test_whoever_is_named_is_remembered_with_the_places() -> None:
    named = settled_world(community()).known.named
    assert named == {OLGA: {"owners"}, HOMER: {"members"}, MONA: {"chess/moderators"}}


def test_whoever_was_removed_is_forgotten_so_that_the_people_may_let_them_in_again() -> None:
    world = settled_world(community())
    anew = community(members=frozenset())
    world.carry_out(anew)
    assert HOMER not in world.known.named
    world.move(SPACE, HOMER, "invite", by=ACCOUNTS.steward)
    assert world.compare(anew).plan.empty


def test_whose_removal_is_blocked_stays_remembered() -> None:
    world = settled_world(community(), "11")
    levels = dict(world.rooms[GENERAL].power_levels)
    world.tamper(GENERAL, LEVELS, {**levels, "users": {**levels["users"], HOMER: 200}})
    anew = community(members=frozenset())
    world.carry_out(anew)
    assert world.known.named[HOMER] == {"members"}
    world.tamper(GENERAL, LEVELS, levels)
    world.carry_out(anew)
    assert world.rooms[GENERAL].members[HOMER].state == "leave"
    assert HOMER not in world.known.named


def test_who_may_be_in_a_room_that_cannot_be_read_stays_remembered() -> None:
    world = settled_world(community())
    world.unreadable.add(GENERAL)
    world.carry_out(community(members=frozenset()))
    assert world.known.named[HOMER] == {"members"}


def test_whoever_is_out_is_asked_anew_when_they_come_back() -> None:
    world = settled_world(community())
    world.move(SPACE, HOMER, "leave", by=HOMER)
    world.move(ANNOUNCEMENTS, HOMER, "leave", by=HOMER)
    world.carry_out(community())
    assert (SPACE, HOMER) in world.known.invited
    assert (ANNOUNCEMENTS, HOMER) not in world.known.invited
    world.move(SPACE, HOMER, "invite", by=OLGA)
    world.move(SPACE, HOMER, "join", by=HOMER)
    world.carry_out(community())
    assert world.rooms[ANNOUNCEMENTS].members[HOMER].state == "invite"


def test_whoever_leaves_the_community_leaves_their_role_behind() -> None:
    anew = community(owners=None, admins=None)
    world = settled_world(community(admins=frozenset({HOMER})))
    world.move(SPACE, HOMER, "leave", by=HOMER)
    assert world.carry_out(anew).known.roles == {OLGA: Role.OWNER}


def test_the_last_owner_who_leaves_stays_the_owner() -> None:
    world = settled_world(community())
    world.move(SPACE, OLGA, "leave", by=OLGA)
    assert world.carry_out(community(owners=None)).roles == {OLGA: Role.OWNER}


def test_what_was_declared_stays_when_its_key_is_taken_out() -> None:
    world = settled_world(community())
    open_chess = Group(CHESS, RoomKind.REQUEST)
    comparison = world.compare(community(name=None, owners=None, groups=(open_chess,)))
    assert comparison.plan.empty
    assert comparison.known.moderators[CHESS] == {MONA}


def test_nested_nonsense_of_any_depth_is_compared() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    world = settled_world(community())
    world.tamper(GENERAL, "m.room.encryption", {"algorithm": deep})
    world.tamper(CHESS, LEVELS, {"users": deep, "events": {"m.room.name": deep}, "kick": deep})
    assert len(world.carry_out(community()).plan.actions) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0}), ({}, {"a": None}), ([1], [1, 2]), ({"a": "1"}, {"a": 1})],
)
def test_what_is_not_the_same_json(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert not same(other, one)


def test_the_same_json_in_another_order() -> None:
    assert same({"a": [1, {"b": 2}], "c": None}, {"c": None, "a": (1, {"b": 2})})
    assert digest_of({"a": 1, "b": "\ud800"}) == digest_of({"b": "\ud800", "a": 1})


def test_a_plan_as_json_and_as_lines() -> None:
    world = settled_world(community())
    world.rooms[GENERAL] = world.rooms[GENERAL].with_member(UserId("@x\x1b[2J:evil"), Membership("knock"))
    plan = world.compare(community(members=frozenset({HOMER, UserId("@bart:example.org")}))).plan
    shape = as_json(plan, ["it is unsafe"])
    assert shape["digest"] == plan.digest
    assert shape["unsafe"] == ["it is unsafe"]
    assert {"kind": "invite", "room": "space", "summary": "invite @bart:example.org"} in shape["actions"]
    lines = as_lines(shape)
    assert lines[0] == f"school: {len(plan.actions)} actions (plan {plan.digest})"
    assert "  + space: invite @bart:example.org" in lines
    assert "  ⚠ unsafe: it is unsafe" in lines
    assert all(line.isprintable() for line in lines)
    assert as_lines(as_json(Plan("school", ()), [])) == ["school: nothing to do"]


@pytest.mark.parametrize(("members", "allowed"), [(0, 5), (10, 5), (16, 5), (20, 6), (100, 30)])
def test_how_many_may_be_removed_without_a_word(members: int, allowed: int) -> None:
    assert Thresholds().allowed(members) == pytest.approx(max(allowed, 0.3 * members))


def test_the_digest_names_what_is_done_and_not_why() -> None:
    world = settled_world(community())
    world.tamper(GENERAL, "m.room.guest_access", {})
    first = world.compare(community()).plan
    world.known = replace(world.known, settled={})
    second = world.compare(community()).plan
    assert [action.summary for action in first.actions] != [action.summary for action in second.actions]
    assert first.digest == second.digest
