"""Sockets: what features need of the homeserver, of the keys and of the clock, as narrow protocols."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bridge.core.ids import DeviceId, EventId, RoomId, UserId
from bridge.core.mail import Letter
from bridge.plan.state import RoomState, StateEvent


class Clock(Protocol):
    """The time; milliseconds since 1970 (as `origin_server_ts`)."""

    def now_ms(self) -> int: ...


class RoomReader(Protocol):
    """What a room is, as the homeserver has it."""

    async def read(self, room_id: RoomId, *, fresh: bool = False) -> RoomState:
        """The whole state of a room; from the service's own copy where it is current, unless `fresh`."""
        ...

    async def refresh(self, room_id: RoomId, event_type: str, state_key: str) -> RoomState:
        """Read one piece of state again, and give the room with it."""
        ...

    def peek(self, room_id: RoomId) -> RoomState | None:
        """The service's own copy, without asking."""
        ...

    def readings(self, room_id: RoomId) -> int:
        """How often the room was read as a whole: what came with that may not be known to whoever looked before."""
        ...

    def forget(self, room_id: RoomId) -> None:
        """Drop the own copy: the next `read` asks the homeserver."""
        ...

    def wrote(self, room_id: RoomId, event_type: str, state_key: str, event: StateEvent) -> None:
        """Enter a piece of state into the own copy."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """A state event, with what is needed to judge it and to find the one before it."""

    event_id: EventId
    sender: UserId
    sent_at: int
    content: Mapping[str, Any]
    replaces: EventId | None
    """The event that held before, as far as the homeserver says so (`unsigned.replaces_state`)."""


class RoomHistory(Protocol):
    """What state was, before it was changed."""

    async def latest(self, room_id: RoomId, event_type: str) -> Written | None:
        """The event that holds now, with an empty state key."""
        ...

    async def written(self, room_id: RoomId, event_id: EventId) -> Written | None: ...


class RoomFinder(Protocol):
    """Which rooms the steward is in, whether they are remembered or not."""

    async def joined(self) -> list[RoomId]: ...

    async def mark(self, room_id: RoomId) -> tuple[str, str] | None:
        """Community and key of our mark in a room's creation content, None where it has none."""
        ...


class AccountAges(Protocol):
    """Since when people are on our homeserver."""

    async def here_since(self, user: UserId) -> int | None:
        """In seconds since 1970; None where it is not known, or not soon enough. Never raises."""
        ...


class RoomReaderAsAnnouncer(Protocol):
    """What the announcer sees of a direct chat, in which the steward is not."""

    async def chat_facts(self, room_id: RoomId) -> tuple[bool, set[UserId]]:
        """Whether the room is encrypted, and who is joined or invited."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A room that is there now."""

    room_id: RoomId
    whole: bool
    """Whether it was made in one go; else it is what an earlier try left, and may lack any of its state."""


