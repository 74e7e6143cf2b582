"""Past announcements for whoever came later: the keys of what was said before, as far as the window goes.

What the announcer said goes out as ordinary room keys, late: it made those sessions, so it may give them from wherever
it likes. What people said goes out as a bundle (MSC4268), which a client takes from whoever invited it, once, after it
joined. Who is in the room when, and what is said when, comes from the events that the homeserver pushes.

Each piece is: see that they are still there, encrypt, store the ratchets and the intention, send, mark as held. What
was interrupted goes on with what is missing, and repeats what was never answered under its own transaction id.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import EventId, RoomId, UserId
from bridge.e2ee import recipients, window
from bridge.e2ee.bulk import payload_bytes
from bridge.e2ee.bundle import ROOM_KEY_BUNDLE, bundle_of, encrypted
from bridge.e2ee.giving import ROOM_KEY, SHARED_HISTORY, Giver, Means, a_few_at_once
from bridge.e2ee.machine import MEGOLM, Account, Peer, Sealed, session_key_at
from bridge.e2ee.olm_sessions import Name, by_device
from bridge.e2ee.recipients import CHUNK_BYTES, Device, Trust, body_bytes
from bridge.e2ee.window import DAY_MS, Absence, Session, Spoken, Window
from bridge.store import history as store
from bridge.store import keys as key_store
from bridge.store.database import Transaction
from bridge.store.history import Awaiting, Candidate, GivenRow, MoveRow, PresentRow, SpokenRow
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
MANY_USERS = 20
STILL_SECONDS = 5.0
"""For so long it is believed of many people that they are still there."""
FIRST_REST_MS = 10 * 60 * 1000
LONGEST_REST_MS = DAY_MS


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


@dataclass(frozen=True, slots=True)
class _Gift:
    """A session of ours from an index on, or the bundle of other people's: what everybody is sent who is given it."""

    room_id: RoomId
    session_id: str
    """`store.BUNDLE` for the bundle."""
    index: int
    event_type: str
    content: Mapping[str, Any]
    more: Mapping[str, Any]
    """What stands beside the content in the plaintext."""
    payload_bytes: int
    most: int
    """How many devices one request is for."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A gift and devices that it is given to with one request."""

    gift: _Gift
    txn_id: str
    devices: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class _Round:
    """What is found out about devices while something is given to them, with several requests at once."""

    one_time_keys: Mapping[Name, str]
    unreached: set[Name] = field(default_factory=set)
    """Their owner has left, or there is no Olm session with them."""
    refused: set[Name] = field(default_factory=set)
    """The homeserver takes no request that is for them."""


