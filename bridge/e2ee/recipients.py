"""Who gets a room key: pure rules, no I/O, no clock, no randomness, no logging.

Given the members as the homeserver has them, their devices, and who was given the room's current session: is a new
session due, which devices miss the key, which are told that they get none. Follows the specification's section on
`m.megolm.v1.aes-sha2` and `m.room.encryption`, and is stricter in one thing: a membership is told by its event id, so
that a leave and a return between two messages count as a leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import orjson

from bridge.core.ids import UserId
from bridge.plan.state import digest_of
from bridge.ports import Member

MAX_MESSAGES = 100
MAX_AGE_MS = 7 * 24 * 3600 * 1000
MIN_AGE_MS = 3600 * 1000
CLOCK_SLACK_MS = 10 * 60 * 1000
CHUNK_DEVICES = 600
CHUNK_BYTES = 890_000
OLM_ENVELOPE_BYTES = 180
"""What a pre-key message adds to its plaintext: three keys, a ratchet key, a counter, padding, a code."""
OLM_JSON_BYTES = 210
"""The JSON around it: names, `algorithm`, `sender_key`, `ciphertext`."""

Thing = TypeVar("Thing")

SHARED_VISIBILITIES = frozenset({"shared", "world_readable"})


class Trust(StrEnum):
    """Which devices of a member are given keys."""

    ALL = "all"
    """Every device that signed itself."""
    SIGNED = "signed"
    """Devices that their owner's identity has signed (MSC4153)."""
    VERIFIED = "verified"
    """Of those, the devices of people whose identity the announcer has verified."""


class Rotation(StrEnum):
    """Why a new session is due."""

    NO_SESSION = "there is no session"
    MEMBER_LEFT = "a member who holds the key left (or left and returned)"
    DEVICE_GONE = "a device that holds the key is gone, or its keys changed"
    AUDIENCE_CHANGED = "history visibility or the encryption settings changed"
    TOO_MANY_MESSAGES = "the session has carried its number of messages"
    TOO_OLD = "the session has reached its age"


class ShareState(StrEnum):
    """What is known of a device and a session."""

    PENDING = "pending"
    """Sent, but the answer was never seen: it may hold the key."""
    HELD = "held"
    NO_OLM = "no_olm"
    """No Olm session could be made: it holds nothing, and is tried again."""
    REFUSED = "refused"
    """The homeserver took no request for it: it may hold the key all the same, and is tried again."""
    WITHHELD = "withheld"


class WithheldCode(StrEnum):
    """Codes of `m.room_key.withheld`."""

    UNVERIFIED = "m.unverified"
    NO_OLM = "m.no_olm"


class Device(NamedTuple):
    """A member's device, its self-signature verified."""

    user_id: UserId
    device_id: str
    curve25519: str
    ed25519: str
    cross_signed: bool = False
    """Whether the owner's identity has signed it."""
    verified: bool = False
    """Whether moreover the announcer has verified that identity."""

    @property
    def name(self) -> tuple[str, str]:
        return self.user_id, self.device_id

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.user_id, self.device_id, self.curve25519, self.ed25519


@dataclass(frozen=True, slots=True)
class Share:
    """What a device was given of a session, and under which membership of its owner."""

    user_id: UserId
    device_id: str
    curve25519: str
    ed25519: str
    member_event: str
    state: ShareState
    txn_id: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.user_id, self.device_id, self.curve25519, self.ed25519

    @property
    def may_hold(self) -> bool:
        return self.state in (ShareState.PENDING, ShareState.HELD, ShareState.REFUSED)


@dataclass(frozen=True, slots=True)
class Session:
    """The room's current outbound session."""

    session_id: str
    created_at: int
    messages: int
    audience_digest: str


@dataclass(frozen=True, slots=True)
class Room:
    """What a room's state says about its messages; both contents exactly as the homeserver gave them."""

    history_visibility: Mapping[str, Any] | None
    encryption: Mapping[str, Any] | None

    @property
    def visibility(self) -> str:
        """The history visibility; `shared` where nothing or nonsense is set (as the specification says)."""
        value = (self.history_visibility or {}).get("history_visibility")
        return value if value in ("invited", "joined", "shared", "world_readable") else "shared"

    @property
    def shares_history(self) -> bool:
        """Whether newcomers may read what is said now (MSC3061)."""
        return self.visibility in SHARED_VISIBILITIES

    @property
    def digest(self) -> str:
        """Changes when a new session is due because the room's rules changed."""
        encryption = None if self.encryption is None else dict(self.encryption)
        return digest_of([self.visibility, encryption])

    @property
    def max_messages(self) -> int:
        return _clamped(self.encryption, "rotation_period_msgs", 1, MAX_MESSAGES)

    @property
    def max_age_ms(self) -> int:
        return _clamped(self.encryption, "rotation_period_ms", MIN_AGE_MS, MAX_AGE_MS)


def _clamped(content: Mapping[str, Any] | None, key: str, least: int, most: int) -> int:
    value = (content or {}).get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        return most
    return max(least, min(most, value))


class Missing(NamedTuple):
    """A device that is to be given the key."""

    device: Device
    member_event: str
    txn_id: str = ""
    """Set where an earlier try was never answered: it is repeated under the same id."""
    told: bool = False
    """Whether it knows already that no Olm session with it could be made (`m.no_olm`)."""
    may_hold: bool = False
    """Whether an earlier try, never answered or refused, may have reached it."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A device that is told that it gets no key."""

    device: Device
    member_event: str
    code: WithheldCode


