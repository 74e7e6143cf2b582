"""Existing rooms taken in as groups, by somebody's word, after they were shown what changes.

The room, its group and whom to invite are stored in one database transaction; what changes in the room is the
reconciler's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from bridge.core import groups as rules
from bridge.core import rank, texts
from bridge.core.access import Deed
from bridge.core.community import CONTROL, SPACE, Community, RoomKind
from bridge.core.errors import BadRequest, Forbidden, NotFound, Refused
from bridge.core.groups import OwnGroup, with_one_more
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId, is_room_id
from bridge.core.languages import Language
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.messages import SendMessage, notice
from bridge.core.rank import People
from bridge.plan import takeover
from bridge.plan.actions import AdoptProfile, AdoptRole, Invite, Link, Plan
from bridge.plan.state import Accounts, Known, RoomState, digest_of
from bridge.ports import Clock
from bridge.store import communities as store
from bridge.store import groups
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

Rooms = Mapping[RoomKeyName, RoomState]
Bring = Callable[[Known, Rooms], Known]


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def adopt_room(
        self,
        community: CommunityId,
        key: RoomKeyName,
        kind: RoomKind,
        room_id: RoomId,
        change: Callable[[Known], Known],
        also: Callable[[Transaction], Awaitable[None]],
    ) -> None: ...


class Reader(Protocol):
    """What a room is, before it is ours."""

    async def read(self, room_id: RoomId, *, fresh: bool = False) -> RoomState: ...

    def forget(self, room_id: RoomId) -> None: ...

    async def is_listed(self, room_id: RoomId) -> bool: ...


class Hands(Protocol):
    """How the steward comes into a room."""

    async def room_of(self, alias: str) -> RoomId | None: ...

    async def join(self, room_id: RoomId) -> None: ...

    async def leave(self, room_id: RoomId) -> None: ...

    async def set_listed(self, room_id: RoomId, *, listed: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the adoption of a room comes to."""

    group: OwnGroup
    room: RoomState
    name: str
    changes: tuple[str, ...]
    """What would be changed in the room, in the words of a plan."""
    remains: tuple[str, ...]
    """What cannot be as it should, and what helps."""
    invited: tuple[UserId, ...]
    """Who is in the room and would be invited to the community."""
    encrypts: bool
    """Whether the room is not encrypted yet; that cannot be undone."""
    listed: bool
    """Whether it stands in the public directory, and would be taken out of it."""
    bring: Callable[[Known], Known]
    """What is remembered with it."""

    @property
    def digest(self) -> str:
        """Names this proposal, whoever comes and goes in the room meanwhile."""
        group = [self.group.key, self.group.kind, self.group.posting, self.group.history]
        return digest_of([self.room.room_id, group, list(self.changes), self.encrypts])


