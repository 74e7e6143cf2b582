"""Runs the case files in `cases/`: one rule of the policy each.

A case starts with a community at rest: declared, made, and everybody who was invited has joined. Unless the case says
otherwise (`was`, and `declared` on top of it) it is the one in `BASE`. Then things `happened`, one after the other,
whatever the rules of the room say; and the plan is what we `expect`. Names without a domain are people of
`example.org`; `steward` and `announcer` are the two accounts.

Every case runs in room versions 11 and 12 unless it names its `versions`. The plan is then carried out by a homeserver
that refuses whatever the steward has no power for, and afterwards nothing may be left to do (but for `again`, the
actions of a second look).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bridge.core.community import Community, Group, Join, Posting, RoomKind
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.plan.safety import Thresholds, reasons_against
from bridge.plan.state import Membership, StateEvent
from tests.unit.plan.simulation import ACCOUNTS, LEVELS, World, settled_world, words

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
KEYS = {"rule", "was", "declared", "happened", "expect", "versions", "again"}
EXPECTED = {"actions", "blocked", "notes", "unsafe", "levels", "state", "members"}

BASE: dict[str, Any] = {
    "name": "School",
    "owners": ["olga"],
    "admins": ["adam"],
    "members": ["homer", "marge"],
    "groups": {
        "chess": {"name": "Chess", "kind": "request", "moderators": ["mona"]},
        "class": {"name": "Class 1A", "kind": "open"},
    },
}


def user(name: str) -> UserId:
    known = {"steward": ACCOUNTS.steward, "announcer": ACCOUNTS.announcer}
    return known.get(name) or UserId(name if name.startswith("@") else f"@{name}:example.org")


def shortened(text: str) -> str:
    text = text.replace(ACCOUNTS.steward, "steward").replace(ACCOUNTS.announcer, "announcer")
    return re.sub(r"@(\w+):example\.org", r"\1", text)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` on top of `base`; null takes a key away."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            old = result.get(key)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def community(declared: dict[str, Any]) -> Community:
    fields: dict[str, Any] = {**declared, "groups": tuple(group(*item) for item in declared["groups"].items())}
    for key in ("owners", "admins", "members", "removed"):
        if key in fields:
            fields[key] = people(fields[key])
    if "join" in fields:
        fields["join"] = Join(fields["join"])
    return Community(CommunityId("school"), **fields)


def group(key: str, declared: dict[str, Any]) -> Group:
    fields = {**declared, "kind": RoomKind(declared["kind"]), "posting": Posting(declared.get("posting", "members"))}
    for name in ("moderators", "members"):
        if name in fields:
            fields[name] = people(fields[name])
    return Group(RoomKeyName(key), **fields)


def people(names: list[str]) -> frozenset[UserId]:
    return frozenset(user(name) for name in names)


def happen(world: World, event: dict[str, Any]) -> None:
    """One line under `happened`."""
    match event:
        case {"room": room, "who": who, "is": state, **more}:
            here = Membership(state, user(more.get("by", who)))
            world.rooms[room] = world.rooms[room].with_member(user(who), here)
        case {"room": room, "levels": changes, "by": by}:
            if "users" in changes:
                named = {user(name): level for name, level in changes["users"].items()}
                changes = {**changes, "users": named}
            world.tamper(room, LEVELS, merged(dict(world.rooms[room].power_levels), changes), by=user(by))
        case {"room": room, "state": kind, "content": content, "by": by, **more}:
            key = more.get("key", "")
            event_id = EventId("$it")
            world.rooms[room] = world.rooms[room].with_state(kind, key, StateEvent(content, user(by), event_id))
        case {"room": room, "redacted": kind, **more}:
            was = world.rooms[room].state[kind, more.get("key", "")]
            gone = StateEvent({}, was.sender, was.event_id, redacted=True)
            world.rooms[room] = world.rooms[room].with_state(kind, more.get("key", ""), gone)
        case {"room": room, "creators": names}:
            creators = world.rooms[room].creators | people(names)
            world.rooms[room] = replace(world.rooms[room], creators=creators)
        case {"unreadable": room}:
            world.unreadable.add(room)
        case {"forgotten": room}:
            del world.rooms[room]
            rooms = {key: room_id for key, room_id in world.known.rooms.items() if key != room}
            settled = {place: digest for place, digest in world.known.settled.items() if place[0] != room}
            invited = frozenset(pair for pair in world.known.invited if pair[0] != room)
            world.known = replace(world.known, rooms=rooms, settled=settled, invited=invited)
        case {"memory": field, "add": things}:
            world.known = replace(world.known, **{field: getattr(world.known, field) | frozenset(map(_pair, things))})
        case {"memory": "invited", "lost": names}:
            kept = frozenset((key, who) for key, who in world.known.invited if who not in people(names))
            world.known = replace(world.known, invited=kept)
        case _:
            raise AssertionError(f"not understood: {event}")


def _pair(thing: Any) -> Any:
    return tuple(thing) if isinstance(thing, list) else thing


def cases() -> list[Any]:
    found = []
    for path in CASES:
        case = YAML(typ="safe").load(path)
        assert case.keys() <= KEYS, path
        assert case["expect"].keys() <= EXPECTED, path
        found += [
            pytest.param(case, version, id=f"{path.stem}-{version}") for version in case.get("versions", ["11", "12"])
        ]
    return found


@pytest.mark.parametrize(("case", "version"), cases())
def test_case(case: dict[str, Any], version: str) -> None:
    was = merged(BASE, case.get("was", {}))
    declared = community(merged(was, case.get("declared", {})))
    world = settled_world(community(was), version)
    for event in case.get("happened", []):
        happen(world, event)
    expected = case["expect"]
    before = world.readable
    comparison = world.compare(declared)
    unsafe = reasons_against(comparison, before, ACCOUNTS, Thresholds())
    assert list(map(shortened, words(comparison.plan))) == expected.get("actions", [])
    assert [shortened(f"{item.room}: {item.reason}") for item in comparison.plan.blocked] == expected.get("blocked", [])
    assert list(map(shortened, comparison.plan.notes)) == expected.get("notes", [])
    assert list(map(shortened, unsafe)) == expected.get("unsafe", [])
    world.carry_out(declared)
    for room, levels in expected.get("levels", {}).items():
        assert {name: world.level(room, user(name)) for name in levels} == levels
    for room, contents in expected.get("state", {}).items():
        assert {kind: dict(world.rooms[room].content(kind) or {}) for kind in contents} == contents
    for room, states in expected.get("members", {}).items():
        members = world.rooms[room].members
        assert {name: members.get(user(name), Membership("")).state for name in states} == states
    assert list(map(shortened, words(world.compare(declared).plan))) == case.get("again", [])


def test_there_are_cases() -> None:
    assert len(CASES) > 50


def test_room_ids_of_the_simulation_are_as_the_cases_say() -> None:
    assert settled_world(community(BASE)).rooms[RoomKeyName("chess")].room_id == RoomId("!chess:example.org")
