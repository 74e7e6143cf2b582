"""The two tables of the room policy, cell by cell, in room versions 11 and 12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.core.community import (
    ANNOUNCEMENTS,
    CONTROL,
    DISCUSSION,
    GENERAL,
    SPACE,
    Community,
    Group,
    Join,
    Role,
    RoomKind,
)
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.power_levels import CREATOR, level_of, needed_for, threshold
from bridge.plan.actions import BringAnnouncer, CreateRoom, Link
from bridge.plan.desired import DesiredRoom, Setting, child_link, desired_rooms, power_levels
from bridge.plan.state import Known, RoomState
from tests.unit.plan.simulation import ACCOUNTS, World

LOCKED = 200
VERSIONS = ("11", "12")

# "–" in the policy: nobody sends it there, so it falls to the default of the room
LEVELS = """
key                                        | space   | announcements | control | group
users_default                              | 0       | 0             | 0       | 0
events_default                             | LOCKED  | 100           | 0       | 0
state_default                              | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.name                                | 100     | 100           | LOCKED  | 50
m.room.topic                               | 100     | 100           | LOCKED  | 50
m.room.avatar                              | 100     | 100           | LOCKED  | 50
m.room.pinned_events                       | 100     | 100           | 100     | 50
m.space.child                              | 100     | LOCKED        | LOCKED  | LOCKED
m.space.parent                             | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.power_levels                        | 150     | LOCKED        | LOCKED  | LOCKED
m.room.join_rules                          | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.history_visibility                  | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.encryption                          | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.server_acl                          | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.tombstone                           | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.guest_access                        | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.room.canonical_alias                     | LOCKED  | LOCKED        | LOCKED  | LOCKED
m.reaction                                 | LOCKED  | 0             | 0       | 0
m.room.redaction                           | LOCKED  | 0             | 0       | 0
m.room.encrypted                           | LOCKED  | 100           | 0       | 0
m.room.message                             | LOCKED  | 100           | 0       | 0
redact                                     | LOCKED  | 100           | 100     | 50
invite                                     | 100     | 100           | LOCKED  | 50
kick                                       | 100     | 100           | 100     | 50
ban                                        | 100     | 100           | 100     | 50
notifications.room                         | 100     | 100           | 0       | 50
m.call.member                              | LOCKED  | 100           | 0       | 0
org.matrix.msc3401.call.member             | LOCKED  | 100           | 0       | 0
m.beacon_info                              | LOCKED  | 100           | 0       | 0
org.matrix.msc3672.beacon_info             | LOCKED  | 100           | 0       | 0
"""
TIMELINE = ("m.reaction", "m.room.redaction", "m.room.encrypted", "m.room.message")
COLUMNS: dict[str, tuple[RoomKind, ...]] = {
    "space": (RoomKind.SPACE,),
    "announcements": (RoomKind.ANNOUNCEMENTS,),
    "control": (RoomKind.CONTROL,),
    "group": (RoomKind.GENERAL, RoomKind.DISCUSSION, RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN),
}

OWNER, ADMIN, MODERATOR = UserId("@own:example.org"), UserId("@adm:example.org"), UserId("@mod:example.org")
MEMBER = "@member:example.org"
ROLES = {OWNER: Role.OWNER, ADMIN: Role.ADMIN}


def cells(table: str) -> list[tuple[str, str, str]]:
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [(row[0], column, cell) for row in rows for column, cell in zip(head[1:], row[1:], strict=True)]


def asked_for(content: Mapping[str, Any], key: str) -> int:
    """The level that a room asks for, as a homeserver reads it."""
    if key == "notifications.room":
        level: int = content["notifications"]["room"]
        return level
    if key.startswith(("m.", "org.")):
        return needed_for(content, key, state=key not in TIMELINE)
    return threshold(content, key)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("key", "column", "cell"), cells(LEVELS))
def test_levels(key: str, column: str, cell: str, version: str) -> None:
    for kind in COLUMNS[column]:
        content = power_levels(kind, version, ACCOUNTS, ROLES)
        assert asked_for(content, key) == (LOCKED if cell == "LOCKED" else int(cell)), kind


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", RoomKind)
def test_levels_are_written_whole(kind: RoomKind, version: str) -> None:
    content = power_levels(kind, version, ACCOUNTS, ROLES)
    numbers = {"users_default", "events_default", "state_default", "redact", "invite", "kick", "ban"}
    assert numbers < content.keys()
    assert all(type(content[name]) is int for name in numbers)
    for part in ("users", "events", "notifications"):
        assert all(type(level) is int for level in content[part].values())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "may_invite", "level"),
    [
        (RoomKind.SPACE, False, 100),
        (RoomKind.SPACE, True, 0),
        (RoomKind.ANNOUNCEMENTS, True, 100),
        (RoomKind.CONTROL, True, LOCKED),
        (RoomKind.GENERAL, False, 50),
        (RoomKind.GENERAL, True, 0),
        (RoomKind.DISCUSSION, False, 50),
        (RoomKind.DISCUSSION, True, 0),
        (RoomKind.OPEN, False, 50),
        (RoomKind.OPEN, True, 0),
        (RoomKind.REQUEST, True, 50),
        (RoomKind.HIDDEN, True, 50),
    ],
)
def test_inviting_where_members_may(kind: RoomKind, may_invite: bool, level: int, version: str) -> None:
    assert power_levels(kind, version, ACCOUNTS, ROLES, members_may_invite=may_invite)["invite"] == level


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", COLUMNS["group"])
def test_posting_where_only_moderators_may(kind: RoomKind, version: str) -> None:
    content = power_levels(kind, version, ACCOUNTS, ROLES, moderators_only=True)
    assert content["events_default"] == 50
    assert needed_for(content, "m.reaction", state=False) == 0


PEOPLE = """
who       | space | announcements | control | group
owner     | 150   | 150           | 150     | 150
admin     | 100   | 100           | 100     | 100
moderator | 0     | 0             | 0       | 50
member    | 0     | 0             | 0       | 0
announcer | 0     | 100           | 100     | 0
"""
USERS = {"owner": OWNER, "admin": ADMIN, "moderator": MODERATOR, "member": MEMBER, "announcer": ACCOUNTS.announcer}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("who", "column", "cell"), cells(PEOPLE))
def test_levels_of_people(who: str, column: str, cell: str, version: str) -> None:
    creators = frozenset({str(ACCOUNTS.steward)})
    for kind in COLUMNS[column]:
        content = power_levels(kind, version, ACCOUNTS, ROLES, moderators=frozenset({MODERATOR, OWNER}))
        assert level_of(content, USERS[who], creators=creators, room_version=version) == int(cell), kind


@pytest.mark.parametrize("kind", RoomKind)
def test_the_steward_stands_above_all(kind: RoomKind) -> None:
    creators = frozenset({str(ACCOUNTS.steward)})
    old = power_levels(kind, "11", ACCOUNTS, {**ROLES, ACCOUNTS.steward: Role.ADMIN})
    new = power_levels(kind, "12", ACCOUNTS, {**ROLES, ACCOUNTS.steward: Role.ADMIN})
    assert old["users"][ACCOUNTS.steward] == LOCKED
    assert ACCOUNTS.steward not in new["users"]
    assert level_of(new, ACCOUNTS.steward, creators=creators, room_version="12") == CREATOR


@pytest.mark.parametrize("kind", RoomKind)
def test_an_owner_who_made_a_room_of_version_12_is_not_listed(kind: RoomKind) -> None:
    creators = frozenset({str(ACCOUNTS.steward), str(OWNER)})
    assert OWNER not in power_levels(kind, "12", ACCOUNTS, ROLES, creators=creators)["users"]
    assert power_levels(kind, "11", ACCOUNTS, ROLES, creators=creators)["users"][OWNER] == 150


def test_a_steward_who_did_not_make_the_room_is_listed_in_version_12_too() -> None:
    content = power_levels(RoomKind.OPEN, "12", ACCOUNTS, ROLES, creators=frozenset({"@else:example.org"}))
    assert content["users"][ACCOUNTS.steward] == LOCKED


@pytest.mark.parametrize("kind", RoomKind)
def test_a_frozen_room_is_locked(kind: RoomKind) -> None:
    content = power_levels(kind, "12", ACCOUNTS, ROLES, frozen=True)
    assert needed_for(content, "m.room.power_levels", state=True) == LOCKED
    assert content["events_default"] == (0 if kind is RoomKind.CONTROL else LOCKED)


ROOMS = """
aspect     | space     | announcements | control   | general    | discussion | open       | request   | hidden
join rule  | invite    | invite        | invite    | restricted | restricted | restricted | knock     | invite
in space   | no        | suggested     | no        | suggested  | suggested  | yes        | yes       | no
order      | –         | a             | –         | b          | c          | mopen      | mrequest  | –
parent     | no        | yes           | no        | yes        | yes        | yes        | yes       | yes
history    | shared    | shared        | shared    | shared     | shared     | shared     | shared    | joined
encryption | no        | megolm        | megolm    | megolm     | megolm     | megolm     | megolm    | megolm
guests     | forbidden | forbidden     | forbidden | forbidden  | forbidden  | forbidden  | forbidden | forbidden
directory  | no        | no            | no        | no         | no         | no         | no        | no
alias      | no        | no            | no        | no         | no         | no         | no        | no
"""


def community(**changes: Any) -> Community:
    groups = tuple(Group(RoomKeyName(kind.value), kind) for kind in (RoomKind.HIDDEN, RoomKind.OPEN, RoomKind.REQUEST))
    return Community(CommunityId("school"), name="School", groups=groups, **changes)


def aspect(name: str, room: DesiredRoom, created: CreateRoom) -> str:
    state = {(kind, key): content for kind, key, content in created.state}
    link = child_link(room, Setting(ACCOUNTS, "12"))
    listed = room.listed_in_space
    values = {
        "join rule": state["m.room.join_rules", ""]["join_rule"],
        "in space": "no" if not listed else "suggested" if link["suggested"] else "yes",
        "order": link["order"] if listed else "–",
        "parent": "no" if created.parent is None else "yes",
        "history": state["m.room.history_visibility", ""]["history_visibility"],
        "encryption": "megolm"
        if state.get(("m.room.encryption", "")) == {"algorithm": "m.megolm.v1.aes-sha2"}
        else "no",
        "guests": state["m.room.guest_access", ""]["guest_access"],
        "directory": "yes" if created.listed else "no",
        "alias": "yes" if ("m.room.canonical_alias", "") in state else "no",
    }
    return str(values[name])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "room", "cell"), cells(ROOMS))
def test_rooms(name: str, room: str, cell: str, version: str) -> None:
    comparison = World(version).compare(community(discussion=True))
    created = {action.room: action for action in comparison.plan.actions if isinstance(action, CreateRoom)}
    key = RoomKeyName(room)
    assert aspect(name, comparison.desired[key], created[key]) == cell
    assert created[key].version == version


def test_a_space_that_takes_requests_can_be_knocked_on() -> None:
    desired = World().compare(community(join=Join.REQUEST)).desired
    assert desired[SPACE].state["m.room.join_rules", ""] == {"join_rule": "knock"}
    assert desired[ANNOUNCEMENTS].state["m.room.join_rules", ""] == {"join_rule": "invite"}


def test_a_space_is_listed_if_the_community_says_so_and_no_other_room() -> None:
    plan = World().compare(community(listed=True)).plan
    assert [action.room for action in plan.actions if isinstance(action, CreateRoom) and action.listed] == [SPACE]


def test_open_groups_are_open_to_members_of_the_space_alone() -> None:
    known = Known(rooms={SPACE: RoomId("!the:space")})
    rooms = desired_rooms(community(), known, {}, Setting(ACCOUNTS, "12"), {})
    rooms |= desired_rooms(community(discussion=True), known, {}, Setting(ACCOUNTS, "12"), {})
    for key in (GENERAL, DISCUSSION, RoomKeyName("open")):
        assert rooms[key].state["m.room.join_rules", ""] == {
            "join_rule": "restricted",
            "allow": [{"type": "m.room_membership", "room_id": "!the:space"}],
        }


def test_links_name_a_server_to_join_through() -> None:
    world = World()
    plan = world.compare(community()).plan
    links = [action for action in plan.actions if isinstance(action, Link)]
    assert {link.of for link in links} == {"announcements", "general", "open", "request"}
    assert all(link.content["via"] == ["example.org"] for link in links)


def test_without_general_there_is_no_general_chat() -> None:
    assert GENERAL not in World().compare(community(general=False)).desired


def test_there_is_a_discussion_room_only_where_it_is_wanted() -> None:
    assert DISCUSSION not in World().compare(community()).desired
    topic = World().compare(community(discussion=True)).desired[DISCUSSION].state["m.room.topic", ""]["topic"]
    assert "the service could read what is written here" in topic


def test_a_group_that_people_made_before_under_that_key_stays_one() -> None:
    own = Group(DISCUSSION, RoomKind.OPEN, own=True)
    desired = World().compare(Community(CommunityId("school"), discussion=True, groups=(own,))).desired
    assert desired[DISCUSSION].kind is RoomKind.OPEN
    with pytest.raises(ValueError, match="reserved"):
        Group(DISCUSSION, RoomKind.OPEN)


def test_the_announcer_belongs_in_the_discussion_room_without_a_level() -> None:
    plan = World().compare(community(discussion=True)).plan
    brought = {action.room for action in plan.actions if isinstance(action, BringAnnouncer)}
    assert brought == {ANNOUNCEMENTS, CONTROL, DISCUSSION}
    assert ACCOUNTS.announcer not in power_levels(RoomKind.DISCUSSION, "12", ACCOUNTS, ROLES, announcer=True)["users"]


def test_the_rooms_are_made_in_a_fixed_order_whatever_the_order_of_the_groups() -> None:
    one = community()
    other = Community(CommunityId("school"), name="School", groups=tuple(reversed(one.groups)))
    assert World().compare(one).plan.digest == World().compare(other).plan.digest
    assert list(World().compare(one).desired)[:4] == [SPACE, ANNOUNCEMENTS, CONTROL, GENERAL]


@pytest.mark.parametrize(
    ("declared", "default", "expected"), [(None, "11", "11"), ("12", "11", "12"), (None, "12", "12")]
)
def test_the_room_version_is_the_homeservers_unless_it_is_declared(
    declared: str | None, default: str, expected: str
) -> None:  # fmt: skip
    rooms = World(default).compare(community(room_version=declared)).desired
    assert {room.version for room in rooms.values()} == {expected}


def test_an_existing_room_keeps_its_version() -> None:
    room = RoomState(RoomId("!a:example.org"), "11", frozenset({str(ACCOUNTS.steward)}), {}, {})
    rooms = desired_rooms(community(), Known(), {}, Setting(ACCOUNTS, "12"), {SPACE: room})
    assert ACCOUNTS.steward in rooms[SPACE].state["m.room.power_levels", ""]["users"]
    assert ACCOUNTS.steward not in rooms[CONTROL].state["m.room.power_levels", ""]["users"]


def test_names_by_default_follow_the_community_and_stay_short() -> None:
    long = Community(CommunityId("school"), name="very\nlong " * 600)
    for key, room in World().compare(long).desired.items():
        name = room.state["m.room.name", ""]["name"]
        assert key == SPACE or (len(name) < 150 and "\n" not in name)
    short = World().compare(community()).desired
    assert short[ANNOUNCEMENTS].state["m.room.name", ""] == {"name": "School – Announcements"}
    assert short[RoomKeyName("open")].state["m.room.name", ""] == {"name": "open"}