class Adopting:
    """Looks at rooms that people want to bring into a community, and takes them in. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        memory: Memory,
        read_groups: Callable[[], Awaitable[None]],
        lock_of: Callable[[CommunityId], asyncio.Lock],
        storing: asyncio.Lock,
        look_as_if: Callable[[Community, Bring, RoomState], Awaitable[tuple[Plan, Rooms]]],
        people: Callable[[Community], Awaitable[People]],
        language_of: Callable[[CommunityId], Language],
        reader: Reader,
        hands: Hands,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
        limit: Callable[[], int],
    ) -> None:
        """
        Args:
            read_groups: has the communities put together anew, after something of their groups was stored.
            lock_of: held while a community's rooms are worked on.
            storing: held by whoever gives a group its key.
            look_as_if: plans a community as if a room were one of its groups already.
            limit: how many groups a community may have.
        """
        self._database = database
        self._index = index
        self._memory = memory
        self._read_groups = read_groups
        self._lock_of = lock_of
        self._storing = storing
        self._look_as_if = look_as_if
        self._people = people
        self._language_of = language_of
        self._reader = reader
        self._hands = hands
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock
        self._limit = limit

    async def propose(
        self, community: Community, by: UserId | None, named: str, key: str | None = None, kind: RoomKind | None = None
    ) -> Proposal:
        """Look at a room, and say what its adoption would change. The steward accepts an invitation to it, if there is
        one; else nothing is changed.

        Args:
            named: the room's id or address.
            key: the group's key; made of the room's name where it is left out.
            kind: the group's kind; the one nearest to how people come into the room where it is left out.

        Raises:
            Refused: it cannot be adopted, and why.
            MatrixError: the homeserver cannot be asked.
        """
        people = await self._people(community)
        rank.check_groups(people, by, Deed.ADOPT_GROUPS)
        known = await self._memory.known(community.id)
        if SPACE not in known.rooms:
            raise Refused("has no space yet", where=str(community.id), remedy="apply the configuration first")
        rules.check_room_for_one_more(community, self._limit())
        room_id = await self._found(named)
        self._not_ours(community, room_id)
        room = await self._read(room_id)
        await self._check(room, by, known)
        title = one_line(str((room.content("m.room.name") or {}).get("name") or ""), LONGEST_NAME).strip()
        taken = await self._taken(community)
        name = rules.check_key(community, key, taken) if key else rules.key_of(title, taken)
        posting, history = takeover.posting_of(room), takeover.kept_history(room)
        group = OwnGroup(name, kind or takeover.kind_of(room), posting, made_by=by or "", history=history)
        listed = await self._reader.is_listed(room_id)
        return await self._proposal(community, group, room, title or str(group.key), listed)

    async def adopt(
        self,
        community: Community,
        by: UserId | None,
        named: str,
        key: str | None = None,
        kind: RoomKind | None = None,
        *,
        digest: str = "",
        encrypt: bool = False,
    ) -> RoomKeyName:
        """Take a room in as a group; the rooms follow. What is one already stays one.

        Args:
            digest: of the proposal that was agreed to; any proposal will do where it is empty.
            encrypt: whether somebody agreed that a room be encrypted that is not.

        Raises:
            Refused: it cannot be adopted, or is not as it was shown.
            MatrixError: the homeserver cannot be asked.
        """
        rank.check_groups(await self._people(community), by, Deed.ADOPT_GROUPS)
        place = self._index.place_of(await self._found(named))
        known = await self._memory.known(community.id)
        if place is not None and place.community == community.id and place.key in known.adopted:
            return place.key  # the same word came again
        await self.propose(community, by, named, key, kind)  # whatever takes long is done before anybody has to wait
        async with self._lock_of(community.id):
            proposal = await self.propose(community, by, named, key, kind)
            if digest and proposal.digest != digest:
                raise Refused(
                    "the room has changed since it was shown to you",
                    where=proposal.room.room_id,
                    remedy="ask for its adoption again",
                )
            if proposal.encrypts and not encrypt:
                raise Refused(
                    "the room is not encrypted, every group is, and it cannot be undone",
                    where=proposal.room.room_id,
                    remedy="say that it may be encrypted for good, with `--encrypt`",
                )
            if proposal.listed:
                await self._hands.set_listed(proposal.room.room_id, listed=False)
            async with self._storing:
                rules.check_key(community, proposal.group.key, await self._taken(community))
                await self._store(community, by, proposal)
        self._wake()
        return proposal.group.key

    async def _store(self, community: Community, by: UserId | None, proposal: Proposal) -> None:
        group, room = proposal.group, proposal.room
        control = (await self._memory.known(community.id)).rooms.get(CONTROL)
        who = by or texts.the_operator()

        async def also(tx: Transaction) -> None:
            now = self._clock.now_ms()
            await groups.put(tx, community.id, group)
            await store.record(tx, now, community.id, room.room_id, who, "group adopt", f"{group.key}, {group.kind}")
            if control is not None:
                text = texts.group_adopted(proposal.name, group.key, who, self._language_of(community.id))
                job_id = f"adopted-{digest_of([community.id, group.key, room.room_id, now])}"
                await self._jobs.add(tx, job_id, control, SendMessage(control, notice(text)), now)

        await self._memory.adopt_room(community.id, group.key, group.kind, room.room_id, proposal.bring, also)
        self._reader.forget(room.room_id)  # until now nothing that happened in it was pushed to us
        await self._read_groups()

    # --- what stands against it -------------------------------------------------------------------------------------

    async def _found(self, named: str) -> RoomId:
        if is_room_id(named):
            return RoomId(named)
        room_id = await self._hands.room_of(named) if named.startswith("#") else None
        if room_id is None:
            raise Refused(
                f"there is no room {one_line(named, LONGEST_NAME)}",
                remedy="give its id (`!…`, in the room's advanced settings) or its address (`#…`)",
            )
        return room_id

    def _not_ours(self, community: Community, room_id: RoomId) -> None:
        place = self._index.place_of(room_id)
        if place is not None:  # which other one is nobody's business here
            whose = "this community" if place.community == community.id else "another community"
            raise Refused(f"it is a room of {whose} already", where=room_id, remedy="release it there first")
        if room_id in self._index.chats:
            raise Refused("it is a chat with the announcer", where=room_id, remedy="name another room")

    async def _read(self, room_id: RoomId) -> RoomState:
        try:
            await self._hands.join(room_id)
            return await self._reader.read(room_id, fresh=True)
        except (BadRequest, Forbidden, NotFound) as error:
            steward = self._accounts.steward
            raise Refused(
                f"{steward} is not in the room, and cannot look at it",
                where=room_id,
                remedy=f"invite {steward} to the room, make it an admin there (level 100), and ask again",
            ) from error

    async def _check(self, room: RoomState, by: UserId | None, known: Known) -> None:
        never = None if by is None else takeover.withheld(room, by, known.rooms.get(SPACE))
        never = never or takeover.unfit(room)  # nothing is told of a room to whom it does not concern
        if never is not None and takeover.is_public(room):
            await self._hands.leave(room.room_id)  # nobody invited it
        for trouble in (never, takeover.lacking(room, self._accounts)):
            if trouble is not None:
                raise Refused(trouble[0], where=room.room_id, remedy=trouble[1])

    async def _taken(self, community: Community) -> set[str]:
        async with self._database.transaction() as tx:
            own = (await groups.load_all(tx)).get(community.id, [])
        known = await self._memory.known(community.id)
        return {*(one.key for one in own), *known.rooms, *(one.key for one in community.groups)}

    async def _proposal(
        self, community: Community, group: OwnGroup, room: RoomState, name: str, listed: bool
    ) -> Proposal:
        wanted = with_one_more(community, group)

        def bring(known: Known, rooms: Rooms) -> Known:
            return takeover.taken_in(wanted, known, group.key, room, rooms, self._accounts)

        plan, rooms = await self._look_as_if(wanted, bring, room)
        mine = [
            action
            for action in plan.actions
            if action.room == group.key and not isinstance(action, Invite | Link | AdoptProfile | AdoptRole)
        ]
        changes = [action.summary for action in mine]
        changes += ["take out of the public directory"] if listed else []
        here = {user for user, one in room.members.items() if one.present}
        invited = sorted(
            action.user
            for action in plan.actions
            if isinstance(action, Invite) and action.room == SPACE and action.user in here
        )
        remains = [item.reason for item in plan.blocked if item.room == group.key]
        return Proposal(
            group=group,
            room=room,
            name=name,
            changes=tuple(changes),
            remains=tuple(remains),
            invited=tuple(invited),
            encrypts=not takeover.is_encrypted(room),
            listed=listed,
            bring=partial(bring, rooms=rooms),
        )


def proposed(proposal: Proposal) -> dict[str, Any]:
    """The documented JSON of a proposal in `group adopt`."""
    return {
        "key": proposal.group.key,
        "kind": proposal.group.kind.value,
        "name": proposal.name,
        "room_id": proposal.room.room_id,
        "changes": list(proposal.changes),
        "remains": list(proposal.remains),
        "invited": list(proposal.invited),
        "encrypts": proposal.encrypts,
        "digest": proposal.digest,
    }
