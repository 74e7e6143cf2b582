"""The reconciler: looks, plans, holds what is unsafe, and does the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from bridge.core import texts
from bridge.core.community import ANNOUNCEMENTS, CONTROL, SPACE, Community, Role
from bridge.core.errors import Forbidden, MatrixError, NotFound, Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.messages import SendMessage
from bridge.features.reconcile.memory import Memory, names_remembered, present_as_invited, settled
from bridge.features.reconcile.outcome import Failure, Outcome, Progress
from bridge.features.reconcile.rules import Rules
from bridge.features.reconcile.work import Work
from bridge.plan import safety
from bridge.plan.actions import (
    PROFILE_TYPES,
    Action,
    AdoptRole,
    Ban,
    Cause,
    Kick,
    Link,
    Phase,
    Plan,
    SetState,
)
from bridge.plan.desired import Setting
from bridge.plan.diff import Comparison, compare
from bridge.plan.state import Known, RoomState, digest_of
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import communities as store
from bridge.store import declarations
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

ROUNDS = 4
"""Applying looks again after it has worked, until nothing is left; a room that is new needs two looks."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a community: what is, what should be, and why it would need a human word."""

    community: Community
    comparison: Comparison
    rooms: dict[RoomKeyName, RoomState]
    unsafe: tuple[str, ...]

    @property
    def plan(self) -> Plan:
        return self.comparison.plan


