"""Who may change whose place in a community. Pure: every refusal says why, and names the key that decides instead.

The operator may do what no rule of the community forbids; people may do what `core/access` says, to whom they outrank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from bridge.core.access import Deed, may
from bridge.core.announcements import Audience
from bridge.core.community import Community, GroupsBy, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId


@dataclass(frozen=True, slots=True)
class People:
    """What the rules ask of a community's people."""

    community: Community
    roles: Mapping[UserId, Role]
    """Owners and admins, as in force."""
    memberships: Mapping[UserId, str]
    """Everybody's membership in the space."""
    ours: frozenset[str] = frozenset()
    """The service's own accounts."""
    above: Mapping[UserId, Role] = field(default_factory=dict)
    """Owners and admins of the communities above this one, who have joined where they are so: they are so here, too."""
    barred: Mapping[UserId, CommunityId] = field(default_factory=dict)
    """Who is kept out by a community above, and by which."""
    named_below: Mapping[UserId, str] = field(default_factory=dict)
    """Whom the declaration names in a community below, and by which key: such as `class-1a.members`."""

    def role_of(self, user: UserId) -> Role | None:
        """Somebody's role; None for who is not in the space, and is no admin of a community above."""
        above = self.above.get(user)
        if self.memberships.get(user) != "join":
            return above
        own = self.roles.get(user, Role.MEMBER)
        return own if above is None else max(own, above)

    def rank_of(self, user: UserId) -> Role:
        """Somebody's role, whether they have joined or not."""
        return max(self.roles.get(user, Role.MEMBER), self.above.get(user, Role.MEMBER))

    def other_owner_than(self, user: UserId) -> bool:
        """Whether another owner is there, and not only invited."""
        return any(one != user and self.role_of(one) is Role.OWNER for one in (*self.roles, *self.above))


def check_invite(people: People, by: UserId | None, user: UserId, groups: frozenset[RoomKeyName]) -> None:
    """Whether `by` (None: the operator) may bring `user` into the community and into these groups.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.INVITE)
    _no_account_of_ours(people, user)
    for key in sorted(groups):
        _group(people, key)
    if user in people.community.removed:
        raise _declared(people, "removed", f"{user} stands there, and is kept out")
    _not_barred(people, user)
    if people.memberships.get(user) == "ban":
        raise _refused(people, f"{user} is banned", f"lift that first: `unban {people.community.id} {user}`")


def check_removal(people: People, by: UserId | None, user: UserId, *, ban: bool) -> None:
    """Whether `by` may remove (or ban) `user`: nobody removes their equals, but owners do; the last owner stays.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.BAN if ban else Deed.REMOVE)
    _no_account_of_ours(people, user)
    _not_governed_from_above(people, user)
    role = people.rank_of(user)
    asker = None if by is None else people.role_of(by)
    if asker is not None and asker < Role.OWNER and role >= Role.ADMIN:
        raise _refused(people, f"{user} is {_a(role)}", "only an owner can remove them")
    if role is Role.OWNER and not people.other_owner_than(user):
        raise _last_owner(people, user)
    if place := named_in(people.community, user):
        raise _declared(people, place, f"{user} stands there")
    if place := people.named_below.get(user, ""):
        raise _refused(
            people,
            f"communities.{place} in the configuration decides that: whoever stands there is a member here, too",
            "change it there, or ask whoever runs the service",
        )
    if not ban and people.memberships.get(user) not in ("join", "invite", "knock"):
        raise _refused(people, f"{user} is not in the community", "look with `status`, or ban them to keep them out")


def check_unban(people: People, by: UserId | None, user: UserId) -> None:
    """Whether `by` may lift the ban of `user`.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.BAN)
    _no_account_of_ours(people, user)
    _not_barred(people, user)
    if user in people.community.removed:
        raise _declared(people, "removed", f"{user} stands there, and is kept out")
    if people.memberships.get(user) != "ban":
        raise _refused(people, f"{user} is not banned", "nothing has to be done")


def check_role(people: People, by: UserId | None, user: UserId, role: Role) -> None:
    """Whether `by` may give `user` that role (OWNER, ADMIN or MEMBER), up or down.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.APPOINT)
    _no_account_of_ours(people, user)
    if role <= people.above.get(user, Role.MEMBER):
        _not_governed_from_above(people, user)
    before = people.rank_of(user)
    if people.memberships.get(user) not in ("join", "invite"):
        raise _refused(people, f"{user} is not in the community", f"first: `invite {people.community.id} {user}`")
    if before is role:
        raise _refused(people, f"{user} is {_a(role)} already", "nothing has to be done")
    if Role.OWNER in (before, role) and people.community.owners is not None:
        raise _declared(people, "owners")
    if Role.ADMIN in (before, role) and people.community.admins is not None and not _stays(people, user, role):
        raise _declared(people, "admins")
    if before is Role.OWNER and not people.other_owner_than(user):
        raise _last_owner(people, user)


