"""What holds for any community, whatever people did to its rooms."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge.core.community import ANNOUNCEMENTS, SPACE, Community, Role
from bridge.core.ids import RoomKeyName, UserId
from bridge.plan.actions import Ban, CreateRoom, Kick, SetState
from bridge.plan.diff import Comparison, compare
from bridge.plan.render import as_json, as_lines
from bridge.plan.safety import Thresholds, reasons_against
from bridge.plan.state import Known, Membership, StateEvent
from tests.unit import strategies as some
from tests.unit.plan.simulation import ACCOUNTS, LEVELS, Forbidden, World, accept_all, settled_world, words

quick = settings(max_examples=25)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Community, World]:
    """A community at rest."""
    community = draw(some.communities())
    return community, settled_world(community, draw(some.room_versions))


def disturb(draw: st.DrawFn, world: World) -> None:
    """Let anybody change anything that a homeserver would let them change, and some things that it would not."""
    for _ in range(draw(st.integers(0, 6))):
        key = draw(st.sampled_from(sorted(world.rooms)))
        user = draw(some.anybody)
        match draw(st.integers(0, 6)):
            case 0:
                member = draw(st.sampled_from((*some.PEOPLE, some.OUTSIDER, ACCOUNTS.announcer)))
                here = Membership(draw(some.memberships), draw(st.sampled_from((member, user, ACCOUNTS.steward))))
                world.rooms[key] = world.rooms[key].with_member(member, here)
            case 1:
                levels = draw(some.level_contents)
                if world.version == "11":
                    levels = {**levels, "users": {**levels.get("users", {}), ACCOUNTS.steward: 200}}
                world.tamper(key, LEVELS, levels, by=user)
            case 2:
                changed = {**world.rooms[key].power_levels, "users_default": draw(some.levels)}
                world.tamper(key, LEVELS, changed, by=user)
            case 3:
                world.tamper(key, draw(some.state_types.filter(_not_create)), {}, by=user)
            case 4:
                world.tamper(key, draw(some.state_types.filter(_not_create)), draw(some.json_objects), by=user)
            case 5:
                field = draw(st.sampled_from((("m.room.name", "name"), ("m.room.topic", "topic"))))
                world.tamper(key, field[0], {field[1]: draw(st.text(max_size=10))}, by=user)
            case _:
                people = {**world.rooms[key].power_levels.get("users", {}), str(user): draw(some.levels)}
                world.tamper(key, LEVELS, {**world.rooms[key].power_levels, "users": people}, by=user)


def _not_create(event_type: str) -> bool:
    return event_type not in ("m.room.create", LEVELS)


@st.composite
def disturbances(draw: st.DrawFn) -> tuple[Community, World]:
    """A community in which something happened."""
    community, world = draw(worlds())
    disturb(draw, world)
    return community, world


@st.composite
def disturbed(draw: st.DrawFn) -> tuple[Community, World]:
    """A community in which something happened, and perhaps was declared anew."""
    community, world = draw(disturbances())
    return draw(st.just(community) | some.communities()), world


def heal(community: Community, world: World) -> None:
    """Carry out a plan; the simulation refuses whatever the steward has no power for."""
    first = world.carry_out(community).plan
    assert words(world.compare(community).plan) == [], words(first)


@given(worlds())
@quick
def test_the_diff_of_a_state_with_itself_is_empty(case: tuple[Community, World]) -> None:
    community, world = case
    plan = world.compare(community).plan
    assert plan.empty
    assert plan.blocked == ()


@given(some.communities(), some.room_versions)
@quick
def test_a_first_plan_leaves_nothing_to_do_until_people_answer(community: Community, version: str) -> None:
    heal(community, World(version))


@given(disturbed())
@settings(max_examples=60)
def test_whatever_happened_one_plan_mends_what_can_be_mended(case: tuple[Community, World]) -> None:
    community, world = case
    heal(community, world)


@given(disturbed(), st.randoms(use_true_random=False))
@quick
def test_after_people_accept_or_decline_it_comes_to_rest(
    case: tuple[Community, World], chance: random.Random
) -> None:  # fmt: skip
    community, world = case
    for _ in range(6):
        if world.carry_out(community).plan.empty:
            return
        for key, room in list(world.rooms.items()):
            for user, here in room.members.items():
                if here.state == "invite" and user not in (ACCOUNTS.steward, ACCOUNTS.announcer):
                    world.move(key, user, chance.choice(("join", "leave")), by=user)
    raise AssertionError("it never comes to rest")


@given(disturbed(), st.randoms(use_true_random=False))
@quick
def test_the_order_of_inputs_does_not_matter(case: tuple[Community, World], chance: random.Random) -> None:
    community, world = case

    def shuffled(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        items = list(mapping.items())
        chance.shuffle(items)
        return dict(items)

    rooms = {
        key: replace(room, state=shuffled(room.state), members=shuffled(room.members))
        for key, room in shuffled(world.rooms).items()
    }
    known = world.known
    other = Known(
        shuffled(known.rooms), shuffled(known.roles), shuffled(known.moderators), shuffled(known.profile),
        shuffled(known.named), known.invited, shuffled(known.settled), known.frozen, known.yielded, known.bidden,
        known.waiting,
    )  # fmt: skip
    groups = list(community.groups)
    chance.shuffle(groups)
    one = world.compare(community)
    two = compare(replace(community, groups=tuple(groups)), other, rooms, world.setting)
    assert one.plan == two.plan
    assert one.plan.digest == two.plan.digest
    assert reasons_against(one, world.rooms, ACCOUNTS, Thresholds()) == reasons_against(
        two, rooms, ACCOUNTS, Thresholds()
    )


@given(disturbed())
@quick
def test_two_plans_have_one_digest_if_and_only_if_they_do_the_same(case: tuple[Community, World]) -> None:
    community, world = case
    plan = world.compare(community).plan
    assert plan.digest == world.compare(community).plan.digest
    if plan.actions:
        assert replace(plan, actions=plan.actions[1:]).digest != plan.digest
    assert replace(plan, notes=("something else",)).digest == plan.digest
    assert replace(plan, community="other").digest != plan.digest


def posters(world: World, comparison: Comparison) -> set[UserId]:
    """Who is no admin and could post announcements all the same, or change what they need."""
    return {
        user
        for user in (*some.PEOPLE, some.OUTSIDER)
        if comparison.roles.get(user, Role.MEMBER) < Role.ADMIN
        for event_type in ("m.room.encrypted", "m.room.message", "m.room.topic", "m.call.member", LEVELS)
        if world.may_send(ANNOUNCEMENTS, user, event_type)
    }


@given(disturbances())
@settings(max_examples=50)
def test_no_one_but_admins_can_post_announcements_whatever_happened(case: tuple[Community, World]) -> None:
    community, world = case
    comparison = world.carry_out(community)
    if posters(world, comparison):  # it took more power than the steward has
        assert any(item.room == ANNOUNCEMENTS for item in comparison.plan.blocked)


@given(st.data())
@quick
def test_what_homeservers_let_people_do_never_blocks_us(data: st.DataObject) -> None:
    """Members, admins and owners act by the rules of the room, any number of times: all of it can be mended."""
    community, world = data.draw(worlds())
    for _ in range(data.draw(st.integers(1, 8))):
        key, user = data.draw(st.sampled_from(sorted(world.rooms))), data.draw(some.anybody)
        try:
            if data.draw(st.booleans()):
                levels = {**world.rooms[key].power_levels, **data.draw(some.level_contents)}
                world.write(key, LEVELS, "", levels, by=user)
            elif data.draw(st.booleans()):
                world.write(key, data.draw(some.state_types), "", data.draw(some.json_objects), by=user)
            else:
                target = data.draw(st.sampled_from((*some.PEOPLE, some.OUTSIDER, ACCOUNTS.announcer)))
                world.move(key, target, data.draw(some.memberships), by=user)
        except Forbidden:
            continue
    comparison = world.carry_out(community)
    assert comparison.plan.blocked == ()
    assert posters(world, comparison) == set()
    assert words(world.compare(community).plan) == []


def _owners_there(world: World) -> set[UserId]:
    space = world.rooms[SPACE]
    return {
        user
        for user, here in space.members.items()
        if here.state == "join" and user not in ACCOUNTS.both and space.level(user) >= Role.OWNER
    }


@given(st.data())
@quick
def test_the_last_owner_is_never_taken_away_without_a_reason_given(data: st.DataObject) -> None:
    _, world = data.draw(worlds())
    before = _owners_there(world)
    assume(before)
    anew = data.draw(some.communities())
    comparison = world.compare(anew)
    unsafe = reasons_against(comparison, world.rooms, ACCOUNTS, Thresholds())
    world.carry_out(anew)
    assert _owners_there(world) or any("last owner" in reason for reason in unsafe)


@given(st.data())
@settings(max_examples=60)
def test_nonsense_in_any_state_raises_nothing(data: st.DataObject) -> None:
    community, world = data.draw(worlds())
    for _ in range(data.draw(st.integers(1, 6))):
        key = data.draw(st.sampled_from(sorted(world.rooms)))
        where = data.draw(st.sampled_from(("", str(world.rooms[SPACE].room_id), "nowhere", "!x:y", "\x1b[2J\n")))
        event = StateEvent(data.draw(some.nonsense), data.draw(some.anybody | st.text(max_size=5)))
        world.rooms[key] = world.rooms[key].with_state(data.draw(some.state_types), where, event)
    if data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(world.rooms)))
        version = data.draw(st.sampled_from(("", "²", "1", "999999", "org.matrix.msc3757.11")) | st.text(max_size=5))
        world.rooms[key] = replace(world.rooms[key], version=version)
    if data.draw(st.booleans()):
        world.unreadable.add(data.draw(st.sampled_from(sorted(world.rooms))))
    comparison = world.compare(community)
    unsafe = reasons_against(comparison, world.readable, ACCOUNTS, Thresholds())
    lines = as_lines(as_json(comparison.plan, unsafe))
    assert all(line.isprintable() for line in lines)


@given(disturbed(), some.room_keys)
@quick
def test_what_cannot_be_read_is_left_alone(case: tuple[Community, World], key: RoomKeyName) -> None:
    community, world = case
    assume(key in world.rooms)
    world.unreadable.add(key)
    plan = world.compare(community).plan
    assert not any(action.room == key for action in plan.actions)
    if key in world.compare(community).desired:
        assert any(item.room == key for item in plan.blocked)


@given(disturbed())
@quick
def test_each_thing_is_done_once_and_protection_comes_first(case: tuple[Community, World]) -> None:
    community, world = case
    actions = world.compare(community).plan.actions
    phases = [action.phase for action in actions]
    assert phases == sorted(phases)
    moves = [(action.room, action.user) for action in actions if isinstance(action, Kick | Ban)]
    writes = [(action.room, action.type, action.state_key) for action in actions if isinstance(action, SetState)]
    rooms = [action.room for action in actions if isinstance(action, CreateRoom)]
    for things in (moves, writes, rooms):
        assert len(things) == len(set(things))


@given(worlds())
@quick
def test_everybody_who_is_named_gets_in_once_all_accept(case: tuple[Community, World]) -> None:
    community, world = case
    accept_all(world)
    for user in community.named:
        for key in (SPACE, ANNOUNCEMENTS):
            assert world.rooms[key].members[user].state == "join"
