"""Who is in a room and who was given its key, asked for as differences: on both databases, and as the rules have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core.ids import EventId, UserId
from bridge.e2ee import recipients
from bridge.e2ee.recipients import Share, ShareState, Trust
from bridge.ports import Member
from bridge.store import keys, shares
from bridge.store.database import Database, Transaction
from bridge.store.keys import DeviceList, DeviceRow, OutboundRow
from bridge.store.shares import Question, ShareRow

ME = UserId("@announcements:example.org")
ANN, BOB, CLEO = (UserId(f"@{name}:example.org") for name in ("ann", "bob", "cleo"))
ROOM = "!room:example.org"
START = ("", "")


def question(standing: int = 0, attempt: str = "now") -> Question:
    return Question(ROOM, "session", ME, standing, attempt)


def device(user: UserId, name: str = "A", version: str = "1", *, signed: bool = True) -> DeviceRow:
    return DeviceRow(user, name, f"c-{user}-{name}-{version}", f"e-{user}-{name}-{version}", signed)


def share(of: DeviceRow, event: str, state: str = "held", txn_id: str = "") -> ShareRow:
    return ShareRow(of.user_id, of.device_id, of.curve25519, of.ed25519, event, 0, state, txn_id)


def members(audience: Mapping[str, str]) -> list[Member]:
    return [Member(UserId(user), EventId(event)) for user, event in audience.items()]


async def test_a_room_is_met_by_its_differences(database: Database) -> None:
    async with database.transaction() as tx:
        await shares.save_audience(tx, "!other", {ANN: "$9"}, [])
        first: dict[str, str] = {ANN: "$1", BOB: "$2"}
        assert await shares.meet(tx, ROOM, members(first)) == (first, [])
        await shares.save_audience(tx, ROOM, first, [])
        assert await shares.meet(tx, ROOM, members(first)) == ({}, [])
        second: dict[str, str] = {CLEO: "$4", ANN: "$3"}
        fresh, gone = await shares.meet(tx, ROOM, members(second))
        assert (fresh, gone) == (second, [BOB])
        await shares.save_audience(tx, ROOM, fresh, gone)
        assert await shares.meet(tx, ROOM, members(second)) == ({}, [])
        assert await shares.meet(tx, ROOM, []) == ({}, [ANN, CLEO])
        assert await keys.rooms_with(tx, [ANN]) == sorted(["!other", ROOM])
        assert await keys.rooms_with(tx, [BOB]) == []


NAMES = st.text(alphabet="aAbBzZ-_./:0~ 😀é", min_size=1, max_size=3).map(lambda name: f"@{name}:example.org")
AUDIENCES = st.dictionaries(NAMES, st.sampled_from(["$1", "$2"]), max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=AUDIENCES, now=AUDIENCES, at_once=st.integers(1, 5))
async def test_in_whatever_pieces_a_room_is_met_it_is_the_same(
    database: Database, known: dict[str, str], now: dict[str, str], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "MEMBERS_AT_ONCE", at_once)
        async with database.transaction() as tx:
            await tx.execute("DELETE FROM crypto_audience")
            await shares.save_audience(tx, ROOM, known, [])
            fresh, gone = await shares.meet(tx, ROOM, members(now))
    assert fresh == {user: event for user, event in now.items() if known.get(user) != event}
    assert sorted(gone) == sorted(known.keys() - now.keys())


async def test_members_whose_lists_are_not_known_or_changed_are_named(database: Database) -> None:
    async with database.transaction() as tx:
        await shares.save_audience(tx, ROOM, dict.fromkeys((ANN, BOB, CLEO), "$1"), [])
        await keys.save_device_lists(tx, [DeviceList(user, 0, []) for user in (BOB, CLEO)], now_ms=1)
        assert await shares.outdated_members(tx, ROOM, now_ms=100, pause_ms=50) == [ANN]
        await keys.mark_outdated(tx, [BOB, CLEO])
        await keys.mark_failed(tx, [CLEO], now_ms=60)
        assert await shares.outdated_members(tx, ROOM, now_ms=100, pause_ms=50) == [ANN, BOB]
        assert await shares.outdated_members(tx, ROOM, now_ms=111, pause_ms=50) == [ANN, BOB, CLEO]
        # a clock that was set back
        assert await shares.outdated_members(tx, ROOM, now_ms=5, pause_ms=50) == [ANN, BOB, CLEO]


async def test_devices_come_in_pages(database: Database) -> None:
    rows = [device(user, name) for user in (ANN, BOB, CLEO) for name in "AB"]
    async with database.transaction() as tx:
        await shares.save_audience(tx, ROOM, {ANN: "$1", BOB: "$2", ME: "$0"}, [])
        lists = [DeviceList(user, 0, [row for row in rows if row.user_id == user]) for user in (ANN, BOB, CLEO)]
        await keys.save_device_lists(tx, [*lists, DeviceList(ME, 0, [device(ME)])], now_ms=1)
        first = await shares.unsettled(tx, question(), after=START, limit=3)
        assert [(one.user_id, one.device_id) for one in first] == [(ANN, "A"), (ANN, "B"), (BOB, "A")]
        rest = await shares.unsettled(tx, question(), after=(BOB, "A"), limit=3)
        assert [(one.user_id, one.device_id) for one in rest] == [(BOB, "B")]
        assert await shares.count_unsettled(tx, question()) == 4
        assert await shares.count_unsettled(tx, question(standing=2)) == 4, "they are to be told"


async def test_requests_that_were_never_answered_stay_together(database: Database) -> None:
    async with database.transaction() as tx:
        await shares.save_audience(tx, ROOM, {ANN: "$1", BOB: "$2"}, [])
        await keys.save_device_lists(
            tx, [DeviceList(ANN, 0, [device(ANN), device(ANN, "B")]), DeviceList(BOB, 0, [device(BOB)])], now_ms=1
        )
        pending = [share(device(ANN, "B"), "$1", "pending", "txn"), share(device(BOB), "$2", "pending", "txn")]
        await shares.save_shares(tx, "session", pending, now_ms=1)
        assert await shares.open_requests(tx, "session") == ["txn"]
        again = await shares.unanswered(tx, question(), "txn")
        assert [one.share for one in again] == pending
        assert [one.device_id for one in await shares.unsettled(tx, question(), after=START, limit=9)] == ["A"]
        await shares.settle_shares(tx, "session", "txn", "held", users=(ANN, BOB), now_ms=2)
        assert await shares.open_requests(tx, "session") == []
        assert await shares.count_unsettled(tx, question()) == 1


async def test_it_is_counted_who_reads_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.begin_outbound(tx, OutboundRow(ROOM, "session", b"p", 1, 0, "digest"))
        await shares.save_audience(tx, ROOM, {ANN: "$1", BOB: "$2", CLEO: "$3", ME: "$0"}, [])
        await shares.save_shares(
            tx,
            "session",
            [
                share(device(ANN), "$1"),
                share(device(ANN, "B"), "$1", "withheld"),
                share(device(BOB), "$2", "withheld"),
                share(device(BOB, "B"), "$2", "no_olm"),
            ],
            now_ms=1,
        )
        found = await shares.reach(tx, ROOM, ours=[ME])
        assert await shares.count_states(tx) == {"held": 1, "withheld": 2, "no_olm": 1}
    assert found == shares.Reach(devices=1, without={"withheld": 2, "no_olm": 1}, people=3, unreached=2)


async def test_a_device_that_holds_the_keys_of_two_rooms_is_one_device(database: Database) -> None:
    async with database.transaction() as tx:
        for room, session, devices in [
            (
                ROOM,
                "session",
                [share(device(ANN), "$1"), share(device(BOB), "$2"), share(device(CLEO), "$3", "withheld")],
            ),
            ("!other", "another", [share(device(BOB), "$2"), share(device(BOB, "B"), "$2")]),
            ("!third", "third", [share(device(CLEO), "$3")]),
        ]:
            await keys.begin_outbound(tx, OutboundRow(room, session, b"p", 1, 0, "digest"))
            await shares.save_shares(tx, session, devices, now_ms=1)
        assert await shares.devices_in(tx, [ROOM, "!other"]) == 3
        assert await shares.devices_in(tx, []) == 0


async def test_a_room_without_a_session_reaches_nobody(database: Database) -> None:
    async with database.transaction() as tx:
        await shares.save_audience(tx, ROOM, {ANN: "$1"}, [])
        assert await shares.reach(tx, ROOM, ours=[ME]) == shares.Reach(0, {}, 1, 1)


# --- the differences are those of the rules ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One device of one user: in the room or not, in the list or not, and what it was given."""

    user: UserId
    name: str
    member: str | None
    listed: str | None
    standing: int
    given: str | None
    given_under: str
    state: str


