"""Carries a room's key to everybody who is in the room, and to nobody else, before each message.

Ask the homeserver who is joined; read the device lists of whoever is new or changed; begin a new session where one is
due; give the key to the devices that miss it, piece by piece, a few pieces at once; ask again who is joined. Each piece
is: encrypt, store the ratchets and the intention, send, mark as held. A share that was interrupted goes on with what is
missing, and repeats the piece that was never answered under its own transaction id.

The database is asked for differences only, and a piece is all that is held in memory: a room of thousands in which
nothing changed costs a few statements.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.core.errors import CannotEncrypt, MatrixError
from bridge.core.ids import EventId, RoomId, UserId
from bridge.e2ee import recipients
from bridge.e2ee.bulk import payload_bytes
from bridge.e2ee.devices import FAILURE_PAUSE_MS
from bridge.e2ee.giving import IN_FLIGHT, ROOM_KEY, SHARED_HISTORY, Giver, Means, a_few_at_once
from bridge.e2ee.machine import MEGOLM, Peer, encrypt_group, import_room_key, load_group, new_group
from bridge.e2ee.olm_sessions import Message, Name, messages_of
from bridge.e2ee.recipients import (
    Decision,
    Device,
    Missing,
    Rotation,
    Share,
    ShareState,
    Trust,
    Withheld,
    WithheldCode,
)
from bridge.ports import Member
from bridge.store import keys as store
from bridge.store import shares
from bridge.store.keys import AccountRow, InboundRow, OutboundRow
from bridge.store.shares import Question, ShareRow, Stray, Unsettled

log = logging.getLogger(__name__)

ROUNDS = 6
"""How often the membership may change under a share before the message is given up for this time."""

UNUSED_PAUSE_MS = 10 * 60 * 1000
"""How old a session has to be that nobody has used, before one is made in its place ahead of a message."""

OF_PEOPLE = (Rotation.MEMBER_LEFT, Rotation.DEVICE_GONE)

PAGE_DEVICES = IN_FLIGHT * recipients.CHUNK_DEVICES
"""How many devices are looked up at once."""

_REASONS = {
    WithheldCode.UNVERIFIED: "keys are given to devices only that their owner has verified",
    WithheldCode.NO_OLM: "the device has no one-time keys left",
}
_STANDING = {Trust.ALL: 0, Trust.SIGNED: 1, Trust.VERIFIED: 2}
_START = ("", "")


@dataclass(slots=True)
class Progress:
    """How far a room's key has come: devices served of those that miss it."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Situation:
    """A room as the homeserver just had it, its session, and why a new one is due."""

    room: recipients.Room
    session: OutboundRow | None
    rotation: Rotation | None


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A session's key as it is given to devices, and everything that is the same for all of them."""

    room_id: RoomId
    session_id: str
    index: int
    content: Mapping[str, Any]
    account: AccountRow
    sender_key: str
    payload_bytes: int
    attempt: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """Devices that are served with one request: given the key, or told that they get none."""

    missing: Sequence[Missing]
    withheld: Sequence[Withheld]


