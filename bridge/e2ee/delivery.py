"""Carries a room's key to everybody who is in the room, and to nobody else, before each message.

Ask the homeserver who is joined; read the device lists of whoever is new or changed; begin a new session where one is
due; give the key to the devices that miss it, piece by piece; ask again who is joined. Each piece is: encrypt, store
the ratchets and the intention, send, mark as held. A share that was interrupted goes on with what is missing, and
repeats the piece that was never answered under its own transaction id.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.core.errors import CannotEncrypt, MatrixError
from bridge.core.ids import RoomId
from bridge.e2ee import recipients
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.machine import MEGOLM, Peer, Sealed, encrypt_group, import_room_key, load_group, new_group
from bridge.e2ee.olm_sessions import OlmSessions
from bridge.e2ee.recipients import Decision, Device, Missing, Share, ShareState, Trust, WithheldCode
from bridge.ports import Clock, KeyServer, Member, RoomFacts
from bridge.store import keys as store
from bridge.store.database import Database
from bridge.store.keys import InboundRow, OutboundRow, ShareRow

log = logging.getLogger(__name__)

ROUNDS = 6
"""How often the membership may change under a share before the message is given up for this time."""

SHARED_HISTORY = "org.matrix.msc3061.shared_history"


@dataclass(frozen=True, slots=True)
class _Audience:
    """A room and everybody in it, as just asked."""

    room_id: RoomId
    joined: Sequence[Member]
    room: recipients.Room


class Delivery:
    """Room keys outwards."""

    def __init__(
        self,
        database: Database,
        server: KeyServer,
        facts: RoomFacts,
        clock: Clock,
        own: OwnDevice,
        devices: DeviceLists,
        sessions: OlmSessions,
        *,
        trust: Trust,
    ) -> None:
        self._database = database
        self._server = server
        self._facts = facts
        self._clock = clock
        self._own = own
        self._devices = devices
        self._sessions = sessions
        self._trust = trust
        self._rooms: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def encrypt(self, room_id: RoomId, event_type: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The `m.room.encrypted` content of a message, after every joined device was given its key.

        The ratchet is stored before this returns. Gives the content, and how many devices hold the key.

        Raises:
            CannotEncrypt: the room's members changed faster than keys could follow.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._rooms[room_id]:
            session_id = await self.share(room_id)
            return await self._encrypt(room_id, session_id, event_type, content)

    async def prepare(self, room_id: RoomId) -> None:
        """Bring the room's key to everybody in it ahead of the next message.

        Raises:
            CannotEncrypt: the room's members changed faster than keys could follow.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._rooms[room_id]:
            await self.share(room_id)

    async def share(self, room_id: RoomId) -> str:
        """Bring the room's session to everybody in it; call it with the room's lock held. Gives the session's id."""
        tried: set[tuple[str, str, str]] = set()
        rounds = 0
        while True:
            rounds += 1
            audience = await self._ask(room_id)
            decision, session = await self._decide(audience)
            if session is None or decision.rotation is not None:
                log.info("a new session for %s: %s", room_id, decision.rotation)
                session = await self._begin(audience)
            names = {(session.session_id, *one.device.identity[:2]): one for one in decision.missing}
            missing = [one for name, one in names.items() if name not in tried]
            if decision.rotation is None and (not missing or rounds > ROUNDS):
                # After that many rounds only newcomers are left: they get the key before the next message.
                return session.session_id
            if rounds > ROUNDS:
                raise CannotEncrypt(
                    "people left the room again and again while its key was being shared",
                    where=room_id,
                    remedy="try again in a moment",
                )
            tried |= names.keys()
            await self._give(room_id, session, missing, audience.room)

    async def _ask(self, room_id: RoomId) -> _Audience:
        joined, visibility, encryption = await asyncio.gather(
            self._facts.joined(room_id),
            self._facts.state_content(room_id, "m.room.history_visibility"),
            self._facts.state_content(room_id, "m.room.encryption"),
        )
        others = {member.user_id: str(member.event_id) for member in joined if member.user_id != self._own.user_id}
        async with self._database.transaction() as tx:
            before = await store.audience(tx, room_id)
        # Who is new, or left and returned, may have changed devices without the homeserver having told us yet.
        anew = {user for user, event in others.items() if before.get(user) != event}
        await self._devices.refresh(others, anew=anew)
        gone = before.keys() - others.keys()
        if anew or gone:
            async with self._database.transaction() as tx:
                await store.save_audience(tx, room_id, {user: others[user] for user in anew}, gone)
        return _Audience(room_id, joined, recipients.Room(visibility, encryption))

    async def _decide(self, audience: _Audience) -> tuple[Decision, OutboundRow | None]:
        async with self._database.transaction() as tx:
            row = await store.outbound(tx, audience.room_id)
            shares = await store.shares(tx, row.session_id) if row is not None else []
            devices = await store.devices_of(tx, (member.user_id for member in audience.joined))
        decision = recipients.decide(
            announcer=self._own.user_id,
            joined=audience.joined,
            devices={user: [_device(one) for one in rows] for user, rows in devices.items()},
            session=_session(row) if row is not None else None,
            shares=[_share(one) for one in shares],
            room=audience.room,
            trust=self._trust,
            now_ms=self._clock.now_ms(),
        )
        return decision, row

    async def _begin(self, audience: _Audience) -> OutboundRow:
        group = new_group(self._own.pickle_key)
        now = self._clock.now_ms()
        row = OutboundRow(audience.room_id, group.session_id, group.pickle, now, 0, audience.room.digest)
        key = import_room_key(group.session_key, self._own.pickle_key)
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
            await store.begin_outbound(tx, row)
            await store.save_inbound(
                tx,
                InboundRow(
                    room_id=audience.room_id,
                    session_id=group.session_id,
                    owner=self._own.user_id,
                    curve25519=account.curve25519,
                    ed25519=account.ed25519,
                    verified=True,
                    shared_history=audience.room.shares_history,
                    first_index=0,
                    pickle=key.pickle,
                    original=group.pickle,
                ),
                now_ms=now,
            )
        return row

    async def _give(
        self, room_id: RoomId, session: OutboundRow, missing: Sequence[Missing], room: recipients.Room
    ) -> None:
        group = load_group(session.pickle, self._own.pickle_key)
        content: dict[str, Any] = {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": group.session_id,
            "session_key": group.session_key,
        }
        if room.shares_history:
            content[SHARED_HISTORY] = True
        size = len(orjson.dumps(content)) + 300
        for chunk in recipients.chunks(missing, payload_bytes=size):
            await self._give_chunk(chunk, group.session_id, group.index, content)

    async def _give_chunk(
        self, chunk: Sequence[Missing], session_id: str, index: int, content: Mapping[str, Any]
    ) -> None:
        peers = [_peer(one.device) for one in chunk]
        claimed = await self._sessions.claim_missing(peers)
        txn_id = chunk[0].txn_id or secrets.token_urlsafe(16)
        async with self._own.lock:
            sealed, _ = await self._sessions.seal(peers, claimed, "m.room_key", content)
            sent = {(one.peer.user_id, one.peer.device_id) for one in sealed}
            rows = [_row(one, sent, txn_id, index) for one in chunk]
            async with self._database.transaction() as tx:
                await self._sessions.save(tx, sealed)
                await store.save_shares(tx, session_id, rows, now_ms=self._clock.now_ms())
        await self._send(session_id, txn_id, sealed)
        await self._tell_no_olm([one for one in chunk if not one.told and one.device.identity[:2] not in sent])

    async def _send(self, session_id: str, txn_id: str, sealed: Sequence[Sealed]) -> None:
        if not sealed:
            return
        messages: dict[str, dict[str, Any]] = {}
        for one in sealed:
            messages.setdefault(one.peer.user_id, {})[one.peer.device_id] = one.content
        await self._server.send_to_device("m.room.encrypted", txn_id, messages)
        async with self._database.transaction() as tx:
            await store.settle_shares(tx, session_id, txn_id, ShareState.HELD, now_ms=self._clock.now_ms())

    async def _tell_no_olm(self, unreached: Sequence[Missing]) -> None:
        """Tell devices once that no Olm session with them could be made (`m.room_key.withheld`, code `m.no_olm`)."""
        if not unreached:
            return
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
        content = {
            "algorithm": MEGOLM,
            "sender_key": account.curve25519,
            "code": WithheldCode.NO_OLM,
            "reason": "the device has no one-time keys left",
        }
        messages: dict[str, dict[str, Any]] = {}
        for one in unreached:
            messages.setdefault(one.device.user_id, {})[one.device.device_id] = content
        try:
            await self._server.send_to_device("m.room_key.withheld", secrets.token_urlsafe(16), messages)
        except MatrixError as error:
            log.info("%d devices without one-time keys could not be told: %s", len(unreached), error)

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
            held = await store.count_shares(tx, session_id, ShareState.HELD)
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


def _device(row: store.DeviceRow) -> Device:
    return Device(row.user_id, row.device_id, row.curve25519, row.ed25519, row.cross_signed, row.verified)


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


def _row(one: Missing, sent: Collection[tuple[str, str]], txn_id: str, index: int) -> ShareRow:
    device = one.device
    leaves = (device.user_id, device.device_id) in sent
    # One whose earlier try was never answered may hold the key, even if it cannot be repeated now.
    state = ShareState.PENDING if leaves or one.txn_id else ShareState.NO_OLM
    return ShareRow(
        device.user_id,
        device.device_id,
        device.curve25519,
        device.ed25519,
        one.member_event,
        index,
        state,
        txn_id if leaves else "",
    )
