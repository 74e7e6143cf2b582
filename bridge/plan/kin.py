"""What the communities above and below it ask of one community. `plan/family` finds it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.core.community import SPACE, Role
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId


@dataclass(frozen=True, slots=True)
class Kin:
    """What its relations ask of one community; of one without relations, nothing."""

    parent: CommunityId | None = None
    parent_space: RoomId | None = None
    """None where there is no parent, or it has no space yet."""
    control_rooms: tuple[RoomId, ...] = ()
    """Those of the communities above, the nearest first: whoever is in one may enter the space by themselves."""
    roles: Mapping[UserId, Role] = field(default_factory=dict)
    """Owners and admins of the communities above: they are so here, too."""
    commanding: Mapping[UserId, Role] = field(default_factory=dict)
    """Those of them who have joined where they are owner or admin: only they may give commands."""
    banned: frozenset[UserId] = frozenset()
    """Who is banned from a community above, and so from this one."""
    out: frozenset[UserId] = frozenset()
    """Who left or was removed from a community above, and so is out of this one."""
    blind: bool = False
    """Whether a space above cannot be read, so that nobody knows who is banned there: then no ban is lifted here."""
    named: frozenset[UserId] = frozenset()
    """Whom the declaration names in a community below: they are members here."""
    present: frozenset[UserId] = frozenset()
    """Who has joined a community right below, or is invited to it: they are to be members here."""
    children: Mapping[CommunityId, RoomId] = field(default_factory=dict)
    """The spaces of the communities right below, as far as they are made."""
    unclaimed: frozenset[RoomId] = frozenset()
    """Spaces of ours that are declared no longer: links with them are left as they are."""

    @property
    def outside(self) -> frozenset[UserId]:
        """Who may be in no room here, since they are out of a community above."""
        return self.banned | self.out

    @property
    def has_owner(self) -> bool:
        """Whether a community above has an owner, who is one here, too."""
        return Role.OWNER in self.roles.values()


ALONE = Kin()


def space_of(community: CommunityId) -> RoomKeyName:
    """How the space of another community is named in an action: `year-1/space`."""
    return RoomKeyName(f"{community}/{SPACE}")