class _Resting:
    """Devices that had no one-time keys. They are asked for again after a pause, each time after twice as long."""

    def __init__(self) -> None:
        self._pauses: dict[Name, tuple[int, int]] = {}
        """Until when, and how long it is by then."""

    def until(self, name: Name, now_ms: int) -> int | None:
        """When it may be asked for; None where that is now."""
        until, pause = self._pauses.get(name, (0, 0))
        return until if 0 < until - now_ms <= pause else None

    def rest(self, name: Name, now_ms: int) -> int:
        """Let it rest; gives until when."""
        _, pause = self._pauses.get(name, (0, 0))
        pause = min(max(pause * 2, FIRST_REST_MS), LONGEST_REST_MS)
        self._pauses[name] = (now_ms + pause, pause)
        return now_ms + pause

    def end(self, name: Name) -> None:
        self._pauses.pop(name, None)


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
        self._exclusive = exclusive
        self._signed = means.trust is not Trust.ALL
        self._verified = means.trust is Trust.VERIFIED
        self._window_of = window_of
        self._at_work: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._purged: dict[RoomId, int] = {}
        self._there: dict[RoomId, tuple[float, dict[UserId, EventId]]] = {}
        self._resting = _Resting()

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

    async def _still(self, room_id: RoomId, users: set[UserId]) -> dict[UserId, EventId]:
        """Who is there at this moment; of many people it is asked every few seconds alone."""
        if len(users) <= MANY_USERS:
            return await self._facts.still_joined(room_id, users)
        now = asyncio.get_running_loop().time()
        at, there = self._there.get(room_id, (0.0, {}))
        if now - at > STILL_SECONDS or not users <= there.keys():
            there = await self._facts.still_joined(room_id, users)
            self._there = {room_id: (now, there)}
        return there

    # --- what the announcer said ------------------------------------------------------------------------------------

    async def _give_ours(self, room_id: RoomId, past: _Past, shown: Window) -> int | None:
        """Give our own sessions to everybody who was not given them; gives when to come again, if at all."""
        after = ("", "")
        again: list[int | None] = []
        while True:
            async with self._database.transaction() as tx:
                page = await store.unserved(tx, room_id, signed=self._signed, verified=self._verified, after=after)
            ready, keys, at = await self._reachable(room_id, page)
            again.append(at)
            if ready:
                await self._give_page(room_id, ready, _Round(keys), past, shown)
            if len(page) < store.PAGE:
                return _earliest(again)
            after = (page[-1].device.user_id, page[-1].device.device_id)

    async def _give_page(
        self, room_id: RoomId, page: Sequence[Candidate], found: _Round, past: _Past, shown: Window
    ) -> None:
        async def give(piece: _Piece) -> None:
            await self._give(piece, found)

        await a_few_at_once(self._pieces(room_id, page, found, past, shown), give)
        there = await self._facts.still_joined(room_id, {one.device.user_id for one in page})
        served = [
            one.device
            for one in page
            if _name(one) not in found.unreached and there.get(one.device.user_id) == one.member_event
        ]
        async with self._database.transaction() as tx:
            if not await self._is_all(tx, room_id, past):
                return
            await store.serve(tx, room_id, served)
        taken = len(served) - len(found.refused)
        log.info("the past of %s was given to %d of %d devices", room_id, taken, len(page))

    async def _pieces(
        self, room_id: RoomId, page: Sequence[Candidate], found: _Round, past: _Past, shown: Window
    ) -> AsyncIterator[_Piece]:
        """What devices miss of our sessions, the newest first."""
        users = {one.device.user_id for one in page}
        away = await self._away(room_id, users)
        async with self._database.transaction() as tx:
            given = _by_name(await store.given(tx, room_id, users))
        groups: defaultdict[tuple[Absence, ...], list[Candidate]] = defaultdict(list)
        for one in page:
            groups[away[one.device.user_id]].append(one)
        for gaps, group in groups.items():
            opened = window.openings(past.spoken, shown, gaps, now_ms=self._clock.now_ms())
            for session in past.newest_first(opened.keys() & past.ours.keys()):
                gift = await self._gift(past.ours[session], opened[session])
                lost = found.unreached | found.refused
                for piece in _in_pieces(gift, [one for one in group if _name(one) not in lost], given):
                    yield piece

    async def _gift(self, row: InboundRow, index: int) -> _Gift:
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
        return _Gift(RoomId(row.room_id), row.session_id, index, ROOM_KEY, content, {}, size, CHUNK_DEVICES)

    # --- one request ------------------------------------------------------------------------------------------------

    async def _reachable(
        self, room_id: RoomId, devices: Sequence[Candidate]
    ) -> tuple[list[Candidate], dict[Name, str], int | None]:
        """Those of these devices with which there is an Olm session or can be one.

        Gives them, the one-time keys for those without a session, and when to ask again for others that had none.
        """
        now = self._clock.now_ms()
        strangers = await self._sessions.strangers([_peer(one) for one in devices])
        resting = {name: at for name in strangers if (at := self._resting.until(name, now)) is not None}
        asked = [one for one in devices if _name(one) in strangers and _name(one) not in resting]
        there = await self._still(room_id, {one.device.user_id for one in asked}) if asked else {}
        asked = [one for one in asked if there.get(one.device.user_id) == one.member_event]
        keys: dict[Name, str] = {}
        for piece in _packed(asked, 0, CHUNK_DEVICES):
            keys |= await self._sessions.claim([_peer(one) for one in piece])
        for name in map(_name, asked):
            if name in keys:
                self._resting.end(name)
            else:
                resting[name] = self._resting.rest(name, now)
        ready = [one for one in devices if _name(one) not in strangers or _name(one) in keys]
        return ready, keys, min(resting.values(), default=None)

    async def _give(self, piece: _Piece, found: _Round) -> None:
        gift = piece.gift
        async with self._database.transaction() as tx:
            present = await key_store.outbound(tx, gift.room_id)
        if present is None or present.session_id != gift.session_id:
            await self._give_piece(piece, found, present=False)
            return
        # Whoever is given the session that is in use is a holder of it: it ends when they leave.
        async with self._exclusive(gift.room_id):
            await self._give_piece(piece, found, present=True)

    async def _give_piece(self, piece: _Piece, found: _Round, *, present: bool) -> None:
        gift, txn_id = piece.gift, piece.txn_id
        ready = [one for one in piece.devices if _name(one) not in found.refused]
        if not ready:
            return
        there = await self._still(gift.room_id, {one.device.user_id for one in ready})
        ready = [one for one in ready if there.get(one.device.user_id) == one.member_event]
        peers = [_peer(one) for one in ready]
        async with self._own.ratchets.hold(peer.curve25519 for peer in peers):
            sealed, _ = await self._sessions.seal(
                peers, found.one_time_keys, gift.event_type, gift.content, more=gift.more
            )
            sent = {(one.peer.user_id, one.peer.device_id) for one in sealed}
            found.unreached.update(set(map(_name, piece.devices)) - sent - found.refused)
            reached = [one for one in ready if _name(one) in sent]
            async with self._database.transaction() as tx:
                await self._sessions.save(tx, sealed)
                await store.save_given(tx, gift.room_id, [_pending(one, piece) for one in reached])
                if present:
                    await store.hold(
                        tx, gift.session_id, reached, gift.index, _held(txn_id), now_ms=self._clock.now_ms()
                    )
        if not sealed:
            return
        refused = await self._send(txn_id, sealed)
        found.refused.update(refused)
        async with self._database.transaction() as tx:
            await store.settle_given(tx, gift.room_id, gift.session_id, txn_id)
            await store.refuse_given(tx, gift.room_id, gift.session_id, refused)
            if present:
                await store.no_hold(tx, gift.session_id, _held(txn_id), refused)
                await store.settle_hold(tx, gift.session_id, _held(txn_id))

    async def _send(self, txn_id: str, sealed: Sequence[Sealed]) -> list[Name]:
        """Make one request; gives the devices for which the homeserver refuses it.

        What it refuses is sent again in two halves, and these in two: so it is the device alone that brought it about
        which gets nothing. If it is killed in between, it begins anew, and some devices are sent the same twice.
        """
        refused: list[Name] = []
        reason = ""
        left = [(txn_id, sealed)]
        while left:
            part_id, part = left.pop()
            try:
                await self._server.send_to_device("m.room.encrypted", part_id, by_device(part))
            except BadRequest as error:
                if half := len(part) // 2:
                    left += [(secrets.token_urlsafe(16), part[:half]), (secrets.token_urlsafe(16), part[half:])]
                else:
                    refused.append((part[0].peer.user_id, part[0].peer.device_id))
                    reason = error.what
        if refused:
            log.warning(
                "past keys for %d of %d devices are refused by the homeserver: %s", len(refused), len(sealed), reason
            )
        return refused

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
            given = _by_name(await store.given(tx, room_id, events))
        missing = [one for one in devices if _is_missing(one, store.BUNDLE, given)]
        ready, one_time_keys, again = await self._reachable(room_id, missing)
        if ready and (ready := await self._those_still_there(room_id, ready)):
            try:
                gift = await self._bundle(room_id, bundle)
            except BadRequest as error:
                log.warning("the homeserver does not take the keys of %d sessions: %s", len(keys), error.what)
                async with self._database.transaction() as tx:
                    await store.set_bundle(tx, room_id, events, store.REFUSED)
                return None
            found = _Round(one_time_keys)

            async def pieces() -> AsyncIterator[_Piece]:
                for piece in _in_pieces(gift, ready, given):
                    yield piece

            async def give(piece: _Piece) -> None:
                await self._give(piece, found)

            await a_few_at_once(pieces(), give)
        async with self._database.transaction() as tx:
            await store.settle_bundles(tx, room_id, events)
        log.info("the keys of %d sessions of people in %s were given to newcomers", len(keys), room_id)
        return again

    async def _bundle(self, room_id: RoomId, bundle: bytes) -> _Gift:
        more = {"sender_device_keys": await self._device_keys()}
        data, file = await asyncio.to_thread(encrypted, bundle)
        content = {"room_id": room_id, "file": {**file, "url": await self._server.upload(data)}}
        async with self._database.transaction() as tx:
            size = payload_bytes(await self._own.account(tx), ROOM_KEY_BUNDLE, content, more)
        return _Gift(room_id, store.BUNDLE, 0, ROOM_KEY_BUNDLE, content, more, size, CHUNK_DEVICES_OF_BUNDLE)

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