def check_transfer(people: People, by: UserId | None, user: UserId) -> UserId:
    """Whether `by` may hand their ownership over to `user`; gives who hands over: `by`, or for the operator the owner.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.TRANSFER)
    _no_account_of_ours(people, user)
    if people.community.owners is not None:
        raise _declared(people, "owners")
    owners = sorted(one for one, role in people.roles.items() if role is Role.OWNER)
    if by is None and len(owners) != 1:
        names = ", ".join(owners) or "nobody"
        raise _refused(people, f"the owners are {names}", "use `promote` and `demote`, to say who goes and who comes")
    giver = owners[0] if by is None else by
    if giver not in owners:
        _not_governed_from_above(people, giver)
    if giver == user:
        raise _refused(people, f"{user} is the owner already", "name somebody else")
    if people.role_of(user) is None:
        raise _refused(people, f"{user} has not joined the community", "invite them first, and wait until they joined")
    return giver


def check_moderator(people: People, by: UserId | None, user: UserId, key: RoomKeyName, *, add: bool) -> None:
    """Whether `by` may make `user` a moderator of a group, or end that.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.MODERATORS)
    _no_account_of_ours(people, user)
    _group(people, key)
    group = people.community.group(key)
    if group is not None and group.moderators is not None:
        raise _declared(people, f"groups.{key}.moderators")
    if add and people.memberships.get(user) not in ("join", "invite"):
        raise _refused(people, f"{user} is not in the community", f"first: `invite {people.community.id} {user}`")


def check_decision(people: People, by: UserId | None) -> None:
    """Whether `by` may decide join requests.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.DECIDE)


def check_tag(people: People, by: UserId | None, user: UserId, name: str, *, give: bool) -> None:
    """Whether `by` may give `user` that tag, or take it from them.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.TAG)
    _no_account_of_ours(people, user)
    if people.community.tag(name) is not None:
        raise _declared(people, f"tags.{name}")
    if give and people.memberships.get(user) not in ("join", "invite"):
        raise _refused(people, f"{user} is not in the community", f"first: `invite {people.community.id} {user}`")


def check_groups(people: People, by: UserId | None, deed: Deed) -> None:
    """Whether `by` may make, change, adopt, move or release groups. Who makes them is the community's affair
    (`groups_by`).

    Raises:
        Refused: why not.
    """
    _entitled(people, by, deed)
    if deed is not Deed.MAKE_GROUPS or by is None or (people.role_of(by) or Role.MEMBER) >= Role.ADMIN:
        return
    if people.community.groups_by is GroupsBy.SUGGEST:
        raise _refused(people, "members can only suggest groups here", "ask an admin")
    if people.community.groups_by is GroupsBy.ADMINS:
        raise _refused(people, "only owners and admins make groups here", "ask one of them")


def check_admitting(people: People, by: UserId | None, key: RoomKeyName, moderators: Set[UserId]) -> None:
    """Whether `by` may let the announcer into a group, or out of it: its moderators may, and owners and admins.

    Args:
        moderators: of that group, as in force.

    Raises:
        Refused: why not.
    """
    role = None if by is None else people.role_of(by)
    if by is not None and (role is None or (role < Role.ADMIN and by not in moderators)):
        # said before anything of the group is: it may be hidden from them
        raise _refused(people, "only the moderators of a group, owners and admins decide about that", "ask one of them")
    _group(people, key)
    group = people.community.group(key)
    if group is not None and group.announcements is not None:
        raise _declared(people, f"groups.{key}.announcements")


