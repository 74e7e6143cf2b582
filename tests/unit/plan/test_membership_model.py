"""Any sequence of joins, leaves, role changes, bans and approvals, in the client and by command, ends in rooms whose
members and levels are what the community says, as the planner alone has it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import rank
from bridge.core.community import SPACE, Role
from bridge.core.errors import Refused
from bridge.core.ids import RoomKeyName, UserId
from bridge.plan import changes
from tests.harness.membership_model import CHESS, CLUB, FOUNDER, Act, Model, acts
from tests.unit import strategies as some
from tests.unit.plan.simulation import ACCOUNTS, LEVELS, Forbidden, World, accept_all


class Play:
    """A community with its model: each act is done in the world if its rules allow it, and then in the model."""

    def __init__(self, version: str) -> None:
        self.world = World(version)
        self.model = Model()
        self.world.known = changes.bidden(self.world.known, FOUNDER, [])
        self.rest()
        self.world.known = changes.with_roles(self.world.known, {FOUNDER: Role.OWNER})
        self.rest()

    def rest(self) -> None:
        """Look and accept until nothing is left."""
        for _ in range(6):
            if self.world.carry_out(CLUB).plan.empty and not self.world.compare(CLUB).known.bidden:
                return
            accept_all(self.world)
        raise AssertionError(f"never comes to rest: {self.world}")

    def here(self, key: RoomKeyName, user: UserId) -> str:
        found = self.world.rooms[key].members.get(user)
        return "" if found is None else found.state

    def level(self, key: RoomKeyName, user: UserId) -> int:
        return self.world.rooms[key].level(user)

    @property
    def people(self) -> rank.People:
        members = {user: here.state for user, here in self.world.rooms[SPACE].members.items()}
        return rank.People(CLUB, self.world.known.roles, members, ACCOUNTS.both)

    # --- by command -------------------------------------------------------------------------------------------------

    def invite(self, by: UserId | None, user: UserId) -> None:
        rank.check_invite(self.people, by, user, frozenset({CHESS}))
        self.world.known = changes.bidden(self.world.known, user, [CHESS])
        self.model.inside.add(user)

    def remove(self, by: UserId | None, user: UserId, *, ban: bool) -> None:
        rank.check_removal(self.people, by, user, ban=ban)
        self.world.known = changes.removed(self.world.known, user)
        if ban or self.people.memberships.get(user) in ("join", "invite", "knock"):
            self.world.move(SPACE, user, "ban" if ban else "leave", by=ACCOUNTS.steward)
        self.model.moderators.discard(user)
        self.model.out(user, ban=ban)

    def unban(self, by: UserId | None, user: UserId) -> None:
        rank.check_unban(self.people, by, user)
        self.world.move(SPACE, user, "leave", by=ACCOUNTS.steward)
        self.model.banned.discard(user)

    def role(self, by: UserId | None, user: UserId, role: Role) -> None:
        rank.check_role(self.people, by, user, role)
        self.world.known = changes.with_roles(self.world.known, {user: role})
        self.model.has(user, role)

    def moderator(self, by: UserId | None, user: UserId, *, add: bool) -> None:
        rank.check_moderator(self.people, by, user, CHESS, add=add)
        change = changes.with_moderator if add else changes.without_moderator
        self.world.known = change(self.world.known, CHESS, user)
        (self.model.moderators.add if add else self.model.moderators.discard)(user)

    # --- in the client ----------------------------------------------------------------------------------------------

    def leave(self, user: UserId) -> None:
        self.world.move(SPACE, user, "leave", by=user)
        self.model.out(user)

    def knock_and_let_in(self, by: UserId, user: UserId) -> None:
        self.world.move(SPACE, user, "knock", by=user)
        self.world.carry_out(CLUB)
        rank.check_decision(self.people, by)
        self.world.known = changes.bidden(self.world.known, user, [])
        self.model.inside.add(user)

    def kick(self, by: UserId, user: UserId, *, ban: bool) -> None:
        if self.world.rooms[SPACE].members.get(user) is None and not ban:
            raise Forbidden("not there")
        self.world.move(SPACE, user, "ban" if ban else "leave", by=by)
        self.model.out(user, ban=ban)
        self.model.banned.discard(user) if not ban else None

    def write_level(self, by: UserId, user: UserId, role: Role) -> None:
        levels = self.world.rooms[SPACE].power_levels
        users = {**levels["users"], str(user): int(role)}
        if users == levels["users"] or user not in self.model.inside:  # whoever is not there yet may have a role, too
            return
        self.world.write(SPACE, LEVELS, "", {**levels, "users": users}, by=by)
        self.model.wrote(user, role)


@given(st.lists(acts, max_size=10), some.room_versions)
@settings(max_examples=40)
def test_rooms_are_what_the_community_says(sequence: list[Act], version: str) -> None:
    play = Play(version)
    for what, by, user, flag, role in sequence:
        asker = None if flag else by
        try:
            match what:
                case 0 | 1:
                    play.invite(None, user)
                case 2:
                    play.remove(asker, user, ban=flag)
                case 3:
                    play.unban(asker, user)
                case 4:
                    play.role(asker, user, role)
                case 5:
                    play.moderator(asker, user, add=flag)
                case 6:
                    play.leave(user)
                case 7:
                    play.knock_and_let_in(FOUNDER, user)
                case 8:
                    play.kick(by, user, ban=flag)
                case _:
                    play.write_level(by, user, role)
        except (Forbidden, Refused):
            pass
        play.rest()
        play.model.must_be_so(play.here, play.level)
