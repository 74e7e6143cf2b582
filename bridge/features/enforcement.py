"""The third line in announcement rooms: what got in while a threshold was open is redacted, and recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from bridge.core import texts
from bridge.core.community import CONTROL, Role, RoomKind
from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import EN, Language
from bridge.core.messages import Posted, Redacted, RedactEvent, SendMessage, StateChanged, TakeBackState, notice
from bridge.core.power_levels import needed_for
from bridge.plan.desired import power_levels
from bridge.plan.state import Accounts
from bridge.ports import Clock, RoomExecutor, RoomHistory, Written
from bridge.store import communities as store
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import Place, RoomIndex

log = logging.getLogger(__name__)

MOST_STEPS_BACK = 50
"""How many events back an entitled one is looked for."""
TELL_AGAIN_MS = 60_000
"""For how long admins are not told again of posts that the same person tries in the same room."""
MOST_TOLD = 1000
_HEALED_BY_TYPE = frozenset(
    {
        "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.encryption",
        "m.room.guest_access", "m.room.server_acl", "m.room.name", "m.room.topic", "m.room.avatar",
        "m.space.child", "m.space.parent", "m.room.tombstone", "m.room.create", "m.room.member",
        "m.room.third_party_invite",
    }
)  # fmt: skip
"""What the reconciler puts back; and invitations by e-mail, for which the homeserver asks the level of `invite`."""


class Enforcement:
    """Judges what is posted in announcement rooms by the roles of the time at which it was sent."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        history: RoomHistory,
        rooms: RoomExecutor,
        accounts: Accounts,
        clock: Clock,
        language_of: Callable[[CommunityId], Language] = lambda _: EN,
        above: Callable[[CommunityId], Sequence[CommunityId]] = lambda _: (),
    ) -> None:
        """
        Args:
            above: the communities above one, whose admins are admins there, too.
        """
        self._above = above
        self._history = history
        self._rooms = rooms
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock
        self._language_of = language_of
        self._told: dict[tuple[RoomId, UserId], int] = {}
        """When admins were told of somebody last."""

    def forget(self, user: UserId) -> None:
        """Forget when admins were told of somebody."""
        self._told = {place: at for place, at in self._told.items() if place[1] != user}

    async def posted(self, event: Posted) -> bool:
        """Redact a post by somebody who was no admin when it was sent, and reactions that are texts in disguise.

        Returns:
            Whether an admin posted it, not one of our accounts.
        """
        place = self._index.place_of(event.room_id)
        if place is None or place.kind is not RoomKind.ANNOUNCEMENTS or event.sender in self._accounts.both:
            return False
        async with self._database.transaction() as tx:
            role = await self._role_at(tx, place.community, event.sender, event.sent_at)
            if role >= Role.ADMIN:
                return True
            if event.short_reaction:
                return False
            language = self._language_of(place.community)
            disguised = event.type == "m.reaction"
            reason = texts.long_reaction(language) if disguised else texts.only_admins_post(language)
            await self._redact(tx, place, event.room_id, event.event_id, event.sender, reason)
        self._wake()
        return False

    async def redacted(self, event: Redacted) -> None:
        """Redact a redaction whose reason is a text: everybody may redact what they wrote, and give a reason."""
        place = self._index.place_of(event.room_id)
        if not event.wordy or place is None or place.kind is not RoomKind.ANNOUNCEMENTS:
            return
        async with self._database.transaction() as tx:
            role = await self._role_at(tx, place.community, event.sender, event.sent_at)
            if role >= Role.ADMIN or event.sender in self._accounts.both:
                return
            language = self._language_of(place.community)
            await self._redact(tx, place, event.room_id, event.event_id, event.sender, texts.long_reaction(language))
        self._wake()

    async def state_changed(self, event: StateChanged) -> None:
        """Take back state that nobody manages and that its sender was not entitled to write; the rest is put back."""
        place = self._index.place_of(event.room_id)
        if place is None or event.sender in self._accounts.both or event.type in _HEALED_BY_TYPE:
            return
        why = texts.not_entitled(self._language_of(place.community))
        job: RedactEvent | TakeBackState = RedactEvent(event.room_id, event.event_id, why)
        if event.state_key == "":  # what it replaced may have been an admin's: pins
            job = TakeBackState(event.room_id, event.event_id, event.type, why)
        async with self._database.transaction() as tx:
            if await self._was_entitled(tx, place, event.type, event.sender, event.sent_at):
                return
            await self._take_back(tx, place, job, event.sender)
        self._wake()

    async def take_back(self, job_id: str, job: TakeBackState) -> None:
        """Write what was there before, by the last who was entitled; then redact what somebody wrote who was not.

        If something newer is there already, that is left as it is: it is judged for itself.
        """
        place = self._index.place_of(job.room_id)
        now = None if place is None else await self._history.latest(job.room_id, job.type)
        if place is not None and now is not None and now.event_id == job.event_id:
            before = await self._before(place, job, now)
            if before is not None and before.content:
                try:
                    await self._rooms.set_state(job.room_id, job.type, "", before.content)
                except (Forbidden, BadRequest) as error:  # the redaction counts more
                    log.warning("%s: %s cannot be put back: %s", job.room_id, job.type, error.what)
        await self._rooms.redact(job.room_id, job.event_id, job.reason, txn_id=job_id)

    async def _before(self, place: Place, job: TakeBackState, event: Written) -> Written | None:
        for _ in range(MOST_STEPS_BACK):
            before = None if event.replaces is None else await self._history.written(job.room_id, event.replaces)
            if before is None:
                return None
            async with self._database.transaction() as tx:
                if await self._was_entitled(tx, place, job.type, before.sender, before.sent_at):
                    return before
            event = before
        return None

    async def _was_entitled(self, tx: Transaction, place: Place, event_type: str, user: UserId, at: int) -> bool:
        """Whether somebody might write state of that type, by their role then."""
        if user in self._accounts.both:
            return True
        thresholds = power_levels(place.kind, "12", self._accounts, {})
        role = await self._role_at(tx, place.community, user, at)
        return await self._level(tx, place, user, role) >= needed_for(thresholds, event_type, state=True)

    async def _role_at(self, tx: Transaction, community: CommunityId, user: UserId, at: int) -> Role:
        """Somebody's role at that time: the best of what they were in the community, and in those above it."""
        return max([await store.role_at(tx, one, user, at) for one in (community, *self._above(community))])

    async def _level(self, tx: Transaction, place: Place, user: UserId, role: Role) -> int:
        if (
            role < Role.MODERATOR
            and place.kind.is_group
            and await store.is_moderator(tx, place.community, place.key, user)
        ):
            return Role.MODERATOR.level
        return role.level

    async def _redact(
        self, tx: Transaction, place: Place, room_id: RoomId, event_id: EventId, sender: UserId, reason: str
    ) -> None:
        await self._take_back(tx, place, RedactEvent(room_id, event_id, reason), sender)

    async def _take_back(self, tx: Transaction, place: Place, job: RedactEvent | TakeBackState, sender: UserId) -> None:
        room_id, event_id, reason = job.room_id, job.event_id, job.reason
        now = self._clock.now_ms()
        job_id = f"redact-{event_id}"
        if not await self._jobs.add(tx, job_id, f"redact {room_id}", job, now):
            return
        await store.record(tx, now, place.community, room_id, sender, "redacted", f"{event_id}: {reason}")
        last = self._told.get((room_id, sender))
        if last is not None and now - last < TELL_AGAIN_MS:
            return  # who floods the room shall not flood the control room as well; the audit has every one
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[room_id, sender] = now
        await self._tell(
            tx, place, texts.redacted_post(sender, place.key, reason, self._language_of(place.community)), job_id, now
        )

    async def _tell(self, tx: Transaction, place: Place, text: str, job_id: str, now: int) -> None:
        control = self._index.room_of(place.community, CONTROL)
        if control is not None:
            await self._jobs.add(tx, f"tell-{job_id}", control, SendMessage(control, notice(text)), now)
