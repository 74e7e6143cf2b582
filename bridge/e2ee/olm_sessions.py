"""Olm messages to other devices: find or begin a session, seal, and store the ratchet before anything leaves.

Follows the specification's `/keys/claim` and "Recovering from undecryptable messages".
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bridge.core.errors import BadRequest, MatrixError
from bridge.core.ids import UserId
from bridge.e2ee.bulk import seal
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.division import in_parts
from bridge.e2ee.machine import ONE_TIME_KEY, Peer, Ratchet, Sealed, is_key, verify_json
from bridge.ports import Clock, KeyServer
from bridge.store import keys as store
from bridge.store.database import Database, Transaction
from bridge.store.keys import OlmRow

log = logging.getLogger(__name__)

Name = tuple[str, str]
"""User id and device id."""

Message = tuple[Name, Any]
"""A device, and the content of what it is sent."""

THREADS = 2
LEAST_FOR_A_THREAD = 20
"""Devices: for fewer another thread costs more than it brings."""

UNWEDGE_PAUSE_MS = 3600 * 1000
MAX_UNWEDGED_AT_ONCE = 20


class OlmSessions:
    """Sessions towards other devices."""

    def __init__(self, database: Database, server: KeyServer, clock: Clock, own: OwnDevice) -> None:
        self._database = database
        self._server = server
        self._clock = clock
        self._own = own
        # Threads of its own, and few: more would bring nothing but memory, and keep others from the processor.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="olm")

    async def load(self, peers: Sequence[Peer]) -> list[Peer]:
        """These devices with the session that was last used with each; without one where there is none.

        To seal with it, hold their ratchets from here until `save` is committed.
        """
        if not peers:
            return []
        async with self._database.transaction() as tx:
            sessions = await store.newest_sessions(tx, (peer.curve25519 for peer in peers))
        # Bound to both keys: somebody may publish another's curve25519 key under a signing key of their own.
        return [
            peer if (found := sessions.get((peer.curve25519, peer.ed25519))) is None else _with_session(peer, *found)
            for peer in peers
        ]

    async def claim(self, peers: Sequence[Peer]) -> dict[Name, str]:
        """One-time keys, verified, for these devices, whether there is a session with them or not.

        Devices that have none, or whose key is not signed by them, are left out.
        """
        if not peers:
            return {}
        found: dict[Name, str] = {}

        async def ask(part: Sequence[Peer]) -> None:
            wanted: dict[str, dict[str, str]] = {}
            for peer in part:
                wanted.setdefault(peer.user_id, {})[peer.device_id] = ONE_TIME_KEY
            answer = await self._server.claim_keys(wanted)
            found.update(await asyncio.get_running_loop().run_in_executor(self._threads, _verified, answer, part))

        try:
            refused = await in_parts(
                peers, ask, owner=lambda peer: peer.user_id, probe=lambda: self._server.claim_keys({})
            )
        except BadRequest as error:
            log.warning("the homeserver refuses to hand out %d one-time keys: %s", len(peers), error.what)
            return found
        if refused.things:
            log.warning("the homeserver hands out no keys of %d devices: %s", len(refused.things), refused.reason)
        return found

    async def seal(
        self,
        peers: Sequence[Peer],
        one_time_keys: Mapping[Name, str],
        event_type: str,
        content: Mapping[str, Any],
        *,
        own: store.AccountRow | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> tuple[list[Sealed], list[Peer]]:
        """Encrypt an event for many devices, on the session that was loaded with each, or on a new one.

        Args:
            own: our account, where it was loaded already (its identity keys alone are used).
            more: what else stands in the plaintext, beside type and content.

        Returns:
            What was sealed, and the devices for which it was not possible.
        """
        if own is None:
            async with self._database.transaction() as tx:
                own = await self._own.row(tx)
        keyed = [_with_key(peer, one_time_keys) for peer in peers] if one_time_keys else peers
        return await self._seal(own, keyed, event_type, content, more)

    async def _seal(
        self,
        own: store.AccountRow,
        peers: Sequence[Peer],
        event_type: str,
        content: Mapping[str, Any],
        more: Mapping[str, Any] | None,
    ) -> tuple[list[Sealed], list[Peer]]:
        """In as many threads as bring something: libolm lets go of Python's lock while it computes."""
        size = max(LEAST_FOR_A_THREAD, -(-len(peers) // THREADS))
        pieces = [peers[start : start + size] for start in range(0, len(peers), size)]

        def work(piece: Sequence[Peer]) -> tuple[list[Sealed], list[Peer]]:
            return seal(self._own.open(own), self._own.pickle_key, piece, event_type, content, more)

        loop = asyncio.get_running_loop()
        done = await asyncio.gather(*(loop.run_in_executor(self._threads, work, piece) for piece in pieces))
        return [one for sealed, _ in done for one in sealed], [peer for _, failed in done for peer in failed]

    async def save(self, tx: Transaction, sealed: Iterable[Sealed]) -> None:
        """Store the ratchets behind what was sealed, before any of it leaves."""
        now = self._clock.now_ms()
        moved: list[tuple[str, bytes]] = []
        begun: list[OlmRow] = []
        for one in sealed:
            if one.peer.session is not None:
                moved.append((one.session_id, one.pickle))
            else:
                begun.append(OlmRow(one.session_id, one.peer.curve25519, one.peer.ed25519, one.pickle, now, now))
        await store.move_ratchets(tx, moved)
        await store.save_olm_sessions(tx, begun)

    async def begin_anew(self, broken: Iterable[tuple[UserId, str]]) -> None:
        """Begin new sessions with devices whose messages do not open; each at most once in `UNWEDGE_PAUSE_MS`.

        Args:
            broken: user and curve25519 key of each.
        """
        wanted = sorted(broken)[:MAX_UNWEDGED_AT_ONCE]
        if not wanted:
            return
        try:
            peers = await self._may_begin_anew(wanted)
            claimed = await self.claim(peers)
            ready = [peer for peer in peers if (peer.user_id, peer.device_id) in claimed]
            if not ready:
                return
            async with self._own.ratchets.hold(peer.curve25519 for peer in ready):
                sealed, _ = await self.seal(ready, claimed, "m.dummy", {})
                async with self._database.transaction() as tx:
                    await self.save(tx, sealed)
                    for one in sealed:
                        await store.prune_olm_sessions(tx, one.peer.curve25519)
            messages = by_device(messages_of(sealed))
            await self._server.send_to_device("m.room.encrypted", secrets.token_urlsafe(16), messages)
        except MatrixError as error:
            log.info("broken sessions could not be replaced: %s", error)

    async def _may_begin_anew(self, broken: Sequence[tuple[UserId, str]]) -> list[Peer]:
        now = self._clock.now_ms()
        peers = []
        async with self._database.transaction() as tx:
            devices = await store.devices_of(tx, (user for user, _ in broken))
            for user, curve25519 in broken:
                for device in devices.get(user, ()):
                    if device.curve25519 == curve25519 and await store.claim_unwedging(
                        tx, user, device.device_id, now_ms=now, pause_ms=UNWEDGE_PAUSE_MS
                    ):
                        peers.append(Peer(user, device.device_id, curve25519, device.ed25519))
        return peers


def messages_of(sealed: Iterable[Sealed]) -> list[Message]:
    """What was sealed, with whom it is for."""
    return [((one.peer.user_id, one.peer.device_id), one.content) for one in sealed]


def by_device(messages: Iterable[Message]) -> dict[str, dict[str, Any]]:
    """As `/sendToDevice` takes it: user id, device id, content."""
    found: dict[str, dict[str, Any]] = {}
    for (user, device), content in messages:
        found.setdefault(user, {})[device] = content
    return found


def _with_session(peer: Peer, session_id: str, pickle: bytes) -> Peer:
    return Peer(peer.user_id, peer.device_id, peer.curve25519, peer.ed25519, Ratchet(session_id, pickle))


def _with_key(peer: Peer, one_time_keys: Mapping[Name, str]) -> Peer:
    if peer.session is not None:
        return peer
    key = one_time_keys.get((peer.user_id, peer.device_id))
    return Peer(peer.user_id, peer.device_id, peer.curve25519, peer.ed25519, None, key)


def _verified(answer: Mapping[str, Any], peers: Iterable[Peer]) -> dict[Name, str]:
    every = answer.get("one_time_keys")
    found: dict[Name, str] = {}
    for peer in peers:
        of_user = every.get(peer.user_id) if isinstance(every, Mapping) else None
        of_device = of_user.get(peer.device_id) if isinstance(of_user, Mapping) else None
        key = _one_time_key(peer, of_device) if isinstance(of_device, Mapping) else None
        if key is not None:
            found[peer.user_id, peer.device_id] = key
    return found


def _one_time_key(peer: Peer, offered: Mapping[Any, Any]) -> str | None:
    for name, value in list(offered.items())[:2]:
        if not isinstance(name, str) or not name.startswith(ONE_TIME_KEY + ":") or not isinstance(value, Mapping):
            continue
        key = value.get("key")
        if not isinstance(key, str) or not is_key(key):
            continue
        if verify_json(value, user_id=peer.user_id, key_id=peer.device_id, key=peer.ed25519):
            return key
        log.warning("device %s of %s offers a one-time key that it did not sign", peer.device_id, peer.user_id)
    return None
