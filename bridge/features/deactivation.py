"""The end of a community: its groups live on by themselves, what was announced can be read, and the space says so.

What is asked is stored in one database transaction, together with the jobs that do it: from then on the reconciler
leaves the community alone. Each step of a job is safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from bridge.core import rank, texts
from bridge.core.community import ANNOUNCEMENTS, CONTROL, DISCUSSION, GENERAL, SPACE, Community, RoomKind
from bridge.core.errors import Forbidden, NotFound, Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.markup import plain
from bridge.core.messages import AnswerRequest, Deactivate, ReleaseGroup, SendMessage, notice
from bridge.core.rank import People
from bridge.plan import closing, release
from bridge.plan.desired import name_of
from bridge.plan.state import LISTED, Accounts, Known, RoomState, same
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import communities as store
from bridge.store import deactivations, links, requests
from bridge.store.database import Database, Transaction
from bridge.store.deactivations import Deactivation
from bridge.store.jobs import Jobs, decode
from bridge.store.requests import State

_HELD = (SPACE, ANNOUNCEMENTS, CONTROL)
_LEVELS = "m.room.power_levels"


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def reload(self, community: CommunityId) -> None: ...


class Deactivations:
    """Ends communities, and begins them again. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        memory: Memory,
        read_profile: Callable[[], Awaitable[None]],
        within: Callable[[CommunityId], list[CommunityId]],
        stood_in: Callable[[CommunityId], CommunityId | None],
        lock_of: Callable[[CommunityId], asyncio.Lock],
        people: Callable[[Community], Awaitable[People]],
        language_of: Callable[[CommunityId], Language],
        reader: RoomReader,
        rooms: RoomExecutor,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        """
        Args:
            read_profile: has the communities put together anew, after something of this was stored.
            within: the communities that stand within one.
            stood_in: the community within which one stands, deactivated or not.
            lock_of: held while a community's rooms are worked on.
        """
        self._database = database
        self._memory = memory
        self._read_profile = read_profile
        self._within = within
        self._stood_in = stood_in
        self._lock_of = lock_of
        self._people = people
        self._language_of = language_of
        self._reader = reader
        self._rooms = rooms
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock
        self._storing = asyncio.Lock()

    async def name_of(self, community: Community) -> str:
        """What the community is called, as its space has it: what has to be typed to end it."""
        return name_of(community, await self._memory.known(community.id))

    async def without_heirs(self, community: Community, by: UserId | None) -> list[RoomKeyName]:
        """The groups in which people are, and none of them would be in charge afterwards.

        Raises:
            Refused: they may not deactivate it.
            MatrixError: the homeserver cannot be asked.
        """
        rank.check_deactivation(await self._people(community), by)
        known = await self._memory.known(community.id)
        found = []
        for key, room_id in sorted(known.rooms.items()):
            room = None if key in _HELD else await self._room(room_id, fresh=False)
            if room is not None and release.is_left_alone(room, self._accounts):
                found.append(key)
        return found

    async def deactivate(self, community: Community, by: UserId | None, typed: str) -> list[str]:
        """End a community; gives the ids of the jobs that do it. Safe to do twice.

        Args:
            typed: its name, as whoever asks has typed it.

        Raises:
            Refused: they may not, or the name is another.
        """
        rank.check_deactivation(await self._people(community), by)
        name = await self.name_of(community)
        if _folded(typed) != _folded(name):
            raise Refused(
                f"{typed[:60]!r} is not the name of the community",
                where=str(community.id),
                remedy=f"it is called {name!r}; type that to deactivate it",
            )
        if within := self._within(community.id):
            raise Refused(
                f"communities stand within it: {', '.join(within)}",
                where=str(community.id),
                remedy="deactivate those first, or move them elsewhere with `subcommunity move`",
            )
        known = await self._memory.known(community.id)
        now = self._clock.now_ms()
        one = Deactivation(community.id, name, by or texts.the_operator(), now)
        optional = {GENERAL: community.general, DISCUSSION: community.discusses}
        keys = {*known.rooms, *(group.key for group in community.groups), *(key for key in optional if optional[key])}
        async with self._storing:
            async with self._database.transaction() as tx:
                ids = []
                if await deactivations.add(tx, one):
                    await self._close_doors(tx, one)
                    ids = await self._add_jobs(tx, one, sorted(keys - set(_HELD)))
            await self._memory.reload(community.id)
            await self._read_profile()
        self._wake()
        return ids

    async def _close_doors(self, tx: Transaction, one: Deactivation) -> None:
        """Nobody comes in any more: links, requests, and who was on the way."""
        for link in await links.revoke_all(tx, one.community, one.by, one.at):
            await store.record(tx, one.at, one.community, "", one.by, "revoked link", link)
        for request in await requests.all_open(tx, one.community):
            if await requests.decide(tx, request.id, State.CLOSED, one.by, "", one.at):
                job = AnswerRequest(request.id)
                await self._jobs.add(tx, f"answer-{request.id}", f"request {request.id}", job, one.at)
        await deactivations.forget_arrivals(tx, one.community)
        await store.set_held(tx, one.community, None)

    async def _add_jobs(self, tx: Transaction, one: Deactivation, keys: list[RoomKeyName]) -> list[str]:
        mark = f"{one.community}-{one.at}"
        ids = [f"deactivate-{mark}"]
        await self._jobs.add(tx, ids[0], f"end {one.community}", Deactivate(one.community, one.by), one.at)
        for key in keys:
            ids.append(f"release-{mark}-{key}")
            job = ReleaseGroup(one.community, key, one.by)
            await self._jobs.add(tx, ids[-1], f"group {one.community}/{key}", job, one.at)
        await store.record(tx, one.at, one.community, "", one.by, "deactivated", one.name)
        return ids

    async def do(self, job_id: str, job: Deactivate) -> None:
        """Close the announcement room, and have the space say that the community has ended: safe to repeat.

        Raises:
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        async with self._database.transaction() as tx:
            one = (await deactivations.load_all(tx)).get(job.community)
        if one is None:
            return
        language = self._language_of(job.community)
        async with self._lock_of(job.community):
            known = await self._memory.known(job.community)
            await self._close_announcements(known, known.rooms.get(ANNOUNCEMENTS), language)
            await self._close_space(known, one, language)
        await self._take_out(known.rooms.get(SPACE), self._stood_in(job.community))
        control = known.rooms.get(CONTROL)
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await deactivations.done(tx, job.community, now)
            if control is not None:
                message = SendMessage(control, notice(texts.deactivated(one.name, one.by, language)))
                await self._jobs.add(tx, f"told-{job_id}", control, message, now)
        await self._read_profile()
        self._wake()

    async def _close_announcements(self, known: Known, room_id: RoomId | None, language: Language) -> None:
        room = None if room_id is None else await self._room(room_id)
        if room is not None:
            await self._close(room, RoomKind.ANNOUNCEMENTS, known, language)

    async def _close_space(self, known: Known, one: Deactivation, language: Language) -> None:
        space_id = known.rooms.get(SPACE)
        space = None if space_id is None else await self._room(space_id)
        if space is None:
            return
        day = datetime.fromtimestamp(one.at / 1000, UTC).date().isoformat()
        await self._set(space, "m.room.name", {"name": plain(texts.closed_name(one.name, language))})
        await self._set(space, "m.room.topic", {"topic": plain(texts.closed_topic(day, language))})
        await self._set(space, "m.room.join_rules", {"join_rule": "invite"})
        if (space.content(LISTED) or {}).get("listed"):
            await self._rooms.set_listed(space.room_id, listed=False)
        for child in closing.foreign_children(space, known.rooms.get(ANNOUNCEMENTS)):
            await self._rooms.set_state(space.room_id, closing.CHILD, child, {})
        await self._close(space, RoomKind.SPACE, known, language)

    async def _take_out(self, space_id: RoomId | None, parent: CommunityId | None) -> None:
        """The community within which it stood lists it no longer, and it claims no place there."""
        if space_id is None or parent is None:
            return
        async with self._lock_of(parent):
            above = (await self._memory.known(parent)).rooms.get(SPACE)
            for room_id, kind, other in ((above, closing.CHILD, space_id), (space_id, closing.PARENT, above)):
                room = None if room_id is None else await self._room(room_id)
                if room is not None and other is not None and room.content(kind, other):
                    await self._rooms.set_state(room.room_id, kind, other, {})

    async def _close(self, room: RoomState, kind: RoomKind, known: Known, language: Language) -> None:
        """Nobody writes or comes in any more, and whoever was invited or knocks is told so."""
        await self._set(room, _LEVELS, closing.closed_levels(kind, room, self._accounts, known.roles))
        for user in closing.on_the_way_in(room, self._accounts):
            await self._rooms.kick(room.room_id, user, plain(texts.closed_to_newcomers(language)))

    async def _set(self, room: RoomState, event_type: str, content: Any) -> None:
        if not same(room.content(event_type), content):
            await self._rooms.set_state(room.room_id, event_type, "", content)

    async def _room(self, room_id: RoomId, *, fresh: bool = True) -> RoomState | None:
        try:
            return await self._reader.read(room_id, fresh=fresh)
        except (Forbidden, NotFound):
            return None

    async def ended_for(self, user: UserId) -> tuple[str, Language] | None:
        """The community that somebody was in when it ended, the last one if there are several: its name and language.
        None for who is in the space of none, or where that cannot be seen any more.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            found = list((await deactivations.load_all(tx)).values())
        for one in sorted(found, key=lambda one: one.at, reverse=True):
            space_id = (await self._memory.known(one.community)).rooms.get(SPACE)
            space = None if space_id is None else await self._room(space_id, fresh=False)
            here = None if space is None else space.members.get(user)
            if here is not None and here.state == "join":
                return one.name, self._language_of(one.community)
        return None

    # --- afterwards ---------------------------------------------------------------------------------------------

    async def outstanding(self, community: CommunityId) -> int:
        """How many of the jobs that end a community are yet to be done, or were given up."""
        found = 0
        for kind in (Deactivate, ReleaseGroup):
            for stored in await self._jobs.of_kind(kind):
                job = decode(stored.kind, stored.body)
                found += isinstance(job, Deactivate | ReleaseGroup) and job.community == community
        return found

    async def reactivate(self, community: CommunityId) -> None:
        """Begin a deactivated community again, by the operator's word. Groups that were released do not come back.

        Raises:
            Refused: it was not deactivated, or its end is not done yet.
        """
        async with self._storing:
            async with self._database.transaction() as tx:
                one = (await deactivations.load_all(tx)).get(community)
            if one is None:
                raise Refused("was not deactivated", where=str(community), remedy="nothing has to be done")
            if left := await self.outstanding(community):
                raise Refused(
                    f"is still being deactivated: {left} steps are left",
                    where=str(community),
                    remedy="wait until `status` shows none; `matrix-communities parked` shows what was given up",
                )
            now = self._clock.now_ms()
            async with self._database.transaction() as tx:
                await deactivations.drop(tx, community)
                await store.record(tx, now, community, "", texts.the_operator(), "reactivated", one.name)
            await self._read_profile()


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def shown(one: Deactivation, outstanding: int) -> dict[str, Any]:
    """The documented JSON of a deactivated community in `status`."""
    return {
        "id": one.community,
        "name": one.name,
        "by": one.by,
        "at": one.at,
        "done_at": one.done_at,
        "outstanding": outstanding,
    }
