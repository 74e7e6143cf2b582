"""The reconciler: looks, plans, holds what is unsafe, and does the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from bridge.core import texts
from bridge.core.community import ANNOUNCEMENTS, DISCUSSION, SPACE, Community, Role
from bridge.core.errors import Forbidden, MatrixError, NotFound, RateLimited, Refused, ServerAway, Unreachable
from bridge.core.groups import OwnGroup, effective
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import EN, Language
from bridge.core.profile import Aspect
from bridge.core.profile import with_own as with_settings
from bridge.core.subcommunities import OwnCommunity, with_own
from bridge.features.reconcile.arrivals import Arrivals
from bridge.features.reconcile.fights import Fights
from bridge.features.reconcile.kinship import Kinship
from bridge.features.reconcile.look import Look, Rest
from bridge.features.reconcile.memory import Memory, followed, settled, settled_of_few
from bridge.features.reconcile.notices import Notices
from bridge.features.reconcile.outcome import Failure, Outcome, Progress
from bridge.features.reconcile.rules import Rules
from bridge.features.reconcile.standing import standing
from bridge.features.reconcile.upgrades import Followed, Upgrades
from bridge.features.reconcile.work import Work
from bridge.plan import few, safety
from bridge.plan.actions import Action, AdoptRole, Ban, Kick, Phase, Plan, SetState
from bridge.plan.adoption import JUDGED
from bridge.plan.desired import Setting, has_announcer, name_of
from bridge.plan.diff import compare
from bridge.plan.kin import Kin
from bridge.plan.people import ABSENT
from bridge.plan.state import Known, RoomState, digest_of
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import communities as store
from bridge.store import deactivations, declarations, profile
from bridge.store import groups as own_groups
from bridge.store import subcommunities as own_communities
from bridge.store.database import Database
from bridge.store.deactivations import Deactivation
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

T = TypeVar("T")

ROUNDS = 4
"""Applying looks again after it has worked, until nothing is left; a room that is new needs two looks."""


class Reconciler:
    """Brings every declared community to its declaration.

    One process owns it. A community is worked on by one task at a time; communities, and rooms within one, in parallel.
    """

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
        self._clock = clock
        self.setting = setting
        self.rules = rules
        self.declared: dict[CommunityId, Community] = {}
        """The communities as the file declares them, with what people set and the groups that they made; without those
        that were deactivated."""
        self.deactivated: dict[CommunityId, Deactivation] = {}
        """Communities that were deactivated: nothing is done about their rooms any more."""
        self._loaded: tuple[Community, ...] = ()
        self._own: dict[CommunityId, list[OwnGroup]] = {}
        self._set: dict[CommunityId, dict[Aspect, str]] = {}
        self._own_communities: list[OwnCommunity] = []
        self.memory = Memory(database, index, clock)
        self.kinship = Kinship(memory=self.memory, reader=reader, index=index, accounts=setting.accounts)
        self.memory.lacking_above = self.kinship.lacking_above
        self.notices = Notices(database=database, memory=self.memory, jobs=jobs, wake=wake, clock=clock)
        self._fights = Fights(database=database, memory=self.memory, notices=self.notices, clock=clock)
        self._upgrades = Upgrades(
            memory=self.memory,
            index=index,
            reader=reader,
            executor=executor,
            notices=self.notices,
            accounts=setting.accounts,
            clock=clock,
        )
        self.left_behind: set[CommunityId] = set()
        """Communities with groups that moved to rooms in which the steward cannot follow them yet."""
        self._refused: dict[CommunityId, list[tuple[Action, Failure]]] = {}
        """What the homeserver refused in the last pass, and will refuse again, or not be asked for so soon: tried again
        when everything is read."""
        self._rest: dict[CommunityId, Rest] = {}
        """Communities in which the last whole look left nothing to do."""
        self._locks: dict[CommunityId, asyncio.Lock] = {}
        self._gate = asyncio.Semaphore(rules.parallel_rooms)
        self.arrivals = Arrivals(
            memory=self.memory,
            reader=reader,
            executor=executor,
            accounts=setting.accounts,
            declared=lambda community: self.declared.get(community),  # noqa: PLW0108 - they may be declared anew
            above=self.kinship.above,
        )

    def tell_whom(self, look_again: Callable[[CommunityId], None]) -> None:
        """Say who has a community looked at again, when those above or below it changed."""
        self.kinship.look_again = look_again
        self.memory.look_again = look_again

    def use(self, rules: Rules) -> None:
        """Follow other settings from now on."""
        self.rules = rules
        self._gate = asyncio.Semaphore(rules.parallel_rooms)

    def declare(self, communities: Iterable[Community]) -> None:
        """Take these declarations as the loaded ones."""
        self._rest.clear()
        self._loaded = tuple(communities)
        every = self.effective_all(self._loaded)
        self.declared = {name: community for name, community in every.items() if name not in self.deactivated}
        self.kinship.declare(self.declared)

    def effective(self, community: Community) -> Community:
        """A declaration with what people set and the groups that they made."""
        return with_settings(effective(community, self._own.get(community.id, ())), self._set.get(community.id, {}))

    def _without_moved(self, community: Community) -> Community:
        """Without the groups that people made and have moved elsewhere while a pass waited for its turn: else it would
        make their rooms once more."""
        own = {one.key for one in self._own.get(community.id, ())}
        groups = tuple(group for group in community.groups if not group.own or group.key in own)
        return community if groups == community.groups else replace(community, groups=groups)

    async def read_profile(self) -> None:
        """Read anew what people set, and which communities are deactivated, after something of that was stored."""
        async with self._database.transaction() as tx:
            self._set = await profile.load_all(tx)
            self.deactivated = await deactivations.load_all(tx)
        self.declare(self._loaded)

    def within(self, community: CommunityId) -> list[CommunityId]:
        """The communities that stand within one."""
        return [one.id for one in self.declared.values() if one.parent == community]

    def stood_in(self, community: CommunityId) -> CommunityId | None:
        """The community within which one stands, deactivated or not; None where it stands alone."""
        found = self.effective_all(self._loaded).get(community)
        return None if found is None else found.parent

    def ended_but_declared(self) -> list[Deactivation]:
        """Deactivated communities that the file still declares."""
        return [self.deactivated[name] for name in self.effective_all(self._loaded) if name in self.deactivated]

    def effective_all(self, communities: Iterable[Community]) -> dict[CommunityId, Community]:
        """Declarations with what people made: all communities that there are to be, by id."""
        every = with_own({community.id: community for community in communities}, self._own_communities)
        return {name: self.effective(community) for name, community in every.items()}

    async def read_groups(self) -> None:
        """Read anew which groups and communities people made, after something of that was stored."""
        async with self._database.transaction() as tx:
            self._own = await own_groups.load_all(tx)
            self._own_communities = await own_communities.load_all(tx)
        self.declare(self._loaded)

    def lock_of(self, community: CommunityId) -> asyncio.Lock:
        """Held by whoever works on a community's rooms."""
        return self._lock(community)

    def _lock(self, community: CommunityId) -> asyncio.Lock:
        return self._locks.setdefault(community, asyncio.Lock())

    # --- looking ------------------------------------------------------------------------------------------------

    async def look(
        self,
        community: Community,
        *,
        fresh: bool = False,
        remake: bool = False,
        declared: Mapping[CommunityId, Community] | None = None,
    ) -> Look:
        """Compare desired and actual; changes nothing.

        Args:
            fresh: read every room from the homeserver, instead of the service's own copy where that is current.
            remake: plan rooms that cannot be read any more as if they had never been made.
            declared: all declarations, where they are not the loaded ones.

        Raises:
            Unreachable, RateLimited: the homeserver cannot be asked.
        """
        known = await self.memory.known(community.id)
        readings = self._readings(known)
        rooms = await self._read(known, fresh=fresh)
        if remake:
            known = replace(known, rooms={key: room_id for key, room_id in known.rooms.items() if key in rooms})
        kin = await self.kinship.kin_of(community, declared, rooms.get(SPACE))
        return replace(self._compared(community, known, rooms, kin), readings=readings)

    async def look_as_if(
        self, community: Community, bring: Callable[[Known, Mapping[RoomKeyName, RoomState]], Known], room: RoomState
    ) -> tuple[Plan, Mapping[RoomKeyName, RoomState]]:
        """What would have to change if one room more were remembered as the community's, as `bring` puts it there; and
        the rooms that it has."""
        before = await self.memory.known(community.id)
        rooms = await self._read(before, fresh=False)
        known = bring(before, rooms)
        more = {key: room for key, room_id in known.rooms.items() if room_id == room.room_id}
        kin = await self.kinship.kin_of(community, None, rooms.get(SPACE))
        return self._compared(community, known, {**rooms, **more}, kin).plan, rooms

    def _compared(self, community: Community, known: Known, rooms: dict[RoomKeyName, RoomState], kin: Kin) -> Look:
        comparison = compare(community, known, rooms, self.setting, kin)
        reasons = safety.reasons_against(comparison, rooms, self.setting.accounts, self.rules.thresholds)
        return Look(community, known, comparison, rooms, tuple(reasons))

    def _readings(self, known: Known) -> dict[RoomId, int]:
        return {room_id: self._reader.readings(room_id) for room_id in known.rooms.values()}

    async def _read(self, known: Known, *, fresh: bool) -> dict[RoomKeyName, RoomState]:
        async def one(key: RoomKeyName, room_id: RoomId) -> tuple[RoomKeyName, RoomState | None]:
            try:
                async with self._gate:
                    return key, await self._reader.read(room_id, fresh=fresh)
            except (Forbidden, NotFound):
                return key, None

        found = await side_by_side(one(key, room_id) for key, room_id in sorted(known.rooms.items()))
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
        remake: bool = False,
        try_all: bool = True,
    ) -> Outcome:
        """Carry out what a community needs, and look again until nothing is left.

        Args:
            force: carry out an unsafe plan too, and end a freeze.
            digest: refuse if the plan is no longer the one that was shown.
            try_all: try again also what was refused for good in the pass before.
            remake: forget rooms that cannot be read any more, and make them anew.

        Raises:
            Refused: the plan changed since it was shown.
        """
        async with self._lock(community.id):
            self._rest.pop(community.id, None)
            if community.id in self.deactivated:  # while it waited for the lock
                return Outcome(str(community.id))
            community = self._without_moved(community)
            await self.kinship.follow_move(community)
            look = await self.look(community, fresh=fresh, remake=remake)
            if digest is not None and look.plan.digest != digest:
                raise Refused(
                    "the plan is no longer the one that was shown",
                    where=str(community.id),
                    remedy="look at the plan again, and apply that",
                )
            look, kept = await self._follow(look)
            if look.unsafe and not force:
                outcome = Outcome(
                    str(community.id), blocked=look.plan.blocked, unsafe=look.unsafe, notes=look.plan.notes
                )
                return _with_kept(outcome, kept)
            if remake:
                await self._forget_lost_rooms(community)
            if force and await self._fights.thaw(community.id):
                look = await self.look(community)
            if try_all:
                self._refused.pop(community.id, None)
            outcome = _with_kept(await self._until_done(look, force=force, progress=progress), kept)
        await self.kinship.looked_at(community.id)
        return outcome

    async def _follow(self, look: Look) -> tuple[Look, Followed]:
        """Follow groups to the rooms that replace theirs; gives the look of then, and what keeps the others."""
        kept = Followed()
        for _ in range(ROUNDS):  # the new room may be replaced already
            if not look.comparison.upgrades:
                break
            kept = await self._upgrades.follow(look)
            if not kept.done:
                break
            look = await self.look(look.community)
        (self.left_behind.add if kept.blocked else self.left_behind.discard)(look.community.id)
        return look, kept

    async def _until_done(self, look: Look, *, force: bool, progress: Progress | None) -> Outcome:
        done, unsafe = 0, tuple[str, ...]()
        planned = _Actions(look.plan.actions)
        now = self._clock.now_ms()
        failures = [
            (action, why)
            for action, why in self._refused.get(look.community.id, [])
            if action in planned and not 0 < why.not_before <= now
        ]
        await self._drop_leftover_aliases(look.community.id)
        for round_number in range(ROUNDS):
            tried = _without(look, [action for action, _ in failures])
            failed = await self._carry_out(look, tried, failures, progress)
            done += len(tried.plan.actions) - len(failed)
            failures += failed
            if tried.plan.empty or round_number + 1 == ROUNDS:
                break
            look = await self.look(look.community)
            if look.unsafe and not force:
                unsafe = look.unsafe
                break
        self._refused[look.community.id] = [
            (action, failure)
            for action, failure in failures
            if (not failure.passes or failure.not_before) and action.phase in _ADDING
        ]
        why = tuple(failure for _, failure in failures)
        if tried.plan.empty and not why and not unsafe:
            self._rest[look.community.id] = Rest(look.readings, look.told)
        return Outcome(str(look.community.id), done, why, look.plan.blocked, unsafe, look.plan.notes)

    async def _drop_leftover_aliases(self, community: CommunityId) -> None:
        """What a kill between recording a room and dropping its alias left."""
        work = Work(community, self.memory, self._executor, self.setting.accounts)
        for key, alias in (await self.memory.leftover_aliases(community)).items():
            try:
                await work.drop_alias(key, alias)
            except MatrixError as error:  # the room works all the same, and the next pass tries again
                log.warning("%s: the alias %s stays for now: %s", community, alias, error.what)

    async def _carry_out(
        self, look: Look, tried: Look, before: list[tuple[Action, Failure]], progress: Progress | None
    ) -> list[tuple[Action, Failure]]:
        """Do one round, without what failed in the rounds before; gives what failed in this one."""
        await self._adopt(look)
        failures = await self._work(tried, progress)
        await self._settle(look, [action for action, _ in (*before, *failures)])
        await self._fights.count(tried, self.rules, [action for action, _ in failures])
        return failures

    async def _work(self, look: Look, progress: Progress | None = None) -> list[tuple[Action, Failure]]:
        """Do the actions: phase after phase, rooms in parallel, one after the other within a room."""
        work = Work(look.community.id, self.memory, self._executor, self.setting.accounts, look.known.bidden)
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
            await side_by_side(lane(actions) for actions in lanes.values())
        return failures

    async def _attempt(self, work: Work, action: Action) -> Failure | None:
        try:
            async with self._gate:
                await work.do(action)
        except (MatrixError, Refused) as error:
            log.warning("%s: %s: %s", action.room, action.summary, error.what)
            asked = error.seconds if isinstance(error, RateLimited | ServerAway) else 0.0
            not_before = self._clock.now_ms() + int(asked * 1000) if asked else 0
            passes = isinstance(error, MatrixError) and error.retry_helps
            elsewhere = isinstance(error, ServerAway)
            return Failure(str(action.room), action.summary, error.what, passes, not_before, elsewhere)
        return None

    async def _adopt(self, look: Look) -> None:
        """Remember what the plan takes over from people, and the roles, before any room is written."""
        before, after = look.known, look.comparison.known
        judged = {place: digest for place, digest in after.settled.items() if place == JUDGED}

        def take_over(known: Known) -> Known:
            return replace(
                known,
                roles=followed(known.roles, before.roles, after.roles),
                profile=followed(known.profile, before.profile, after.profile),
                settled={**known.settled, **judged},
            )

        await self._tell_of_refused_roles(look)
        await self.memory.update(look.community.id, take_over)
        await self.memory.kinds_follow(look.community)
        await self._tell_of_roles(look)

    async def _tell_of_refused_roles(self, look: Look) -> None:
        """Tell which roles are put back that an owner gave in the space, and which key of the file decides."""
        community = look.community
        for one in look.comparison.refused_roles:
            key = f"communities.{community.id}.{one.key}"
            text = texts.role_put_back(one.user, one.wanted, one.by, key, community.language)
            await self.notices.tell(community.id, text, key=f"role-{digest_of([one.event_id, one.user])}")

    async def _tell_of_roles(self, look: Look) -> None:
        """Tell which roles were taken over from people, and if the fallback owner had to step in."""
        community, adopted = look.community, set()
        for action in look.plan.in_phase(Phase.ADOPT):
            if isinstance(action, AdoptRole):
                adopted.add(action.user)
                text = texts.role_taken_over(action.user, action.role, action.by, community.language)
                await self.notices.tell(community.id, text)
        fallback, now = community.fallback_owner, look.comparison.known.roles
        if fallback is None or fallback in adopted or now.get(fallback) is not Role.OWNER:
            return
        if look.known.roles.get(fallback) is not Role.OWNER:
            log.warning("%s: every owner is gone, so %s is owner now", community.id, fallback)
            await self.notices.tell(community.id, texts.fallback_owner(fallback, community.language))

    async def _settle(self, look: Look, failed: list[Action]) -> None:
        """Remember what is in force now, but for what failed."""
        community = look.community
        await self.memory.update(community.id, settled(look, failed))
        async with self._database.transaction() as tx:
            await store.set_in_force(tx, community.id, declarations.to_json(community))
            await store.set_held(tx, community.id, None)
            await store.set_reconciled(tx, community.id, self._clock.now_ms())

    async def _forget_lost_rooms(self, community: Community) -> None:
        known = await self.memory.known(community.id)
        rooms = await self._read(known, fresh=True)
        lost = {key: room_id for key, room_id in known.rooms.items() if key not in rooms}
        await self.memory.forget_rooms(community.id, lost)

    async def thaw(self, community: CommunityId) -> None:
        """End the freezes of a community, by an owner's word."""
        async with self._lock(community):
            await self._fights.thaw(community)

    # --- by itself ----------------------------------------------------------------------------------------------

    async def reconcile(self, community_id: CommunityId, *, fresh: bool = False) -> Outcome:
        """One pass by itself: carry out what is safe; hold what is not, and go on enforcing what is in force."""
        community = self.declared.get(community_id)
        if community is None:  # it was deactivated, or taken out of the file, a moment ago
            return Outcome(str(community_id))
        outcome = await self.apply(community, fresh=fresh, try_all=fresh)
        if outcome.unsafe:
            failures = await self._enforce_what_is_in_force(community)
            await self._hold(community)
            outcome = replace(outcome, failures=(*outcome.failures, *failures))
        blocked = (f"{item.room}: {item.reason}" for item in outcome.blocked)
        refused = (failure.line for failure in outcome.failures if not failure.passes)
        await self.notices.report(community_id, [*outcome.notes, *blocked, *refused])
        return outcome

    async def follow(self, community_id: CommunityId, users: frozenset[UserId]) -> Outcome | None:
        """Do what follows from what a few people did, at the same cost however many others there are.

        Returns:
            None where the whole community has to be looked at: somebody with a say is among them, the last whole look
            left something to do, rooms were read anew since, there is more to do than to follow, or that failed.
        """
        async with self._lock(community_id):
            done = 0
            for _ in range(ROUNDS):
                look = await self._look_at_few(community_id, users)
                if look is None:
                    return None
                if await self._work(look):  # a whole pass tries it again, tells of it, and remembers what was refused
                    self._rest.pop(community_id, None)
                    return None
                await self.memory.update(community_id, settled_of_few(look))
                done += len(look.plan.actions)
                if look.plan.empty:
                    return Outcome(str(community_id), done)
        return None

    async def _look_at_few(self, community_id: CommunityId, users: frozenset[UserId]) -> Look | None:
        rest, community = self._rest.get(community_id), self.declared.get(community_id)
        if rest is None or community is None or self._refused.get(community_id):
            return None
        if len(self.kinship.related(community_id)) > 1:  # what one does there concerns others, too
            return None
        known, accounts = await self.memory.known(community_id), self.setting.accounts
        found = {key: self._reader.peek(room_id) for key, room_id in known.rooms.items()}
        rooms = {key: room for key, room in found.items() if room is not None}
        if len(rooms) < len(found) or rest.readings != self._readings(known):
            return None
        with_a_say = few.people_with_a_say(community, known, rooms, accounts)
        if users & with_a_say:
            return None
        small, memory, seen = few.narrowed(community, known, rooms, users | with_a_say)
        if few.is_dropped(small, memory):
            return None
        comparison = compare(small, memory, seen, self.setting)
        reasons = safety.reasons_against(comparison, seen, accounts, self.rules.thresholds)
        look = Look(small, memory, comparison, seen, tuple(reasons), rest.readings)
        follows = few.concerns_only(look.plan.actions, users) and look.told <= rest.told
        return look if follows and not look.unsafe and not comparison.upgrades else None

    async def _hold(self, community: Community) -> None:
        """Keep the plan for an owner's word, without the drift that was healed meanwhile: its digest stays the same."""
        look = await self.look(community)
        if not look.unsafe:
            return
        room_id = await self.notices.room_of(community.id)
        async with self._database.transaction() as tx:
            before = (await store.community_record(tx, community.id)).held_digest
            if before != look.plan.digest:
                await store.set_held(tx, community.id, look.plan.digest)
                owners = [user for user, role in look.known.roles.items() if role is Role.OWNER]
                text = texts.plan_held(look.plan.digest, look.unsafe, community.id, owners, community.language)
                await self.notices.add(tx, community.id, room_id, text, called=owners)
        if before != look.plan.digest:
            log.warning("%s: plan %s is held: %s", community.id, look.plan.digest, "; ".join(look.unsafe))
            self.notices.wake()

    async def _enforce_what_is_in_force(self, community: Community) -> list[Failure]:
        """Heal by the declaration that was last applied; of a plan that would be unsafe even so, only what protects."""
        async with self._lock(community.id):
            if community.id in self.deactivated:
                return []
            look = await self.look(await self._in_force(community.id) or community)
            if look.unsafe:
                look = _only_what_protects(look)
            else:
                await self._adopt(look)
            failures = await self._work(look)
            if await self._fights.count(look, self.rules, [action for action, _ in failures]):
                locked = await self.look(look.community)
                await self._work(_only_what_protects(locked) if locked.unsafe else locked)
            return [failure for _, failure in failures]

    def seconds_until(self, failures: Iterable[Failure]) -> float | None:
        """How long to wait at least before what passes is tried again; None where nothing of it passes."""
        passing = [failure for failure in failures if failure.passes]
        if not passing:
            return None
        ours = [failure.not_before for failure in passing if not failure.elsewhere]
        due = max(ours) if ours else min(failure.not_before for failure in passing)
        return max(0.0, (due - self._clock.now_ms()) / 1000)

    # --- an owner's word ----------------------------------------------------------------------------------------

    async def held(self, community: CommunityId) -> str | None:
        """The digest of the plan that waits for an owner's word."""
        async with self._database.transaction() as tx:
            return (await store.community_record(tx, community)).held_digest

    async def agree(self, community: CommunityId, digest: str) -> Outcome:
        """Carry out the held plan of that digest, by an owner's word."""
        return await self.apply(self.declared[community], force=True, digest=digest)

    def language_of(self, community: CommunityId) -> Language:
        """In which a community is talked to."""
        declared = self.declared.get(community)
        if declared is None:  # people are told in their language also how a community ends
            declared = self.effective_all(self._loaded).get(community)
        return EN if declared is None else declared.language

    async def name_of(self, community: CommunityId) -> str:
        """What people call a community; its id where it is not there any more."""
        declared = self.declared.get(community)
        return str(community) if declared is None else name_of(declared, await self.memory.known(community))

    async def language_for(self, user: UserId) -> Language:
        """In which somebody is talked to: that of the first community that they are in."""
        for community in self.declared:
            if await self.role_of(community, user) is not None:
                return self.language_of(community)
        return EN

    # --- asked by others ----------------------------------------------------------------------------------------

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        """Somebody's role as it is in force; None for who is not in the space, or where that cannot be read.

        Owners and admins of a community above are so here, whether they have entered the space or not.
        """
        roles = [await self._own_role_of(community, user)]
        for above in self.kinship.above(community):
            role = await self._own_role_of(above, user)
            roles.append(role if role is not None and role >= Role.ADMIN else None)
        return max((role for role in roles if role is not None), default=None)

    async def _own_role_of(self, community: CommunityId, user: UserId) -> Role | None:
        known = await self.memory.known(community)
        space_id = known.rooms.get(SPACE)
        if space_id is None:
            return None
        try:
            here = (await self._reader.read(space_id)).members.get(user)
        except (Forbidden, NotFound) as error:  # `plan` and the control room tell of it; other communities go on
            log.warning("%s: nobody has a role, since the space cannot be read: %s", community, error.what)
            return None
        if here is None or here.state != "join":
            return None
        return known.roles.get(user, Role.MEMBER)

    async def before_announcing(self, community_id: CommunityId, key: RoomKeyName = ANNOUNCEMENTS) -> bool:
        """See that nobody is in the announcement room, or a group, who is out of the community, as the homeserver has
        it now.

        Keys go to whoever is in the room. Somebody may have left the space, been removed from it or been taken out of
        the declaration while nothing ran or a moment ago; they are taken out of the room before an announcement is
        encrypted. It does not wait for a pass that is under way: removing somebody twice is once.

        Returns:
            Whether the look found anything to do. Rooms were read anew for it, so that what the homeserver pushes about
            them later is no news: a pass has to follow.

        Raises:
            Unreachable: somebody is still in the room who should not be; a later try may help.
            Refused: the same, and it does not pass.
        """
        community = self.declared.get(community_id)
        known = await self.memory.known(community_id)
        if community is None:
            return False
        for one in (SPACE, key):
            if one in known.rooms:
                self._reader.forget(known.rooms[one])
        self.kinship.forget_spaces_above(self.kinship.above(community_id))
        await self.kinship.follow_move(community)
        look = await self.look(community)
        if key in known.rooms and key not in look.rooms:
            raise Refused(
                f"{_shown_room(key)} cannot be read, so nobody can see who is in it",
                where=str(community_id),
                remedy="let a server admin make the steward join it again",
            )
        left = {removal.user: removal for removal in _due_removals(look, key)}
        if look.unsafe and (in_force := await self._in_force(community_id)) is not None:
            left |= {removal.user: removal for removal in _due_removals(await self.look(in_force), key)}
        if left:
            await self._remove_before_announcing(look, key, left)
        return not look.plan.empty

    async def _remove_before_announcing(self, look: Look, key: RoomKeyName, left: Mapping[UserId, Kick | Ban]) -> None:
        names = ", ".join(sorted(left))
        where = _shown_room(key)
        if not _is_ours(look, key):
            raise Refused(
                f"{names} should no longer be in {where}, which does not carry our mark: nobody is removed from it",
                where=str(look.community.id),
                remedy="remove them by hand, and announce again",
            )
        failures = await self._work(_with_actions(look, tuple(left.values())))
        if not failures:
            return
        names = ", ".join(sorted({action.user for action, _ in failures if isinstance(action, Kick | Ban)}))
        why = "; ".join(sorted({failure.why for _, failure in failures}))
        what = f"{names} should no longer be in {where}, and could not be removed: {why}"
        if any(failure.passes for _, failure in failures):
            raise Unreachable(what)
        raise Refused(what, where=str(look.community.id), remedy="remove them by hand, and announce again")

    async def _in_force(self, community: CommunityId) -> Community | None:
        """The declaration that was last carried out."""
        async with self._database.transaction() as tx:
            text = (await store.community_record(tx, community)).in_force
        return None if text is None else self.effective(declarations.from_json(text))

    async def announcement_room(self, community: CommunityId, key: RoomKeyName = ANNOUNCEMENTS) -> RoomId | None:
        """The room that a community's announcements go to, or the room of a group; None before it was made.

        Raises:
            Refused: it is locked after a fight.
        """
        known = await self.memory.known(community)
        if key in known.frozen:
            raise Refused(
                f"{_shown_room(key)} is locked after a dispute over its settings, so nobody can post there",
                where=str(community),
                remedy=f"an owner lifts the lock by writing `thaw {community}` to the announcer",
            )
        return known.rooms.get(key)

    def lets_announcer_in(self, community: CommunityId, key: RoomKeyName) -> bool:
        """Whether the announcer belongs in a room, as far as is known now."""
        declared = self.declared.get(community)
        return declared is not None and has_announcer(declared, self.memory.at_hand(community), key)

    async def status(self, community: Community) -> dict[str, Any]:
        """The documented JSON of one community in `status`."""
        async with self._database.transaction() as tx:
            record = await store.community_record(tx, community.id)
        if record.held_digest is not None and record.in_force is not None:
            community = self.effective(declarations.from_json(record.in_force))
        return standing(await self.look(community), record, self.setting.accounts)


