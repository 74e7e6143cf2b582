"""How something of the past reaches devices: who can be reached, and the requests, a few of them at once.

Each piece is: see that they are still there, encrypt, store the ratchets and the intention, send, mark as held. What
was interrupted goes on with what is missing, and repeats what was never answered under its own transaction id.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.core.ids import EventId, RoomId, UserId
from bridge.e2ee.giving import Giver, Means, a_few_at_once
from bridge.e2ee.machine import Peer
from bridge.e2ee.olm_sessions import Name, messages_of
from bridge.e2ee.recipients import Device, body_bytes, packed
from bridge.store import history as store
from bridge.store import keys as key_store
from bridge.store import shares
from bridge.store.history import Candidate, GivenRow

log = logging.getLogger(__name__)

CLAIMED_AT_ONCE = 250
MANY_USERS = 20
STILL_SECONDS = 5.0
"""For so long it is believed of many people that they are still there."""
FIRST_REST_MS = 10 * 60 * 1000
LONGEST_REST_MS = 24 * 3600 * 1000

Given = Mapping[tuple[str, str, str], GivenRow]
"""What was given so far, by session, user id and device id."""


@dataclass(frozen=True, slots=True)
class Gift:
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
    """How long the plaintext for one device is."""
    most: int
    """How many devices one request is for."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A gift and devices that it is given to with one request."""

    gift: Gift
    txn_id: str
    devices: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Round:
    """Devices to which something is given, and what is found out about them meanwhile."""

    devices: Sequence[Candidate]
    one_time_keys: Mapping[Name, str]
    """For those with which there is no Olm session yet."""
    again_at: int | None
    """When to come again for others that had none; None where there are no such."""
    unreached: set[Name] = field(default_factory=set)
    """Their owner has left, or there is no Olm session with them."""
    refused: set[Name] = field(default_factory=set)
    """The homeserver takes no request that is for them."""

    def left(self, devices: Iterable[Candidate]) -> list[Candidate]:
        """Those of these devices that something may still be given to."""
        return [one for one in devices if name_of(one) not in self.unreached and name_of(one) not in self.refused]


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

    def forget(self, now_ms: int) -> None:
        """Forget those that nobody has asked for in a long time: there are no such devices any more."""
        gone = [name for name, (until, _) in self._pauses.items() if until + LONGEST_REST_MS < now_ms]
        for name in gone:
            del self._pauses[name]


