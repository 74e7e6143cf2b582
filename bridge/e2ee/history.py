"""Past announcements for whoever came later: the keys of what was said before, as far as the window goes.

What the announcer said goes out as ordinary room keys, late: it made those sessions, so it may give them from wherever
it likes. What people said goes out as a bundle (MSC4268), which a client takes from whoever invited it, once, after it
joined. Who is in the room when, and what is said when, comes from the events that the homeserver pushes.

Here is decided what whom is given; `gifts` carries it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import RoomId, UserId
from bridge.e2ee import attachments, recipients, window
from bridge.e2ee.bulk import payload_bytes
from bridge.e2ee.bundle import ROOM_KEY_BUNDLE, bundle_of
from bridge.e2ee.gifts import Gift, Gifts, Piece, Round, given_of, in_pieces, is_missing, name_of
from bridge.e2ee.giving import ROOM_KEY, SHARED_HISTORY, Giver, Means
from bridge.e2ee.machine import MEGOLM, Account, session_key_at
from bridge.e2ee.recipients import Trust
from bridge.e2ee.window import DAY_MS, Absence, Session, Spoken, Window
from bridge.store import history as store
from bridge.store import keys as key_store
from bridge.store.database import Transaction
from bridge.store.history import Awaiting, Candidate, MoveRow, PresentRow, SpokenRow
from bridge.store.keys import InboundRow

log = logging.getLogger(__name__)

CHUNK_DEVICES = 250
CHUNK_DEVICES_OF_BUNDLE = 200
"""Its plaintext carries our device keys as well."""
BUNDLE_PAUSE_MS = 3_000
"""How long after the join a bundle is sent: whoever leaves again at once gets none."""
BUNDLE_ACCEPTED_MS = DAY_MS
"""How long after the join clients take a bundle."""
TOLD_MS = 10 * 60 * 1000
"""After so long the homeserver has told us of something, or never will."""
MOVES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Past:
    """A room's past: what was said, and the keys that may be given."""

    spoken: Sequence[Spoken]
    ours: Mapping[Session, InboundRow]
    """Sessions of our present device."""
    others: Mapping[Session, InboundRow]
    said: int
    """How many messages of ours were known when it was read."""

    def newest_first(self, opened: Iterable[Session]) -> list[Session]:
        last = {one.session: one.at for one in self.spoken}  # spoken is in order of time
        return sorted(opened, key=lambda session: (-last.get(session, 0), session))