def _peer(one: Candidate) -> Peer:
    return Peer(one.device.user_id, one.device.device_id, one.device.curve25519, one.device.ed25519)


def _held(txn_id: str) -> str:
    """The id under which a share of the present session is noted: another one, since what it gives begins earlier."""
    return f"{txn_id}.past"


def _name(one: Candidate) -> Name:
    return one.device.user_id, one.device.device_id


def _earliest(times: Iterable[int | None]) -> int | None:
    return min((one for one in times if one is not None), default=None)


def _pending(one: Candidate, piece: _Piece) -> GivenRow:
    device = one.device
    return GivenRow(
        piece.gift.session_id, device.user_id, device.device_id, device.ed25519, store.PENDING, piece.txn_id
    )


def _by_name(rows: Iterable[GivenRow]) -> dict[tuple[str, str, str], GivenRow]:
    return {(row.session_id, row.user_id, row.device_id): row for row in rows}


def _given(one: Candidate, session_id: str, given: Mapping[tuple[str, str, str], GivenRow]) -> GivenRow | None:
    row = given.get((session_id, one.device.user_id, one.device.device_id))
    return row if row is not None and row.ed25519 == one.device.ed25519 else None


def _is_missing(one: Candidate, session_id: str, given: Mapping[tuple[str, str, str], GivenRow]) -> bool:
    row = _given(one, session_id, given)
    return row is None or row.state == store.PENDING


