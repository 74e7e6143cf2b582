"""Who belongs, in what role, and what follows for every room's memberships (the table of the room policy)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from bridge.core.community import ANNOUNCEMENTS, CONTROL, SPACE, Community, Role
from bridge.core.ids import RoomKeyName, UserId, domain_of
from bridge.core.power_levels import threshold
from bridge.plan.actions import Action, Ban, BringAnnouncer, Cause, Invite, Kick, MayPass, Unban
from bridge.plan.desired import DesiredRoom, has_announcer
from bridge.plan.kin import ALONE, Kin
from bridge.plan.state import Accounts, Known, Membership, RoomState

Rooms = Mapping[RoomKeyName, RoomState]
ABSENT = Membership("")
NOT_ADMITTED = "announcements are not posted in this room, so the announcer is not in it"
FIRST_AGREE = "first agree to the rules, in the chat with the announcer"


class Standing(Enum):
    """Where somebody stands towards a community."""

    MEMBER = "joined or invited to the space"
    NEWCOMER = "named or bidden in, and not invited yet: will be"
    OUTSIDER = "in one of the rooms without ever having been invited to the space"
    INTRUDER = "let into a group by somebody who may not bring people into the community"
    STRANGER = "nowhere in the community"
    LEFT = "left, declined or was removed by people"
    BANNED = "banned from the space"
    REMOVED = "removed by the declaration"


OUT = frozenset({Standing.LEFT, Standing.BANNED, Standing.REMOVED})
WELCOME = frozenset({Standing.MEMBER, Standing.NEWCOMER})


@dataclass(frozen=True, slots=True)
class Census:
    """Everybody whom the declaration, the memory or a room knows of, with their standing."""

    standing: Mapping[UserId, Standing]
    unnamed: frozenset[UserId]
    """Whom the declaration removes, or named once and names no longer, whatever the people did."""
    notes: tuple[str, ...]

    def is_out(self, user: UserId) -> bool:
        return self.standing.get(user) in OUT

    @property
    def out(self) -> frozenset[UserId]:
        return frozenset(user for user, standing in self.standing.items() if standing in OUT)


def places(community: Community) -> dict[UserId, frozenset[str]]:
    """Whom the declaration names, and where: `owners`, `admins`, `members`, `<group>/members`, `<group>/moderators`."""
    found: dict[UserId, set[str]] = {}
    for place, users in _declared_places(community).items():
        for user in users or ():
            found.setdefault(user, set()).add(place)
    return {user: frozenset(where) for user, where in found.items()}


def _declared_places(community: Community) -> dict[str, frozenset[UserId] | None]:
    lists: dict[str, frozenset[UserId] | None] = {
        "owners": community.owners,
        "admins": community.admins,
        "members": community.members,
    }
    for group in community.groups:
        lists[f"{group.key}/members"] = group.members
        lists[f"{group.key}/moderators"] = group.moderators
    return lists


def named_no_longer(community: Community, known: Known) -> dict[UserId, frozenset[str]]:
    """Whom the declaration named and names no longer, at the places whose keys still stand there.

    A key that was taken out altogether belongs to the people from then on: nobody is removed for it.
    """
    lists = _declared_places(community)
    gone: dict[UserId, frozenset[str]] = {}
    for user, before in known.named.items():
        dropped = frozenset(place for place in before if (now := lists.get(place)) is not None and user not in now)
        if dropped:
            gone[user] = dropped
    return gone


def names_to_remember(
    community: Community, known: Known, rooms: Rooms, census: Census, actions: Sequence[Action]
) -> dict[UserId, frozenset[str]]:
    """Whom to remember as named once these actions are done.

    Whoever the declaration names no longer is forgotten when they are out of every room that is concerned: from then
    on it is the people's affair whether they come back. While a removal is blocked, or a room cannot be read, they are
    remembered.
    """
    done = {(action.room, action.user) for action in actions if isinstance(action, Kick | Ban)}
    unread = known.rooms.keys() - rooms.keys()
    names = places(community)
    for user, dropped in named_no_longer(community, known).items():
        concerned = set(known.rooms)
        if user not in census.unnamed:
            groups = {RoomKeyName(place.partition("/")[0]) for place in dropped}
            concerned &= {group.key for group in community.groups if group.key in groups and user not in group.named}
        left = {key for key in concerned & rooms.keys() if rooms[key].members.get(user, ABSENT).present}
        if concerned & unread or any((key, user) not in done for key in left):
            names[user] = names.get(user, frozenset()) | dropped
    return names


def take_census(community: Community, known: Known, rooms: Rooms, accounts: Accounts, kin: Kin = ALONE) -> Census:
    """Find everybody's standing from the space's memberships, the declaration, what is remembered, and its relations.

    Where the space is known and cannot be read, nothing is known of anybody but of those whom the declaration removes.
    """
    space = rooms.get(SPACE)
    members = {} if space is None else space.members
    dropped = named_no_longer(community, known)
    unnamed = frozenset((community.removed | set(dropped)) - community.named - kin.named - accounts.both)
    if space is None and SPACE in known.rooms:
        return Census(dict.fromkeys(sorted(unnamed), Standing.REMOVED), unnamed, ())
    named = community.named | kin.named
    bidden = frozenset(user for key, user in known.bidden if key == SPACE)
    everybody: set[UserId] = set(named) | bidden | set(community.removed) | set(dropped) | set(members)
    everybody |= kin.present | kin.outside
    inside: set[UserId] = set()
    admitted: set[UserId] = set()
    shut_out: set[UserId] = set()
    for key, room in rooms.items():
        present = {user for user, here in room.members.items() if here.present and key != CONTROL}
        inside |= present
        admitted |= present if community.members_may_invite else {user for user in present if _admitted(user, room)}
        shut_out |= {
            user for user, here in room.members.items() if here.state == "ban" and here.sender in accounts.both
        }
        everybody |= {user for user, here in room.members.items() if here.present or here.state == "knock"}
    everybody |= shut_out
    standing: dict[UserId, Standing] = {}
    notes: list[str] = []
    for user in sorted(everybody - accounts.both):
        here = members.get(user, ABSENT)
        if here.state == "" and user in shut_out:
            here = Membership("ban", accounts.steward)  # the space was made anew, and the ban from the old one stands
        if _may_come_back(user, here, known, accounts, kin):
            here = Membership("leave", accounts.steward)
        standing[user] = _standing(named | bidden, known, user, here, unnamed, accounts, kin)
        if standing[user] is Standing.STRANGER and here.state == "" and user in inside:
            standing[user] = Standing.OUTSIDER if user in admitted else Standing.INTRUDER
        if standing[user] in (Standing.LEFT, Standing.BANNED) and user in named:
            notes.append(_contradiction(user, here, kin))
    return Census(standing, unnamed, tuple(notes))


def _standing(
    wanted: frozenset[UserId],
    known: Known,
    user: UserId,
    in_space: Membership,
    unnamed: frozenset[UserId],
    accounts: Accounts,
    kin: Kin,
) -> Standing:
    if in_space.state == "ban" or user in kin.banned:
        return Standing.BANNED
    if user in kin.out:
        return Standing.LEFT
    if user in unnamed:
        return Standing.REMOVED
    if in_space.present:
        return Standing.MEMBER
    if user in wanted and uninvited(SPACE, user, in_space, known, accounts):
        return Standing.NEWCOMER
    if user in kin.present and in_space.state == "":
        return Standing.NEWCOMER
    return Standing.LEFT if in_space.state == "leave" else Standing.STRANGER


def _admitted(user: UserId, room: RoomState) -> bool:
    """Whether a moderator let somebody into a room: their invite says so, or nobody else could have.

    In a group whose members may invite, who invited somebody that has joined already is not known any more: such a
    person is not taken for one whom a moderator wanted in the community.
    """
    here = room.members[user]
    if here.state == "invite":
        return room.level(here.sender) >= Role.MODERATOR
    return threshold(room.power_levels, "invite") >= Role.MODERATOR


def uninvited(key: RoomKeyName, user: UserId, here: Membership, known: Known, accounts: Accounts) -> bool:
    """Whether somebody was never invited to a room, as far as it matters: an invite that never arrived does not count,
    and who was removed by one of our own accounts, not by people, may be invited anew."""
    removed_by_us = here.state == "leave" and here.sender in accounts.both
    return (key, user) not in known.invited or here.state == "" or removed_by_us


def _may_come_back(user: UserId, here: Membership, known: Known, accounts: Accounts, kin: Kin) -> bool:
    """Whether we banned somebody from the space for a ban from a community above, and that one was lifted."""
    return (
        here.state == "ban"
        and here.sender in accounts.both
        and user in known.shut_out
        and user not in kin.banned
        and not kin.blind
    )


def _contradiction(user: UserId, in_space: Membership, kin: Kin) -> str:
    if user in kin.outside:
        return f"{user} is named in the configuration, but is out of a community above this one: they stay out"
    if in_space.state == "ban":
        return f"{user} is named in the configuration, but {in_space.sender} banned them from the space: they stay out"
    if in_space.sender == user:
        return f"{user} is named in the configuration, but left or declined: they are not invited again by themselves"
    return f"{user} is named in the configuration, but {in_space.sender} removed them from the space: they stay out"


def roles_in_force(
    community: Community, known: Known, census: Census, accounts: Accounts, kin: Kin = ALONE
) -> dict[UserId, Role]:
    """Its own owners and admins: the declared ones, or where a key is absent those whom the people made so.

    Whoever is out of the community has no role; but a community never loses its last owner that way. Where all owners
    are out, the fallback owner is owner, if there is one.
    """
    owners = _owners(community, known)
    admins = community.admins
    if admins is None:
        admins = frozenset(user for user, role in known.roles.items() if role is Role.ADMIN)
    present_owners = frozenset(user for user in owners if not census.is_out(user))
    fallback = fallback_owner(community, known, census)
    if fallback is not None and census.standing.get(fallback) in WELCOME:
        present_owners = frozenset({fallback})
    kept = present_owners
    if not kept and not kin.has_owner:
        kept = frozenset(user for user in owners if user not in census.unnamed)
    roles = {user: Role.ADMIN for user in admins if not census.is_out(user)}
    roles.update(dict.fromkeys(kept, Role.OWNER))
    return {user: role for user, role in sorted(roles.items()) if user not in accounts.both}


def governing(own: Mapping[UserId, Role], kin: Kin, census: Census) -> dict[UserId, Role]:
    """Owners and admins with those of the communities above, who are so here, too, unless they are banned.

    That they left the space, or one between, changes nothing: they may enter it again by themselves.
    """
    roles = dict(own)
    for user, role in kin.roles.items():
        if census.standing.get(user) is not Standing.BANNED:
            roles[user] = max(role, roles.get(user, role))
    return dict(sorted(roles.items()))


def _owners(community: Community, known: Known) -> frozenset[UserId]:
    if community.owners is not None:
        return community.owners
    return frozenset(user for user, role in known.roles.items() if role is Role.OWNER)


def fallback_owner(community: Community, known: Known, census: Census) -> UserId | None:
    """Who is to be owner since every owner is out of the community, as people are whose accounts are gone."""
    needed = all(census.is_out(user) for user in _owners(community, known))
    return community.fallback_owner if needed else None


def without_owner(census: Census, roles: Mapping[UserId, Role]) -> list[str]:
    """What is told where no owner is in the community any more. An owner who is invited may still come."""
    owners = [user for user, role in roles.items() if role is Role.OWNER]
    if any(not census.is_out(user) for user in owners):
        return []
    if not owners:
        return ["there is no owner: name one in `owners`, or a `fallback_owner`"]
    return [f"{', '.join(owners)} left, and no other owner is there: name one in `owners`, or a `fallback_owner`"]


def membership_actions(
    community: Community,
    known: Known,
    desired: Mapping[RoomKeyName, DesiredRoom],
    rooms: Rooms,
    roles: Mapping[UserId, Role],
    census: Census,
    accounts: Accounts,
    kin: Kin = ALONE,
) -> tuple[list[Action], list[str]]:
    """What must change in the memberships of all rooms, and what people should be told.

    Args:
        roles: owners and admins, with those of the communities above.
    """
    actions: list[Action] = []
    notes: list[str] = []
    dropped = named_no_longer(community, known)
    for key in [*desired, *sorted(set(known.rooms) - set(desired))]:
        room = rooms.get(key)
        if room is None and key not in desired:
            continue
        members = {} if room is None else room.members
        belong = _belong(community, key, known, roles, rooms, kin)
        welcome = has_announcer(community, known, key)
        actions += _announcer(key, members, accounts, welcome=welcome)
        for user, standing in census.standing.items():
            here = members.get(user, ABSENT)
            in_space = rooms[SPACE].members.get(user, ABSENT) if SPACE in rooms else ABSENT
            out = _removal(community, key, user, standing, here, in_space, roles, dropped)
            if out is None and _must_agree(community, key, user, known, roles):
                if here.state not in ("join", "invite", "knock"):
                    continue
                out = Kick(key, user, FIRST_AGREE, Cause.CASCADE)
            if out is None and key == SPACE and user in kin.banned and here.state != "ban":
                out = Ban(key, user, "banned from the community")
            if out is not None:
                if key in desired or standing in OUT:
                    actions.append(out)
                continue
            if (standing is not Standing.BANNED and _ban_is_over(key, user, here, rooms, accounts)) or (
                key == SPACE and _may_come_back(user, here, known, accounts, kin)
            ):
                actions.append(Unban(key, user))
                here = Membership("leave", accounts.steward)
            belongs = user in belong if standing in WELCOME else key == SPACE and standing is Standing.OUTSIDER
            if belongs and not here.present and key in desired:
                join = _joined_by_us(community, key, user, standing, rooms, accounts)
                invite, note = _invitation(key, user, here, known, accounts, join=join)
                actions += [invite] if invite else []
                notes += [note] if note else []
    return actions, notes


def _must_agree(
    community: Community, key: RoomKeyName, user: UserId, known: Known, roles: Mapping[UserId, Role]
) -> bool:
    """Whether a room opens for somebody only after they have agreed to the rules."""
    return (
        community.rules_required
        and user in known.waiting
        and key not in (SPACE, ANNOUNCEMENTS, CONTROL)
        and user not in community.named
        and user not in roles
    )


def _ban_is_over(key: RoomKeyName, user: UserId, here: Membership, rooms: Rooms, accounts: Accounts) -> bool:
    """Whether a ban that we placed because of a ban from the space stands though that one was lifted."""
    if here.state != "ban" or here.sender not in accounts.both or key == SPACE:
        return False
    in_space = ABSENT if SPACE not in rooms else rooms[SPACE].members.get(user, ABSENT)
    return in_space.state in ("join", "invite", "leave", "knock")


def _announcer(
    key: RoomKeyName, members: Mapping[UserId, Membership], accounts: Accounts, *, welcome: bool
) -> Iterator[Action]:
    here = members.get(accounts.announcer, ABSENT)
    if not welcome:
        if here.present:  # clients encrypt to whom is invited, too: an invite would let it read
            yield Kick(key, accounts.announcer, NOT_ADMITTED, Cause.DRIFT)
    elif here.state != "join":
        cause = Cause.DRIFT if here.state in ("leave", "ban") else Cause.DECLARED
        yield BringAnnouncer(key, banned=here.state == "ban", invited=here.state == "invite", cause=cause)


def _removal(
    community: Community,
    key: RoomKeyName,
    user: UserId,
    standing: Standing,
    here: Membership,
    in_space: Membership,
    roles: Mapping[UserId, Role],
    dropped: Mapping[UserId, frozenset[str]],
) -> Action | None:
    if here.state not in ("join", "invite", "knock"):
        return None
    if standing is Standing.BANNED:
        return Ban(key, user, "banned from the community")
    if standing is Standing.REMOVED:
        return Kick(key, user, "no longer a member of the community", Cause.DECLARED)
    if standing is Standing.LEFT:
        by_themselves = in_space.state == "leave" and in_space.sender == user
        why = "left the community, and so its rooms" if by_themselves else "no longer a member of the community"
        return Kick(key, user, why, Cause.CASCADE)
    if standing is Standing.INTRUDER:
        return Kick(key, user, "only members of the community can be in this group", Cause.CASCADE)
    if here.state == "knock":
        if standing in WELCOME or key == SPACE:
            return None
        return Kick(key, user, "only members of the community can ask to join this group", Cause.CASCADE)
    if key == CONTROL and roles.get(user, Role.MEMBER) < Role.ADMIN:
        return Kick(key, user, "the control room is for owners and admins", Cause.CASCADE)
    group = community.group(key)
    left_out = dropped.get(user, frozenset()) & {f"{key}/members", f"{key}/moderators"}
    if left_out and group is not None and user not in group.named:
        return Kick(key, user, "no longer a member of this group", Cause.DECLARED)
    return None


def _belong(
    community: Community, key: RoomKeyName, known: Known, roles: Mapping[UserId, Role], rooms: Rooms, kin: Kin
) -> frozenset[UserId]:
    """Who should be in a room, if they are in the community.

    Owners and admins of the communities above are not invited: they enter the space by themselves, if they like, and
    are from then on treated like everybody in it.
    """
    joined: frozenset[UserId] = frozenset()
    if SPACE in rooms:
        joined = frozenset(user for user, here in rooms[SPACE].members.items() if here.state == "join")
    if key == CONTROL:
        admins = frozenset(user for user, role in roles.items() if role >= Role.ADMIN)
        return admins & (joined | {user for user, role in known.roles.items() if role >= Role.ADMIN})
    bidden = frozenset(user for where, user in known.bidden if where == key)
    if key == SPACE:
        return community.named | bidden | kin.named | kin.present
    group = community.group(key)
    if group is not None:
        return group.named | (bidden & joined)
    return community.named | joined


def still_bidden(known: Known, rooms: Rooms, census: Census) -> frozenset[tuple[RoomKeyName, UserId]]:
    """Who is still to be invited where: not who is there, was invited since, or is out of the community."""
    return frozenset(
        (key, user)
        for key, user in known.bidden
        if (key, user) not in known.invited
        and not census.is_out(user)
        and not (key in rooms and rooms[key].members.get(user, ABSENT).present)
    )


def _joined_by_us(
    community: Community, key: RoomKeyName, user: UserId, standing: Standing, rooms: Rooms, accounts: Accounts
) -> bool:
    """Whether somebody need not accept an invitation themselves, where the community wants it so.

    They have agreed to be here by joining the space; for whom the file names, the operator has. Only the homeserver on
    which they are can join them.
    """
    if not community.auto_join or domain_of(user) != domain_of(accounts.steward):
        return False
    if user in community.named and standing is Standing.NEWCOMER:
        return True
    return key != SPACE and SPACE in rooms and rooms[SPACE].members.get(user, ABSENT).state == "join"


def back_after_agreeing(
    community: Community, rooms: Rooms, moves: Sequence[Action]
) -> frozenset[tuple[RoomKeyName, UserId]]:
    """Who is taken out of a group until they agree to the rules: they were in it, maybe before it was adopted, and come
    back then."""
    return frozenset(
        (move.room, move.user)
        for move in moves
        if isinstance(move, Kick)
        and move.reason == FIRST_AGREE
        and community.group(move.room) is not None
        and rooms[move.room].members.get(move.user, ABSENT).present
    )


def _invitation(
    key: RoomKeyName, user: UserId, here: Membership, known: Known, accounts: Accounts, *, join: bool
) -> tuple[Invite | None, str | None]:
    by_announcer = key == ANNOUNCEMENTS
    if here.state == "ban":
        return None, f"{user} is banned from {key} by {here.sender}, but belongs there: unban them, or leave it so"
    kicked = here.state == "leave" and here.sender != user
    if uninvited(key, user, here, known, accounts) or (key == ANNOUNCEMENTS and kicked):
        return Invite(key, user, by_announcer, join), None
    if kicked:
        # clients remove somebody from the rooms of a space first, and from the space itself last
        note = f"{here.sender} removed {user} from {key}, but they belong there: an admin may invite them again"
        return None, MayPass(note)
    if here.state == "leave" and key == CONTROL:
        return None, f"{user} left or declined {key}: take their role away and give it again, and they are invited"
    if here.state == "leave":
        return None, f"{user} left or declined {key}: an admin may invite them again"
    return None, None  # a knock after an invite was declined: for the moderators to decide
