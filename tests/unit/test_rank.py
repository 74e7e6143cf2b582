"""Who may change whose place: each refusal says why, and names the key that decides instead."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import rank
from bridge.core.community import Community, Group, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.unit import strategies as some

OLGA, OTTO, ADAM, BEA, DAN, ZOE = (
    UserId(f"@{name}:example.org") for name in ("olga", "otto", "adam", "bea", "dan", "zoe")
)
STEWARD = UserId("@communities:example.org")
CHESS = RoomKeyName("chess")
SCHOOL = Community(CommunityId("school"), groups=(Group(CHESS),))
PEOPLE = rank.People(
    SCHOOL,
    {OLGA: Role.OWNER, OTTO: Role.OWNER, ADAM: Role.ADMIN, BEA: Role.ADMIN},
    dict.fromkeys((OLGA, OTTO, ADAM, BEA, DAN), "join"),
    frozenset({STEWARD}),
)


def declaring(community: Community) -> rank.People:
    return replace(PEOPLE, community=community)


@pytest.mark.parametrize(
    ("by", "user", "may"),
    [
        (None, DAN, True), (None, OLGA, True), (OLGA, ADAM, True), (OLGA, OTTO, True), (OLGA, OLGA, True),
        (ADAM, DAN, True), (ADAM, BEA, False), (ADAM, OLGA, False), (ADAM, ADAM, False), (DAN, ZOE, False),
        (ZOE, DAN, False), (None, STEWARD, False), (OLGA, STEWARD, False), (OLGA, ZOE, False),
    ],
)  # fmt: skip
def test_who_removes_whom(by: UserId | None, user: UserId, may: bool) -> None:
    if may:
        rank.check_removal(PEOPLE, by, user, ban=False)
        return
    with pytest.raises(Refused):
        rank.check_removal(PEOPLE, by, user, ban=False)


def test_whoever_is_not_there_can_be_banned_all_the_same() -> None:
    rank.check_removal(PEOPLE, ADAM, ZOE, ban=True)


@pytest.mark.parametrize("alone", [{OLGA: "join"}, {OLGA: "join", OTTO: "invite"}, {OLGA: "join", OTTO: "leave"}])
def test_the_last_owner_who_is_there_stays(alone: dict[UserId, str]) -> None:
    people = replace(PEOPLE, memberships=alone)
    with pytest.raises(Refused, match="last owner"):
        rank.check_removal(people, None, OLGA, ban=True)
    for by, role in ((None, Role.ADMIN), (OLGA, Role.MEMBER)):
        with pytest.raises(Refused, match="last owner"):
            rank.check_role(people, by, OLGA, role)


def test_only_owners_appoint_and_hand_over() -> None:
    rank.check_role(PEOPLE, OLGA, DAN, Role.ADMIN)
    assert rank.check_transfer(PEOPLE, OLGA, DAN) == OLGA
    for by in (ADAM, DAN, ZOE):
        with pytest.raises(Refused, match="only an owner"):
            rank.check_role(PEOPLE, by, DAN, Role.ADMIN)
        with pytest.raises(Refused, match="only an owner"):
            rank.check_transfer(PEOPLE, by, DAN)


def test_the_operator_hands_over_where_it_is_clear_from_whom() -> None:
    with pytest.raises(Refused, match="the owners are"):
        rank.check_transfer(PEOPLE, None, DAN)
    one = replace(PEOPLE, roles={OLGA: Role.OWNER})
    assert rank.check_transfer(one, None, DAN) == OLGA
    with pytest.raises(Refused, match="has not joined"):
        rank.check_transfer(one, None, ZOE)


def test_what_is_declared_is_refused_by_its_key() -> None:
    for people, key in (
        (declaring(replace(SCHOOL, admins=frozenset())), "admins"),
        (declaring(replace(SCHOOL, owners=frozenset({OLGA}))), "owners"),
    ):
        role = Role.ADMIN if key == "admins" else Role.OWNER
        with pytest.raises(Refused, match=rf"communities\.school\.{key} in the configuration decides that"):
            rank.check_role(people, None, DAN, role)
    with pytest.raises(Refused, match=r"communities\.school\.members in the configuration"):
        rank.check_removal(declaring(replace(SCHOOL, members=frozenset({DAN}))), None, DAN, ban=True)
    with pytest.raises(Refused, match=r"communities\.school\.removed in the configuration"):
        rank.check_invite(declaring(replace(SCHOOL, removed=frozenset({ZOE}))), None, ZOE, frozenset())
    held = replace(PEOPLE, community=replace(SCHOOL, groups=(Group(CHESS, moderators=frozenset()),)))
    with pytest.raises(Refused, match=r"communities\.school\.groups\.chess\.moderators in the configuration"):
        rank.check_moderator(held, None, DAN, CHESS, add=True)


def test_a_declared_admin_may_be_made_an_owner_and_is_an_admin_again() -> None:
    people = declaring(replace(SCHOOL, admins=frozenset({ADAM})))
    rank.check_role(people, OLGA, ADAM, Role.OWNER)
    rank.check_role(replace(people, roles={**people.roles, ADAM: Role.OWNER}), OLGA, ADAM, Role.ADMIN)


def test_a_group_must_be_there_and_a_ban_be_lifted_first() -> None:
    with pytest.raises(Refused, match="no group 'board'"):
        rank.check_invite(PEOPLE, ADAM, ZOE, frozenset({RoomKeyName("board")}))
    banned = replace(PEOPLE, memberships={**PEOPLE.memberships, ZOE: "ban"})
    with pytest.raises(Refused, match="is banned"):
        rank.check_invite(banned, ADAM, ZOE, frozenset())
    rank.check_unban(banned, ADAM, ZOE)
    with pytest.raises(Refused, match="not banned"):
        rank.check_unban(PEOPLE, ADAM, DAN)


MEMBERSHIPS = st.dictionaries(some.anybody, some.memberships)
ROLES = st.dictionaries(some.anybody, st.sampled_from((Role.ADMIN, Role.OWNER)))


@given(ROLES, MEMBERSHIPS, st.none() | some.anybody, some.anybody, st.sampled_from((Role.MEMBER, Role.ADMIN)))
def test_no_permitted_deed_takes_the_last_owner_away(
    roles: dict[UserId, Role], memberships: dict[UserId, str], by: UserId | None, user: UserId, role: Role
) -> None:
    people = rank.People(SCHOOL, roles, memberships)
    owners = {one for one in roles if people.role_of(one) is Role.OWNER}
    for removed in (True, False):
        try:
            if removed:
                rank.check_removal(people, by, user, ban=True)
            else:
                rank.check_role(people, by, user, role)
        except Refused:
            continue
        assert owners - {user} or user not in owners
