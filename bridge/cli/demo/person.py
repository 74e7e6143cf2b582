"""A person with an encrypting Matrix client of its own: for the demo and for the tests.

The client is matrix-nio, whose cryptography (vodozemac) shares no code with the service's. nio is used as a key machine
alone; every request that a person makes goes out in plain sight, so that a refusal carries the homeserver's own words.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote as _quote
from uuid import uuid4

import aiohttp
import nio
from nio.store import SqliteMemoryStore, SqliteStore
from yarl import URL

from bridge.cli.demo.homeserver import Account

DEADLINE: Final = 30.0
"""Seconds that a wait lasts where the caller does not say."""

_LONG_POLL_MS: Final = 20_000
_BACK_OFF: Final = 0.3
_ACCEPT_TRIES: Final = 5
_MEGOLM: Final = "m.megolm.v1.aes-sha2"
_FILTER: Final = json.dumps(
    {
        "presence": {"types": []},
        "room": {"timeline": {"limit": 100}, "state": {"lazy_load_members": False}, "ephemeral": {"types": []}},
    }
)

T = TypeVar("T")

log = logging.getLogger(__name__)

# nio warns of every key that it has to fetch; without a handler of somebody's, that would go to the terminal.
logging.getLogger("nio").addHandler(logging.NullHandler())


class Refused(Exception):
    """The homeserver said no. ``errcode`` and ``error`` are its own words."""

    def __init__(self, status: int, errcode: str, error: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{status} {errcode}: {error}")
        self.status = status
        self.errcode = errcode
        self.error = error
        self.retry_after_ms = retry_after_ms

    @classmethod
    def from_answer(cls, status: int, answer: Any) -> Refused:
        """Read the standard error object of the client-server API, or what stands in its place."""
        body = answer if isinstance(answer, dict) else {}
        return cls(
            status,
            str(body.get("errcode", "M_UNKNOWN")),
            str(body.get("error", answer)),
            body.get("retry_after_ms"),
        )


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that the client could read. ``decrypted`` is False for one that came in the clear."""

    room_id: str
    sender: str
    text: str
    event_id: str
    decrypted: bool
    type: str = "m.room.message"
    content: Mapping[str, Any] = field(default_factory=dict)
    device_id: str | None = None
    session_id: str | None = None
    shield: str | None = None
    """What the client shows beside the message: "none", "grey" or "red"; None where it has no such thing."""


@dataclass(frozen=True, slots=True)
class Undecryptable:
    """An encrypted event for which the client holds no key (yet)."""

    room_id: str
    sender: str
    event_id: str
    session_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ToDevice:
    """A to-device event as it arrived, and what stood in it where it was an Olm message for us that opened."""

    sender: str
    type: str
    content: Mapping[str, Any]
    plaintext: Mapping[str, Any] | None = None

    @property
    def inner_type(self) -> str:
        """The type of the decrypted event, or the outer one."""
        return str(self.plaintext["type"]) if self.plaintext is not None else self.type

    @property
    def room_id(self) -> str | None:
        """The room that a room key or key bundle belongs to."""
        content = self.plaintext["content"] if self.plaintext is not None else self.content
        room_id = content.get("room_id") if isinstance(content, Mapping) else None
        return room_id if isinstance(room_id, str) else None


@dataclass(frozen=True, slots=True)
class SentToDevice:
    """One device to which the client sent a to-device message."""

    type: str
    user_id: str
    device_id: str


