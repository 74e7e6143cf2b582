"""What can be asked of the house, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from bridge.app import checks
from bridge.app.about_people import AboutPeople
from bridge.app.about_person import AboutPerson
from bridge.app.announcing import AnnouncementDesk
from bridge.app.community import CommunityDesk
from bridge.app.groups import GroupDesk
from bridge.app.guard import Guard, Sight
from bridge.app.house import House
from bridge.app.links import LinkDesk
from bridge.app.rules import patience_of, reminders_of, rules_of, scheduling_of
from bridge.app.subcommunities import SubcommunityDesk
from bridge.config import Config, load
from bridge.core.announcement_templates import template_of
from bridge.core.announcements import EVERYBODY, Audience, Kind, Part, Target
from bridge.core.community import ANNOUNCEMENTS, Community, GroupsBy, Role
from bridge.core.errors import Refused
from bridge.core.groups import groups_to_ask_for
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.markup import plain
from bridge.core.messages import DeliverAnnouncement, Job, Said, SendMembers
from bridge.core.rendering import render
from bridge.features.deactivation import shown as ended_community
from bridge.features.reconcile import Outcome, Progress
from bridge.plan.desired import moderated_by
from bridge.plan.family import Family
from bridge.plan.render import as_json
from bridge.plan.state import digest_of
from bridge.store import shares
from bridge.store.deactivations import Deactivation
from bridge.store.jobs import StoredJob, Undecodable, decode
from bridge.web.metrics import Gauge
from bridge.worker import State

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 300.0
WATCH_SECONDS = 0.2

CODES = {"withheld": "m.unverified", "no_olm": "m.no_olm", "refused": "refused"}
"""Why a device has no key, by the state of its share: the codes of `m.room_key.withheld`, and one of ours."""


def _nobody(done: int, total: int, text: str) -> None:
    """Nobody wants to be told."""


MOST_PARKED = 1000
MOST_ROUNDS = 6
"""How often communities are applied again for what follows from one to another; what is left the service does."""


class Operations:
    """Implements `web.control.Operations` and `commands.deeds.Deeds`."""

    def __init__(self, house: House, guard: Guard | None = None) -> None:
        """
        Args:
            guard: who watches the service's accounts, where that runs.
        """
        self._house = house
        self._guard = guard
        self.links = LinkDesk(house)
        self.about_people = AboutPeople(house)
        self.about_person = AboutPerson(house, self.about_people)
        self.about_groups = GroupDesk(house)
        self.about_communities = CommunityDesk(house)
        self.about_subcommunities = SubcommunityDesk(house)
        self.about_announcements = AnnouncementDesk(house)
        self.ready = False
        """Whether the local door may be used: set when everything runs."""

    # --- commands of the operator -------------------------------------------------------------------------------

    async def plan(self, communities: Sequence[str], *, recreate: bool = False) -> dict[str, Any]:
        """Desired against actual, with the configuration file as it is now. Changes nothing."""
        config = load(self._house.config.path)
        declared = self._house.reconciler.effective_all(config.communities)
        chosen = self._chosen(config, declared, communities)
        looks = [await self._house.reconciler.look(one, remake=recreate, declared=declared) for one in chosen]
        return _together([as_json(look.plan, list(look.unsafe)) for look in looks]) | {
            "not_declared": self.not_declared(declared),
            "deactivated": [str(name) for name in declared if name in self._house.reconciler.deactivated],
        }

    def _chosen(
        self, config: Config, declared: Mapping[CommunityId, Community], communities: Sequence[str]
    ) -> list[Community]:
        """Communities of a configuration, each with those within it, and with what people made in them.

        Raises:
            Refused: one is not declared, was deactivated and is named, or has more groups than it may.
        """
        limit = config.limits.groups_per_community
        ended = self._house.reconciler.deactivated
        for name in communities:
            if name in ended:
                raise _deactivated(ended[CommunityId(name)])
        chosen = [one for one in _chosen(config, declared, communities) if one.id not in ended]
        for one in chosen:
            if len(one.groups) > limit:
                made = sum(group.own for group in one.groups)
                raise Refused(
                    f"has {len(one.groups)} groups, {made} of them made by people; "
                    f"limits.groups_per_community allows {limit}",
                    where=f"communities.{one.id}.groups",
                    remedy="raise the limit, or release some of them with `group release`",
                )
        return chosen

    def not_declared(self, declared: Iterable[CommunityId]) -> list[str]:
        """Communities that have rooms and are declared no longer; those that were deactivated have ended anyway."""
        here = {place.community for place in self._house.index.places.values()}
        return sorted(here - set(declared) - set(self._house.reconciler.deactivated))

    async def apply(
        self,
        communities: Sequence[str],
        *,
        force: bool,
        digest: str | None,
        progress: Progress,
        recreate: bool = False,
    ) -> dict[str, Any]:
        """Make the configuration file the loaded one, and carry the plan out."""
        config = load(self._house.config.path)
        declared = self._house.reconciler.effective_all(config.communities)
        chosen = self._chosen(config, declared, communities)
        looks = {one.id: await self._house.reconciler.look(one, remake=recreate, declared=declared) for one in chosen}
        if digest is not None and _together_digest([look.plan.digest for look in looks.values()]) != digest:
            raise Refused(
                "the plan is no longer the one that was shown", remedy="look at the plan again, and apply that"
            )
        self.take_over(config)
        if any(not look.plan.empty for look in looks.values()):
            await self._house.make_accounts()
        # what one community is given changes what those within it need: theirs were compared a moment ago, all at once
        shown = {
            name: look.plan.digest if digest is not None and look.community.parent is None else None
            for name, look in looks.items()
        }
        outcomes = {one.id: await self._apply_one(one, force, shown[one.id], recreate, progress) for one in chosen}
        await self._apply_to_kin(chosen, outcomes, force, progress)
        return {
            "communities": [outcome.as_json() for outcome in outcomes.values()],
            "ok": all(one.ok for one in outcomes.values()),
        }

    async def _apply_to_kin(
        self, chosen: Sequence[Community], outcomes: dict[CommunityId, Outcome], force: bool, progress: Progress
    ) -> None:
        """What follows in communities from those above and below them: a space is listed once it is there."""
        reconciler = self._house.reconciler
        for _ in range(MOST_ROUNDS):
            related = [one for one in chosen if len(reconciler.kinship.related(one.id)) > 1]
            rest = [one for one in related if outcomes[one.id].ok and not (await reconciler.look(one)).plan.empty]
            done = 0
            for one in rest:
                before = outcomes[one.id]
                after = await self._apply_one(one, force, None, False, progress)
                outcomes[one.id] = replace(after, done=before.done + after.done)
                done += after.done
            if not done:
                return

    async def _apply_one(
        self, community: Community, force: bool, digest: str | None, recreate: bool, progress: Progress
    ) -> Outcome:
        def told(done: int, total: int, text: str) -> None:
            progress(done, total, f"{community.id}/{text}")

        return await self._house.reconciler.apply(community, force=force, digest=digest, progress=told, remake=recreate)

    def take_over(self, config: Config) -> None:
        """Make a configuration the loaded one, as far as it can be changed while the service runs."""
        old = self._house.config
        fixed = (
            "homeserver",
            "listen",
            "registration",
            "accounts",
            "database",
            "encryption",
            "control",
            "join",
            "email",
            "logging",
        )
        for section in fixed:
            if getattr(old, section) != getattr(config, section):
                log.warning("%s: `%s` changed; restart the service for it", config.path, section)
        self._house.reconciler.use(rules_of(config))
        self._house.history = config.history
        self._house.draft_hours = config.announcements.draft_hours
        self._house.groups.limit = config.limits.groups_per_community
        self._house.newsroom.pins.most = config.limits.pins_per_room
        self._house.requests.patience = patience_of(config)
        self._house.newsroom.acknowledgements.reminders = reminders_of(config)
        self._house.newsroom.schedules.rules = scheduling_of(config)
        self._house.reconciler.declare(config.communities)

    async def announce(
        self,
        communities: Sequence[str],
        text: str,
        *,
        source: str,
        to: Sequence[str] = (),
        progress: Progress = _nobody,
        acknowledge: bool = False,
        ring: bool = False,
        template: str = "",
    ) -> dict[str, Any]:
        """Announce into communities, and wait until it is in their rooms, or failed.

        Args:
            text: in Markdown; with a template, what its fields are filled with.
            to: whom it is for, where that is not everybody: see `core/audience`. Then one community is named.
            progress: told how many of the devices that miss a room's key have been served.
            ring: whether everybody is notified, by `@room`.
            template: the name of one of the community's announcement templates; empty is none.
            acknowledge: whether everybody is asked to confirm it.
        """
        names = [self._declared(name) for name in communities]
        if template and len(names) != 1:
            raise Refused("a template is one community's", where="announce", remedy="name one community")
        if to and len(names) != 1:
            raise Refused("says whom it is for in one community", where="--to", remedy="name one community with it")
        if template:
            declared = self._house.reconciler.declared[names[0]]
            text = template_of(declared.announcement_templates, template).filled(text)
        audience = await self._house.newsroom.audiences.audience_of(names[0], None, to) if to else EVERYBODY
        kind = Kind.ACKNOWLEDGE if acknowledge else Kind.TEXT
        part = render(text, ring=ring)
        return await self._announce_and_wait(names, audience, part, kind, source=source, progress=progress)

    def _declared(self, name: str) -> CommunityId:
        """A community of the loaded configuration: an announcement does not wait for a file that is being edited."""
        declared = self._house.reconciler.declared
        if name in self._house.reconciler.deactivated:
            raise _deactivated(self._house.reconciler.deactivated[CommunityId(name)])
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise Refused(f"there is no community {name!r}", remedy=f"declared are: {known}")
        return CommunityId(name)

    async def _announce_and_wait(
        self,
        names: Sequence[CommunityId],
        audience: Audience,
        part: Part,
        kind: Kind,
        *,
        source: str,
        progress: Progress,
    ) -> dict[str, Any]:
        targets = await self._targets(names, audience)
        announcements = self._house.newsroom.announcements
        taken = await announcements.publish(
            source=source,
            author="operator",
            parts=[part],
            targets=targets,
            audience=audience,
            kind=kind,
        )
        rooms = [target.room_id for target in targets if target.room_id is not None]
        watching = asyncio.create_task(self._watch_keys(rooms, progress))
        try:
            deadline = self._house.clock.now_ms() / 1000 + DELIVERY_SECONDS
            for job_id in (target.job_of(taken) for target in targets):
                left = max(0.0, deadline - self._house.clock.now_ms() / 1000)
                outcome = await self._house.worker.wait_done(job_id, left)
                if outcome.state is State.WAITING:
                    log.warning("%s is still on its way: %s", job_id, outcome.reason)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        results = await announcements.outcomes(taken, targets)
        return {"targets": results, "ok": all(result.get("event_id") or _is_no_fault(result) for result in results)}

    async def _watch_keys(self, rooms: Sequence[RoomId], progress: Progress) -> None:
        told = (0, 0)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            under_way = [one for one in map(self._house.keys.progress, rooms) if one is not None]
            now = sum(one.done for one in under_way), sum(one.total for one in under_way)
            if under_way and now != told:
                progress(*now, "devices were given the key")
                told = now

    async def status(self, *, forget_strange_devices: bool = False) -> dict[str, Any]:
        """The documented JSON of `status`.

        Args:
            forget_strange_devices: whether devices that were added to the announcer are forgotten once they are told.
        """
        house = self._house
        identity = await checks.identities(house)
        if forget_strange_devices:
            await house.keys.forget_strange()
        communities = [
            {
                **await house.reconciler.status(one),
                "keys": await self._keys(one.id),
                "outstanding": [f"{job.what} {job.user}" for job in await house.members.outstanding(one.id)],
                "requests": len(await house.requests.waiting(one.id)),
            }
            for one in house.reconciler.declared.values()
        ]
        ended = [
            ended_community(one, await house.deactivations.outstanding(name))
            for name, one in house.reconciler.deactivated.items()
        ]
        return {**identity, "communities": communities, "deactivated": ended, "queue": await self._queue()}

    async def _keys(self, community: CommunityId) -> dict[str, Any] | None:
        """Who can read announcements, as far as keys were given; None where there is no room yet."""
        room_id = self._house.index.room_of(community, ANNOUNCEMENTS)
        if room_id is None:
            return None
        async with self._house.database.transaction() as tx:
            reach = await shares.reach(tx, room_id, ours=self._house.accounts.both)
        progress = self._house.keys.progress(room_id)
        return {
            "devices": reach.devices,
            "people": reach.people,
            "unreached": reach.unreached,
            "withheld": {CODES[state]: count for state, count in reach.without.items() if state in CODES},
            "progress": None if progress is None else {"done": progress.done, "total": progress.total},
        }

    async def _queue(self) -> dict[str, int]:
        jobs, inbox = self._house.jobs, self._house.inbox
        return {
            "jobs": await jobs.waiting(self._house.clock.now_ms()),
            "events": await inbox.waiting(),
            "parked_jobs": len(await jobs.parked(MOST_PARKED)),
            "parked_events": len(await inbox.parked(MOST_PARKED)),
        }

    async def parked(self, *, release: str | None = None, drop: str | None = None) -> dict[str, Any]:
        """What was given up, after some of it was released, or one thing dropped.

        Args:
            release: the id of an event or a job to try again; `all` is everything.
            drop: the id of one to forget.

        Raises:
            Refused: nothing of that id was given up.
        """
        released: list[str] = []
        if release is not None:
            names = [one["id"] for one in await self._given_up()] if release == "all" else [release]
            released = [name for name in names if await self._release(name)]
        dropped = [drop] if drop is not None and await self._drop(drop) else []
        if (release not in (None, "all") and not released) or (drop is not None and not dropped):
            raise Refused(
                f"nothing that is called {release or drop} was given up",
                where="parked",
                remedy="see `matrix-communities parked` for what was",
            )
        return {"parked": await self._given_up(), "released": released, "dropped": dropped}

    async def _given_up(self) -> list[dict[str, Any]]:
        """Events, then jobs, the newest first."""
        house = self._house
        events = [
            {
                "id": one.event_id,
                "kind": "event",
                "since": one.arrived_at,
                "why": one.reason,
                **self._where(one.room_id),
            }
            for one in await house.inbox.parked(MOST_PARKED)
        ]
        jobs = [
            {"id": one.id, "kind": one.kind.partition(".")[0], "since": one.due_at, "why": one.parked or ""}
            | self._where(getattr(_job_of(one), "room_id", None))
            for one in await house.jobs.parked(MOST_PARKED)
        ]
        return events + jobs

    def _where(self, room_id: RoomId | None) -> dict[str, Any]:
        place = None if room_id is None else self._house.index.place_of(room_id)
        return {"room_id": room_id, "room": None if place is None else f"{place.community}/{place.key}"}

    async def _release(self, name: str) -> bool:
        if await self._house.inbox.release(EventId(name)):
            self._house.rescan()
            return True
        stored = await self._house.jobs.find(name)
        job = None if stored is None or stored.parked is None else _job_of(stored)
        if isinstance(job, DeliverAnnouncement):
            await self._house.newsroom.announcements.released(job)
        released = await self._house.jobs.release(name, self._house.clock.now_ms())
        self._house.worker.wake()
        return released

    async def _drop(self, name: str) -> bool:
        if await self._house.inbox.drop(EventId(name)):
            return True
        stored = await self._house.jobs.find(name)
        if stored is None or not await self._house.jobs.drop(name):
            return False
        job = _job_of(stored)
        if job is not None:
            await self._house.newsroom.dropped(job)
        return True

    async def gauges(self) -> list[Gauge]:
        """What `/metrics` shows; it asks the database, and not the homeserver."""
        sight = None if self._guard is None else self._guard.last
        queue = await self._queue()
        strange_at = await self._house.keys.strange_at()
        return [
            Gauge("ready", "whether the homeserver was met and everything runs", int(self.ready)),
            Gauge("steward_devices", "devices of the steward; there must be none", _known(sight, "steward_devices")),
            Gauge("announcer_devices", "devices of the announcer; there must be one", _known(sight, "devices")),
            Gauge(
                "announcer_cross_signed",
                "whether the announcer's device is signed by its identity",
                None if sight is None else int(sight.announcer.cross_signed),
            ),
            Gauge(
                "announcer_strange_seen_seconds",
                "when a device of the announcer was last seen that was never ours, in seconds since 1970",
                None if strange_at is None else strange_at // 1000,
            ),
            Gauge("verified_people", "people verified by emoji", None if sight is None else sight.announcer.verified),
            *(Gauge("queue", "what waits or was given up", count, {"what": name}) for name, count in queue.items()),
            *(
                Gauge("withheld_devices", "devices that are given no room key, by reason", count, {"reason": reason})
                for reason, count in sorted((await self._withheld()).items())
            ),
        ]

    async def _withheld(self) -> dict[str, int]:
        """How many devices are given no room key, by reason; a device counts in each room that it is in."""
        async with self._house.database.transaction() as tx:
            states = await shares.count_states(tx)
        return {code: states.get(state, 0) for state, code in CODES.items()}

    async def check(self) -> list[dict[str, Any]]:
        """The checks that only the running service can make, beside those that anybody can."""
        return [finding.as_json() for finding in await checks.running(self._house)]

    # --- the announcer's own safety -------------------------------------------------------------------------------

    async def rotate_device(self, *, accept_old_database: bool = False) -> dict[str, Any]:
        """Give the announcer a new device; with an old database, set aside what was still to be done in it."""
        if accept_old_database and self.ready:
            raise Refused(
                "the service runs, so its database was current when it started",
                where="rotate-device",
                remedy="leave --accept-old-database away; or stop the service first, if you put another database back",
            )
        jobs = events = 0
        if accept_old_database:  # first: nothing of it may be done once the database counts as current
            reason = "it stood in an old copy of the database"
            jobs, events = await self._house.jobs.set_aside(reason), await self._house.inbox.set_aside(reason)
        before, now = await self._house.keys.rotate(accept_old=accept_old_database)
        return {"before": before, "device_id": now, "set_aside": {"jobs": jobs, "events": events}}

    async def verify(self, step: str, *, number: int = 0, user: str = "", matches: bool = False) -> Any:
        """One step of a verification by emoji: `open`, `ask`, `look`, `accept`, `answer` or `cancel`."""
        verifications = self._house.keys.verifications
        match step:
            case "open":
                return await verifications.open()
            case "ask":
                return await verifications.ask(UserId(user))
            case "accept":
                return await verifications.accept(number)
            case "answer":
                return await verifications.answer(number, matches=matches)
            case "cancel":
                return await verifications.cancel(number)
            case _:
                return await verifications.look(number)

    # --- people ---------------------------------------------------------------------------------------------------

    async def people(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """What is asked about people in a community: see `app/people`; `by` is None for the operator.

        Raises:
            Refused: a rule says no, or there is no such community, person, group or request.
        """
        name = self._declared(community)
        answer = await self.about_people.do(deed, self._house.reconciler.declared[name], by, what)
        return {**answer, "said": [plain(text) for text in answer["said"]]} if by is None else answer

    async def personal_data(self, deed: str, user: str, *, leave: bool = False, bans: bool = False) -> dict[str, Any]:
        """What is stored about one person (`show`), or the erasure of it (`erase`): see `app/about_person`.

        Raises:
            Refused: it is no user id, or something stands in the way of erasing.
        """
        return await self.about_person.do(deed, user, leave=leave, bans=bans)

    # --- groups ---------------------------------------------------------------------------------------------------

    def groups_to_ask_for(self, community: CommunityId) -> Sequence[RoomKeyName]:
        declared = self._house.reconciler.declared.get(community)
        return [] if declared is None else [group.key for group in groups_to_ask_for(declared)]

    def members_ask_for_groups(self, community: CommunityId) -> bool:
        declared = self._house.reconciler.declared.get(community)
        return declared is not None and declared.groups_by is not GroupsBy.ADMINS

    async def groups(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """What is asked about the groups of a community: see `app/groups`; `by` is None for the operator.

        Raises:
            Refused: a rule says no, or there is no such community or group.
        """
        name = self._declared(community)
        answer = await self.about_groups.do(deed, self._house.reconciler.declared[name], by, what)
        return {**answer, "said": [plain(text) for text in answer["said"]]} if by is None else answer

    # --- communities as a whole -----------------------------------------------------------------------------------

    async def community(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """What is asked about a community: see `app/community`; `by` is None for the operator, who alone reactivates.

        Raises:
            Refused: a rule says no, or there is no such community.
        """
        if deed == "reactivate" and by is None:
            done = await self.about_communities.reactivate(CommunityId(community), what)
            return {"said": [f"{community} is a community as any other again."], "done": done}
        name = self._declared(community)
        answer = await self.about_communities.do(deed, self._house.reconciler.declared[name], by, what)
        return {**answer, "said": [plain(text) for text in answer["said"]]} if by is None else answer

    # --- communities within communities -------------------------------------------------------------------------

    async def subcommunities(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """What is asked about communities within one: see `app/subcommunities`; `by` is None for the operator.

        Raises:
            Refused: a rule says no, or there is no such community.
        """
        name = self._declared(community)
        answer = await self.about_subcommunities.do(deed, self._house.reconciler.declared[name], by, what)
        return {**answer, "said": [plain(text) for text in answer["said"]]} if by is None else answer

    async def announcements(
        self, deed: str, community: str, what: Mapping[str, Any], by: UserId | None = None
    ) -> dict[str, Any]:
        """What is asked about announcements: see `app/announcing`; `by` is None for the operator.

        Raises:
            Refused: a rule says no, or there is no such community.
        """
        name = self._declared(community)
        answer = await self.about_announcements.do(deed, self._house.reconciler.declared[name], by, what)
        return {**answer, "said": [plain(text) for text in answer["said"]]} if by is None else answer

    # --- deeds of people, by chat -------------------------------------------------------------------------------

    def communities(self) -> Sequence[CommunityId]:
        return list(self._house.reconciler.declared)

    def groups_of(self, community: CommunityId) -> Sequence[RoomKeyName]:
        declared = self._house.reconciler.declared.get(community)
        return [] if declared is None else [group.key for group in declared.groups]

    async def name_of(self, community: CommunityId) -> str:
        return await self._house.reconciler.name_of(community)

    def language_of(self, community: CommunityId) -> Language:
        return self._house.reconciler.language_of(community)

    def zone_of(self, community: CommunityId) -> tzinfo:
        return self._house.newsroom.zone_of(community)

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        role = await self._house.reconciler.role_of(community, user)
        declared = self._house.reconciler.declared.get(community)
        if role is Role.MEMBER and declared is not None:
            known = await self._house.reconciler.memory.known(community)
            return Role.MODERATOR if moderated_by(user, declared, known) else role
        return role

    async def ask_to_confirm(self, room_id: RoomId, user: UserId, command: str, event_id: EventId) -> None:
        await self._house.conversations.ask_to_confirm(room_id, user, command, event_id)

    async def confirmed(self, room_id: RoomId, user: UserId, event_id: EventId) -> str | None:
        return await self._house.conversations.confirmed(room_id, user, event_id)

    async def let_be(self, room_id: RoomId, user: UserId, event_id: EventId) -> bool:
        return await self._house.conversations.let_be(room_id, user, event_id)

    async def first_today(self, user: UserId, event_id: EventId) -> bool:
        return await self._house.conversations.first_today(user, event_id)

    async def ended_for(self, user: UserId) -> tuple[str, Language] | None:
        """The community that somebody was in when it was deactivated: its name and language."""
        return await self._house.deactivations.ended_for(user)

    async def draft_awaits(self, room_id: RoomId, user: UserId, event_id: EventId) -> EventId | None:
        """The command of the draft whose new text a message is."""
        draft = await self._house.newsroom.drafts.awaiting(room_id, user, event_id)
        return None if draft is None else draft.source

    async def draft_made_by(self, user: UserId, event_id: EventId) -> EventId | None:
        """The command of the open draft that a message of its author asked for, or that has its words of."""
        draft = await self._house.newsroom.drafts.made_by(user, event_id)
        return None if draft is None else draft.source

    async def reword_draft(self, event: Said, draft: EventId) -> None:
        """Give the draft of that command the text of a message.

        Raises:
            Refused: the text is too long.
        """
        drafts = self._house.newsroom.drafts
        found = await drafts.made_by(event.sender, draft)
        if found is not None:
            await drafts.reword(found, event.event_id, event.text, event.pills)

    async def leave_draft_words(self, user: UserId, draft: EventId, event_id: EventId) -> None:
        """Keep the text that a draft has."""
        found = await self._house.newsroom.drafts.made_by(user, draft)
        if found is not None:
            await self._house.newsroom.drafts.leave_words(found, event_id)

    async def answer_draft(self, room_id: RoomId, user: UserId, event_id: EventId, *, send: bool) -> bool | None:
        """Send or drop somebody's last draft in a room; False where they have not seen it, None where there is none."""
        return await self._house.newsroom.drafts.answer(room_id, user, event_id, send=send)

    async def _targets(self, communities: Sequence[CommunityId], audience: Audience) -> list[Target]:
        return [one for name in communities for one in await self._house.newsroom.audiences.targets_of(name, audience)]

    async def community_status(self, community: CommunityId) -> dict[str, Any]:
        return await self._house.reconciler.status(self._house.reconciler.declared[community])

    async def held(self, community: CommunityId) -> str | None:
        return await self._house.reconciler.held(community)

    async def held_since(self, community: CommunityId) -> Sequence[str]:
        """Why the plan is held."""
        return (await self._house.reconciler.look(self._house.reconciler.declared[community])).unsafe

    async def agree(self, community: CommunityId, digest: str) -> list[str]:
        """Carry out the held plan; gives what could not be done."""
        outcome = await self._house.reconciler.agree(community, digest)
        return [f"{failure.room}: {failure.summary}: {failure.why}" for failure in outcome.failures]

    async def thaw(self, community: CommunityId) -> None:
        await self._house.reconciler.thaw(community)
        self._house.watch.all_of(community)

    async def members(self, community: CommunityId) -> Sequence[Mapping[str, Any]]:
        """Everybody in the community, and who is invited to it: see `app/roster`. Costs no request."""
        return await self._house.roster.everybody(community)

    async def person(self, community: CommunityId, user: UserId) -> Mapping[str, Any]:
        """What somebody is in the community, whether they are in it or not. Costs no request."""
        return await self._house.roster.person(community, user)

    async def tags(self, community: CommunityId) -> Sequence[Mapping[str, Any]]:
        """The tags that there are in the community: see `app/roster`."""
        return await self._house.roster.tags(community)

    async def tag(
        self, community: CommunityId, by: UserId | None, users: Sequence[UserId], tag: str, *, give: bool
    ) -> str:
        """Give people a tag, or take it from them; gives the tag's name as it is kept.

        Raises:
            Refused: a rule says no; then nobody's tags change.
        """
        return await self._house.tags.change(self._house.reconciler.declared[community], by, users, tag, give=give)

    async def send_members(self, file: SendMembers, source: EventId) -> None:
        """Have the table of members sent into a chat; the same message is the same file."""
        await self._house.handouts.ask_for_members(file, source)