def _in_pieces(
    gift: _Gift, devices: Iterable[Candidate], given: Mapping[tuple[str, str, str], GivenRow]
) -> Iterator[_Piece]:
    """Those of these devices that miss something, in pieces of one request each.

    Those of a request that was never answered stay together, under its transaction id.
    """
    resumed: defaultdict[str, list[Candidate]] = defaultdict(list)
    fresh: list[Candidate] = []
    for one in devices:
        row = _given(one, gift.session_id, given)
        if row is None:
            fresh.append(one)
        elif row.state == store.PENDING:
            resumed[row.txn_id].append(one)
    for txn_id, piece in resumed.items():
        yield _Piece(gift, txn_id, piece)
    for piece in _packed(fresh, gift.payload_bytes, gift.most):
        yield _Piece(gift, secrets.token_urlsafe(16), piece)


def _packed(devices: Iterable[Candidate], payload_bytes: int, most: int) -> Iterator[list[Candidate]]:
    """As few pieces as fit into a request each.

    Args:
        payload_bytes: how long the plaintext for one device is.
        most: how many devices one request is for.
    """
    piece: list[Candidate] = []
    size = 0
    for one in devices:
        device = Device(one.device.user_id, one.device.device_id, one.device.curve25519, one.device.ed25519)
        weight = body_bytes(device, payload_bytes)
        if piece and (len(piece) >= most or size + weight > CHUNK_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += weight
    if piece:
        yield piece