def _with_kept(outcome: Outcome, kept: Followed) -> Outcome:
    """An outcome with what keeps groups from being followed into their new rooms."""
    return replace(outcome, blocked=(*outcome.blocked, *kept.blocked), failures=(*outcome.failures, *kept.failures))


def _shown_room(key: RoomKeyName) -> str:
    rooms = {ANNOUNCEMENTS: "the announcement room", DISCUSSION: "the discussion room"}
    return rooms.get(key, f"the group {key!r}")


def _due_removals(look: Look, key: RoomKeyName) -> list[Kick | Ban]:
    """Who has to go from a room before anything is announced in it.

    The declaration's removals wait for an owner's word while the plan is unsafe; but who is out of the space already is
    out of the community, whatever becomes of the plan.
    """
    space = look.rooms.get(SPACE)
    return [
        removal
        for removal in look.comparison.removals
        if removal.room == key
        and (
            not look.unsafe
            or removal.user in look.comparison.kin.outside
            or (space is not None and not space.members.get(removal.user, ABSENT).present)
        )
    ]


async def side_by_side(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do things at once, and come back only when all of them have ended; then the first error is raised."""
    results = await asyncio.gather(*work, return_exceptions=True)
    found: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found


_ADDING = frozenset({Phase.PROFILE, Phase.INVITE})
"""Phases that only add. What protects or removes is tried at every look, whatever came of it before."""


class _Actions:
    """Actions, to be found again by being the same. Their contents have no hash, and their words are no name."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self._by_words: dict[tuple[RoomKeyName, str], list[Action]] = {}
        for action in actions:
            self._by_words.setdefault((action.room, action.summary), []).append(action)

    def __contains__(self, action: Action) -> bool:
        return action in self._by_words.get((action.room, action.summary), ())


def _without(look: Look, failed: list[Action]) -> Look:
    """The look without what was tried before, and failed."""
    tried = _Actions(failed)
    return _with_actions(look, tuple(action for action in look.plan.actions if action not in tried))


def _with_actions(look: Look, actions: tuple[Action, ...]) -> Look:
    return replace(look, comparison=replace(look.comparison, plan=replace(look.plan, actions=actions)))


def _only_what_protects(look: Look) -> Look:
    """The part of an unsafe plan that may be done without a word: thresholds of our own rooms, and nobody's level."""
    protective = tuple(
        _with_levels_as_they_are(action, look)
        for action in look.plan.actions
        if isinstance(action, SetState) and (action.room not in look.rooms or _is_ours(look, action.room))
    )
    return _with_actions(look, protective)


def _is_ours(look: Look, key: RoomKeyName) -> bool:
    """Whether a room carries our mark, with its key, or was adopted by somebody's word."""
    room = look.rooms.get(key)
    return room is not None and (room.marker == (str(look.community.id), key) or key in look.known.adopted)


def _with_levels_as_they_are(action: SetState, look: Look) -> SetState:
    if action.type != "m.room.power_levels":
        return action
    users = look.rooms[action.room].power_levels.get("users", {})
    return replace(action, content={**action.content, "users": users})