@dataclass(frozen=True, slots=True)
class Decision:
    """What has to happen before the next message."""

    rotation: Rotation | None
    missing: tuple[Missing, ...]
    """Of the new session where one is due, else of the current one."""
    withheld: tuple[Withheld, ...]


def decide(
    *,
    announcer: UserId,
    joined: Iterable[Member],
    devices: Mapping[UserId, Sequence[Device]],
    session: Session | None,
    shares: Iterable[Share],
    room: Room,
    trust: Trust,
    now_ms: int,
) -> Decision:
    """Whether a new session is due, and who misses the key.

    Args:
        announcer: our own account: none of its devices is ever given a key.
        joined: the members at this moment.
        devices: known devices of each; of others than the members they are ignored.
        shares: of the current session.
        now_ms: milliseconds since 1970.
    """
    events = {member.user_id: str(member.event_id) for member in joined if member.user_id != announcer}
    admitted, refused = _sort(events, devices, trust)
    current = list(shares) if session is not None else []
    rotation = _rotation(events, admitted, session, current, room, now_ms)
    known = {} if rotation is not None else {share.identity: share for share in current}
    told = {share.identity for share in current if share.state is ShareState.NO_OLM}
    missing = [
        _missing(device, events[device.user_id], share, told=identity in told)
        for identity, device in admitted.items()
        if (share := known.get(identity)) is None or share.state is not ShareState.HELD
    ]
    withheld = [
        Withheld(device, events[device.user_id], code)
        for device, code in refused
        if (share := known.get(device.identity)) is None or share.state is not ShareState.WITHHELD
    ]
    return Decision(rotation, tuple(missing), tuple(withheld))


def _missing(device: Device, event: str, share: Share | None, *, told: bool) -> Missing:
    if share is None:
        return Missing(device, event, "", told)
    return Missing(device, event, share.txn_id if share.state is ShareState.PENDING else "", told, share.may_hold)


def _sort(
    events: Mapping[UserId, str], devices: Mapping[UserId, Sequence[Device]], trust: Trust
) -> tuple[dict[tuple[str, str, str, str], Device], list[tuple[Device, WithheldCode]]]:
    admitted: dict[tuple[str, str, str, str], Device] = {}
    refused: list[tuple[Device, WithheldCode]] = []
    for user_id in sorted(events):
        for device in devices.get(user_id, ()):
            if device.user_id != user_id:
                continue
            if admits(trust, cross_signed=device.cross_signed, verified=device.verified):
                admitted[device.identity] = device
            else:
                refused.append((device, WithheldCode.UNVERIFIED))
    return admitted, refused


def admits(trust: Trust, *, cross_signed: bool, verified: bool) -> bool:
    """Whether a device is given keys, and believed, under this trust."""
    match trust:
        case Trust.ALL:
            return True
        case Trust.SIGNED:
            return cross_signed
        case Trust.VERIFIED:
            return cross_signed and verified


def _rotation(
    events: Mapping[UserId, str],
    admitted: Mapping[tuple[str, str, str, str], Device],
    session: Session | None,
    shares: Iterable[Share],
    room: Room,
    now_ms: int,
) -> Rotation | None:
    if session is None:
        return Rotation.NO_SESSION
    holders = [share for share in shares if share.may_hold]
    if any(events.get(share.user_id) != share.member_event for share in holders):
        return Rotation.MEMBER_LEFT
    if any(share.identity not in admitted for share in holders):
        return Rotation.DEVICE_GONE
    if session.audience_digest != room.digest:
        return Rotation.AUDIENCE_CHANGED
    if session.messages >= room.max_messages:
        return Rotation.TOO_MANY_MESSAGES
    age = now_ms - session.created_at
    if age >= room.max_age_ms or age < -CLOCK_SLACK_MS:
        return Rotation.TOO_OLD
    return None


def chunks(missing: Iterable[Missing], *, payload_bytes: int) -> Iterator[list[Missing]]:
    """Split into pieces of at most `CHUNK_DEVICES` devices and about `CHUNK_BYTES` of request body.

    Devices whose earlier try was never answered stay together by its transaction id, as they were.

    Args:
        payload_bytes: how long the plaintext for one device is.
    """
    resumed: dict[str, list[Missing]] = {}
    fresh: list[Missing] = []
    for one in missing:
        (resumed.setdefault(one.txn_id, []) if one.txn_id else fresh).append(one)
    yield from resumed.values()
    yield from packed(fresh, lambda one: body_bytes(one.device, payload_bytes), most=CHUNK_DEVICES)


def packed(things: Iterable[Thing], weigh: Callable[[Thing], int], *, most: int) -> Iterator[list[Thing]]:
    """As few pieces as fit into a request each.

    Args:
        weigh: how many bytes one thing adds to the request's body.
        most: how many things one request may hold.
    """
    piece: list[Thing] = []
    size = 0
    for one in things:
        weight = weigh(one)
        if piece and (len(piece) >= most or size + weight > CHUNK_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += weight
    if piece:
        yield piece


def body_bytes(device: Device, payload_bytes: int) -> int:
    """At most what one device adds to a `/sendToDevice` body.

    Args:
        payload_bytes: how long the plaintext for it is, without its owner's name.
    """
    user, name = len(orjson.dumps(device.user_id)), len(orjson.dumps(device.device_id))
    sealed = (payload_bytes + user + OLM_ENVELOPE_BYTES) * 4 // 3
    return sealed + user + name + OLM_JSON_BYTES
