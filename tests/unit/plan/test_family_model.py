"""Communities within communities: whatever people do, in clients and by command, and wherever a community is moved,
members below are members above, admins above are admins below, and nobody who is out above is in below."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import rank
from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community, Join, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.plan import changes
from bridge.plan.actions import Ban, Unban
from bridge.plan.diff import Comparison
from bridge.plan.family import Family, Relative, kin_of, sight
from bridge.plan.kin import Kin
from bridge.plan.people import ABSENT
from tests.unit import strategies as some
from tests.unit.plan.simulation import ACCOUNTS, LEVELS, Forbidden, World, accept_all

FOUNDER = some.PEOPLE[0]
SCHOOL, YEAR, OTHER, CLASS = (CommunityId(name) for name in ("school", "year", "other", "class"))
IDS = (SCHOOL, YEAR, OTHER, CLASS)


class Part(World):
    """One community of several on a homeserver."""

    def __init__(self, version: str, name: str, estate: Estate) -> None:
        super().__init__(version, name)
        self.estate = estate

    def kin(self, community: Community) -> Kin:
        estate = self.estate
        relatives = {name: estate.relative(name) for name in IDS}
        return kin_of(community, Family(estate.declared), relatives, ACCOUNTS)

    def remember(self, community: Community, comparison: Comparison) -> None:
        super().remember(community, comparison)
        for action in comparison.plan.actions:  # as the service does when it carries one of these out
            if isinstance(action, Ban) and action.room == SPACE:
                self.known = replace(self.known, shut_out=self.known.shut_out | {action.user})
            if isinstance(action, Unban) and action.room == SPACE:
                self.known = replace(self.known, shut_out=self.known.shut_out - {action.user})


class Estate:
    """A school with two years and a class, which can be moved."""

    def __init__(self, version: str) -> None:
        self.declared: dict[CommunityId, Community] = {
            SCHOOL: Community(SCHOOL),
            YEAR: Community(YEAR, parent=SCHOOL),
            OTHER: Community(OTHER, parent=SCHOOL),
            CLASS: Community(CLASS, parent=YEAR, join=Join.REQUEST),
        }
        self.worlds = {name: Part(version, name, self) for name in IDS}
        for world in self.worlds.values():
            world.others = self.worlds
        school = self.worlds[SCHOOL]
        school.known = changes.bidden(school.known, FOUNDER, [])
        self.rest()
        school.known = changes.with_roles(school.known, {FOUNDER: Role.OWNER})
        self.rest()

    def relative(self, name: CommunityId) -> Relative:
        world = self.worlds[name]
        return Relative(self.declared[name], world.known, world.rooms.get(SPACE))

    def rest(self) -> None:
        """Look at everything, and let everybody accept, until nothing is left."""
        for _ in range(12):
            plans = [self.worlds[name].carry_out(self.declared[name]).plan for name in IDS]
            if all(plan.empty for plan in plans):
                return
            for world in self.worlds.values():
                accept_all(world)
        raise AssertionError(f"never comes to rest: {self.worlds}")

    def people(self, name: CommunityId) -> rank.People:
        members = {user: here.state for user, here in self.worlds[name].rooms[SPACE].members.items()}
        above = Family(self.declared).above(self.declared[name])
        barred = {user: one.id for one in above for user in self.in_state(one.id, "ban")}
        kin = self.worlds[name].kin(self.declared[name])
        return rank.People(
            self.declared[name], self.worlds[name].known.roles, members, ACCOUNTS.both, kin.commanding, barred
        )

    def in_state(self, name: CommunityId, *states: str) -> set[UserId]:
        members = self.worlds[name].rooms[SPACE].members
        return {user for user, here in members.items() if here.state in states} - ACCOUNTS.both

    # --- what people do ---------------------------------------------------------------------------------------------

    def invite(self, name: CommunityId, by: UserId | None, user: UserId) -> None:
        rank.check_invite(self.people(name), by, user, frozenset())
        for one in (self.declared[name], *Family(self.declared).above(self.declared[name])):
            if user not in self.in_state(one.id, "join", "invite"):
                self.worlds[one.id].known = changes.bidden(self.worlds[one.id].known, user, [])

    def remove(self, name: CommunityId, by: UserId | None, user: UserId, *, ban: bool) -> None:
        rank.check_removal(self.people(name), by, user, ban=ban)
        self.worlds[name].known = changes.removed(self.worlds[name].known, user)
        self.worlds[name].move(SPACE, user, "ban" if ban else "leave", by=ACCOUNTS.steward)

    def unban(self, name: CommunityId, by: UserId | None, user: UserId) -> None:
        rank.check_unban(self.people(name), by, user)
        self.worlds[name].move(SPACE, user, "leave", by=ACCOUNTS.steward)

    def role(self, name: CommunityId, by: UserId | None, user: UserId, role: Role) -> None:
        rank.check_role(self.people(name), by, user, role)
        self.worlds[name].known = changes.with_roles(self.worlds[name].known, {user: role})

    def write_level(self, name: CommunityId, by: UserId, user: UserId, role: Role) -> None:
        levels = self.worlds[name].rooms[SPACE].power_levels
        users = {**levels["users"], str(user): int(role)}
        self.worlds[name].write(SPACE, LEVELS, "", {**levels, "users": users}, by=by)

    def shift(self, parent: CommunityId | None) -> None:
        self.declared[CLASS] = replace(self.declared[CLASS], parent=parent)

    # --- what must be so --------------------------------------------------------------------------------------------

    def must_be_related(self) -> None:
        family = Family(self.declared)
        for name in IDS:
            inside = self.in_state(name, "join", "invite")
            for above in (one.id for one in family.above(self.declared[name])):
                assert inside <= self.in_state(above, "join", "invite"), f"members of {name} are no members of {above}"
                banned = self.in_state(above, "ban")
                for key, room in self.worlds[name].rooms.items():
                    present = {user for user, here in room.members.items() if here.present}
                    assert not present & banned, f"{present & banned} are banned from {above}, and in {name}/{key}"
                    for user in self.in_state(above, "join") - self.in_state(name, "ban"):
                        have, need = room.level(user), self.worlds[above].rooms[SPACE].level(user)
                        assert need < Role.ADMIN or have >= need, f"{user}: {need} in {above}, {have} in {name}/{key}"
                assert self.worlds[name].known.shut_out <= banned | self.banned_above(name), name
            kin = self.worlds[name].kin(self.declared[name])
            for user in (*some.PEOPLE, some.OUTSIDER):
                here = self.worlds[name].rooms[CONTROL].members.get(user, ABSENT)
                level = self.worlds[name].rooms[SPACE].level(user)
                assert here.state != "join" or level >= Role.ADMIN, f"{user} is in the control room of {name}"
                own = self.worlds[name].known.roles.get(user, Role.MEMBER)
                shut = self.in_state(name, "ban") | kin.banned
                assert level == max(own, kin.roles.get(user, 0) if user not in shut else 0), (user, name)
            assert sight(self.relative(name), kin, ACCOUNTS).from_above[1] == inside
            for user in inside & self.in_state(name, "join"):
                for key in (ANNOUNCEMENTS, GENERAL):
                    assert self.worlds[name].rooms[key].members[user].present, f"{user} is not in {name}/{key}"
        parent = self.declared[CLASS].parent
        listed_in = [
            name
            for name in IDS
            if (self.worlds[name].rooms[SPACE].content("m.space.child", self.worlds[CLASS].rooms[SPACE].room_id))
        ]
        assert listed_in == ([parent] if parent else [])

    def banned_above(self, name: CommunityId) -> set[UserId]:
        above = Family(self.declared).above(self.declared[name])
        return set().union(*(self.in_state(one.id, "ban") for one in above))


acts = st.tuples(
    st.integers(0, 9),
    st.sampled_from(IDS),
    some.anybody,
    some.anybody,
    st.booleans(),
    st.sampled_from((Role.MEMBER, Role.ADMIN, Role.OWNER)),
)


@given(st.lists(acts, max_size=8), some.room_versions)
@settings(max_examples=40, deadline=None)
def test_relations_hold_whatever_people_do(
    sequence: list[tuple[int, CommunityId, UserId, UserId, bool, Role]], version: str
) -> None:
    estate = Estate(version)
    for what, name, by, user, flag, role in sequence:
        asker = None if flag else by
        world = estate.worlds[name]
        try:
            match what:
                case 0 | 1:
                    estate.invite(name, None, user)
                case 2:
                    estate.remove(name, asker, user, ban=role is Role.ADMIN)
                case 3:
                    estate.unban(name, asker, user)
                case 4:
                    estate.role(name, asker, user, role)
                case 5:
                    world.move(SPACE, by, "leave" if flag else "join", by=by)
                case 6:
                    world.move(SPACE, user, "invite", by=by)
                case 7:
                    world.move(SPACE, user, "ban" if flag else "leave", by=by)
                case 8:
                    estate.write_level(name, by, user, role)
                case _:
                    estate.shift({0: None, 50: YEAR, 100: OTHER, 150: SCHOOL}[int(role)])
        except (Forbidden, Refused):
            pass
        estate.rest()
        estate.must_be_related()