def _is_no_fault(result: Mapping[str, Any]) -> bool:
    """Whether somebody does not have their copy of an announcement, and nobody has to do anything about it."""
    return bool(result.get("closed") or result.get("waits"))


def _deactivated(one: Deactivation) -> Refused:
    return Refused(
        f"was deactivated by {one.by}",
        where=str(one.community),
        remedy=f"take it out of the configuration, or begin it again: "
        f"`matrix-communities community reactivate {one.community}`",
    )


def _job_of(stored: StoredJob) -> Job | None:
    """The job of a row; None where this version does not understand it."""
    try:
        return decode(stored.kind, stored.body)
    except Undecodable:
        return None


def _known(sight: Sight | None, what: str) -> int | None:
    if sight is None:
        return None
    return len(sight.steward_devices if what == "steward_devices" else sight.announcer.devices)


def _chosen(config: Config, declared: Mapping[CommunityId, Community], names: Sequence[str]) -> list[Community]:
    family = Family(declared)
    if not names:
        names = [str(name) for name, one in declared.items() if not family.above(one)]
    chosen: dict[CommunityId, Community] = {}
    for name in names:
        community = declared.get(CommunityId(name))
        if community is None:
            known = ", ".join(declared) or "none"
            raise Refused(f"there is no community {name!r}", where=str(config.path), remedy=f"declared are: {known}")
        chosen |= {one.id: one for one in (community, *family.below(community.id))}
    return list(chosen.values())


def _together_digest(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else digest_of(list(digests))


def _together(plans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The plans of several communities as one, with the community before each room's key."""
    return {
        "digest": _together_digest([plan["digest"] for plan in plans]),
        "actions": [
            {**action, "room": f"{plan['community']}/{action['room']}"} for plan in plans for action in plan["actions"]
        ],
        "blocked": [
            {**item, "room": f"{plan['community']}/{item['room']}"} for plan in plans for item in plan["blocked"]
        ],
        "unsafe": [f"{plan['community']}: {reason}" for plan in plans for reason in plan["unsafe"]],
        "notes": [f"{plan['community']}: {note}" for plan in plans for note in plan["notes"]],
    }