class RoomExecutor(Protocol):
    """Changes to rooms: each method does one thing, and is safe to repeat."""

    async def create(self, alias: str, body: Mapping[str, Any]) -> Made: ...

    async def drop_alias(self, alias: str) -> None: ...

    async def set_state(
        self, room_id: RoomId, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> EventId: ...

    async def invite(self, room_id: RoomId, user: UserId, *, by_announcer: bool, retries: int | None = None) -> None:
        """`retries` is how often the request is repeated where a later try may help; None leaves it to the hand."""
        ...

    async def bring_in(self, room_id: RoomId, user: UserId, *, by_announcer: bool) -> None:
        """Join somebody of our own server to a room, where the homeserver lets us; else invite them."""
        ...

    async def join_as_announcer(self, room_id: RoomId) -> None: ...

    async def kick(self, room_id: RoomId, user: UserId, reason: str) -> None: ...

    async def ban(self, room_id: RoomId, user: UserId, reason: str) -> None: ...

    async def unban(self, room_id: RoomId, user: UserId) -> None: ...

    async def redact(self, room_id: RoomId, event_id: EventId, reason: str, *, txn_id: str) -> None: ...

    async def join(self, room_id: RoomId) -> None:
        """Let the steward join a room that it is invited to or may join; nothing happens if it is in it."""
        ...

    async def leave(self, room_id: RoomId) -> None:
        """Let the steward leave a room; nothing happens if it is not there."""
        ...

    async def set_listed(self, room_id: RoomId, *, listed: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the homeserver has taken."""

    event_id: EventId
    devices: int
    """How many devices held its key when it went out."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to be sent."""

    name: str
    media_type: str
    data: bytes
    pixels: tuple[int, int] | None = None
    """Width and height of a picture; None for what is none."""


class Messenger(Protocol):
    """The one door for messages. It knows whether a room is encrypted, and never sends plaintext into one that is."""

    async def send(
        self, room_id: RoomId, content: Mapping[str, Any], *, txn_id: str, event_type: str = "m.room.message"
    ) -> Sent:
        """Send a message as the announcer; the same `txn_id` again gives the same event, however late.

        Args:
            txn_id: of what a job sends it begins with the job's id.
            event_type: of what is sent; in an encrypted room it is encrypted, too.

        Raises:
            CannotEncrypt: the room is encrypted and the keys are not ready.
            MatrixError: the homeserver refuses.
        """
        ...

    async def send_file(self, room_id: RoomId, file: File, *, txn_id: str) -> Sent:
        """Send a file as the announcer, into an encrypted room; the same `txn_id` again gives the same event.

        Raises:
            CannotEncrypt: the room is not encrypted, or the keys are not ready.
            MatrixError: the homeserver refuses.
        """
        ...

    async def react(self, room_id: RoomId, event_id: EventId, key: str, *, txn_id: str) -> None:
        """React to a message as the announcer (client-server API, `m.annotation`); reactions are never encrypted."""
        ...


class Posts(Protocol):
    """Messages that stand in rooms."""

    async def edits_of(
        self, room_id: RoomId, event_id: EventId, *, sender: UserId, by_announcer: bool
    ) -> list[EventId]:
        """The events by which their author replaced a message."""
        ...

    async def redact(self, room_id: RoomId, event_id: EventId, reason: str, *, txn_id: str, by_announcer: bool) -> None:
        """Take a message away, as the steward, or as the announcer in direct chats, in which the steward is not."""
        ...


class PostOffice(Protocol):
    """The operator's mail server."""

    async def send(self, letter: Letter) -> None:
        """Hand one letter over.

        Raises:
            MailRefused: no letter will ever be taken for that address.
            MailAway: a later try may help.
        """
        ...


class Member(NamedTuple):
    """A joined member of a room, as the homeserver has it now."""

    user_id: UserId
    event_id: EventId
    """The membership event: another one after every leave and return."""
    at: int = 0
    """When that was, as the homeserver has it; 0 where it does not say."""


class RoomFacts(Protocol):
    """What key delivery has to know of a room, asked of the homeserver before each send."""

    async def joined(self, room_id: RoomId) -> list[Member]: ...

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        """Those of `users` who are joined at this moment, with the membership event that made them so."""
        ...

    async def state_content(self, room_id: RoomId, event_type: str) -> Mapping[str, Any] | None: ...


class KeyServer(Protocol):
    """The end-to-end endpoints of the client-server API, called as the announcer's device."""

    async def put_device(self, device_id: DeviceId, display_name: str) -> None: ...

    async def devices(self) -> list[DeviceId]: ...

    async def upload_keys(self, body: Mapping[str, Any]) -> dict[str, int]: ...

    async def upload_cross_signing(self, body: Mapping[str, Any]) -> None: ...

    async def upload_signatures(self, body: Mapping[str, Any]) -> dict[str, Any]: ...

    async def query_keys(self, users: list[UserId]) -> dict[str, Any]: ...

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]: ...

    async def send_to_device(self, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        """Contents by user and device; each is whatever orjson serialises, its own fragments included."""
        ...

    async def upload(self, data: bytes) -> str:
        """Put a file into the media repository; gives its `mxc://` address."""
        ...

    async def sync(self, since: str | None, *, timeout_ms: int) -> dict[str, Any]:
        """`/sync` with a filter that asks for no room events; to-device, device lists, one-time-key counts alone."""
        ...


class DeviceServer(KeyServer, Protocol):
    """What the announcer's device needs of the homeserver besides the end-to-end endpoints."""

    def act_as(self, device_id: DeviceId) -> None:
        """Use this device from now on."""
        ...

    async def register(self) -> None:
        """Make the announcer's account; nothing where it exists."""
        ...

    async def delete_devices(self, device_ids: Sequence[DeviceId]) -> None: ...

    async def generation(self) -> int | None:
        """The number of the device's last start as the homeserver remembers it."""
        ...

    async def set_generation(self, number: int) -> None: ...


class RoomCrypto(Protocol):
    """What the rest of the house asks of the keys."""

    async def encrypt(self, room_id: RoomId, event_type: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The `m.room.encrypted` content for a message, after its key is with every joined device.

        Gives the content and how many devices hold the key.
        """
        ...

    async def encrypt_file(self, data: bytes) -> tuple[bytes, dict[str, Any]]:
        """A file as it is uploaded, and the `EncryptedFile` that opens it, without its `url`."""
        ...

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with its decrypted `type` and `content`.

        Raises:
            CannotDecrypt: no key (yet), or a forged or replayed event.
        """
        ...