class RoomActions(ABC):
    """What a person does that needs no key: one plain request each. :class:`Refused` where the homeserver says no."""

    user_id: str

    @abstractmethod
    async def call(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """Make one request below ``/_matrix/client/v3`` (or to a path that begins with ``/_``); return its answer."""

    async def send_raw(self, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        """Send a room event just as it is, unencrypted, and return its id."""
        path = f"/rooms/{quote(room_id)}/send/{quote(event_type)}/{uuid4().hex}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def react(self, room_id: str, event_id: str, key: str) -> str:
        """React to an event, in the clear as clients do (annotations are never encrypted)."""
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.send_raw(room_id, "m.reaction", {"m.relates_to": relation})

    async def redact(self, room_id: str, event_id: str, reason: str | None = None) -> str:
        """Redact an event, and return the id of the redaction."""
        path = f"/rooms/{quote(room_id)}/redact/{quote(event_id)}/{uuid4().hex}"
        return str((await self.call("PUT", path, {"reason": reason} if reason else {}))["event_id"])

    async def put_state(self, room_id: str, event_type: str, key: str, content: Mapping[str, Any]) -> str:
        """Set a piece of room state, and return the event's id."""
        answer = await self.call("PUT", f"/rooms/{quote(room_id)}/state/{quote(event_type)}/{quote(key)}", content)
        return str(answer["event_id"])

    async def state(self, room_id: str, event_type: str, key: str = "") -> dict[str, Any] | None:
        """A piece of room state as the homeserver has it now; None where there is none."""
        try:
            answer = await self.call("GET", f"/rooms/{quote(room_id)}/state/{quote(event_type)}/{quote(key)}")
        except Refused as refusal:
            if refusal.errcode == "M_NOT_FOUND":
                return None
            raise
        return dict(answer)

    async def all_state(self, room_id: str) -> list[dict[str, Any]]:
        """All state events of a room."""
        return list(await self.call("GET", f"/rooms/{quote(room_id)}/state"))

    async def event(self, room_id: str, event_id: str) -> dict[str, Any]:
        """One event of a room, as the homeserver hands it out."""
        return dict(await self.call("GET", f"/rooms/{quote(room_id)}/event/{quote(event_id)}"))

    async def joined_members(self, room_id: str) -> set[str]:
        """Who is joined, as the homeserver has it now."""
        return set((await self.call("GET", f"/rooms/{quote(room_id)}/joined_members"))["joined"])

    async def joined_rooms(self) -> set[str]:
        """Where this person is joined, as the homeserver has it now."""
        return set((await self.call("GET", "/joined_rooms"))["joined_rooms"])

    async def leave(self, room_id: str) -> None:
        """Leave a room, decline an invite, or take back a knock."""
        await self.call("POST", f"/rooms/{quote(room_id)}/leave", {})

    async def knock(self, room_id: str, reason: str | None = None) -> None:
        """Ask to be let in."""
        await self.call("POST", f"/knock/{quote(room_id)}", {"reason": reason} if reason else {})

    async def invite(self, room_id: str, user_id: str) -> None:
        """Invite somebody."""
        await self.call("POST", f"/rooms/{quote(room_id)}/invite", {"user_id": user_id})

    async def kick(self, room_id: str, user_id: str, reason: str = "") -> None:
        """Remove somebody."""
        await self.call("POST", f"/rooms/{quote(room_id)}/kick", {"user_id": user_id, "reason": reason})

    async def ban(self, room_id: str, user_id: str, reason: str = "") -> None:
        """Ban somebody."""
        await self.call("POST", f"/rooms/{quote(room_id)}/ban", {"user_id": user_id, "reason": reason})

    async def unban(self, room_id: str, user_id: str) -> None:
        """Lift a ban."""
        await self.call("POST", f"/rooms/{quote(room_id)}/unban", {"user_id": user_id})

    async def mark_read(self, room_id: str, event_id: str) -> None:
        """Send a public read receipt."""
        await self.call("POST", f"/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}", {})

    async def hierarchy(self, room_id: str) -> list[dict[str, Any]]:
        """The rooms of a space that this person is shown, over all pages."""
        rooms: list[dict[str, Any]] = []
        query: dict[str, str] = {}
        while True:
            page = await self.call("GET", f"/_matrix/client/v1/rooms/{quote(room_id)}/hierarchy", query=query)
            rooms += page["rooms"]
            if "next_batch" not in page:
                return rooms
            query = {"from": page["next_batch"]}

    async def create_room(self, *, encrypted: bool = False, **body: Any) -> str:
        """Make a room from the keys of ``/createRoom``; ``encrypted`` adds the encryption event."""
        if encrypted:
            encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": _MEGOLM}}
            body["initial_state"] = [*body.get("initial_state", ()), encryption]
        return str((await self.call("POST", "/createRoom", body))["room_id"])

    async def create_dm(self, user_id: str, *, encrypted: bool = True) -> str:
        """Open a direct chat with somebody, who is invited to it."""
        return await self.create_room(preset="private_chat", is_direct=True, invite=[user_id], encrypted=encrypted)


class Client(RoomActions):
    """A logged-in client that syncs in the background until :meth:`close`, and remembers what it has seen.

    Every wait ends with what was asked for or with a ``TimeoutError`` that says what has been seen instead. A subclass
    brings the keys: it feeds :meth:`_note_sync`, and tells what it could decrypt.
    """

    def __init__(self, homeserver_url: str, account: Account) -> None:
        """Prepare what every client has; it is not on line yet."""
        self.account: Final = account
        self.user_id = account.user_id
        self.device_id: Final = account.device_id
        self.to_device: Final[list[ToDevice]] = []
        """Every to-device event that arrived, in order."""
        self.sent_to_device: Final[list[SentToDevice]] = []
        """Every device to which this client sent a to-device message, in order."""
        self.invites: Final[dict[str, str]] = {}
        """Invites that are open: room id to inviter."""
        self.faults: Final[list[Exception]] = []
        """What the client's library could not digest. The client goes on."""

        self._url: Final = homeserver_url.rstrip("/")
        self._http: Final = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {account.access_token}"}, timeout=aiohttp.ClientTimeout(total=90)
        )
        self._joined: set[str] = set()
        self._accepting = False
        self._tried: set[str] = set()
        self._state: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
        self._timeline: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._messages: dict[str, list[ReceivedMessage]] = defaultdict(list)
        self._unreadable: dict[str, Undecryptable] = {}
        self._changed = asyncio.Condition()
        self._loop: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Go off line. The device stays, and its keys where they have a folder."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Doing

    async def call(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """See :meth:`RoomActions.call`."""
        address = self._url + (path if path.startswith("/_") else f"/_matrix/client/v3{path}")
        # The parts are quoted already; yarl would turn %2F back into a slash.
        async with self._http.request(method, URL(address, encoded=True), json=body, params=query) as response:
            return await _answer(response)

    async def join(self, room_id: str, via: Iterable[str] = ()) -> None:
        """Join a room, and return when the client has it from its sync."""
        await self._join(room_id, list(via))
        await self._until(lambda: room_id in self._joined, f"the sync of {room_id} after joining it", DEADLINE)

    async def _join(self, room_id: str, via: list[str]) -> None:
        servers = "&".join(f"via={quote(server)}" for server in via)
        await self.call("POST", f"/join/{quote(room_id)}?{servers}", {})

    def accept_invites(self) -> None:
        """From now on accept every invite, those that are open included, without waiting for it."""
        self._accepting = True
        self._accept_open_invites()

    async def send(self, room_id: str, text: str, *, html: str | None = None, **content: Any) -> str:
        """Send a text, encrypted where the room is, and return the event's id. :class:`Refused` where it may not."""
        body: dict[str, Any] = {"msgtype": "m.text", "body": text, **content}
        if html is not None:
            body |= {"format": "org.matrix.custom.html", "formatted_body": html}
        return await self.send_event(room_id, "m.room.message", body)

    @abstractmethod
    async def send_event(self, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        """Send any room event, encrypted where the room is, and return its id."""

    @abstractmethod
    async def read_history(self, room_id: str, limit: int = 100) -> list[ReceivedMessage]:
        """Fetch what was said before, as scrolling up does, and return what of it can be read, oldest first."""

    @abstractmethod
    async def try_decrypt(self, room_id: str, event: Mapping[str, Any]) -> ReceivedMessage | None:
        """Decrypt an event that somebody else handed over; None where this client holds no key for it."""

    # Seeing

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms that the client is in, by its sync."""
        return frozenset(self._joined)

    def messages(self, room_id: str) -> list[ReceivedMessage]:
        """What has been read in a room, in the order of arrival."""
        return list(self._messages[room_id])

    def undecryptable(self, room_id: str) -> list[Undecryptable]:
        """Encrypted events of a room that this client has received and cannot read."""
        return [failure for failure in self._unreadable.values() if failure.room_id == room_id]

    def timeline(self, room_id: str) -> list[dict[str, Any]]:
        """The raw events of a room, as received."""
        return list(self._timeline[room_id].values())

    def room_keys(self, room_id: str) -> list[ToDevice]:
        """The room keys that were given to this client for a room."""
        return [event for event in self.to_device if event.inner_type == "m.room_key" and event.room_id == room_id]

    async def wait_text(
        self,
        room_id: str,
        wanted: str | Callable[[ReceivedMessage], bool],
        deadline: float = DEADLINE,
        *,
        sender: str | None = None,
    ) -> ReceivedMessage:
        """The first readable message whose text is ``wanted`` (or for which it says True), seen already or to come."""

        def found() -> ReceivedMessage | None:
            for message in self._messages[room_id]:
                matches = message.text == wanted if isinstance(wanted, str) else wanted(message)
                if matches and sender in (None, message.sender):
                    return message
            return None

        return await self._until(found, f"the message {wanted!r} in {room_id}", deadline, room_id)

    async def wait_undecryptable(self, room_id: str, event_id: str, deadline: float = DEADLINE) -> Undecryptable:
        """Wait until an event has come that this client cannot read."""
        return await self._until(
            lambda: self._unreadable.get(event_id), f"{event_id} in {room_id} to be unreadable", deadline, room_id
        )

    async def wait_event(
        self, room_id: str, matches: Callable[[dict[str, Any]], bool], deadline: float = DEADLINE
    ) -> dict[str, Any]:
        """The first raw event of a room (state and encrypted ones included) for which ``matches`` says True."""
        return await self._until(
            lambda: next((event for event in self._timeline[room_id].values() if matches(event)), None),
            f"an event in {room_id}",
            deadline,
            room_id,
        )

    async def wait_state(
        self,
        room_id: str,
        event_type: str,
        key: str,
        matches: Callable[[dict[str, Any]], bool],
        deadline: float = DEADLINE,
    ) -> dict[str, Any]:
        """Wait until a piece of state, as synced, has a content for which ``matches`` says True; return the event."""

        def found() -> dict[str, Any] | None:
            event = self._state[room_id].get((event_type, key))
            return event if event is not None and matches(event["content"]) else None

        return await self._until(found, f"{event_type}/{key} in {room_id}", deadline, room_id)

    async def wait_membership(
        self, room_id: str, user_id: str, membership: str, deadline: float = DEADLINE
    ) -> dict[str, Any]:
        """Wait until somebody's membership, as synced, is the given one; return the event."""
        return await self.wait_state(
            room_id, "m.room.member", user_id, lambda content: content.get("membership") == membership, deadline
        )

    async def wait_invite(self, room_id: str, deadline: float = DEADLINE) -> str:
        """Wait to be invited, and return by whom."""
        return await self._until(lambda: self.invites.get(room_id), f"an invite to {room_id}", deadline)

    async def wait_joined(self, room_id: str, user_id: str | None = None, deadline: float = DEADLINE) -> None:
        """Wait until somebody (this person, if not said) is in the room."""
        if user_id in (None, self.user_id):
            await self._until(lambda: room_id in self._joined, f"being in {room_id}", deadline)
        else:
            await self.wait_membership(room_id, str(user_id), "join", deadline)

    async def wait_left(self, room_id: str, deadline: float = DEADLINE) -> None:
        """Wait until this person is neither in the room nor invited to it."""
        await self._until(
            lambda: room_id not in self._joined and room_id not in self.invites, f"being out of {room_id}", deadline
        )

    async def wait_to_device(self, matches: Callable[[ToDevice], bool], deadline: float = DEADLINE) -> ToDevice:
        """The first to-device event for which ``matches`` says True."""
        return await self._until(
            lambda: next((event for event in self.to_device if matches(event)), None), "a to-device event", deadline
        )

    # Within

    async def _until(self, found: Callable[[], T | None], what: str, deadline: float, room_id: str | None = None) -> T:
        async with self._changed:
            try:
                async with asyncio.timeout(deadline):
                    while not (value := found()):
                        if self._loop is not None and self._loop.done():
                            self._loop.result()
                        await self._changed.wait()
                    return value
            except TimeoutError:
                raise TimeoutError(f"{self.user_id} waited {deadline:.0f} s for {what}{self._seen(room_id)}") from None

    def _seen(self, room_id: str | None) -> str:
        if room_id is None:
            return f"; rooms {sorted(self._joined)}, invites {sorted(self.invites)}, faults {self.faults}"
        texts = [message.text[:60] for message in self._messages[room_id][-8:]]
        missing = [f"{failure.event_id} ({failure.reason})" for failure in self.undecryptable(room_id)]
        return f"; read {texts}, could not read {missing}, faults {self.faults}"

    async def _announce_change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _note_sync(self, raw: Mapping[str, Any]) -> None:
        """Take in the rooms of a sync answer (client-server API, ``GET /sync``)."""
        rooms = raw.get("rooms", {})
        for room_id, info in rooms.get("join", {}).items():
            self._joined.add(room_id)
            self._forget_invite(room_id)
            self._note_room(room_id, info)
        for room_id, info in rooms.get("leave", {}).items():
            self._joined.discard(room_id)
            self._forget_invite(room_id)
            self._note_room(room_id, info)
        for room_id, info in rooms.get("invite", {}).items():
            self.invites[room_id] = self._inviter(info)
        self._accept_open_invites()

    def _note_room(self, room_id: str, info: Mapping[str, Any]) -> None:
        for event in info.get("state", {}).get("events", []):
            self._state[room_id][event["type"], event["state_key"]] = event
        for event in info.get("timeline", {}).get("events", []):
            if "state_key" in event:
                self._state[room_id][event["type"], event["state_key"]] = event
            self._note_event(room_id, event)

    def _note_event(self, room_id: str, event: dict[str, Any]) -> None:
        if event["event_id"] in self._timeline[room_id]:
            return
        self._timeline[room_id][event["event_id"]] = event
        if "state_key" in event or not event["content"]:
            return
        if event["type"] == "m.room.encrypted":
            self._note_encrypted(room_id, event)
        elif event["type"] == "m.room.message":
            self._messages[room_id].append(message_of(room_id, event))

    def _note_encrypted(self, room_id: str, event: dict[str, Any]) -> None:
        """An encrypted event has come, for the first time."""

    def _note_outcome(self, outcome: ReceivedMessage | Undecryptable) -> None:
        if isinstance(outcome, Undecryptable):
            self._unreadable[outcome.event_id] = outcome
            return
        self._unreadable.pop(outcome.event_id, None)
        if all(message.event_id != outcome.event_id for message in self._messages[outcome.room_id]):
            self._messages[outcome.room_id].append(outcome)

    def _inviter(self, info: Mapping[str, Any]) -> str:
        for event in info.get("invite_state", {}).get("events", []):
            if event.get("type") == "m.room.member" and event.get("state_key") == self.user_id:
                return str(event.get("sender"))
        return "?"

    def _forget_invite(self, room_id: str) -> None:
        self.invites.pop(room_id, None)
        self._tried.discard(room_id)

    def _accept_open_invites(self) -> None:
        for room_id in self.invites if self._accepting else ():
            if room_id not in self._tried:
                self._tried.add(room_id)
                task = asyncio.create_task(self._accept(room_id), name=f"{self.user_id} joins {room_id}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _accept(self, room_id: str) -> None:
        """Join, and where that is refused again a moment later, as people do.

        Over federation an invite reaches the invited before the inviting server has it in the room itself: who is quick
        is told that they are not invited.
        """
        for _ in range(_ACCEPT_TRIES):
            try:
                return await self._join(room_id, [])
            except Refused as refusal:
                log.info("%s could not accept the invite to %s: %s", self.user_id, room_id, refusal)
                if refusal.status != 403:
                    return None
            await asyncio.sleep(_BACK_OFF)
            if room_id not in self.invites:
                return None
        return None


class Person(Client):
    """A client on matrix-nio.

    It trusts every device that it meets, shares keys with whoever is in the room when it sends, and rotates its session
    whenever the devices in the room have changed.
    """

    def __init__(self, homeserver_url: str, account: Account, store_path: Path | None = None) -> None:
        """Prepare the client; use :meth:`login`, which also takes it on line."""
        super().__init__(homeserver_url, account)
        if store_path is not None:
            store_path.mkdir(parents=True, exist_ok=True)
        self._nio = nio.AsyncClient(
            self._url,
            account.user_id,
            account.device_id,
            store_path=str(store_path or ""),
            config=nio.AsyncClientConfig(
                encryption_enabled=True,
                store=SqliteStore if store_path is not None else SqliteMemoryStore,
                max_timeouts=2,
                max_limit_exceeded=2,
            ),
        )
        self._nio.restore_login(account.user_id, account.device_id, account.access_token)
        self._opened: list[Mapping[str, Any] | None] = []
        self._hook()
        self._since: str | None = None
        self._pending: dict[str, tuple[str, dict[str, Any]]] = {}
        self._keys = asyncio.Lock()

    # Life

    @classmethod
    async def login(
        cls, homeserver_url: str, account: Account, store_path: Path | None = None, *, new_device: bool = False
    ) -> Person:
        """Take an account on line: keys uploaded, first sync done, further ones running.

        ``store_path`` is a folder in which the client's keys outlive it; without it they are kept in memory.
        ``new_device`` logs in anew with the account's password instead of using the device of its registration.
        """
        if new_device:
            account = await log_in(homeserver_url, account)
        person = cls(homeserver_url, account, store_path)
        try:
            await person._maintain_keys()
            await person._sync_once(0)
            await person._maintain_keys()
        except BaseException:
            await person.close()
            raise
        person.resume()
        return person

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        await self.pause()
        await super().close()
        await self._nio.close()
        if self._nio.store is not None:
            self._nio.store.database.close()

    async def pause(self) -> None:
        """Stop syncing, as a phone in a tunnel does; :meth:`resume` goes on where it stopped."""
        if self._loop is not None:
            self._loop.cancel()
            # What the loop died of, if it died before, was told to whoever waited.
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    def resume(self) -> None:
        """Sync again after :meth:`pause`."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._sync_forever(), name=f"sync of {self.user_id}")

    # Doing

    async def send_event(self, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        """See :meth:`Client.send_event`."""
        if await self.is_encrypted(room_id):
            async with self._keys:
                event_type, content = await self._encrypt(room_id, event_type, dict(content))
        return await self.send_raw(room_id, event_type, content)

    async def is_encrypted(self, room_id: str) -> bool:
        """Whether this client encrypts in the room: once encrypted, always (it does not trust a later change)."""
        room = self._nio.rooms.get(room_id)
        if (room is not None and room.encrypted) or room_id in self._nio.encrypted_rooms:
            return True
        content = await self.state(room_id, "m.room.encryption")
        return content is not None and content.get("algorithm") == _MEGOLM

    async def read_history(self, room_id: str, limit: int = 100) -> list[ReceivedMessage]:
        """See :meth:`Client.read_history`."""
        page = await self.call("GET", f"/rooms/{quote(room_id)}/messages", query={"dir": "b", "limit": str(limit)})
        events = list(reversed(page["chunk"]))
        for event in events:
            self._note_event(room_id, event)
        await self._announce_change()
        known = {message.event_id: message for message in self._messages[room_id]}
        return [known[event["event_id"]] for event in events if event["event_id"] in known]

    async def try_decrypt(self, room_id: str, event: Mapping[str, Any]) -> ReceivedMessage | None:
        """See :meth:`Client.try_decrypt`."""
        outcome = self._decrypt(room_id, dict(event))
        return outcome if isinstance(outcome, ReceivedMessage) else None

    # Within: the sync

    async def _sync_forever(self) -> None:
        while True:
            try:
                await self._sync_once(_LONG_POLL_MS)
                await self._maintain_keys()
            except (aiohttp.ClientError, TimeoutError) as error:
                log.debug("%s: sync failed, trying again: %r", self.user_id, error)
                await asyncio.sleep(_BACK_OFF)
            except Refused as refusal:
                if refusal.status == 401:
                    raise
                log.debug("%s: sync refused, trying again: %s", self.user_id, refusal)
                await asyncio.sleep((refusal.retry_after_ms or 1000 * _BACK_OFF) / 1000)
            finally:
                # Also when this ends, so that nobody waits for what cannot come any more.
                await self._announce_change()

    async def _sync_once(self, timeout_ms: int) -> None:
        query = {"timeout": str(timeout_ms), "filter": _FILTER}
        if self._since is not None:
            query["since"] = self._since
        raw = await self.call("GET", "/sync", query=query)
        await self._feed(raw)
        for room_id in raw.get("rooms", {}).get("leave", {}):
            self._nio.rooms.pop(room_id, None)
        self._note_sync(raw)
        if raw.get("to_device", {}).get("events"):
            for room_id, event in list(self._pending.values()):
                self._note_encrypted(room_id, event)
        self._since = raw["next_batch"]

    async def _feed(self, raw: dict[str, Any]) -> None:
        """Let nio take in what concerns keys and members, and note the to-device events with what was in them."""
        self._opened.clear()
        response = nio.SyncResponse.from_dict(raw)
        try:
            if not isinstance(response, nio.SyncResponse):
                raise ValueError(f"nio does not understand this sync: {response}")
            await self._nio.receive_response(response)
        except Exception as error:  # A stranger's malformed event must not take the client off line.
            log.warning("%s: nio failed on a sync", self.user_id, exc_info=True)
            self.faults.append(error)
        events = raw.get("to_device", {}).get("events", [])
        opened = [*self._opened, *([None] * (len(events) - len(self._opened)))]
        for event, plaintext in zip(events, opened, strict=True):
            self.to_device.append(ToDevice(event["sender"], event["type"], event["content"], plaintext))

    def _hook(self) -> None:
        """Look over nio's shoulder: what Olm messages contain (it drops types unknown to it), and what it sends."""
        client, olm = self._nio, self._nio.olm
        handle_event, handle_payload, send = client._handle_decrypt_to_device, olm._handle_olm_event, client.send
        payloads: list[Mapping[str, Any]] = []

        def on_event(event: Any) -> Any:
            payloads.clear()
            result = handle_event(event)
            self._opened.append(payloads[0] if payloads else None)
            return result

        def on_payload(sender: str, sender_key: str, payload: dict[str, Any]) -> Any:
            payloads.append(payload)
            return handle_payload(sender, sender_key, payload)

        async def on_send(method: str, path: str, data: Any = None, *rest: Any, **options: Any) -> Any:
            if "/sendToDevice/" in path:
                event_type = path.partition("/sendToDevice/")[2].partition("/")[0]
                for user_id, devices in json.loads(data)["messages"].items():
                    self.sent_to_device.extend(SentToDevice(event_type, user_id, device_id) for device_id in devices)
            return await send(method, path, data, *rest, **options)

        client._handle_decrypt_to_device = on_event
        olm._handle_olm_event = on_payload
        client.send = on_send

    # Within: keys

    def _note_encrypted(self, room_id: str, event: dict[str, Any]) -> None:
        outcome = self._decrypt(room_id, event)
        self._note_outcome(outcome)
        if isinstance(outcome, Undecryptable):
            self._pending[outcome.event_id] = (room_id, event)
        else:
            self._pending.pop(outcome.event_id, None)

    def _decrypt(self, room_id: str, event: dict[str, Any]) -> ReceivedMessage | Undecryptable:
        def failed(reason: str) -> Undecryptable:
            session_id = event["content"].get("session_id")
            return Undecryptable(room_id, event["sender"], event["event_id"], session_id, reason)

        parsed = nio.MegolmEvent.from_dict({**event, "room_id": room_id})
        if not isinstance(parsed, nio.MegolmEvent):
            return failed(f"nio does not understand the event: {parsed}")
        try:
            source = self._nio.decrypt_event(parsed).source
        except nio.EncryptionError as error:
            return failed(str(error))
        return message_of(room_id, event, source)

    async def _maintain_keys(self) -> None:
        async with self._keys:
            if self._nio.should_upload_keys:
                await self._nio.keys_upload()
            if self._nio.should_query_keys:
                await self._nio.keys_query()
            if self._nio.should_claim_keys:
                await self._nio.keys_claim(self._nio.get_users_for_key_claiming())
            await self._nio.send_to_device_messages()

    async def _encrypt(self, room_id: str, event_type: str, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        client, olm = self._nio, self._nio.olm
        await self._until(lambda: room_id in client.rooms, f"the sync of {room_id}", DEADLINE)
        room = client.rooms[room_id]
        room.encrypted = True
        await client.joined_members(room_id)
        olm.users_for_key_query.update(room.users)
        await client.keys_query()
        missing = client.get_missing_sessions(room_id)
        if missing:
            await client.keys_claim(missing)

        devices = {
            (user_id, device.id)
            for user_id in room.users
            for device in olm.device_store.active_user_devices(user_id)
            if (user_id, device.id) != (self.user_id, self.device_id)
        }
        session = olm.outbound_group_sessions.get(room_id)
        if session is None or not session.shared or session.expired or session.users_shared_with != devices:
            olm.outbound_group_sessions.pop(room_id, None)
            await client.share_group_session(room_id, ignore_unverified_devices=True)
        encrypted_type, encrypted = client.encrypt(room_id, event_type, content)
        return str(encrypted_type), dict(encrypted)


def quote(part: str) -> str:
    """Encode one part of a path, slashes included."""
    return _quote(part, safe="")


def message_of(room_id: str, event: Mapping[str, Any], plaintext: Mapping[str, Any] | None = None) -> ReceivedMessage:
    """Make a message of a raw event, and of what was in it where it was encrypted (``type`` and ``content``)."""
    inner = event if plaintext is None else plaintext
    content = inner["content"]
    body = content.get("body")
    return ReceivedMessage(
        room_id=room_id,
        sender=event["sender"],
        text=body if isinstance(body, str) else "",
        event_id=event["event_id"],
        decrypted=plaintext is not None,
        type=inner["type"],
        content=content,
        device_id=event["content"].get("device_id") if plaintext is not None else None,
        session_id=event["content"].get("session_id") if plaintext is not None else None,
    )


async def log_in(homeserver_url: str, account: Account) -> Account:
    """Log in with the account's password: the same user with a device of its own."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": account.user_id},
        "password": account.password,
    }
    address = f"{homeserver_url.rstrip('/')}/_matrix/client/v3/login"
    async with aiohttp.ClientSession() as http, http.post(address, json=body) as response:
        answer = await _answer(response)
    return Account(account.user_id, answer["access_token"], answer["device_id"], account.password)


async def _answer(response: aiohttp.ClientResponse) -> Any:
    text = await response.text()
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text
    if response.status >= 400:
        raise Refused.from_answer(response.status, answer)
    return answer