def check_audience(
    people: People, by: UserId | None, audience: Audience, moderates: Callable[[RoomKeyName], bool]
) -> None:
    """Whether `by` may announce to these: owners and admins to everybody here and below, a moderator into the groups
    that they moderate, and nowhere else.

    Args:
        moderates: whether `by` moderates the group of that key.

    Raises:
        Refused: why not.
    """
    role = None if by is None else people.role_of(by)
    if by is None or may(role, Deed.ANNOUNCE):
        return
    if role is None or not any(moderates(group.key) for group in people.community.groups):
        raise _refused(people, "only owners and admins of the community announce", "ask one of them")
    if audience.groups and audience == Audience(groups=audience.groups) and all(map(moderates, audience.groups)):
        return
    own = " ".join(f"--to group:{one.key}" for one in people.community.groups if moderates(one.key))
    raise _refused(people, "moderators announce into the groups that they moderate alone", f"write `{own}` with it")


def may_announce(
    people: People, by: UserId | None, audience: Audience, moderates: Callable[[RoomKeyName], bool]
) -> bool:
    """Whether `check_audience` lets them: then they may change what was announced to these, and see its figures."""
    try:
        check_audience(people, by, audience, moderates)
    except Refused:
        return False
    return True


def check_profile(people: People, by: UserId | None) -> None:
    """Whether `by` may see and change how a community is set up.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.SET_UP)


def check_deactivation(people: People, by: UserId | None) -> None:
    """Whether `by` may deactivate a community.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.DEACTIVATE)


def check_outside(people: People, by: UserId | None) -> None:
    """Whether `by` (None: the operator) may have announcements read outside of Matrix.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.OUTSIDE)


def check_subcommunities(people: People, by: UserId | None) -> None:
    """Whether `by` may make communities within this one, move it, or call it otherwise.

    Raises:
        Refused: why not.
    """
    _entitled(people, by, Deed.SUBCOMMUNITIES)


def only_suggests(people: People, by: UserId | None) -> bool:
    """Whether what somebody asks to be made is a suggestion, for the admins to decide."""
    role = None if by is None else people.role_of(by)
    return role is not None and role < Role.ADMIN and people.community.groups_by is GroupsBy.SUGGEST


def _entitled(people: People, by: UserId | None, deed: Deed) -> None:
    if by is not None and not may(people.role_of(by), deed):
        who = "an owner" if not may(Role.ADMIN, deed) else "an owner or admin"
        raise _refused(people, f"only {who} of the community can do that", "ask one of them")


def _no_account_of_ours(people: People, user: UserId) -> None:
    if user in people.ours:
        raise _refused(people, f"{user} is the service's own account", "it stays as it is")


def _not_barred(people: People, user: UserId) -> None:
    above = people.barred.get(user)
    if above is not None:
        what = f"{user} is kept out by {above}, of which this community is a part"
        raise _refused(people, what, f"lift that there: `unban {above} {user}`, or the configuration")


def _not_governed_from_above(people: People, user: UserId) -> None:
    role = people.above.get(user)
    if role is not None:
        raise _refused(people, f"{user} is {_a(role)} by a community above this one", "change that there")


def _group(people: People, key: RoomKeyName) -> None:
    if people.community.group(key) is None:
        keys = ", ".join(group.key for group in people.community.groups) or "none"
        raise _refused(people, f"there is no group {key!r}", f"the groups are: {keys}")


def _stays(people: People, user: UserId, role: Role) -> bool:
    """Whether what is left of an owner is what `admins` says, or becomes of a declared admin an owner."""
    listed = user in (people.community.admins or ())
    return role is Role.OWNER or (Role.ADMIN if listed else Role.MEMBER) is role


def named_in(community: Community, user: UserId) -> str:
    """The key of the declaration that names somebody; empty where none does."""
    lists = {"owners": community.owners, "admins": community.admins, "members": community.members}
    for group in community.groups:
        lists |= {f"groups.{group.key}.moderators": group.moderators, f"groups.{group.key}.members": group.members}
    return next((place for place, users in lists.items() if user in (users or ())), "")


def _a(role: Role) -> str:
    return f"an {role.word}" if role.word[0] in "ao" else f"a {role.word}"


def _refused(people: People, what: str, remedy: str) -> Refused:
    return Refused(what, where=str(people.community.id), remedy=remedy)


def _declared(people: People, key: str, why: str = "") -> Refused:
    what = f"communities.{people.community.id}.{key} in the configuration decides that"
    return Refused(f"{what}: {why}" if why else what, remedy="change it there, or ask whoever runs the service")


def _last_owner(people: People, user: UserId) -> Refused:
    return _refused(
        people,
        f"{user} is the last owner who is there",
        f"first make somebody else an owner: `promote {people.community.id} @user owner`",
    )
