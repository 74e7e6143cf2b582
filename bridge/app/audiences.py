"""Whom announcements are for: who may announce to whom, and which rooms and people that means now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from bridge.core.access import Deed, may
from bridge.core.announcements import Audience, Target, person_of
from bridge.core.audience import Nameable, read_audience
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.rank import People, check_audience, may_announce
from bridge.features.drafts import Expected
from bridge.features.reconcile import Reconciler
from bridge.plan.desired import admits_announcer, moderated_by
from bridge.plan.state import Accounts
from bridge.store import shares
from bridge.store.database import Database

Right = Callable[[Audience], bool]
"""Whether somebody may announce to these."""


class Audiences:
    """Reads the words in which people say whom they mean, and finds the rooms and people behind them."""

    def __init__(
        self,
        *,
        database: Database,
        reconciler: Reconciler,
        people: Callable[[Community], Awaitable[People]],
        everybody: Callable[[CommunityId], Awaitable[Sequence[Mapping[str, Any]]]],
        joined_in: Callable[[RoomId], Awaitable[Collection[UserId]]],
        accounts: Accounts,
    ) -> None:
        """
        Args:
            people: what the rules ask of a community's people.
            everybody: who is in a community, with their tags: see `app/roster`.
            joined_in: who is in a room.
        """
        self._database = database
        self._reconciler = reconciler
        self._people = people
        self._everybody = everybody
        self._joined_in = joined_in
        self._accounts = accounts

    async def check_right(self, community: CommunityId, by: UserId, audience: Audience) -> None:
        """Whether somebody may announce to these.

        Raises:
            Refused: why not.
            MatrixError: the homeserver cannot be asked who they are.
        """
        declared, known = self._declared(community), await self._reconciler.memory.known(community)
        moderated = moderated_by(by, declared, known)
        check_audience(await self._people(declared), by, audience, moderated.__contains__)

    async def right_of(self, community: CommunityId, by: UserId | None) -> Right:
        """To whom somebody may announce there, and so what they may change and see afterwards; None is the operator.

        Raises:
            MatrixError: the homeserver cannot be asked who they are.
        """
        if by is None:
            return lambda _: True
        declared = self._reconciler.declared.get(community)
        if declared is None:
            return lambda _: False
        moderated = moderated_by(by, declared, await self._reconciler.memory.known(community))
        people = await self._people(declared)
        return lambda audience: may_announce(people, by, audience, moderated.__contains__)

    async def audience_of(self, community: CommunityId, by: UserId | None, words: Sequence[str]) -> Audience:
        """Whom words mean (see `core/audience`), checked to be within the right of `by`; None is the operator.

        A moderator is told of no groups, tags and communities but what they may announce to.

        Raises:
            Refused: a word means nothing, or they may not announce to these.
            MatrixError: the homeserver cannot be asked who they are.
        """
        declared, known = self._declared(community), await self._reconciler.memory.known(community)
        people = await self._people(declared)
        moderated = frozenset[RoomKeyName]() if by is None else moderated_by(by, declared, known)
        if by is None or may(people.role_of(by), Deed.ANNOUNCE):
            there = await self._everybody(community) if words else []
            names = Nameable(
                [group.key for group in declared.groups],
                [one.id for one in self._reconciler.kinship.family.below(community)],
                {tag for person in there for tag in person["tags"]} | {tag.name for tag in declared.tags},
            )
        else:
            names = Nameable([group.key for group in declared.groups if group.key in moderated])
        audience = read_audience(words, names)
        if by is not None:
            check_audience(people, by, audience, moderated.__contains__)
        return audience

    async def expected(self, targets: Sequence[Target]) -> Expected:
        """Whom an announcement would reach now: each person counted once, and the devices that hold the rooms' keys."""
        people: set[UserId] = set()
        rooms = [target.room_id for target in targets if target.room_id is not None]
        async with self._database.transaction() as tx:
            devices = await shares.devices_in(tx, rooms)
        for target in targets:
            if (user := person_of(target.place)) is not None:
                people.add(user)
            elif target.room_id is not None:
                people |= set(await self._joined_in(target.room_id))
        return Expected(len(people - self._accounts.both), devices)

    async def targets_of(self, community: CommunityId, audience: Audience) -> Sequence[Target]:
        """Whom an audience of a community means now: rooms, then people, each once. Whoever has a copy in one of the
        rooms gets none in a direct chat.

        Raises:
            Refused: it names what is not there, what cannot be announced to, or nobody at all.
            MatrixError: the homeserver cannot be asked who is there.
        """
        self._declared(community)
        names = [community] if audience.everybody else []
        below = {one.id for one in self._reconciler.kinship.family.below(community)}
        for name in audience.communities:
            if name not in below:
                known = ", ".join(sorted(below)) or "none"
                raise Refused(f"{name} is no community within {community}", remedy=f"within it are: {known}")
            names.append(name)
        rooms = [await self._announcement_room(name) for name in dict.fromkeys(names)]
        rooms += [await self.group(community, key) for key in audience.groups]
        people = await self._carriers(community, audience.tags, rooms) if audience.tags else []
        if not rooms and not people:
            raise Refused("there is nobody to send it to", where=" ".join(audience.as_words()), remedy="see `tags`")
        return [*rooms, *people]

    async def group(self, community: CommunityId, key: RoomKeyName) -> Target:
        """A group that lets announcements in, with the announcer in it.

        Raises:
            Refused: it does not, or the announcer is not there yet.
        """
        declared, known = self._declared(community), await self._reconciler.memory.known(community)
        group = declared.group(key)
        if group is None:
            raise Refused(f"there is no group {key!r}", where=str(community), remedy="see `group list`")
        if group.archived:
            raise Refused(f"the group {key!r} is archived", where=str(community), remedy="announce elsewhere")
        if not admits_announcer(known, group):
            raise Refused(
                f"the group {key!r} does not let announcements in",
                where=str(community),
                remedy=f"its moderators or an admin can: `group announcements {key} on`",
            )
        room_id = await self._reconciler.announcement_room(community, key)
        if room_id is None or self._accounts.announcer not in await self._joined_in(room_id):
            raise Refused(
                f"the announcer is not in the group {key!r} yet", where=str(community), remedy="try again in a minute"
            )
        return Target(community, room_id, str(key))

    async def _announcement_room(self, community: CommunityId) -> Target:
        room_id = await self._reconciler.announcement_room(community)
        if room_id is None:
            raise Refused("has no announcement room yet", where=str(community), remedy="apply the configuration first")
        return Target(community, room_id)

    async def _carriers(self, community: CommunityId, tags: Collection[str], rooms: Sequence[Target]) -> list[Target]:
        reached: set[UserId] = set()
        for room in rooms:
            if room.room_id is not None:
                reached |= set(await self._joined_in(room.room_id))
        carriers = [
            UserId(person["user"])
            for person in await self._everybody(community)
            if person["state"] == "join" and not set(tags).isdisjoint(person["tags"])
        ]
        return [Target(community, None, str(user)) for user in carriers if user not in reached]

    def _declared(self, community: CommunityId) -> Community:
        declared = self._reconciler.declared.get(community)
        if declared is None:
            raise Refused("was deactivated, or is declared no longer", where=str(community), remedy="see `status`")
        return declared


def must_be_right(right: Right, audience: Audience, community: CommunityId) -> None:
    """Whether what was announced to these is somebody's to change and to see.

    Raises:
        Refused: it is not. What it reached is not said.
    """
    if not right(audience):
        raise Refused(
            "it did not go into groups that you moderate alone",
            where=str(community),
            remedy="ask an owner or admin",
        )
