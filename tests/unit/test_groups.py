"""Groups that people made, merged with the declaration; their keys; what a released room is left as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.access import Deed
from bridge.core.community import RESERVED_KEYS, Community, Group, GroupsBy, Posting, Role, RoomKind
from bridge.core.errors import Refused
from bridge.core.groups import (
    OwnGroup,
    Stage,
    check_key,
    check_not_declared,
    check_room_for_one_more,
    effective,
    key_of,
)
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId, parse_stable_id
from bridge.core.power_levels import LOCKED
from bridge.core.rank import People, check_groups
from bridge.plan.desired import power_levels
from bridge.plan.release import in_charge, released_levels
from bridge.plan.state import Accounts, Membership, RoomState, StateEvent
from bridge.store.declarations import from_json, to_json

SCHOOL = CommunityId("school")
ACCOUNTS = Accounts(UserId("@steward:example.org"), UserId("@announcer:example.org"))
ANN, BOB, DAN = UserId("@ann:example.org"), UserId("@bob:example.org"), UserId("@dan:example.org")
KINDS = st.sampled_from([RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN])
KEYS = st.sampled_from("abcdef").map(RoomKeyName)
DECLARED = st.builds(Group, KEYS, KINDS, posting=st.sampled_from(Posting))
OWN = st.builds(OwnGroup, KEYS, KINDS, st.sampled_from(Posting), st.sampled_from(Stage))


def lists_of(groups: st.SearchStrategy[OwnGroup]) -> st.SearchStrategy[list[OwnGroup]]:
    return st.lists(groups, unique_by=lambda group: group.key)


@given(st.lists(DECLARED, unique_by=lambda group: group.key), lists_of(OWN), st.randoms())
def test_what_is_declared_wins_and_order_is_irrelevant(
    declared: list[Group], own: list[OwnGroup], chance: st.DataObject
) -> None:
    community = Community(SCHOOL, groups=tuple(declared))
    merged = effective(community, own)
    keys = {group.key for group in declared}
    for group in declared:
        assert merged.group(group.key) == group
    for one in own:
        wanted = one.stage is not Stage.LEAVING and one.key not in keys
        assert (
            (merged.group(one.key) == one.group and one.group.own)
            if wanted
            else one.key in keys or (merged.group(one.key) is None)
        )
    assert len(merged.groups) == len({*keys, *(one.key for one in own if one.stage is not Stage.LEAVING)})
    assert effective(community, sorted(own, key=lambda group: group.key, reverse=True)) == merged
    assert effective(merged, own) == merged
    # what is remembered as in force is the declaration alone: groups of people are stored by themselves
    assert from_json(to_json(merged)) == community


@given(st.text(max_size=60), st.sets(st.text(max_size=10)))
def test_every_name_makes_a_key_that_is_free(name: str, taken: set[str]) -> None:
    key = key_of(name, taken)
    assert parse_stable_id(key) == key
    assert key not in taken | RESERVED_KEYS
    assert key_of(name, {*taken, key}) != key


def test_keys_say_what_the_group_is_called() -> None:
    assert key_of("Chess Club!", ()) == "chess-club"
    assert key_of("Grüße 1a", ()) == "gruesse-1a"
    assert key_of("Control", ()) == "control-2"
    assert key_of("🎲", {"group"}) == "group-2"


@pytest.mark.parametrize(("key", "why"), [("general", "reserved"), ("chess", "already"), ("A b", "stable id")])
def test_a_chosen_key_is_refused_with_the_reason(key: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_key(Community(SCHOOL), key, {"chess"})


def test_the_limit_holds_for_declared_groups_and_those_of_people_together() -> None:
    community = effective(Community(SCHOOL, groups=(Group(RoomKeyName("a")),)), [OwnGroup(RoomKeyName("b"))])
    check_room_for_one_more(community, 3)
    with pytest.raises(Refused, match=r"has 2 groups; limits\.groups_per_community in the configuration allows 2"):
        check_room_for_one_more(community, 2)


def test_what_the_configuration_decides_is_refused_with_its_key() -> None:
    chess, go = RoomKeyName("chess"), RoomKeyName("go")
    community = effective(Community(SCHOOL, groups=(Group(chess, name="Chess"),)), [OwnGroup(go)])
    with pytest.raises(Refused, match=r"communities\.school\.groups\.chess in the configuration decides that"):
        check_not_declared(community, chess)
    with pytest.raises(Refused, match=r"communities\.school\.groups\.chess\.name in the configuration decides that"):
        check_not_declared(community, chess, "name")
    check_not_declared(community, chess, "description")
    check_not_declared(community, go)
    check_not_declared(community, go, "name")


@pytest.mark.parametrize(
    ("by", "groups_by", "refusal"),
    [
        (None, GroupsBy.ADMINS, None),
        (ANN, GroupsBy.ADMINS, None),
        (BOB, GroupsBy.ADMINS, "only owners and admins make groups"),
        (BOB, GroupsBy.SUGGEST, "only suggest"),
        (BOB, GroupsBy.MEMBERS, None),
    ],
)
def test_who_may_make_groups(by: UserId | None, groups_by: GroupsBy, refusal: str | None) -> None:
    people = People(Community(SCHOOL, groups_by=groups_by), {ANN: Role.ADMIN}, {ANN: "join", BOB: "join"})
    if refusal is None:
        check_groups(people, by, Deed.MAKE_GROUPS)
    else:
        with pytest.raises(Refused, match=refusal):
            check_groups(people, by, Deed.MAKE_GROUPS)


def test_in_an_archived_group_only_admins_write() -> None:
    levels = power_levels(RoomKind.OPEN, "11", ACCOUNTS, {ANN: Role.OWNER}, archived=True)
    assert levels["events_default"] == levels["invite"] == levels["events"]["m.reaction"] == 100
    assert levels["events"]["m.room.redaction"] == 0


def group_room(version: str, **members: str) -> RoomState:
    creators = frozenset({ACCOUNTS.steward})
    levels = power_levels(
        RoomKind.OPEN, version, ACCOUNTS, {ANN: Role.ADMIN}, moderators=frozenset({BOB}), creators=creators
    )
    return RoomState(
        RoomId("!r"),
        version,
        creators,
        {("m.room.power_levels", ""): StateEvent(levels)},
        {UserId(f"@{name}:example.org"): Membership(state) for name, state in members.items()},
    )


@pytest.mark.parametrize("version", ["11", "12"])
@pytest.mark.parametrize(("ann", "heirs", "top"), [("join", [ANN], 100), ("invite", [BOB], 50)])
def test_whoever_is_left_in_charge_reaches_every_threshold(
    version: str, ann: str, heirs: list[UserId], top: int
) -> None:
    room = group_room(version, steward="join", ann=ann, bob="join", dan="join")
    assert in_charge(room, ACCOUNTS) == heirs
    levels = released_levels(room, ACCOUNTS)
    assert ACCOUNTS.steward not in levels["users"]
    assert levels["users"][BOB] == 50
    numbers = [levels[key] for key in ("state_default", "ban", "kick", "redact", "invite", "events_default")]
    assert max(*numbers, *levels["events"].values(), *levels["notifications"].values()) == top
    assert LOCKED not in levels["events"].values()


def test_nobody_is_in_charge_where_only_members_are() -> None:
    assert in_charge(group_room("12", steward="join", dan="join", bob="leave"), ACCOUNTS) == []
