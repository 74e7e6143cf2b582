"""Groups that people make, change, archive and release.

What is asked is first stored; the rooms follow by the reconciler. A release is a job: it takes the room out of the
community step by step, and each step is safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bridge.core import groups as rules
from bridge.core import rank, texts
from bridge.core.access import Deed
from bridge.core.community import CONTROL, SPACE, Community, Posting, RoomKind
from bridge.core.errors import Forbidden, NotFound, Refused
from bridge.core.groups import OwnGroup, Stage, Wish
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.lines import one_line
from bridge.core.messages import MakeGroup, ReleaseGroup, SendMessage, notice
from bridge.core.rank import People
from bridge.plan import release
from bridge.plan.desired import group_name_of
from bridge.plan.people import NOT_ADMITTED
from bridge.plan.state import Accounts, Known, RoomState, digest_of, same
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import communities as store
from bridge.store import groups
from bridge.store.database import Database
from bridge.store.jobs import Jobs

LONGEST_NAME = 120
LONGEST_DESCRIPTION = 2000
_LEVELS = "m.room.power_levels"


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...

    async def forget_rooms(self, community: CommunityId, lost: Mapping[RoomKeyName, RoomId]) -> None: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """A group as it is listed."""

    key: RoomKeyName
    name: str
    kind: RoomKind
    posting: Posting
    archived: bool
    declared: bool
    room_id: RoomId | None


class Groups:
    """Carries out what people with a role, or the operator, ask about groups. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        memory: Memory,
        read_groups: Callable[[], Awaitable[None]],
        lock_of: Callable[[CommunityId], asyncio.Lock],
        people: Callable[[Community], Awaitable[People]],
        language_of: Callable[[CommunityId], Language],
        reader: RoomReader,
        rooms: RoomExecutor,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
        limit: int,
    ) -> None:
        """
        Args:
            read_groups: has the communities put together anew, after something of their groups was stored.
            lock_of: held while a community's rooms are worked on.
            limit: how many groups a community may have, declared ones and those that people made together.
        """
        self._database = database
        self._memory = memory
        self._read_groups = read_groups
        self._lock_of = lock_of
        self._people = people
        self._language_of = language_of
        self._reader = reader
        self._rooms = rooms
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock
        self.limit = limit
        self.storing = asyncio.Lock()
        """Held by whoever gives a group its key, or changes what is stored of one."""

    async def listed(self, community: Community) -> list[Shown]:
        """The groups that there are, in the order of the space: those in use, then archived ones."""
        known = await self._memory.known(community.id)
        found = [
            Shown(
                group.key,
                group_name_of(group, known),
                group.kind,
                group.posting,
                group.archived,
                not group.own,
                known.rooms.get(group.key),
            )
            for group in community.groups
        ]
        return sorted(found, key=lambda group: (group.archived, group.key))

    async def create(
        self, community: Community, by: UserId | None, name: str, kind: RoomKind, key: str | None, source: str = ""
    ) -> RoomKeyName:
        """Make a group; whoever makes it moderates it. The same source is the same group. The room follows.

        Raises:
            Refused: why not.
        """
        rank.check_groups(await self._people(community), by, Deed.MAKE_GROUPS)
        return await self._make(community, by, name, kind, key, source)

    async def wish(
        self, community: Community, by: UserId | None, name: str, kind: RoomKind, key: str | None
    ) -> Wish | None:
        """What somebody asks to be made where they can only suggest it; None where they may make it, or may not ask.

        Raises:
            Refused: it could not be made anyway.
        """
        people = await self._people(community)
        if not rank.only_suggests(people, by):
            return None
        rules.check_room_for_one_more(community, self.limit)
        if key:
            rules.check_key(community, key, await self.taken(community))
        return Wish(_name(community, name), kind, key or "")

    async def grant(self, job_id: str, community: Community, job: MakeGroup) -> None:
        """Make a group that a member suggested, and tell them; or tell why not. Safe to repeat."""
        language = self._language_of(community.id)
        control = (await self._memory.known(community.id)).rooms.get(CONTROL)
        key = job.key if job.key not in await self.taken(community) else ""
        try:
            made = await self._make(community, job.user, job.name, RoomKind(job.kind), key, f"request-{job.request}")
            said, rooms = texts.suggestion_made(job.name, made, language), [job.chat]
        except Refused as error:
            said, rooms = texts.suggestion_failed(job.name, error.what, language), [job.chat, control or ""]
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            for room_id in (RoomId(room) for room in rooms if room):
                message = SendMessage(room_id, notice(said))
                await self._jobs.add(tx, f"told-{job_id}-{room_id}", room_id, message, now)
        self._wake()

    async def taken(self, community: Community) -> set[str]:
        """The keys that a new group of a community may not have."""
        own, known = await self._own(community.id), await self._memory.known(community.id)
        return {*own, *known.rooms, *(group.key for group in community.groups)}

    async def _make(
        self, community: Community, by: UserId | None, name: str, kind: RoomKind, key: str | None, source: str
    ) -> RoomKeyName:
        title = _name(community, name)
        async with self.storing:
            own = await self._own(community.id)
            if source and (before := next((one for one in own.values() if one.source == source), None)):
                return before.key
            rules.check_room_for_one_more(community, self.limit)
            taken = await self.taken(community)
            made = rules.check_key(community, key, taken) if key else rules.key_of(title, taken)

            def named(known: Known) -> Known:
                profile = {**known.profile, (made, "m.room.name"): {"name": title}}
                moderators = {**known.moderators, made: frozenset() if by is None else frozenset({by})}
                bidden = {bid for bid in known.bidden if bid[0] != made}
                bidden |= set() if by is None else {(made, by)}
                return replace(known, profile=profile, moderators=moderators, bidden=frozenset(bidden))

            await self._memory.update(community.id, named)
            await self._store(community, by, OwnGroup(made, kind, made_by=by or "", source=source), "group create")
        return made

    async def change(
        self,
        community: Community,
        by: UserId | None,
        key: RoomKeyName,
        *,
        kind: RoomKind | None = None,
        posting: Posting | None = None,
        archived: bool | None = None,
    ) -> None:
        """Change a group that people made, or take one over that is declared no longer. The room follows.

        Raises:
            Refused: why not.
        """
        rank.check_groups(await self._people(community), by, Deed.CHANGE_GROUPS)
        rules.check_not_declared(community, key)
        async with self.storing:
            group = await self.theirs(community, key)
            if archived is not None:
                group = replace(group, stage=Stage.ARCHIVED if archived else Stage.OPEN)
            elif community.group(key) is None:
                rules.check_room_for_one_more(community, self.limit)
            group = replace(group, kind=kind or group.kind, posting=posting or group.posting)
            await self._store(community, by, group, "group")

    async def check_call(self, community: Community, by: UserId | None, key: RoomKeyName, field: str) -> None:
        """Whether somebody may give a group another name, description or picture (`avatar`).

        Raises:
            Refused: why not.
        """
        rank.check_groups(await self._people(community), by, Deed.CHANGE_GROUPS)
        if community.group(key) is None:
            raise _unknown(community, key)
        rules.check_not_declared(community, key, field)

    async def call(self, community: Community, by: UserId | None, key: RoomKeyName, field: str, text: str) -> None:
        """Give a group another name, description or picture.

        The room is written before it is remembered, and no pass of the reconciler comes between: one that finds the
        old name would take it for a wish of whoever gave it.

        Args:
            field: `name`, `description` or `avatar`.
            text: the picture's address (`mxc://…`), empty for none.

        Raises:
            Refused: why not.
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        await self.check_call(community, by, key, field)
        match field:
            case "name":
                event_type, content = "m.room.name", {"name": _name(community, text)}
            case "avatar":
                event_type, content = "m.room.avatar", {"url": text} if text else {}
            case _:
                event_type, content = "m.room.topic", {"topic": text.strip()[:LONGEST_DESCRIPTION]}
        async with self._lock_of(community.id):
            room_id = (await self._memory.known(community.id)).rooms.get(key)
            if room_id is not None:
                await self._rooms.set_state(room_id, event_type, "", content)
            await self._memory.update(
                community.id, lambda known: replace(known, profile={**known.profile, (key, event_type): content})
            )

    # --- release ------------------------------------------------------------------------------------------------

    async def heirs(self, community: Community, by: UserId | None, key: RoomKeyName) -> list[UserId]:
        """Who would be in charge of a group's room after its release.

        Raises:
            Refused: it may not be released, or nobody would be in charge.
        """
        rank.check_groups(await self._people(community), by, Deed.RELEASE_GROUPS)
        rules.check_not_declared(community, key)
        await self.theirs(community, key)
        room_id = (await self._memory.known(community.id)).rooms.get(key)
        room = None if room_id is None else await self._room(room_id)
        found = [] if room is None else release.in_charge(room, self._accounts)
        if room is not None and not found:
            raise Refused(
                "no owner, admin or moderator has joined the group, so nobody would be in charge of it",
                where=f"{community.id}/{key}",
                remedy="make somebody its moderator who is in it: `moderator add`",
            )
        return found

    async def release(self, community: Community, by: UserId | None, key: RoomKeyName, source: str = "") -> str:
        """Have a group released; gives the id of the job that does it.

        Raises:
            Refused: why not.
        """
        await self.heirs(community, by, key)
        now = self._clock.now_ms()
        job = ReleaseGroup(community.id, key, by or texts.the_operator())
        job_id = f"release-{digest_of([community.id, key, source or now])}"
        async with self.storing:
            group = replace(await self.theirs(community, key), stage=Stage.LEAVING)
            async with self._database.transaction() as tx:
                await groups.put(tx, community.id, group)
                await self._jobs.add(tx, job_id, f"group {community.id}/{key}", job, now)
                await store.record(tx, now, community.id, key, job.by, "group release", "")
            await self._read_groups()
        self._wake()
        return job_id

    async def release_now(self, job_id: str, job: ReleaseGroup) -> None:
        """Take a room out of its community, and leave it: safe to repeat after any interruption.

        Raises:
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        async with self._lock_of(job.community):
            known = await self._memory.known(job.community)
            room_id = known.rooms.get(job.key)
            left = room_id is None or await self._hand_over(known, room_id)
            if room_id is not None and left:
                await self._memory.forget_rooms(job.community, {job.key: room_id})
            control = known.rooms.get(CONTROL)
            async with self._database.transaction() as tx:
                await groups.drop(tx, job.community, job.key)
                if control is not None:
                    say = texts.group_released if left else texts.group_left_alone
                    text = say(job.key, job.by, self._language_of(job.community))
                    message = SendMessage(control, notice(text))
                    await self._jobs.add(tx, f"told-{job_id}", control, message, self._clock.now_ms())
            await self._read_groups()
        self._wake()

    async def _hand_over(self, known: Known, room_id: RoomId) -> bool:
        """Take the links away and give the power to the people; whether the steward is out of the room then. It stays
        where nobody is in charge: without it the room would belong to nobody, or everything would be open to everybody.
        """
        room = await self._room(room_id)
        steward = self._accounts.steward
        if room is None or steward not in room.members or room.members[steward].state != "join":
            return True
        announcer = room.members.get(self._accounts.announcer)
        if announcer is not None and announcer.present and room.level(steward) >= room.threshold("kick"):
            await self._rooms.kick(room_id, self._accounts.announcer, NOT_ADMITTED)
        space_id = known.rooms.get(SPACE)
        space = None if space_id is None else await self._room(space_id)
        if space_id is not None and space is not None and space.content("m.space.child", room_id):
            await self._rooms.set_state(space_id, "m.space.child", room_id, {})
        # the levels go last: after them the steward may be nobody in the room
        if room.level(steward) >= room.needed(_LEVELS):
            if space_id is not None and room.content("m.space.parent", space_id):
                await self._rooms.set_state(room_id, "m.space.parent", space_id, {})
            if (room.content("m.room.join_rules") or {}).get("join_rule") == "restricted":
                await self._rooms.set_state(room_id, "m.room.join_rules", "", {"join_rule": "invite"})
            if release.is_left_alone(room, self._accounts):
                return False
            levels = release.released_levels(room, self._accounts)
            if not same(room.power_levels, levels):
                await self._rooms.set_state(room_id, _LEVELS, "", levels)
        await self._rooms.leave(room_id)
        return True

    async def _room(self, room_id: RoomId) -> RoomState | None:
        try:
            return await self._reader.read(room_id, fresh=True)
        except (Forbidden, NotFound):
            return None

    # --- what is stored -----------------------------------------------------------------------------------------

    async def _own(self, community: CommunityId) -> dict[RoomKeyName, OwnGroup]:
        async with self._database.transaction() as tx:
            return {group.key: group for group in (await groups.load_all(tx)).get(community, [])}

    async def theirs(self, community: Community, key: RoomKeyName) -> OwnGroup:
        """A group that people made, or one that was declared once and is no longer.

        Raises:
            Refused: there is no such group.
        """
        own = await self._own(community.id)
        if key in own:
            return own[key]
        async with self._database.transaction() as tx:
            record = await store.room_record(tx, community.id, key)
        kinds = (RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN)
        if record is None or record.kind not in kinds:
            raise _unknown(community, key)
        return OwnGroup(key, record.kind)

    async def _store(self, community: Community, by: UserId | None, group: OwnGroup, deed: str) -> None:
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await groups.put(tx, community.id, group)
            what = f"{group.kind}, {group.posting} post, {group.stage}"
            await store.record(tx, now, community.id, group.key, by or texts.the_operator(), deed, what)
        await self._read_groups()


def _name(community: Community, name: str) -> str:
    title = one_line(name, LONGEST_NAME).strip()
    if not title:
        raise Refused("a group needs a name", where=str(community.id), remedy="write it behind the command")
    return title


def _unknown(community: Community, key: RoomKeyName) -> Refused:
    known = ", ".join(group.key for group in community.groups) or "none"
    return Refused(f"there is no group {key!r}", where=str(community.id), remedy=f"there are: {known}")


def shown(group: Shown) -> dict[str, Any]:
    """The documented JSON of a group in `group list`."""
    return {
        "key": group.key,
        "name": group.name,
        "kind": group.kind.value,
        "posting": group.posting.value,
        "archived": group.archived,
        "declared": group.declared,
        "room_id": group.room_id,
    }
