"""What a community says of its people, whatever they did: a model that knows people, and nothing of rooms.

It stands beside the planner alone (tests/unit/plan) and beside the whole house (tests/features).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community, Group, Join, Role, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.unit import strategies as some

CHESS = RoomKeyName("chess")
CLUB = Community(CommunityId("school"), join=Join.REQUEST, groups=(Group(CHESS, RoomKind.OPEN),))
FOUNDER = some.PEOPLE[0]

Act = tuple[int, UserId, UserId, bool, Role]
"""Which act, by whom, upon whom, with what flag, and what role."""

acts: st.SearchStrategy[Act] = st.tuples(
    st.integers(0, 9), some.anybody, some.anybody, st.booleans(), st.sampled_from((Role.MEMBER, Role.ADMIN, Role.OWNER))
)


@dataclass
class Model:
    """What the community says: who is in, who is banned, and who is what."""

    inside: set[UserId] = field(default_factory=lambda: {FOUNDER})
    banned: set[UserId] = field(default_factory=set)
    """Who was in when they were banned: banned from every room. Who was out before is banned from the space alone, by
    which they come in nowhere."""
    roles: dict[UserId, Role] = field(default_factory=lambda: {FOUNDER: Role.OWNER})
    moderators: set[UserId] = field(default_factory=set)

    def has(self, user: UserId, role: Role) -> None:
        """Somebody was given a role."""
        self.roles[user] = role
        if role is Role.MEMBER:
            del self.roles[user]
        owners = [one for one, held in self.roles.items() if held is Role.OWNER and one in self.inside]
        if owners:
            self.roles = {one: held for one, held in self.roles.items() if one in self.inside}

    def wrote(self, user: UserId, role: Role) -> None:
        """An owner wrote somebody's level in the space."""
        others = [one for one, held in self.roles.items() if held is Role.OWNER and one != user]
        if role is Role.OWNER or others or self.roles.get(user) is not Role.OWNER:
            self.has(user, role)

    def out(self, user: UserId, *, ban: bool = False) -> None:
        """Somebody left, was removed or was banned."""
        if ban and user in self.inside:
            self.banned.add(user)
        self.inside.discard(user)
        owners = [one for one, role in self.roles.items() if role is Role.OWNER and one in self.inside]
        if self.roles.get(user) is not Role.OWNER or owners:
            self.roles.pop(user, None)
        for other in [one for one in self.roles if one not in self.inside]:
            if owners:  # an owner who left as the last one keeps it until another is there
                self.roles.pop(other)

    def level(self, key: RoomKeyName, user: UserId) -> int:
        """The power level that somebody should have in a room."""
        moderates = key == CHESS and user in self.moderators and user in self.inside
        return max(self.roles.get(user, Role.MEMBER), Role.MODERATOR if moderates else Role.MEMBER)

    def must_be_so(
        self, here: Callable[[RoomKeyName, UserId], str], level: Callable[[RoomKeyName, UserId], int]
    ) -> None:
        """Compare with rooms: `here` gives somebody's membership there, "" for none."""
        for user in (*some.PEOPLE, some.OUTSIDER):
            for key in (SPACE, ANNOUNCEMENTS, GENERAL, CONTROL, CHESS):
                state = here(key, user)
                if user not in self.inside:
                    assert state not in ("join", "invite"), f"{user} is out, and in {key}"
                    assert state != "knock" or key == SPACE, f"{user} is out, and asks to join {key}"
                elif key != CHESS and (key != CONTROL or self.roles.get(user, Role.MEMBER) >= Role.ADMIN):
                    assert state == "join", f"{user} is in, and not in {key}: {state}"
                elif key == CONTROL:
                    assert state != "join", f"{user} is no admin, and in the control room"
                if user in self.banned and key in (SPACE, ANNOUNCEMENTS, GENERAL):  # there they were, in others perhaps
                    assert state == "ban", f"{user} is banned, and {state} in {key}"
                assert level(key, user) == self.level(key, user), f"{user} in {key}"