class Delivery(Giver):
    """Room keys outwards."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._rooms: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._progress: dict[RoomId, Progress] = {}

    def progress(self, room_id: RoomId) -> Progress | None:
        """How far the room's key has come that is on its way at this moment; None where none is."""
        return self._progress.get(room_id)

    async def encrypt(self, room_id: RoomId, event_type: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The `m.room.encrypted` content of a message, after every joined device was given its key.

        The ratchet is stored before this returns. Gives the content, and how many devices hold the key.

        Raises:
            CannotEncrypt: the room's members changed faster than keys could follow.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._rooms[room_id]:
            session_id = await self._share(room_id)
            return await self._encrypt(room_id, session_id, event_type, content)

    def exclusive(self, room_id: RoomId) -> asyncio.Lock:
        """Held while a room's session is shared or moved on."""
        return self._rooms[room_id]

    async def prepare(self, room_id: RoomId) -> int | None:
        """Bring the room's key to everybody in it ahead of the next message.

        A session that nobody has used yet is not replaced again and again while people come and go.

        Returns:
            When to come again (milliseconds since 1970), where it is too early for a new session; else None.

        Raises:
            CannotEncrypt: the room's members changed faster than keys could follow.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._rooms[room_id]:
            here = await self._look(room_id)
            session = here.session
            if session is not None and here.rotation in OF_PEOPLE and session.messages == 0:
                again = session.created_at + UNUSED_PAUSE_MS
                if 0 <= again - self._clock.now_ms() <= UNUSED_PAUSE_MS:
                    return again
            await self._share(room_id, here)
            return None

    async def _share(self, room_id: RoomId, known: _Situation | None = None) -> str:
        """Bring the room's session to everybody in it, and give the session's id.

        Args:
            known: how it stands, where that was just asked.
        """
        attempt = secrets.token_urlsafe(8)
        try:
            for _ in range(ROUNDS):
                here, known = known or await self._look(room_id), None
                session, rotation = here.session, here.rotation
                ended = None
                if session is None or rotation is not None:
                    log.info("a new session for %s: %s", room_id, rotation)
                    ended = None if session is None else session.session_id
                    session = await self._begin(room_id, here.room)
                given = await self._give(session, here.room, attempt=attempt, ended=ended)
                if rotation is None and not given:
                    return session.session_id
        finally:
            self._progress.pop(room_id, None)
        here = await self._look(room_id)
        if here.session is not None and here.rotation is None:
            # After that many rounds only newcomers are left: they get the key before the next message.
            return here.session.session_id
        raise CannotEncrypt(
            "people left the room again and again while its key was being shared",
            where=room_id,
            remedy="try again in a moment",
        )

    async def _ask(self, room_id: RoomId) -> recipients.Room:
        """Ask who is in the room and what its rules are, and bring audience and device lists up to that."""
        joined, visibility, encryption = await asyncio.gather(
            self._facts.joined(room_id),
            self._facts.state_content(room_id, "m.room.history_visibility"),
            self._facts.state_content(room_id, "m.room.encryption"),
        )
        async with self._database.transaction() as tx:
            fresh, gone = await shares.meet(tx, room_id, joined)
        del joined
        # Who is new, or left and returned, may have changed devices without the homeserver having told us yet.
        await self._devices.refresh([], anew=[UserId(user) for user in fresh if user != self._own.user_id])
        async with self._database.transaction() as tx:
            await shares.save_audience(tx, room_id, fresh, gone)
            outdated = await shares.outdated_members(
                tx, room_id, now_ms=self._clock.now_ms(), pause_ms=FAILURE_PAUSE_MS
            )
        await self._devices.refresh(user for user in outdated if user != self._own.user_id)
        return recipients.Room(visibility, encryption)

    async def _look(self, room_id: RoomId) -> _Situation:
        """Ask the homeserver, and see whether the room's session will do."""
        room = await self._ask(room_id)
        async with self._database.transaction() as tx:
            row = await store.outbound(tx, room_id)
            strays = [] if row is None else await shares.strays(tx, self._question(row, attempt=""))
        return _Situation(room, row, self._decide(strays, [], row, room).rotation)

    def _decide(
        self, strays: Iterable[Stray], devices: Sequence[Unsettled], row: OutboundRow | None, room: recipients.Room
    ) -> Decision:
        """Ask the rules about what is not settled; about everybody else they would have nothing to say."""
        joined: dict[UserId, str] = {one.user_id: one.member_event for one in devices}
        known: defaultdict[UserId, list[Device]] = defaultdict(list)
        given = [_share(one.share) for one in devices if one.share is not None]
        for one in devices:
            known[one.user_id].append(_device(one))
        for stray in strays:
            user = stray.share.user_id
            given.append(_share(stray.share))
            if stray.member_event is not None:
                joined[user] = stray.member_event
            if stray.curve25519 is not None and stray.ed25519 is not None:
                known[user].append(
                    Device(
                        user,
                        stray.share.device_id,
                        stray.curve25519,
                        stray.ed25519,
                        stray.cross_signed,
                        stray.verified,
                    )
                )
        return recipients.decide(
            announcer=self._own.user_id,
            joined=[Member(user, EventId(event)) for user, event in joined.items()],
            devices=known,
            session=None if row is None else _session(row),
            shares=given,
            room=room,
            trust=self._trust,
            now_ms=self._clock.now_ms(),
        )

    def _question(self, session: OutboundRow, *, attempt: str) -> Question:
        return Question(session.room_id, session.session_id, self._own.user_id, _STANDING[self._trust], attempt)

    async def _begin(self, room_id: RoomId, room: recipients.Room) -> OutboundRow:
        group = new_group(self._own.pickle_key)
        now = self._clock.now_ms()
        row = OutboundRow(room_id, group.session_id, group.pickle, now, 0, room.digest)
        key = import_room_key(group.session_key, self._own.pickle_key)
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
            await store.begin_outbound(tx, row)
            await store.save_inbound(
                tx,
                InboundRow(
                    room_id=room_id,
                    session_id=group.session_id,
                    owner=self._own.user_id,
                    curve25519=account.curve25519,
                    ed25519=account.ed25519,
                    verified=True,
                    shared_history=room.shares_history,
                    first_index=0,
                    pickle=key.pickle,
                    original=group.pickle,
                ),
                now_ms=now,
            )
        return row

    # --- giving it ----------------------------------------------------------------------------------------------------

    async def _give(
        self, session: OutboundRow, room: recipients.Room, *, attempt: str, ended: str | None = None
    ) -> bool:
        """Serve every device that is not settled; whether there was any.

        Args:
            ended: the session whose place this one has just taken: of those before it the holders are forgotten.
        """
        question = self._question(session, attempt=attempt)
        async with self._database.transaction() as tx:
            total = await shares.count_unsettled(tx, question)
            account = await self._own.row(tx) if total else None
        if account is None:
            return False
        parcel = self._parcel(session, room, account, attempt)
        progress = self._progress[parcel.room_id] = Progress(0, total)

        async def serve(piece: _Piece) -> None:
            await self._serve(piece, parcel, progress)

        forgetting = asyncio.create_task(self._forget_earlier_holders(session, ended))
        try:
            await a_few_at_once(self._pieces(question, session, room, parcel), serve)
        finally:
            await forgetting
        return True

    async def _forget_earlier_holders(self, session: OutboundRow, ended: str | None) -> None:
        """Where a session began: whoever comes in now may still miss what was said under the one that it ended."""
        if ended is not None:
            async with self._database.transaction() as tx:
                await shares.forget_earlier_holders(tx, session.room_id, but=(session.session_id, ended))

    def _parcel(self, session: OutboundRow, room: recipients.Room, account: AccountRow, attempt: str) -> _Parcel:
        group = load_group(session.pickle, self._own.pickle_key)
        room_id = RoomId(session.room_id)
        content: dict[str, Any] = {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": group.session_id,
            "session_key": group.session_key,
        }
        if room.shares_history:
            content[SHARED_HISTORY] = True
        own = self._own.open(account)
        size = payload_bytes(own, ROOM_KEY, content)
        return _Parcel(room_id, group.session_id, group.index, content, account, own.curve25519, size, attempt)

    async def _pieces(
        self, question: Question, session: OutboundRow, room: recipients.Room, parcel: _Parcel
    ) -> AsyncIterator[_Piece]:
        """What has to be given or told, in pieces that fit one request; first what was never answered."""
        async with self._database.transaction() as tx:
            requests = await shares.open_requests(tx, question.session_id)
        for txn_id in requests:
            async with self._database.transaction() as tx:
                devices = await shares.unanswered(tx, question, txn_id)
            for piece in self._to_do(devices, session, room, parcel):
                yield piece
        after = _START
        while True:
            async with self._database.transaction() as tx:
                devices = await shares.unsettled(tx, question, after=after, limit=PAGE_DEVICES)
            for piece in self._to_do(devices, session, room, parcel):
                yield piece
            if len(devices) < PAGE_DEVICES:
                return
            after = (devices[-1].user_id, devices[-1].device_id)
            devices = []

    def _to_do(
        self, devices: Sequence[Unsettled], session: OutboundRow, room: recipients.Room, parcel: _Parcel
    ) -> Iterable[_Piece]:
        decision = self._decide([], devices, session, room)
        if decision.rotation is not None:
            # Something changed since we looked: the next round begins a new session, and this one is not given on.
            return
        for missing in recipients.chunks(decision.missing, payload_bytes=parcel.payload_bytes):
            yield _Piece(missing, ())
        for start in range(0, len(decision.withheld), recipients.CHUNK_DEVICES):
            yield _Piece((), decision.withheld[start : start + recipients.CHUNK_DEVICES])

    async def _serve(self, piece: _Piece, parcel: _Parcel, progress: Progress) -> None:
        if piece.missing:
            await self._give_piece(piece, parcel)
        if piece.withheld:
            await self._withhold(piece.withheld, parcel)
        progress.done += len(piece.missing) + len(piece.withheld)

    async def _give_piece(self, piece: _Piece, parcel: _Parcel) -> None:
        txn_id = piece.missing[0].txn_id or secrets.token_urlsafe(16)
        messages, strangers = await self._seal_piece(piece, parcel, txn_id)
        if strangers:
            claimed = await self._sessions.claim(strangers)
            messages, _ = await self._seal_piece(piece, parcel, txn_id, claimed)
        await self._send(txn_id, messages, parcel)
        if len(messages) < len(piece.missing):
            sent = {name for name, _ in messages}
            mute = [one.device for one in piece.missing if not one.told and one.device.name not in sent]
            await self._tell_no_olm(mute, parcel)

    async def _seal_piece(
        self, piece: _Piece, parcel: _Parcel, txn_id: str, claimed: Mapping[Name, str] | None = None
    ) -> tuple[Sequence[Message], Sequence[Peer]]:
        """Encrypt for a piece's devices, and store the ratchets and the intention.

        Args:
            claimed: one-time keys of those with which there is no session; None where it was not asked yet who is such.

        Returns:
            What was encrypted; or, instead of that, the devices whose one-time keys have to be claimed first.
        """
        peers = [_peer(one.device) for one in piece.missing]
        async with self._own.ratchets.hold(peer.curve25519 for peer in peers):
            begun = [] if claimed is None else [peer for peer in peers if (peer.user_id, peer.device_id) in claimed]
            known = await self._sessions.load(
                [peer for peer in peers if (peer.user_id, peer.device_id) not in claimed] if claimed else peers
            )
            if claimed is None and (strangers := [peer for peer in known if peer.session is None]):
                return (), strangers
            sealed, _ = await self._sessions.seal(
                [*known, *begun], claimed or {}, ROOM_KEY, parcel.content, own=parcel.account
            )
            sent = {(one.peer.user_id, one.peer.device_id) for one in sealed}
            rows = [_row(one, parcel, txn_id if one.device.name in sent else None) for one in piece.missing]
            async with self._database.transaction() as tx:
                await self._sessions.save(tx, sealed)
                await shares.save_shares(tx, parcel.session_id, rows, now_ms=self._clock.now_ms())
        return messages_of(sealed), ()

    async def _send(self, txn_id: str, messages: Sequence[Message], parcel: _Parcel) -> None:
        if not messages:
            return
        users = {user for (user, _), _ in messages}
        refused = await self._to_devices("m.room.encrypted", txn_id, messages)
        session_id, now = parcel.session_id, self._clock.now_ms()
        async with self._database.transaction() as tx:
            await shares.refuse_shares(tx, session_id, txn_id, refused, attempt=parcel.attempt)
            await shares.settle_shares(tx, session_id, txn_id, ShareState.HELD, users=users, now_ms=now)

    async def _withhold(self, withheld: Sequence[Withheld], parcel: _Parcel) -> None:
        """Tell devices that they get no key, and why (`m.room_key.withheld`), once for each session."""
        for code in sorted({one.code for one in withheld}):
            refused = [one for one in withheld if one.code is code]
            content = {"room_id": parcel.room_id, "session_id": parcel.session_id}
            await self._tell([one.device for one in refused], code, parcel, content)
        rows = [
            _share_row(one.device, one.member_event, parcel.index, ShareState.WITHHELD, parcel.attempt)
            for one in withheld
        ]
        async with self._database.transaction() as tx:
            await shares.save_shares(tx, parcel.session_id, rows, now_ms=self._clock.now_ms())

    async def _tell_no_olm(self, devices: Sequence[Device], parcel: _Parcel) -> None:
        """Tell devices once that no Olm session with them could be made (`m.room_key.withheld`, code `m.no_olm`)."""
        try:
            await self._tell(devices, WithheldCode.NO_OLM, parcel, {})
        except MatrixError as error:
            log.info("%d devices without one-time keys could not be told: %s", len(devices), error)

    async def _tell(
        self, devices: Sequence[Device], code: WithheldCode, parcel: _Parcel, which: Mapping[str, str]
    ) -> None:
        if not devices:
            return
        content = {
            **which,
            "algorithm": MEGOLM,
            "sender_key": parcel.sender_key,
            "code": code,
            "reason": _REASONS[code],
        }
        messages = [((device.user_id, device.device_id), content) for device in devices]
        await self._to_devices("m.room_key.withheld", secrets.token_urlsafe(16), messages)

    # --- using it -----------------------------------------------------------------------------------------------------

    async def _encrypt(
        self, room_id: RoomId, session_id: str, event_type: str, content: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int]:
        plaintext = orjson.dumps({"type": event_type, "content": content, "room_id": room_id}).decode()
        async with self._database.transaction() as tx:
            row = await store.outbound(tx, room_id)
            if row is None or row.session_id != session_id:
                raise CannotEncrypt("the room's session was replaced meanwhile", where=room_id, remedy="try again")
            account = await self._own.account(tx)
            ciphertext, group = encrypt_group(row.pickle, self._own.pickle_key, plaintext)
            await store.advance_outbound(tx, room_id, session_id, group.pickle)
            held = await shares.count_held(tx, session_id)
        wire: dict[str, Any] = {
            "algorithm": MEGOLM,
            "ciphertext": ciphertext,
            "session_id": session_id,
            "sender_key": account.curve25519,
            "device_id": account.device_id,
        }
        if "m.relates_to" in content:
            wire["m.relates_to"] = content["m.relates_to"]
        return wire, held


def _device(one: Unsettled) -> Device:
    return Device(one.user_id, one.device_id, one.curve25519, one.ed25519, one.cross_signed, one.verified)


def _session(row: OutboundRow) -> recipients.Session:
    return recipients.Session(row.session_id, row.created_at, row.messages, row.audience_digest)


def _share(row: ShareRow) -> Share:
    return Share(
        row.user_id,
        row.device_id,
        row.curve25519,
        row.ed25519,
        row.member_event,
        ShareState(row.state),
        row.txn_id,
    )


def _peer(device: Device) -> Peer:
    return Peer(device.user_id, device.device_id, device.curve25519, device.ed25519)


def _row(one: Missing, parcel: _Parcel, txn_id: str | None) -> ShareRow:
    # One that an earlier try may have reached may hold the key, even if it cannot be repeated now.
    state = ShareState.NO_OLM if txn_id is None and not one.may_hold else ShareState.PENDING
    return _share_row(one.device, one.member_event, parcel.index, state, txn_id or parcel.attempt)


def _share_row(device: Device, member_event: str, index: int, state: ShareState, txn_id: str) -> ShareRow:
    return ShareRow(
        device.user_id, device.device_id, device.curve25519, device.ed25519, member_event, index, state, txn_id
    )
