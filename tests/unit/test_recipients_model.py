"""Any order of joins, leaves, bans, returns, devices, identities, restarts and outages, under any trust: nobody outside
reads a message, everybody inside does unless that trust withholds it.

The rules run in the loop in which delivery uses them, against a world that keeps its own simple record: which device
was given which session from which message on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.ids import EventId, UserId
from bridge.e2ee.recipients import (
    Device,
    Missing,
    Room,
    Session,
    Share,
    ShareState,
    Trust,
    chunks,
    decide,
)
from bridge.ports import Member

ME = UserId("@announcements:example.org")
USERS = [UserId(f"@{name}:example.org") for name in ("ann", "bob", "cleo")]
NAMES = ["A", "B"]
Identity = tuple[str, str, str, str]
STEPS = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(USERS), st.just("")),
    st.tuples(st.just("leave"), st.sampled_from(USERS), st.just("")),
    st.tuples(st.just("add"), st.sampled_from(USERS), st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), st.sampled_from(USERS), st.sampled_from(NAMES)),
    st.tuples(st.just("mute"), st.sampled_from(USERS), st.sampled_from(NAMES)),
    st.tuples(st.just("sign"), st.sampled_from(USERS), st.sampled_from(NAMES)),
    st.tuples(st.just("reset"), st.sampled_from(USERS), st.just("")),
    st.tuples(st.just("verify"), st.sampled_from(USERS), st.just("")),
    st.tuples(st.just("visibility"), st.just(USERS[0]), st.sampled_from(["shared", "joined"])),
)
# what happens before a message; what happens under its share; whether, and after how many pieces, the share is cut off
MESSAGES = st.lists(
    st.tuples(
        st.lists(STEPS, max_size=4),
        st.lists(STEPS, max_size=2),
        st.none() | st.tuples(st.integers(0, 2), st.booleans()),
    ),
    min_size=1,
    max_size=8,
)


@dataclass
class World:
    """The room as it really is, and what the service remembers."""

    joined: dict[UserId, int] = field(default_factory=dict)
    devices: dict[UserId, dict[str, Device]] = field(default_factory=lambda: {user: {} for user in USERS})
    muted: set[Identity] = field(default_factory=set)
    """Devices without one-time keys."""
    unreachable: set[Identity] = field(default_factory=set)
    """Devices that were muted at some time during the last share: they get the key with the next one."""
    verified: set[UserId] = field(default_factory=set)
    """Whose identity we have verified."""
    visibility: str = "shared"
    trust: Trust = Trust.ALL
    counter: int = 0
    # what the service remembers
    session: Session | None = None
    shares: dict[tuple[str, str], Share] = field(default_factory=dict)
    # what really happened: device and session → index of the first message it can read
    given: dict[tuple[Identity, str], int] = field(default_factory=dict)

    def step(self, what: str, user: UserId, argument: str) -> None:
        self.counter += 1
        match what:
            case "join":
                self.joined.setdefault(user, self.counter)
            case "leave":
                self.joined.pop(user, None)
            case "add":
                # the same name again has other keys
                self.devices[user][argument] = Device(user, argument, f"c{self.counter}", f"e{self.counter}")
            case "remove":
                self.devices[user].pop(argument, None)
            case "sign":
                if (device := self.devices[user].get(argument)) is not None:
                    self.devices[user][argument] = device._replace(cross_signed=True)
            case "reset":
                # another identity: what the old one signed, and our verification of it, count no more
                self.verified.discard(user)
                for name, device in self.devices[user].items():
                    self.devices[user][name] = device._replace(cross_signed=False, verified=False)
            case "verify":
                self.verified.add(user)
            case "mute":
                if argument in self.devices[user]:
                    self.muted ^= {self.devices[user][argument].identity}
                    self.unreachable |= self.muted
            case _:
                self.visibility = argument

    def listed(self, user: UserId) -> list[Device]:
        """A user's devices as the homeserver lists them, and as our signatures on identities have it."""
        verified = user in self.verified
        return [device._replace(verified=verified and device.cross_signed) for device in self.devices[user].values()]

    def inside(self) -> set[Identity]:
        return {device.identity for user in self.joined for device in self.devices[user].values()}

    def admitted(self) -> set[Identity]:
        """The devices inside that the trust setting lets have keys."""
        return {
            device.identity
            for user in self.joined
            for device in self.listed(user)
            if self.trust is Trust.ALL
            or (self.trust is Trust.SIGNED and device.cross_signed)
            or (self.trust is Trust.VERIFIED and device.verified)
        }

    def share(self, under: list[tuple[str, UserId, str]], cut: tuple[int, bool] | None) -> bool:
        """Bring the key to everybody; False where it was cut off."""
        meanwhile = iter(under)
        self.unreachable = set(self.muted)
        tried: set[tuple[str, Identity]] = set()
        for _ in range(len(under) + 3):
            room = Room({"history_visibility": self.visibility}, {})
            decision = decide(
                announcer=ME,
                joined=[Member(user, EventId(f"${number}")) for user, number in self.joined.items()],
                devices={user: self.listed(user) for user in USERS},
                session=self.session,
                shares=self.shares.values(),
                room=room,
                trust=self.trust,
                now_ms=0,
            )
            if self.session is None or decision.rotation is not None:
                self.counter += 1
                self.session = Session(f"s{self.counter}", 0, 0, room.digest)
                self.shares = {}
            missing = [one for one in decision.missing if (self.session.session_id, one.device.identity) not in tried]
            for refused in decision.withheld:
                device = refused.device
                self.shares[device.user_id, device.device_id] = Share(
                    device.user_id,
                    device.device_id,
                    device.curve25519,
                    device.ed25519,
                    refused.member_event,
                    ShareState.WITHHELD,
                )
            if not missing and decision.rotation is None:
                return True
            tried |= {(self.session.session_id, one.device.identity) for one in missing}
            for number, piece in enumerate(chunks(missing, payload_bytes=300_000)):
                if not self.give(self.session, piece, cut if cut is not None and number == cut[0] else None):
                    return False
            for step in meanwhile:
                self.step(*step)
                break
        raise AssertionError("the share does not come to an end")

    def give(self, session: Session, piece: list[Missing], cut: tuple[int, bool] | None) -> bool:
        self.counter += 1
        txn_id = piece[0].txn_id or f"t{self.counter}"
        for one in piece:
            device = one.device
            self.note(
                one,
                ShareState.NO_OLM if device.identity in self.muted and not one.txn_id else ShareState.PENDING,
                txn_id,
            )
        if cut is not None and not cut[1]:
            return False  # killed before the request left
        for one in piece:
            # a piece that is repeated has its Olm session from the first time: it needs no one-time key any more
            if one.device.identity not in self.muted or one.txn_id:
                self.given.setdefault((one.device.identity, session.session_id), session.messages)
        if cut is not None:
            return False  # killed before the answer came
        for key, share in self.shares.items():
            if share.state is ShareState.PENDING and share.txn_id == txn_id:
                self.shares[key] = replace(share, state=ShareState.HELD, txn_id="")
        return True

    def note(self, one: Missing, state: ShareState, txn_id: str) -> None:
        device = one.device
        self.shares[device.user_id, device.device_id] = Share(
            device.user_id,
            device.device_id,
            device.curve25519,
            device.ed25519,
            one.member_event,
            state,
            txn_id if state is ShareState.PENDING else "",
        )

    def send(self) -> None:
        """Say something, and look who can read it."""
        assert self.session is not None
        index, session_id = self.session.messages, self.session.session_id
        readers = {device for (device, of), first in self.given.items() if of == session_id and first <= index}
        assert readers <= self.inside(), "somebody outside the room holds the key"
        assert readers <= self.admitted(), "a device that is not trusted holds the key"
        assert self.admitted() - readers <= self.unreachable, "a device of somebody inside does not hold the key"
        self.session = Session(session_id, 0, index + 1, self.session.audience_digest)


@settings(max_examples=400)
@given(MESSAGES, st.sampled_from(list(Trust)))
def test_nobody_outside_holds_the_key_of_a_message_and_everybody_inside_does(
    messages: list[tuple[list[tuple[str, UserId, str]], list[tuple[str, UserId, str]], tuple[int, bool] | None]],
    trust: Trust,
) -> None:
    world = World(trust=trust)
    for user in USERS:
        world.step("join", user, "")
        world.step("add", user, NAMES[0])
    for before, under, cut in messages:
        for step in before:
            world.step(*step)
        if world.share(under, cut):
            world.send()
        # else it was killed: what happens next comes before the job is tried again
    assert world.share([], None)
    world.send()
