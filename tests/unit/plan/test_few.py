"""A look at a few people plans the same about them as a look at everybody."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.community import SPACE, Community
from bridge.core.ids import RoomKeyName, UserId
from bridge.plan import few
from bridge.plan.actions import Cause, Kick
from bridge.plan.diff import compare
from bridge.plan.state import Membership
from tests.unit import strategies as some
from tests.unit.plan.simulation import ACCOUNTS, World, settled_world

ANYBODY = (*some.PEOPLE, some.OUTSIDER)


def move(draw: st.DrawFn, world: World, users: frozenset[UserId]) -> None:
    """Let the memberships of some people, and what is remembered of them, be anything."""
    for _ in range(draw(st.integers(1, 5))):
        user = draw(st.sampled_from(sorted(users)))
        key = draw(st.sampled_from(sorted(world.rooms)))
        place: tuple[RoomKeyName, UserId] = (key, user)
        known = world.known
        match draw(st.integers(0, 7)):
            case 0:
                world.known = replace(known, bidden=known.bidden ^ {place})
            case 1:
                world.known = replace(known, invited=known.invited ^ {place})
            case 2:
                world.known = replace(known, waiting=known.waiting ^ {user})
            case _:
                senders = (user, ACCOUNTS.steward, ACCOUNTS.announcer, draw(some.people))
                here = Membership(draw(some.memberships), draw(st.sampled_from(senders)))
                world.rooms[key] = world.rooms[key].with_member(user, here)


@given(st.data(), some.communities(), some.room_versions)
@settings(max_examples=150)
def test_a_few_are_treated_as_among_everybody(data: st.DataObject, community: Community, version: str) -> None:
    declared = replace(community, rules_required=data.draw(st.booleans()))
    world = settled_world(declared, version)
    with_a_say = few.people_with_a_say(declared, world.known, world.rooms, ACCOUNTS)
    others = [user for user in ANYBODY if user not in with_a_say]
    users = frozenset(data.draw(st.lists(st.sampled_from(others), min_size=1, max_size=2)))
    data.draw(st.composite(lambda draw: move(draw, world, users))())

    small, memory, seen = few.narrowed(declared, world.known, world.rooms, users | with_a_say)
    narrow = compare(small, memory, seen, world.setting)
    whole = world.compare(declared)
    assert narrow.plan.actions == whole.plan.actions
    assert narrow.plan.blocked == whole.plan.blocked
    assert set(narrow.plan.notes) <= set(whole.plan.notes)
    assert {note for note in whole.plan.notes if any(user in note for user in users)} <= set(narrow.plan.notes)
    assert memory.invited - narrow.known.invited == world.known.invited - whole.known.invited
    assert memory.bidden - narrow.known.bidden == world.known.bidden - whole.known.bidden
    assert narrow.known.bidden - memory.bidden == whole.known.bidden - world.known.bidden
    assert (narrow.roles, narrow.known.moderators) == (whole.roles, whole.known.moderators)
    if few.concerns_only(narrow.plan.actions, users):
        assert all(getattr(action, "user", None) in users for action in whole.plan.actions)


def test_what_the_declaration_removes_is_more_than_to_follow() -> None:
    dan = UserId("@dan:example.org")
    follows, removes = (Kick(SPACE, dan, "gone", cause) for cause in (Cause.CASCADE, Cause.DECLARED))
    assert few.concerns_only((follows,), frozenset({dan}))
    assert not few.concerns_only((removes,), frozenset({dan}))
    assert not few.concerns_only((follows,), frozenset())