CASES = st.lists(
    st.builds(
        Case,
        user=st.sampled_from([ANN, BOB, CLEO, ME]),
        name=st.sampled_from(["A", "B"]),
        member=st.sampled_from(["$1", "$2", None]),
        listed=st.sampled_from(["1", "2", None]),
        standing=st.integers(0, 2),
        given=st.sampled_from(["1", "2", None]),
        given_under=st.sampled_from(["$1", "$2"]),
        state=st.sampled_from(list(ShareState)).map(str),
    ),
    max_size=8,
    unique_by=lambda case: (case.user, case.name),
)


async def fill(tx: Transaction, cases: list[Case]) -> tuple[dict[str, str], list[DeviceRow], list[ShareRow]]:
    for table in ("crypto_audience", "crypto_device", "crypto_user", "crypto_share"):
        await tx.execute(f"DELETE FROM {table}")
    members: dict[str, str] = {case.user: case.member for case in cases if case.member is not None}
    listed = [
        DeviceRow(
            case.user,
            case.name,
            f"c-{case.user}-{case.name}-{case.listed}",
            f"e-{case.user}-{case.name}-{case.listed}",
            case.standing > 0,
            case.standing > 1,
        )
        for case in cases
        if case.listed is not None
    ]
    given = [
        share(device(case.user, case.name, case.given), case.given_under, case.state, f"t{number}")
        for number, case in enumerate(cases)
        if case.given is not None and case.user != ME
    ]
    await shares.save_audience(tx, ROOM, members, [])
    by_user = {case.user: [row for row in listed if row.user_id == case.user] for case in cases}
    await keys.save_device_lists(tx, [DeviceList(user, 0, rows) for user, rows in by_user.items()], now_ms=1)
    await shares.save_shares(tx, "session", given, now_ms=1)
    return members, listed, given


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases=CASES, trust=st.sampled_from(list(Trust)))
async def test_nothing_that_the_rules_would_act_on_is_left_out(
    database: Database, cases: list[Case], trust: Trust
) -> None:
    standing = {Trust.ALL: 0, Trust.SIGNED: 1, Trust.VERIFIED: 2}[trust]
    async with database.transaction() as tx:
        members, listed, given = await fill(tx, cases)
        asked = question(standing)
        loose = await shares.unsettled(tx, asked, after=START, limit=99)
        for txn_id in await shares.open_requests(tx, "session"):
            loose += await shares.unanswered(tx, asked, txn_id)
        strays = await shares.strays(tx, asked, limit=99)
        count = await shares.count_unsettled(tx, asked)
    room = recipients.Room(None, {})
    devices: dict[UserId, list[recipients.Device]] = {}
    for row in listed:
        of = recipients.Device(row.user_id, row.device_id, row.curve25519, row.ed25519, row.cross_signed, row.verified)
        devices.setdefault(row.user_id, []).append(of)
    decision = recipients.decide(
        announcer=ME,
        joined=[Member(UserId(user), EventId(event)) for user, event in members.items()],
        devices=devices,
        session=recipients.Session("session", 0, 0, room.digest),
        shares=[
            Share(
                one.user_id,
                one.device_id,
                one.curve25519,
                one.ed25519,
                one.member_event,
                ShareState(one.state),
                one.txn_id,
            )
            for one in given
        ],
        room=room,
        trust=trust,
        now_ms=0,
    )
    assert bool(strays) is (decision.rotation is not None)
    assert count == len(loose)
    if decision.rotation is None:
        acted_on = {one.device.identity for one in decision.missing} | {
            one.device.identity for one in decision.withheld
        }
        assert acted_on <= {(one.user_id, one.device_id, one.curve25519, one.ed25519) for one in loose}