class Gifts(Giver):
    """Gives devices something of a room's past."""

    def __init__(self, means: Means, exclusive: Callable[[RoomId], asyncio.Lock]) -> None:
        """
        Args:
            exclusive: the lock under which a room's present session is shared.
        """
        super().__init__(means)
        self._exclusive = exclusive
        self._there: dict[RoomId, tuple[float, dict[UserId, EventId]]] = {}
        self._resting = _Resting()

    async def reach(self, room_id: RoomId, devices: Sequence[Candidate]) -> Round:
        """Begin to give something to those of these devices with which there is an Olm session, or can be one.

        One-time keys are asked for once here, for whatever is given then.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        now = self._clock.now_ms()
        self._resting.forget(now)
        known = await self._sessions.load([_peer(one) for one in devices])
        strangers = {(peer.user_id, peer.device_id) for peer in known if peer.session is None}
        resting = {name: at for name in strangers if (at := self._resting.until(name, now)) is not None}
        asked = [one for one in devices if name_of(one) in strangers and name_of(one) not in resting]
        if asked:
            asked = await self._still_there(room_id, asked)
        keys: dict[Name, str] = {}
        for piece in packed(asked, lambda one: body_bytes(_device(one), 0), most=CLAIMED_AT_ONCE):
            keys |= await self._sessions.claim([_peer(one) for one in piece])
        for name in map(name_of, asked):
            if name in keys:
                self._resting.end(name)
            else:
                resting[name] = self._resting.rest(name, now)
        ready = [one for one in devices if name_of(one) not in strangers or name_of(one) in keys]
        return Round(ready, keys, min(resting.values(), default=None))

    async def give(self, pieces: AsyncIterator[Piece], found: Round) -> None:
        """Give what there is to the devices of a round. What could not be given to some of them is noted there.

        Raises:
            MatrixError: the homeserver cannot be asked; what was given so far is stored.
        """

        async def give(piece: Piece) -> None:
            await self._give(piece, found)

        await a_few_at_once(pieces, give)

    async def _still_there(self, room_id: RoomId, devices: Iterable[Candidate]) -> list[Candidate]:
        """Those of these devices whose owners are there at this moment, without a break since they were seen."""
        every = list(devices)
        there = await self._still(room_id, {one.device.user_id for one in every})
        return [one for one in every if there.get(one.device.user_id) == one.member_event]

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

    async def _give(self, piece: Piece, found: Round) -> None:
        room_id, session_id = piece.gift.room_id, piece.gift.session_id
        async with self._database.transaction() as tx:
            present = await key_store.outbound(tx, room_id)
        if present is None or present.session_id != session_id:
            await self._give_piece(piece, found, present=False)
            return
        # Whoever is given the session that is in use is a holder of it: it ends when they leave.
        async with self._exclusive(room_id):
            await self._give_piece(piece, found, present=True)

    async def _give_piece(self, piece: Piece, found: Round, *, present: bool) -> None:
        gift = piece.gift
        ready = [one for one in piece.devices if name_of(one) not in found.refused]
        if not ready:
            return
        there = await self._still_there(gift.room_id, ready)
        peers = [_peer(one) for one in there]
        async with self._own.ratchets.hold(peer.curve25519 for peer in peers):
            sealed, _ = await self._sessions.seal(
                await self._sessions.load(peers), found.one_time_keys, gift.event_type, gift.content, more=gift.more
            )
            sent = {(one.peer.user_id, one.peer.device_id) for one in sealed}
            found.unreached.update({name_of(one) for one in ready} - sent)
            reached = [one for one in there if name_of(one) in sent]
            async with self._database.transaction() as tx:
                await self._sessions.save(tx, sealed)
                await store.save_given(tx, gift.room_id, [_pending(one, piece) for one in reached])
                if present:
                    held, now = _held(piece.txn_id), self._clock.now_ms()
                    await store.hold(tx, gift.session_id, reached, gift.index, held, now_ms=now)
        if not sealed:
            return
        # What is refused here is not given again: so an outage, long as it may be, is no refusal.
        messages = messages_of(sealed)
        refused = await self._to_devices("m.room.encrypted", piece.txn_id, messages, outlasting=False)
        found.refused.update(refused)
        async with self._database.transaction() as tx:
            await store.settle_given(tx, gift.room_id, gift.session_id, piece.txn_id)
            await store.refuse_given(tx, gift.room_id, gift.session_id, refused)
            if present:
                await store.settle_hold(tx, gift.session_id, _held(piece.txn_id))
                await shares.refuse_shares(tx, gift.session_id, _held(piece.txn_id), refused)


def given_of(rows: Iterable[GivenRow]) -> Given:
    return {(row.session_id, row.user_id, row.device_id): row for row in rows}


def in_pieces(gift: Gift, devices: Iterable[Candidate], given: Given) -> Iterator[Piece]:
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
        yield Piece(gift, txn_id, piece)
    for piece in packed(fresh, lambda one: body_bytes(_device(one), gift.payload_bytes), most=gift.most):
        yield Piece(gift, secrets.token_urlsafe(16), piece)


def is_missing(one: Candidate, session_id: str, given: Given) -> bool:
    """Whether a device still has to be given a session, or the bundle."""
    row = _given(one, session_id, given)
    return row is None or row.state == store.PENDING


def name_of(one: Candidate) -> Name:
    return one.device.user_id, one.device.device_id


def _given(one: Candidate, session_id: str, given: Given) -> GivenRow | None:
    row = given.get((session_id, one.device.user_id, one.device.device_id))
    return row if row is not None and row.ed25519 == one.device.ed25519 else None


def _device(one: Candidate) -> Device:
    return Device(one.device.user_id, one.device.device_id, one.device.curve25519, one.device.ed25519)


def _peer(one: Candidate) -> Peer:
    return Peer(one.device.user_id, one.device.device_id, one.device.curve25519, one.device.ed25519)


def _pending(one: Candidate, piece: Piece) -> GivenRow:
    session_id, (user, device) = piece.gift.session_id, name_of(one)
    return GivenRow(session_id, user, device, one.device.ed25519, store.PENDING, piece.txn_id)


def _held(txn_id: str) -> str:
    """The id under which a share of the present session is noted: another one, since what it gives begins earlier."""
    return f"{txn_id}.past"
