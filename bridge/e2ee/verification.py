"""Verifications by emoji with people: which are open, what the other side sends, and the signature at the end.

Whoever asks is remembered and no more: only somebody here, who compares the emoji, goes on with it. What is open is in
memory alone; a restart ends it, and people ask again. People can open few at a time, and nothing they send raises.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.core.errors import CommunitiesError, MatrixError, Refused
from bridge.core.ids import RoomId, UserId
from bridge.core.messages import Verifying
from bridge.e2ee import sas
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists, parse_answer
from bridge.e2ee.identity import Identity
from bridge.e2ee.machine import Sas
from bridge.e2ee.sas import PREFIX, REQUEST, Message, Party, Stage, Verification
from bridge.ports import Clock, KeyServer
from bridge.store.database import Database
from bridge.store.keys import DeviceList

log = logging.getLogger(__name__)

MAX_OPEN = 50
MAX_OPEN_OF_ONE_USER = 2
MAX_OVER = 20
"""Those that are over and can still be looked at."""
MAX_AT_ONCE = 100
"""Messages taken of one sync; what is beyond that is dropped."""
MAX_ASKED_DEVICES = 50

Speak = Callable[[RoomId, str, Mapping[str, Any], bool], Awaitable[object]]
"""Sends an event into a chat, encrypted or not."""


@dataclass(slots=True)
class _Entry:
    """A verification, and what belongs to it here."""

    number: int
    flow: Verification
    identity: Mapping[str, Any] | None = None
    """Their master key as the homeserver gave it when we began."""
    asked: list[str] = field(default_factory=list)
    encrypted: bool = False
    """Whether the other side asked in an encrypted event; what we send in the room is as theirs."""


class Verifications:
    """All verifications of the announcer."""

    def __init__(
        self,
        server: KeyServer,
        clock: Clock,
        own: OwnDevice,
        identity: Identity,
        devices: DeviceLists,
        database: Database,
    ) -> None:
        self._server = server
        self._clock = clock
        self._own = own
        self._identity = identity
        self._devices = devices
        self._database = database
        self._entries: dict[int, _Entry] = {}
        self._numbers = itertools.count(1)
        self.speak: Speak | None = None
        """How to send into a room; without it verifications in rooms are not taken up."""

    # --- what people send ---------------------------------------------------------------------------------------------

    async def take(self, messages: Sequence[tuple[UserId, str, Mapping[str, Any]]]) -> None:
        """Take to-device messages: sender, type and content of each."""
        if len(messages) > MAX_AT_ONCE:
            log.warning("%d messages of verifications at once: those beyond %d are dropped", len(messages), MAX_AT_ONCE)
        for sender, event_type, content in messages[:MAX_AT_ONCE]:
            transaction = sas.transaction_of(content, in_room=False)
            if transaction is None:
                continue
            if event_type == REQUEST:
                if sas.is_timely(content.get("timestamp"), self._clock.now_ms()):
                    await self._asked(sender, content, transaction, None)
            else:
                await self._heard(sender, event_type, content, transaction, None)

    async def take_in_room(self, event: Verifying) -> None:
        """Take an event of a chat with its sender; a request is an `m.room.message`."""
        content, room_id = event.content, event.room_id
        if event.type in ("m.room.message", REQUEST):
            if content.get("to") == self._own.user_id and sas.is_timely(event.sent_at, self._clock.now_ms()):
                await self._asked(event.sender, content, event.event_id, room_id, encrypted=event.encrypted)
            return
        transaction = sas.transaction_of(content, in_room=True)
        if transaction is not None:
            await self._heard(event.sender, event.type, content, transaction, room_id)

    async def _asked(
        self,
        sender: UserId,
        content: Mapping[str, Any],
        transaction: str,
        room_id: RoomId | None,
        *,
        encrypted: bool = False,
    ) -> None:
        if not sas.is_request(content) or sender == self._own.user_id or (room_id is not None and self.speak is None):
            return
        if self._find(sender, transaction, room_id) is not None or not await self._make_room(sender):
            return
        flow = Verification(
            me=self._own.user_id,
            them=sender,
            transaction=transaction,
            room=room_id,
            stage=Stage.REQUESTED,
            began_at=self._clock.now_ms(),
            their_device=content["from_device"],
        )
        self._enter(flow).encrypted = encrypted
        log.info("%s asks to be verified with: `matrix-communities verify`", sender)

    async def _heard(
        self, sender: UserId, event_type: str, content: Mapping[str, Any], transaction: str, room_id: RoomId | None
    ) -> None:
        entry = self._find(sender, transaction, room_id)
        if entry is None:
            return  # answering what nobody here knows would let strangers make us talk
        before = entry.flow.stage
        await self._send(entry, [*entry.flow.expire(self._clock.now_ms()), *self._step(entry, event_type, content)])
        if before is Stage.ASKING and entry.flow.their_device:
            await self._release_others(entry)
        await self._sign_if_proven(entry)

    def _step(self, entry: _Entry, event_type: str, content: Mapping[str, Any]) -> list[Message]:
        try:
            return entry.flow.take(event_type.removeprefix(PREFIX), content)
        except Exception:
            # Whatever a stranger has found: it must not keep everybody else's keys from us.
            log.exception("a verification with %s is cancelled", entry.flow.them)
            return entry.flow.cancel("m.invalid_message", "")

    # --- what somebody here does --------------------------------------------------------------------------------------

    async def open(self) -> list[dict[str, Any]]:
        """The verifications that are not over, oldest first."""
        await self._expire()
        return [_shown(entry) for entry in self._entries.values() if not entry.flow.stage.over]

    async def look(self, number: int) -> dict[str, Any]:
        """One verification as it stands.

        Raises:
            Refused: there is none with this number.
        """
        await self._expire()
        return _shown(self._get(number))

    async def accept(self, number: int) -> dict[str, Any]:
        """Say that we are ready.

        Raises:
            Refused: there is none with this number, or the user has no identity that could be verified.
            MatrixError: the homeserver cannot be asked.
        """
        entry = self._get(number)
        try:
            theirs = await self._theirs(entry, entry.flow.their_device)
        except Refused:
            await self._send(entry, entry.flow.cancel("m.key_mismatch", "there is no identity to verify"))
            raise
        await self._send(entry, entry.flow.accept(Sas(), await self._ours(), theirs))
        return _shown(entry)

    async def ask(self, user_id: UserId) -> dict[str, Any]:
        """Ask all devices of a user.

        Raises:
            Refused: the user has no identity that could be verified.
            MatrixError: the homeserver cannot be asked.
        """
        if user_id == self._own.user_id:
            raise Refused("that is the announcer itself", where=user_id)
        flow = Verification(
            me=self._own.user_id,
            them=user_id,
            transaction=secrets.token_urlsafe(16),
            room=None,
            stage=Stage.ASKING,
            began_at=self._clock.now_ms(),
        )
        await self._make_room(user_id)
        entry = self._enter(flow)
        try:
            theirs = await self._theirs(entry, "")
        except (Refused, MatrixError):
            del self._entries[entry.number]
            raise
        await self._send(entry, flow.ask(Sas(), await self._ours(), theirs))
        return _shown(entry)

    async def answer(self, number: int, *, matches: bool) -> dict[str, Any]:
        """Somebody here has compared the emoji.

        Raises:
            Refused: there is none with this number, or nothing to compare in it.
        """
        entry = self._get(number)
        await self._send(entry, entry.flow.expire(self._clock.now_ms()))
        if entry.flow.stage is not Stage.COMPARING:
            raise Refused("there is nothing to compare in this verification", where=entry.flow.them)
        await self._send(entry, entry.flow.confirm() if matches else entry.flow.deny())
        await self._sign_if_proven(entry)
        return _shown(entry)

    async def cancel(self, number: int) -> dict[str, Any]:
        """Give it up.

        Raises:
            Refused: there is none with this number.
        """
        entry = self._get(number)
        await self._send(entry, entry.flow.cancel("m.user", "given up"))
        return _shown(entry)

    async def end_all(self, reason: str) -> None:
        """Give all of them up."""
        for entry in list(self._entries.values()):
            await self._send(entry, entry.flow.cancel("m.user", reason))

    # --- keys ---------------------------------------------------------------------------------------------------------

    async def _ours(self) -> Party:
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
        master = self._identity.master_key
        keys = {f"ed25519:{account.device_id}": account.ed25519, f"ed25519:{master}": master}
        return Party(account.user_id, account.device_id, master, keys)

    async def _theirs(self, entry: _Entry, device_id: str) -> Party:
        """The keys which the other side has to prove; of one device, or of all."""
        user = UserId(entry.flow.them)
        answer = await self._server.query_keys([user])
        found = next(iter(parse_answer(answer, [user], {}, {})), DeviceList(user, 0, ()))
        if found.master_key is None:
            raise Refused(
                "has no cross-signing identity that could be verified",
                where=user,
                remedy="set it up in the client first (in Element: Settings, Encryption), and try again",
            )
        keys = {f"ed25519:{one.device_id}": one.ed25519 for one in found.devices if device_id in ("", one.device_id)}
        if not keys:
            raise Refused("has no such session on the homeserver", where=f"{user}, {device_id or 'any'}")
        entry.identity = answer["master_keys"][user]
        entry.asked = [one.device_id for one in found.devices][:MAX_ASKED_DEVICES]
        master = found.master_key
        return Party(user, device_id, master, {**keys, f"ed25519:{master}": master})

    async def _sign_if_proven(self, entry: _Entry) -> None:
        if entry.flow.stage is not Stage.PROVEN or entry.identity is None:
            return
        user = UserId(entry.flow.them)
        try:
            failures = (await self._server.upload_signatures(self._identity.vouch(entry.identity))).get("failures")
            if failures:
                raise MatrixError(f"the homeserver does not take the signature: {failures}")
            await self._devices.refresh([user], anew=[user])
        except MatrixError as error:
            log.error("%s was verified, but the signature could not be stored: %s", user, error.what)
            await self._send(entry, entry.flow.cancel("m.user", f"the signature could not be stored ({error.what})"))
            return
        log.info("%s is verified", user)
        await self._send(entry, entry.flow.signed())

    # --- within -------------------------------------------------------------------------------------------------------

    async def _send(self, entry: _Entry, messages: Sequence[Message]) -> None:
        flow = entry.flow
        for event_type, content in messages:
            try:
                if flow.room is not None:
                    if self.speak is not None:
                        await self.speak(RoomId(flow.room), event_type, content, entry.encrypted)
                    continue
                devices = [flow.their_device] if flow.their_device else entry.asked
                await self._to_devices(flow.them, event_type, dict.fromkeys(devices, content))
            except CommunitiesError as error:
                log.warning("a verification with %s breaks off: %s", flow.them, error.what)
                flow.cancel("m.user", f"the homeserver cannot be reached ({error.what})")
                return

    async def _release_others(self, entry: _Entry) -> None:
        """One of their devices has taken it up: the others need not ask any longer."""
        flow = entry.flow
        content = {"code": "m.accepted", "reason": "taken up elsewhere", "transaction_id": flow.transaction}
        others = {device: content for device in entry.asked if device != flow.their_device}
        if not others:
            return
        try:
            await self._to_devices(flow.them, f"{PREFIX}cancel", others)
        except MatrixError as error:
            log.info("other devices of %s were not told: %s", flow.them, error.what)

    async def _to_devices(self, user: str, event_type: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        await self._server.send_to_device(event_type, secrets.token_urlsafe(16), {user: messages})

    def _enter(self, flow: Verification) -> _Entry:
        entry = _Entry(next(self._numbers), flow)
        self._entries[entry.number] = entry
        return entry

    def _get(self, number: int) -> _Entry:
        entry = self._entries.get(number)
        if entry is None:
            raise Refused(
                "this verification is gone", where="verify", remedy="begin again: it must be ended in ten minutes"
            )
        return entry

    def _find(self, user: UserId, transaction: str, room_id: RoomId | None) -> _Entry | None:
        wanted = (user, transaction, room_id)
        return next((one for one in self._entries.values() if _name(one.flow) == wanted), None)

    async def _make_room(self, user: UserId) -> bool:
        """Let older requests that nobody has taken up go; whether there is room for one more."""
        await self._expire()
        alive = [entry for entry in self._entries.values() if not entry.flow.stage.over]
        of_user = [entry for entry in alive if entry.flow.them == user]
        for entries, most in ((of_user, MAX_OPEN_OF_ONE_USER), (alive, MAX_OPEN)):
            if len(entries) < most:
                continue
            idle = next((entry for entry in entries if entry.flow.stage in (Stage.REQUESTED, Stage.ASKING)), None)
            if idle is None:
                return False
            idle.flow.cancel("m.user", "a newer request takes its place")  # untold: a flood must not make us talk
            return True
        return True

    async def _expire(self) -> None:
        now = self._clock.now_ms()
        for entry in list(self._entries.values()):
            await self._send(entry, entry.flow.expire(now))
        over = [number for number, entry in self._entries.items() if entry.flow.stage.over]
        for number in over[:-MAX_OVER]:
            del self._entries[number]


def _name(flow: Verification) -> tuple[str, str, str | None]:
    return flow.them, flow.transaction, flow.room


def _shown(entry: _Entry) -> dict[str, Any]:
    flow = entry.flow
    return {
        "id": entry.number,
        "user_id": flow.them,
        "device_id": flow.their_device or None,
        "room_id": flow.room,
        "stage": flow.stage.value,
        "emoji": [list(one) for one in flow.emoji],
        "decimals": flow.decimals,
        "code": flow.code or None,
        "reason": flow.reason or None,
    }
