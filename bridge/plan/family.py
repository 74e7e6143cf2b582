"""How communities that stand in each other are related: whoever governs above governs below, whoever is a member below
is one above, and whoever is out above is out below. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.core.community import CONTROL, SPACE, Community, Role
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.plan import people
from bridge.plan.kin import Kin
from bridge.plan.state import Accounts, Known, RoomState


@dataclass(frozen=True, slots=True)
class Relative:
    """A community as those above and below it see it."""

    community: Community
    known: Known
    space: RoomState | None
    """None where it is not made, or cannot be read: then nothing is known of its people."""


class Family:
    """Which communities stand in which. A circle, or a parent that is not declared, ends a line."""

    def __init__(self, declared: Mapping[CommunityId, Community]) -> None:
        self._declared = declared
        self._children: dict[CommunityId, list[Community]] = {}
        for one in declared.values():
            if one.parent is not None:
                self._children.setdefault(one.parent, []).append(one)

    def above(self, community: Community) -> list[Community]:
        """The communities above one, the nearest first."""
        found: list[Community] = []
        seen = {community.id}
        parent = community.parent
        while parent is not None and parent not in seen and (one := self._declared.get(parent)) is not None:
            seen.add(one.id)
            found.append(one)
            parent = one.parent
        return found

    def right_below(self, community: CommunityId) -> Sequence[Community]:
        """The communities whose parent one is, in the order in which they are declared."""
        return self._children.get(community, ())

    def below(self, community: CommunityId) -> Iterator[Community]:
        """Every community below one, parents before children."""
        seen = {community}
        waiting = [*self.right_below(community)]
        while waiting:
            one = waiting.pop(0)
            if one.id not in seen:
                seen.add(one.id)
                yield one
                waiting += self.right_below(one.id)

    def named_below(self, community: CommunityId) -> frozenset[UserId]:
        """Whom the declaration names in a community below."""
        return frozenset[UserId]().union(*(one.named for one in self.below(community)))


def kin_of(
    community: Community,
    family: Family,
    relatives: Mapping[CommunityId, Relative],
    accounts: Accounts,
    unclaimed: frozenset[RoomId] = frozenset(),
) -> Kin:
    """What its relations ask of a community.

    Args:
        relatives: every community above it, and those right below.
    """
    line = [relatives[one.id] for one in family.above(community)]
    roles: dict[UserId, Role] = {}
    commanding: dict[UserId, Role] = {}
    banned: set[UserId] = set()
    out: set[UserId] = set()
    for relative in reversed(line):  # from the top: who is out above governs nothing below
        shut, gone = outside(relative, family.named_below(relative.community.id), accounts)
        banned |= shut
        out |= gone
        _govern(roles, commanding, relative, frozenset(banned | out), accounts)
    children = [relatives[one.id] for one in family.right_below(community.id)]
    spaces = {child.community.id: child.known.rooms.get(SPACE) for child in children}
    return Kin(
        parent=line[0].community.id if line else None,
        parent_space=line[0].known.rooms.get(SPACE) if line else None,
        control_rooms=tuple(one.known.rooms[CONTROL] for one in line if CONTROL in one.known.rooms),
        roles=roles,
        commanding=commanding,
        banned=frozenset(banned),
        out=frozenset(out - banned),
        blind=any(one.space is None and SPACE in one.known.rooms for one in line),
        named=family.named_below(community.id),
        present=frozenset().union(*(present_in(child, accounts) for child in children)),
        children={name: space for name, space in spaces.items() if space is not None},
        unclaimed=unclaimed,
    )


def present_in(relative: Relative, accounts: Accounts) -> frozenset[UserId]:
    """Who has joined a community, or is invited to it, or bidden in and on the way."""
    bidden = frozenset(user for key, user in relative.known.bidden if key == SPACE)
    if relative.space is None:
        return frozenset()
    here = {user for user, here in relative.space.members.items() if here.present}
    gone, _ = outside(relative, frozenset(), accounts)
    return frozenset((here | bidden) - accounts.both - gone)


def outside(
    relative: Relative, named_below: frozenset[UserId], accounts: Accounts
) -> tuple[frozenset[UserId], frozenset[UserId]]:
    """Who is banned from a community, and who left or was removed from it otherwise and is not on the way back.

    What counts is the space. Whom the declaration removes from the community, and who is still in its space, is not
    out yet: that plan may wait for a human word.
    """
    community, space = relative.community, relative.space
    if space is None:
        return frozenset(), frozenset()
    coming = community.named | named_below | {user for key, user in relative.known.bidden if key == SPACE}
    banned, out = set(), set()
    for user, here in space.members.items():
        if here.state == "ban":
            banned.add(user)
        elif here.state == "leave" and not (
            user in coming and people.uninvited(SPACE, user, here, relative.known, accounts)
        ):
            out.add(user)
    out |= {user for user in community.removed if not space.members.get(user, people.ABSENT).present}
    return frozenset(banned - accounts.both), frozenset(out - banned - accounts.both)


def _govern(
    roles: dict[UserId, Role],
    commanding: dict[UserId, Role],
    relative: Relative,
    gone: frozenset[UserId],
    accounts: Accounts,
) -> None:
    """Add the owners and admins of one community to those of the ones above it, but for who is out of any of them."""
    space = relative.space
    rooms = {} if space is None else {SPACE: space}
    census = people.take_census(relative.community, relative.known, rooms, accounts)
    for user, role in people.roles_in_force(relative.community, relative.known, census, accounts).items():
        if user in gone:
            continue
        roles[user] = max(role, roles.get(user, role))
        if space is not None and space.members.get(user, people.ABSENT).state == "join":
            commanding[user] = max(role, commanding.get(user, role))


@dataclass(frozen=True, slots=True)
class Sight:
    """What others depend on of a community: while it is the same, nobody else has to be looked at."""

    from_above: tuple[RoomId | None, frozenset[UserId]]
    """What its parent sees: the space, and who is present."""
    from_below: tuple[
        RoomId | None, RoomId | None, frozenset[UserId], frozenset[UserId], frozenset[tuple[UserId, Role, bool]]
    ]
    """What its children see: space and control room, who is banned, who is out, who governs and has joined."""


def sight(relative: Relative, kin: Kin, accounts: Accounts) -> Sight:
    """What the communities above and below see of one."""
    rooms = relative.known.rooms
    banned, out = outside(relative, kin.named, accounts)
    roles: dict[UserId, Role] = dict(kin.roles)
    commanding: dict[UserId, Role] = dict(kin.commanding)
    _govern(roles, commanding, relative, kin.outside | banned | out, accounts)
    return Sight(
        (rooms.get(SPACE), present_in(relative, accounts)),
        (
            rooms.get(SPACE),
            rooms.get(CONTROL),
            banned | kin.banned,
            out | kin.out,
            frozenset((user, role, user in commanding) for user, role in roles.items()),
        ),
    )