class Reconciler:
    """Brings every declared community to its declaration. One process owns it; one community is worked on at a time
    by one task, independent communities and rooms in parallel."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        reader: RoomReader,
        executor: RoomExecutor,
        jobs: Jobs,
        wake: Callable[[], None],
        setting: Setting,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._database = database
        self._reader = reader
        self._executor = executor
        self._jobs = jobs
        self._wake = wake
        self._clock = clock
        self.setting = setting
        self.rules = rules
        self.declared: dict[CommunityId, Community] = {}
        self.memory = Memory(database, index, clock)
        self._locks: dict[CommunityId, asyncio.Lock] = {}
        self._gate = asyncio.Semaphore(rules.parallel_rooms)

    def declare(self, communities: Iterable[Community]) -> None:
        """Take these declarations as the loaded ones."""
        self.declared = {community.id: community for community in communities}

    def _lock(self, community: CommunityId) -> asyncio.Lock:
        return self._locks.setdefault(community, asyncio.Lock())

    # --- looking ------------------------------------------------------------------------------------------------

    async def look(self, community: Community, *, fresh: bool = False) -> Look:
        """Compare desired and actual; changes nothing.

        Args:
            fresh: read every room from the homeserver, instead of the service's own copy where that is current.

        Raises:
            Unreachable, RateLimited: the homeserver cannot be asked.
        """
        known = await self.memory.known(community.id)
        rooms = await self._read(known, fresh=fresh)
        comparison = compare(community, known, rooms, self.setting)
        reasons = safety.reasons_against(comparison, rooms, self.setting.accounts, self.rules.thresholds)
        return Look(community, comparison, rooms, tuple(reasons))

    async def _read(self, known: Known, *, fresh: bool) -> dict[RoomKeyName, RoomState]:
        async def one(key: RoomKeyName, room_id: RoomId) -> tuple[RoomKeyName, RoomState | None]:
            try:
                async with self._gate:
                    return key, await self._reader.read(room_id, fresh=fresh)
            except (Forbidden, NotFound):
                return key, None

        found = await asyncio.gather(*(one(key, room_id) for key, room_id in sorted(known.rooms.items())))
        return {key: room for key, room in found if room is not None}

    # --- doing --------------------------------------------------------------------------------------------------

    async def apply(
        self,
        community: Community,
        *,
        force: bool = False,
        digest: str | None = None,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Outcome:
        """Carry out what a community needs, and look again until nothing is left.

        Args:
            force: carry out an unsafe plan too, and end a freeze.
            digest: refuse if the plan is no longer the one that was shown.

        Raises:
            Refused: the plan changed since it was shown.
        """
        async with self._lock(community.id):
            if force:
                await self._thaw(community.id)
                await self._forget_lost_rooms(community)
            look = await self.look(community, fresh=fresh)
            if digest is not None and look.plan.digest != digest:
                raise Refused(
                    "the plan is no longer the one that was shown",
                    where=str(community.id),
                    remedy="look at the plan again, and apply that",
                )
            if look.unsafe and not force:
                await self._settle_what_is_unchanged(look)
                return Outcome(
                    str(community.id),
                    blocked=look.plan.blocked,
                    unsafe=look.unsafe,
                    notes=look.plan.notes,
                )
            return await self._until_done(look, force=force, progress=progress)

    async def _settle_what_is_unchanged(self, look: Look) -> None:
        if look.plan.empty:
            await self._settle(look, frozenset(), frozenset())

    async def _until_done(self, look: Look, *, force: bool, progress: Progress | None) -> Outcome:
        done, failures = 0, list[Failure]()
        for round_number in range(ROUNDS):
            failures = await self._carry_out(look, progress)
            done += len(look.plan.actions) - len(failures)
            if look.plan.empty or failures:
                break
            if round_number + 1 < ROUNDS:
                look = await self.look(look.community)
                if look.unsafe and not force:
                    break
        return Outcome(str(look.community.id), done, tuple(failures), look.plan.blocked, notes=look.plan.notes)

    async def _carry_out(self, look: Look, progress: Progress | None) -> list[Failure]:
        community = look.community.id
        await self._adopt(look)
        work = Work(community, self.memory, self._executor, self.setting.accounts)
        failures: list[tuple[Action, Failure]] = []
        total, done = len(look.plan.actions), 0

        async def lane(actions: list[Action]) -> None:
            nonlocal done
            for action in actions:
                failure = await self._attempt(work, action)
                if failure is not None:
                    failures.append((action, failure))
                done += 1
                if progress is not None:
                    progress(done, total, f"{action.room}: {action.summary}")

        for phase in Phase:
            lanes: dict[RoomKeyName, list[Action]] = {}
            for action in look.plan.in_phase(phase):
                lanes.setdefault(action.room, []).append(action)
            await asyncio.gather(*(lane(actions) for actions in lanes.values()))
        failed_rooms = frozenset(str(action.room) for action, _ in failures)
        unfinished = frozenset(action.user for action, _ in failures if isinstance(action, Kick | Ban))
        if not failures or any(not isinstance(action, SetState) for action, _ in failures):
            await self._settle(look, failed_rooms, unfinished)
        await self._count_fights(look)
        return [failure for _, failure in failures]

    async def _attempt(self, work: Work, action: Action) -> Failure | None:
        try:
            async with self._gate:
                await work.do(action)
        except (MatrixError, Refused) as error:
            log.warning("%s: %s: %s", action.room, action.summary, error.what)
            return Failure(str(action.room), action.summary, error.what)
        return None

    async def _adopt(self, look: Look) -> None:
        """Remember what the plan takes over from people, and the roles, before any room is written."""
        after = look.comparison.known
        roles = {user: role for user, role in look.comparison.roles.items() if role >= Role.ADMIN}
        await self.memory.update(look.community.id, lambda known: replace(known, roles=roles, profile=after.profile))
        await self.memory.kinds_follow(look.community)
        for action in look.plan.in_phase(Phase.ADOPT):
            if isinstance(action, AdoptRole):
                text = texts.role_taken_over(action.user, action.role.word, action.by)
                await self.tell_admins(look.community.id, text, key=digest_of([text, self._clock.now_ms()]))

    async def _settle(self, look: Look, failed_rooms: frozenset[str], unfinished: frozenset[UserId]) -> None:
        community = look.community
        steps = (
            settled(community, look.comparison, failed_rooms),
            present_as_invited(community, look.rooms),
            names_remembered(community, unfinished),
            self._forgiven(look, unfinished),
        )

        def change(known: Known) -> Known:
            for step in steps:
                known = step(known)
            return known

        await self.memory.update(community.id, change)
        async with self._database.transaction() as tx:
            await store.set_in_force(tx, community.id, declarations.to_json(community))
            await store.set_held(tx, community.id, None)
            await store.set_reconciled(tx, community.id, self._clock.now_ms())

    def _forgiven(self, look: Look, unfinished: frozenset[UserId]) -> Callable[[Known], Known]:
        """Whom the declaration removed may be named, and so invited, again later."""
        removed = {
            action.user
            for action in look.plan.actions
            if isinstance(action, Kick) and action.cause is Cause.DECLARED and action.room == SPACE
        } - unfinished

        def change(known: Known) -> Known:
            return replace(known, invited=frozenset(entry for entry in known.invited if entry[1] not in removed))

        return change

    # --- fights -------------------------------------------------------------------------------------------------

    async def _count_fights(self, look: Look) -> None:
        for action in look.plan.actions:
            if not isinstance(action, SetState | Link) or action.cause is not Cause.DRIFT:
                continue
            profile = isinstance(action, SetState) and action.type in PROFILE_TYPES
            aspect = action.type if profile else store.LEVELS
            async with self._database.transaction() as tx:
                now = self._clock.now_ms()
                count = await store.note_heal(
                    tx, look.community.id, action.room, aspect, now, self.rules.freeze_window_ms
                )
                await store.record(
                    tx, now, look.community.id, _room_id(look, action.room), "steward", "healed", action.summary
                )
            if count > self.rules.freeze_after:
                await self._freeze(look, action.room, aspect)

    async def _freeze(self, look: Look, room: RoomKeyName, aspect: str) -> None:
        known = await self.memory.known(look.community.id)
        if (aspect == store.LEVELS and room in known.frozen) or (room, aspect) in known.yielded:
            return
        async with self._database.transaction() as tx:
            await store.freeze(tx, look.community.id, room, aspect, self._clock.now_ms())
        self.memory.forget_at_hand(look.community.id)
        name = _shown_name(look, room)
        if aspect == store.LEVELS:
            owners = [user for user, role in look.comparison.roles.items() if role is Role.OWNER]
            text = texts.frozen(name, look.community.id, owners)
        else:
            text = texts.fight_over_profile(name, _PROFILE_WORDS[aspect])
        await self.tell_admins(look.community.id, text, key=digest_of([text, self._clock.now_ms()]))

    async def thaw(self, community: CommunityId) -> None:
        """End the freezes of a community, by an owner's word."""
        async with self._lock(community):
            await self._thaw(community)

    async def _thaw(self, community: CommunityId) -> None:
        async with self._database.transaction() as tx:
            await store.thaw(tx, community)
        self.memory.forget_at_hand(community)

    async def _forget_lost_rooms(self, community: Community) -> None:
        """With force, rooms that cannot be read any more are forgotten, and made anew."""
        known = await self.memory.known(community.id)
        rooms = await self._read(known, fresh=True)
        lost = [key for key in known.rooms if key not in rooms]
        if not lost:
            return
        async with self._database.transaction() as tx:
            for key in lost:
                await store.forget_room(tx, community.id, key)
        self.memory.forget_at_hand(community.id)

    # --- by itself ----------------------------------------------------------------------------------------------

    async def reconcile(self, community_id: CommunityId, *, fresh: bool = False) -> Outcome:
        """One pass by itself: carry out what is safe; hold what is not, and go on enforcing what is in force."""
        community = self.declared[community_id]
        outcome = await self.apply(community, fresh=fresh)
        if outcome.unsafe:
            await self._hold(community)
            await self._enforce_what_is_in_force(community)
        await self._report(community_id, outcome)
        return outcome

    async def _hold(self, community: Community) -> None:
        look = await self.look(community)
        async with self._database.transaction() as tx:
            before = (await store.community_record(tx, community.id)).held_digest
            if before != look.plan.digest:
                await store.set_held(tx, community.id, look.plan.digest)
        if before != look.plan.digest:
            log.warning("%s: plan %s is held: %s", community.id, look.plan.digest, "; ".join(look.unsafe))
            text = texts.plan_held(look.plan.digest, look.unsafe, community.id)
            await self.tell_admins(community.id, text, key=f"held-{look.plan.digest}")

    async def _enforce_what_is_in_force(self, community: Community) -> None:
        """Heal by the declaration that was last applied; of a plan that would be unsafe even so, only what protects."""
        async with self._lock(community.id):
            async with self._database.transaction() as tx:
                text = (await store.community_record(tx, community.id)).in_force
            look = await self.look(community if text is None else declarations.from_json(text))
            if look.unsafe:
                foreign = {key for key, room in look.rooms.items() if room.marker != (str(community.id), key)}
                protective = tuple(
                    action
                    for action in look.plan.actions
                    if isinstance(action, SetState) and action.room not in foreign and action.type != _LEVELS
                )
                look = replace(look, comparison=replace(look.comparison, plan=replace(look.plan, actions=protective)))
            work = Work(community.id, self.memory, self._executor, self.setting.accounts)
            for action in look.plan.actions:
                await self._attempt(work, action)
            await self._count_fights(look)

    async def _report(self, community: CommunityId, outcome: Outcome) -> None:
        """Tell the admins, once each, what they should know and what cannot be mended."""
        lines = [*outcome.notes, *(f"{item.room}: {item.reason}" for item in outcome.blocked)]
        reports = {digest_of(line): line for line in lines}
        async with self._database.transaction() as tx:
            fresh = await store.new_reports(tx, community, reports, self._clock.now_ms())
        if fresh:
            text = "\n".join(f"- {line}" for line in fresh)
            await self.tell_admins(community, text, key=digest_of([text, self._clock.now_ms()]))

    async def tell_admins(self, community: CommunityId, text: str, *, key: str) -> None:
        """Say something in the control room, if there is one yet; `key` makes it once."""
        known = await self.memory.known(community)
        room_id = known.rooms.get(CONTROL)
        if room_id is None:
            return
        job = SendMessage(room_id, {"msgtype": "m.notice", "body": text, "m.mentions": {}})
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, f"tell-{community}-{key}", room_id, job, self._clock.now_ms())
        self._wake()

    # --- an owner's word ----------------------------------------------------------------------------------------

    async def held(self, community: CommunityId) -> str | None:
        """The digest of the plan that waits for an owner's word."""
        async with self._database.transaction() as tx:
            return (await store.community_record(tx, community)).held_digest

    async def agree(self, community: CommunityId, digest: str) -> Outcome:
        """Carry out the held plan of that digest, by an owner's word."""
        return await self.apply(self.declared[community], force=True, digest=digest)

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        """Somebody's role as it is in force; None for who is not of the community."""
        known = await self.memory.known(community)
        role = known.roles.get(user)
        space_id = known.rooms.get(SPACE)
        if space_id is None:
            return None
        here = (await self._reader.read(space_id)).members.get(user)
        if here is None or here.state != "join":
            return None
        return role or Role.MEMBER

    async def announcement_room(self, community: CommunityId) -> RoomId | None:
        return (await self.memory.known(community)).rooms.get(ANNOUNCEMENTS)

    async def status(self, community: Community) -> dict[str, Any]:
        """The documented JSON of one community in `status`."""
        look = await self.look(community)
        known = look.comparison.known
        async with self._database.transaction() as tx:
            record = await store.community_record(tx, community.id)
        drift = [f"{action.room}: {action.summary}" for action in look.plan.actions]
        drift += [f"{item.room}: blocked: {item.reason}" for item in look.plan.blocked]
        drift += [f"{key}: locked after a fight" for key in sorted(known.frozen)]
        return {
            "id": community.id,
            "name": _space_name(look) or community.name or community.id,
            "space": known.rooms.get(SPACE),
            "rooms": [
                {
                    "key": key,
                    "kind": room.kind.value,
                    "room_id": known.rooms.get(key),
                    "encrypted": key in look.rooms and look.rooms[key].content("m.room.encryption") is not None,
                }
                for key, room in look.comparison.desired.items()
                if key != SPACE
            ],
            "members": _count_roles(look, self.setting.accounts.both, known),
            "drift": drift,
            "held": record.held_digest,
            "last_reconcile": record.last_reconcile,
        }


_LEVELS = "m.room.power_levels"
_PROFILE_WORDS = {"m.room.name": "the name", "m.room.topic": "the description", "m.room.avatar": "the picture"}


def _room_id(look: Look, key: RoomKeyName) -> str:
    room = look.rooms.get(key)
    return "" if room is None else room.room_id


def _shown_name(look: Look, key: RoomKeyName) -> str:
    room = look.comparison.desired.get(key)
    name = None if room is None else (room.state.get(("m.room.name", "")) or {}).get("name")
    return name if isinstance(name, str) else str(key)


def _space_name(look: Look) -> str | None:
    return _shown_name(look, SPACE)


def _count_roles(look: Look, ours: frozenset[str], known: Known) -> dict[str, int]:
    counts = {role.word: 0 for role in sorted(Role, reverse=True)}
    space = look.rooms.get(SPACE)
    if space is None:
        return counts
    moderators = {user for group in look.community.groups for user in (group.moderators or ())}
    for users in known.moderators.values():
        moderators |= users
    for user, here in space.members.items():
        if here.state != "join" or user in ours:
            continue
        role = look.comparison.roles.get(user, Role.MODERATOR if user in moderators else Role.MEMBER)
        counts[role.word] += 1
    return counts