class History(Giver):
    """Past keys outwards."""

    def __init__(
        self,
        means: Means,
        exclusive: Callable[[RoomId], asyncio.Lock],
        *,
        window_of: Callable[[RoomId], Window | None],
    ) -> None:
        """
        Args:
            exclusive: the lock under which a room's present session is shared.
            window_of: how much of a room's past is given; None where it is no room of announcements.
        """
        super().__init__(means)
        self._gifts = Gifts(means, exclusive)
        self._signed = means.trust is not Trust.ALL
        self._verified = means.trust is Trust.VERIFIED
        self._window_of = window_of
        self._at_work: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._purged: dict[RoomId, int] = {}

    # --- what happens in rooms ------------------------------------------------------------------------------------

    async def moved(self, tx: Transaction, room_id: RoomId, move: MoveRow) -> None:
        """Note that somebody's membership changed; the same event again changes nothing.

        Args:
            move: with the time that an event says, which is believed as far as `window.dated` goes.
        """
        if move.user_id == self._own.user_id or move.membership not in ("join", "leave", "ban", "invite"):
            return
        moves = (await store.moves_of(tx, room_id, [move.user_id])).get(move.user_id, [])
        now = self._clock.now_ms()
        if all(move.event_id != known.event_id for known in moves):
            for row in _as_dated(move, moves, now):
                await store.save_move(tx, room_id, row)
                moves.append(row)
        stay = window.stay(map(_move, moves))
        if stay is None:
            await store.set_absent(tx, room_id, [move.user_id])
            return
        present = PresentRow(move.user_id, stay.member_event, stay.first_at, stay.came_at, now, stay.inviter)
        await store.set_present(tx, room_id, present)

    async def spoke(self, tx: Transaction, room_id: RoomId, spoken: SpokenRow) -> bool:
        """Note that something was said under a session; gives whether somebody has to be given its key after all.

        Whoever was served has everything that was said until then. What is said now they hold if they were given the
        session in the ordinary way; not if there was no Olm session with them then, nor if they came after it had been
        given and before this was heard of. Another session may have taken its place by now.
        """
        if not await store.save_spoken(tx, room_id, spoken) or spoken.owner != self._own.user_id:
            return False
        shown = self._window_of(room_id)
        if shown is None:
            return False
        key = await key_store.inbound(tx, room_id, spoken.session_id, spoken.owner)
        if key is None or not self._is_ours(key, await self._own.account(tx)):
            return False  # what was said with a former device comes in bundles alone
        past = _spoken(await store.spoken(tx, room_id))
        others = {one.session[0] for one in window.window_of(past, shown, self._clock.now_ms())}
        return await store.unserve(tx, room_id, spoken.session_id, spoken.index, others) > 0

    async def meet(self, room_id: RoomId, *, but: Collection[str] = ()) -> None:
        """Compare who is known to be in a room with the homeserver, which does not tell us again what we have lost.

        After an old copy of the database, or a new one, this is where people are known from. What is younger than
        `TOLD_MS` may still be on its way, and is left alone. Who came or went without our knowing counts as having been
        outside since we last knew of them.

        Args:
            but: accounts that are none of people's.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        joined = {member.user_id: member for member in await self._facts.joined(room_id)}
        for user in (self._own.user_id, *but):
            joined.pop(UserId(user), None)
        async with self._database.transaction() as tx:
            known = await store.present(tx, room_id)
        told_before = self._clock.now_ms() - TOLD_MS
        moves: list[MoveRow] = []
        for name, row in known.items():
            member = joined.get(UserId(name))
            if row.seen_at < told_before and (
                member is None or (member.event_id != row.member_event and member.at < told_before)
            ):
                moves.append(MoveRow(name, f"~{row.member_event}", "leave", name, row.came_at + 1))
        for member in joined.values():
            here = known.get(member.user_id)
            if member.at < told_before and (here is None or here.member_event != member.event_id):
                moves.append(MoveRow(member.user_id, member.event_id, "join", member.user_id, member.at))
        for start in range(0, len(moves), MOVES_AT_ONCE):
            async with self._database.transaction() as tx:
                for move in moves[start : start + MOVES_AT_ONCE]:
                    await self.moved(tx, room_id, move)
        if moves:
            log.info("%d comings and goings in %s were not known", len(moves), room_id)

    # --- giving ---------------------------------------------------------------------------------------------------

    async def catch_up(self, room_id: RoomId) -> int | None:
        """Give the past to every device in a room that has not got it; gives when there will be more to do.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        shown = self._window_of(room_id)
        if shown is None:
            return None
        async with self._at_work[room_id]:
            try:
                return await self._catch_up(room_id, shown)
            except Forbidden as error:
                log.info("the past of %s is given to nobody now: %s", room_id, error.what)
                return None

    async def _catch_up(self, room_id: RoomId, shown: Window) -> int | None:
        await self._purge(room_id, shown)
        await self._read_devices(room_id)
        past = await self._past(room_id, shown)
        await self._settle_holders(room_id, past, shown)
        if not await self._is_anybody_waiting(room_id):
            return None
        visibility = await self._facts.state_content(room_id, "m.room.history_visibility")
        if not recipients.Room(visibility, None).shares_history:
            await self._nothing_to_give(room_id)
            return None
        again = [await self._give_ours(room_id, past, shown), await self._give_bundles(room_id, past, shown)]
        async with self._database.transaction() as tx:
            if not await self._is_all(tx, room_id, past):
                return self._clock.now_ms()
        return _earliest(again)

    async def _purge(self, room_id: RoomId, shown: Window) -> None:
        now = self._clock.now_ms()
        if abs(now - self._purged.get(room_id, 0)) < DAY_MS:
            return
        async with self._database.transaction() as tx:
            await store.purge(tx, room_id, before=shown.begins_at(now))
        self._purged[room_id] = now

    async def _read_devices(self, room_id: RoomId) -> None:
        async with self._database.transaction() as tx:
            new, outdated = await store.unread(tx, room_id)
        if not new and not outdated:
            return
        # Who is new, or left and returned, may have changed devices without the homeserver having told us yet.
        failed = await self._devices.refresh([*new, *outdated], anew=set(new))
        async with self._database.transaction() as tx:
            await store.set_looked(tx, room_id, set(new) - failed)

    async def _past(self, room_id: RoomId, shown: Window) -> _Past:
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
            rows = await store.spoken(tx, room_id)
            keys = await store.shared_keys(tx, room_id)
            said = await store.count_spoken(tx, room_id, self._own.user_id)
        spoken = _spoken(rows)
        inside = {one.session for one in window.window_of(spoken, shown, self._clock.now_ms())}
        ours: dict[Session, InboundRow] = {}
        others: dict[Session, InboundRow] = {}
        for key in keys:
            name = (key.session_id, key.owner)
            if name in inside:
                (ours if self._is_ours(key, account) else others)[name] = key
        return _Past(spoken, ours, others, said)

    async def _is_all(self, tx: Transaction, room_id: RoomId, past: _Past) -> bool:
        """Whether we have said nothing since the past was read; else nobody is served who was given that much."""
        return await store.count_spoken(tx, room_id, self._own.user_id) == past.said

    def _is_ours(self, key: InboundRow, account: Account) -> bool:
        own = (self._own.user_id, account.curve25519, account.ed25519)
        return key.original is not None and (key.owner, key.curve25519, key.ed25519) == own

    async def _nothing_to_give(self, room_id: RoomId) -> None:
        async with self._database.transaction() as tx:
            await self._serve_all(tx, room_id)
            await store.no_bundles(tx, room_id, before=self._clock.now_ms())

    async def _settle_holders(self, room_id: RoomId, past: _Past, shown: Window) -> None:
        """Where the present session is all the past that there is of ours, whoever holds it needs nothing."""
        opened = window.openings(past.spoken, shown, (), now_ms=self._clock.now_ms())
        ours = [session for session in opened if session in past.ours]
        async with self._database.transaction() as tx:
            present = await key_store.outbound(tx, room_id)
            if not await self._is_all(tx, room_id, past):
                return
            if not ours:
                await self._serve_all(tx, room_id)
            elif present is not None and [session_id for session_id, _ in ours] == [present.session_id]:
                await store.serve_holders(tx, room_id, present.session_id, opened[ours[0]])

    async def _serve_all(self, tx: Transaction, room_id: RoomId) -> None:
        await store.serve_all(tx, room_id, signed=self._signed, verified=self._verified)

    async def _is_anybody_waiting(self, room_id: RoomId) -> bool:
        async with self._database.transaction() as tx:
            if await store.unserved(tx, room_id, signed=self._signed, verified=self._verified):
                return True
            return bool(await self._awaiting(tx, room_id))

    async def _awaiting(self, tx: Transaction, room_id: RoomId) -> list[Awaiting]:
        since = self._clock.now_ms() - BUNDLE_ACCEPTED_MS
        return await store.awaiting_bundle(tx, room_id, since=since, inviter=self._own.user_id)

    async def _away(self, room_id: RoomId, users: Iterable[UserId]) -> dict[UserId, tuple[Absence, ...]]:
        wanted = set(users)
        async with self._database.transaction() as tx:
            moves = await store.moves_of(tx, room_id, wanted)
        return {user: window.absences(map(_move, moves.get(user, ()))) for user in wanted}

    # --- what the announcer said ------------------------------------------------------------------------------------

    async def _give_ours(self, room_id: RoomId, past: _Past, shown: Window) -> int | None:
        """Give our own sessions to everybody who was not given them; gives when to come again, if at all."""
        after = ("", "")
        again: list[int | None] = []
        while True:
            async with self._database.transaction() as tx:
                page = await store.unserved(tx, room_id, signed=self._signed, verified=self._verified, after=after)
            found = await self._gifts.reach(room_id, page)
            again.append(found.again_at)
            if found.devices:
                await self._give_page(room_id, found, past, shown)
            if len(page) < store.PAGE:
                return _earliest(again)
            after = (page[-1].device.user_id, page[-1].device.device_id)

    async def _give_page(self, room_id: RoomId, found: Round, past: _Past, shown: Window) -> None:
        await self._gifts.give(self._pieces(room_id, found, past, shown), found)
        there = await self._facts.still_joined(room_id, {one.device.user_id for one in found.devices})
        served = [
            one.device
            for one in found.devices
            if name_of(one) not in found.unreached and there.get(one.device.user_id) == one.member_event
        ]
        async with self._database.transaction() as tx:
            if not await self._is_all(tx, room_id, past):
                return
            await store.serve(tx, room_id, served)
        reached = found.left(found.devices)
        log.info("the past of %s was given to %d of %d devices", room_id, len(reached), len(found.devices))

    async def _pieces(self, room_id: RoomId, found: Round, past: _Past, shown: Window) -> AsyncIterator[Piece]:
        """What devices miss of our sessions, the newest first."""
        users = {one.device.user_id for one in found.devices}
        away = await self._away(room_id, users)
        async with self._database.transaction() as tx:
            given = given_of(await store.given(tx, room_id, users))
        groups: defaultdict[tuple[Absence, ...], list[Candidate]] = defaultdict(list)
        for one in found.devices:
            groups[away[one.device.user_id]].append(one)
        for gaps, group in groups.items():
            opened = window.openings(past.spoken, shown, gaps, now_ms=self._clock.now_ms())
            for session in past.newest_first(opened.keys() & past.ours.keys()):
                gift = await self._gift(past.ours[session], opened[session])
                for piece in in_pieces(gift, found.left(group), given):
                    yield piece

    async def _gift(self, row: InboundRow, index: int) -> Gift:
        assert row.original is not None
        key = await asyncio.to_thread(session_key_at, row.original, self._own.pickle_key, index)
        content = {
            "algorithm": MEGOLM,
            "room_id": row.room_id,
            "session_id": row.session_id,
            "session_key": key,
            SHARED_HISTORY: True,
        }
        async with self._database.transaction() as tx:
            size = payload_bytes(await self._own.account(tx), ROOM_KEY, content)
        return Gift(RoomId(row.room_id), row.session_id, index, ROOM_KEY, content, {}, size, CHUNK_DEVICES)

    # --- what people said -------------------------------------------------------------------------------------------

    async def _give_bundles(self, room_id: RoomId, past: _Past, shown: Window) -> int | None:
        """Give the bundle to everybody who waits for it; gives when to come again, if at all."""
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            if not past.others:
                await store.no_bundles(tx, room_id, before=now - BUNDLE_PAUSE_MS)
            waiting = await self._awaiting(tx, room_id)
        ripe = [one for one in waiting if one.seen_at + BUNDLE_PAUSE_MS <= now]
        again: list[int | None] = [
            one.seen_at + BUNDLE_PAUSE_MS for one in waiting if one.seen_at + BUNDLE_PAUSE_MS > now
        ]
        away = await self._away(room_id, (one.user_id for one in ripe))
        groups: defaultdict[tuple[Absence, ...], list[Awaiting]] = defaultdict(list)
        for one in ripe:
            groups[away[one.user_id]].append(one)
        for gaps, group in groups.items():
            opened = window.openings(past.spoken, shown, gaps, now_ms=now)
            again.append(await self._give_bundle(room_id, group, past, opened))
        return _earliest(again)

    async def _give_bundle(
        self, room_id: RoomId, group: Sequence[Awaiting], past: _Past, opened: Mapping[Session, int]
    ) -> int | None:
        keys = [
            (past.others[session], max(index, past.others[session].first_index))
            for session, index in opened.items()
            if session in past.others and await self._is_owners(past.others[session])
        ]
        bundle = await asyncio.to_thread(bundle_of, keys, self._own.pickle_key)
        events: dict[str, str] = {one.user_id: one.member_event for one in group}
        if bundle is None:
            async with self._database.transaction() as tx:
                await store.set_bundle(tx, room_id, events, "none")
            return None
        async with self._database.transaction() as tx:
            devices = await store.admitted_devices(tx, room_id, events, signed=self._signed, verified=self._verified)
            given = given_of(await store.given(tx, room_id, events))
        found = await self._gifts.reach(room_id, [one for one in devices if is_missing(one, store.BUNDLE, given)])
        if ready := await self._those_still_there(room_id, found.devices):
            try:
                gift = await self._bundle(room_id, bundle)
            except BadRequest as error:
                log.warning("the homeserver does not take the keys of %d sessions: %s", len(keys), error.what)
                async with self._database.transaction() as tx:
                    await store.set_bundle(tx, room_id, events, store.REFUSED)
                return None

            async def pieces() -> AsyncIterator[Piece]:
                for piece in in_pieces(gift, ready, given):
                    yield piece

            await self._gifts.give(pieces(), found)
        async with self._database.transaction() as tx:
            await store.settle_bundles(tx, room_id, events)
        log.info("the keys of %d sessions of people in %s were given to newcomers", len(keys), room_id)
        return found.again_at

    async def _bundle(self, room_id: RoomId, bundle: bytes) -> Gift:
        more = {"sender_device_keys": await self._device_keys()}
        data, file = await asyncio.to_thread(attachments.encrypt, bundle)
        content = {"room_id": room_id, "file": {**file, "url": await self._server.upload(data)}}
        async with self._database.transaction() as tx:
            size = payload_bytes(await self._own.account(tx), ROOM_KEY_BUNDLE, content, more)
        return Gift(room_id, store.BUNDLE, 0, ROOM_KEY_BUNDLE, content, more, size, CHUNK_DEVICES_OF_BUNDLE)

    async def _is_owners(self, key: InboundRow) -> bool:
        """Whether a room key came from a device of the user whose it is said to be, and one that is trusted."""
        if key.verified:
            return True
        owner = UserId(key.owner)
        if not await self._is_trusted(owner, key):
            await self._devices.refresh([owner], anew=[owner])
            if not await self._is_trusted(owner, key):
                return False
        async with self._database.transaction() as tx:
            await key_store.mark_inbound_verified(tx, key.room_id, key.session_id, key.owner)
        return True

    async def _is_trusted(self, owner: UserId, key: InboundRow) -> bool:
        device = await self._devices.find(owner, key.curve25519, key.ed25519)
        return device is not None and recipients.admits(
            self._trust, cross_signed=device.cross_signed, verified=device.verified
        )

    async def _those_still_there(self, room_id: RoomId, chunk: Sequence[Candidate]) -> list[Candidate]:
        if not chunk:
            return []
        there = await self._facts.still_joined(room_id, {one.device.user_id for one in chunk})
        return [one for one in chunk if there.get(one.device.user_id) == one.member_event]

    async def _device_keys(self) -> Mapping[str, Any]:
        """Our device as the homeserver has it, with our identity's signature (MSC4147)."""
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
        answer = await self._server.query_keys([self._own.user_id])
        device: Mapping[str, Any] = answer["device_keys"][self._own.user_id][account.device_id]
        return {key: value for key, value in device.items() if key != "unsigned"}


def _as_dated(move: MoveRow, known: Iterable[MoveRow], now: int) -> list[MoveRow]:
    """A move with the time that is believed, as it is noted.

    Of a leave that is dated back it is noted as well when it was told: an absence is forgotten by its end alone.
    """
    dated = replace(move, at=window.dated(_move(move), map(_move, known), told_at=now))
    if move.membership in ("leave", "ban") and dated.at < now - TOLD_MS:
        return [dated, replace(dated, event_id=f"{move.event_id}+", at=now)]
    return [dated]


def _move(row: MoveRow) -> window.Move:
    return window.Move(row.at, row.membership, row.event_id, row.sender)


def _spoken(rows: Iterable[SpokenRow]) -> list[Spoken]:
    return [Spoken((row.session_id, row.owner), row.index, row.at) for row in rows]


def _earliest(times: Iterable[int | None]) -> int | None:
    return min((one for one in times if one is not None), default=None)
