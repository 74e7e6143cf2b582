"""What is remembered for newcomers, on both databases."""

from __future__ import annotations

from dataclasses import replace

from bridge.core.ids import UserId
from bridge.store import history, keys, shares
from bridge.store.database import Database, Transaction
from bridge.store.history import Candidate, GivenRow, MoveRow, PresentRow, SpokenRow
from bridge.store.keys import DeviceList, DeviceRow, InboundRow, OutboundRow

ROOM, OTHER = "!room", "!other"
ANN, BOB = UserId("@ann:example.org"), UserId("@bob:example.org")


def device(user: UserId, name: str, *, signed: bool = True, verified: bool = False) -> DeviceRow:
    return DeviceRow(user, name, f"c-{user}-{name}", f"e-{user}-{name}", signed, verified)


async def comes(tx: Transaction, user: UserId, *devices: DeviceRow, at: int = 10, room: str = ROOM) -> None:
    await keys.save_device_lists(tx, [DeviceList(user, 0, devices, "master")], now_ms=at)
    await history.set_present(tx, room, PresentRow(user, f"${at}", at, at, at, None))


async def waiting(tx: Transaction, *, signed: bool = False, verified: bool = False) -> list[str]:
    found = await history.unserved(tx, ROOM, signed=signed, verified=verified)
    return [one.device.device_id for one in found]


def room_key(session: str = "s", owner: str = ANN, *, at_index: int = 0) -> InboundRow:
    return InboundRow(ROOM, session, owner, "c", "e", True, True, at_index, b"pickle")


async def test_a_move_is_noted_once(database: Database) -> None:
    row = MoveRow(ANN, "$1", "join", BOB, 5)
    async with database.transaction() as tx:
        await history.save_move(tx, ROOM, row)
        await history.save_move(tx, ROOM, replace(row, at=9))
        await history.save_move(tx, OTHER, row)
        assert await history.moves_of(tx, ROOM, [ANN, BOB]) == {ANN: [row]}


async def test_who_stays_keeps_what_they_were_given_and_who_returns_is_given_anew(database: Database) -> None:
    async with database.transaction() as tx:
        await comes(tx, ANN, device(ANN, "A"))
        await history.serve(tx, ROOM, [device(ANN, "A")])
        await history.set_bundle(tx, ROOM, {ANN: "$10"}, "sent")
        await history.set_present(tx, ROOM, PresentRow(ANN, "$new name", 10, 10, 11, None))
        assert await waiting(tx) == []
        assert await history.awaiting_bundle(tx, ROOM, since=0, inviter=BOB) == []
        await history.set_present(tx, ROOM, PresentRow(ANN, "$back", 10, 20, 20, None))
        assert await waiting(tx) == ["A"]
        assert [one.member_event for one in await history.awaiting_bundle(tx, ROOM, since=0, inviter=BOB)] == ["$back"]
        await history.set_absent(tx, ROOM, [ANN])
        assert await waiting(tx) == []
        assert await history.rooms_of(tx, [ANN]) == []


async def test_devices_wait_as_far_as_they_are_trusted(database: Database) -> None:
    async with database.transaction() as tx:
        await comes(tx, ANN, device(ANN, "A"), device(ANN, "B", signed=False), device(ANN, "C", verified=True))
        assert await waiting(tx) == ["A", "B", "C"]
        assert await waiting(tx, signed=True) == ["A", "C"]
        assert await waiting(tx, signed=True, verified=True) == ["C"]
        page = await history.unserved(tx, ROOM, signed=False, verified=False, after=(ANN, "A"))
        assert [one.device.device_id for one in page] == ["B", "C"]
        admitted = await history.admitted_devices(tx, ROOM, [ANN, BOB], signed=True, verified=False)
        assert admitted == [Candidate(device(ANN, "A"), "$10"), Candidate(device(ANN, "C", verified=True), "$10")]


async def test_whose_identity_was_replaced_after_they_came_is_given_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await comes(tx, ANN, device(ANN, "A"))
        await keys.save_device_lists(
            tx, [DeviceList(ANN, 0, [device(ANN, "A"), device(ANN, "V", verified=True)], "another")], now_ms=30
        )
        assert await waiting(tx) == ["V"]
        await history.set_present(tx, ROOM, PresentRow(ANN, "$back", 10, 40, 40, None))
        assert await waiting(tx) == ["V"], "nor when they return"
        await comes(tx, BOB, at=30)
        await keys.save_device_lists(tx, [DeviceList(BOB, 0, [device(BOB, "B")], "another")], now_ms=20)
        assert await waiting(tx) == ["V", "B"], "what was before they came is no matter"


async def test_what_is_known_of_a_device_ends_with_its_keys(database: Database) -> None:
    async with database.transaction() as tx:
        await comes(tx, ANN, device(ANN, "A"))
        await history.serve_all(tx, ROOM, signed=False, verified=False)
        assert await waiting(tx) == []
        other = replace(device(ANN, "A"), ed25519="another")
        await keys.save_device_lists(tx, [DeviceList(ANN, 0, [other], "master")], now_ms=1)
        assert await waiting(tx) == ["A"]
        await history.serve(tx, ROOM, [other])
        assert await waiting(tx) == []


async def test_who_is_not_admitted_is_not_served_with_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await comes(tx, ANN, device(ANN, "A"), device(ANN, "B", signed=False), device(ANN, "C", verified=True))
        await history.serve_all(tx, ROOM, signed=True, verified=True)
        assert await waiting(tx) == ["A", "B"]
        await history.serve_all(tx, ROOM, signed=True, verified=False)
        assert await waiting(tx) == ["B"]


async def test_who_does_not_hold_what_is_said_is_unserved(database: Database) -> None:
    every = [device(ANN, name) for name in ("held", "later", "pending", "other keys", "none")]
    async with database.transaction() as tx:
        await comes(tx, ANN, *every)
        await comes(tx, BOB, device(BOB, "elsewhere"), room=OTHER)
        await history.serve_all(tx, ROOM, signed=False, verified=False)
        await history.serve_all(tx, OTHER, signed=False, verified=False)
        await keys.begin_outbound(tx, OutboundRow(ROOM, "s", b"p", 1, 0, "digest"))
        for one in every[:4]:
            given = replace(one, ed25519="another") if one.device_id == "other keys" else one
            index = 3 if one.device_id == "later" else 2
            await history.hold(tx, "s", [Candidate(given, "$10")], index, one.device_id, now_ms=1)
            if one.device_id != "pending":
                await history.settle_hold(tx, "s", one.device_id)
        assert await waiting(tx) == []
        assert await history.unserve(tx, ROOM, "s", 2, ["s", "t"]) == 4
        assert sorted(await waiting(tx)) == ["later", "none", "other keys", "pending"]
        found = await history.given(tx, ROOM, [ANN])
        assert {(row.device_id, row.session_id, row.state) for row in found} == {
            (name, "t", "held") for name in ("later", "none", "other keys", "pending")
        }
        assert await history.unserve(tx, ROOM, "s", 2, []) == 0
        assert await history.unserve(tx, ROOM, "of whose holders nothing is known", 0, []) == 1
        assert await tx.fetch_value("SELECT COUNT(*) FROM crypto_served WHERE room_id = $1", OTHER) == 1


async def test_holders_of_the_present_session_need_no_more(database: Database) -> None:
    async with database.transaction() as tx:
        await comes(tx, ANN, device(ANN, "A"))
        await comes(tx, BOB, device(BOB, "B"))
        await keys.begin_outbound(tx, OutboundRow(ROOM, "s", b"p", 1, 0, "digest"))
        await history.hold(tx, "s", [Candidate(device(ANN, "A"), "$10")], 0, "t", now_ms=1)
        await history.serve_holders(tx, ROOM, "s", 0)
        assert await waiting(tx) == ["A", "B"], "it was not answered yet"
        await history.hold(tx, "s", [Candidate(device(BOB, "B"), "$10")], 0, "u", now_ms=1)
        await shares.refuse_shares(tx, "s", "u", [(BOB, "B")])
        await history.hold(tx, "s", [Candidate(device(ANN, "A"), "$11")], 3, "v", now_ms=1)
        await history.hold(tx, "s", [Candidate(device(BOB, "B"), "$11")], 3, "v", now_ms=1)
        await history.settle_hold(tx, "s", "t")
        await history.serve_holders(tx, ROOM, "s", 0)
        assert await waiting(tx) == ["B"], "the first word stands"


async def test_what_is_given_is_marked_by_request(database: Database) -> None:
    rows = [GivenRow("s", ANN, name, "e", history.PENDING, txn) for name, txn in (("A", "t"), ("B", "u"))]
    async with database.transaction() as tx:
        await history.save_given(tx, ROOM, rows)
        await history.settle_given(tx, ROOM, "s", "t")
        found = {row.device_id: row.state for row in await history.given(tx, ROOM, [ANN])}
        assert found == {"A": "held", "B": "pending"}
        await history.serve(tx, ROOM, [device(ANN, "A")])
        assert [row.device_id for row in await history.given(tx, ROOM, [ANN, BOB])] == ["B"]


async def test_a_message_counts_where_its_key_is_here(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_inbound(tx, room_key(), now_ms=1)
        for number, session in enumerate(("s", "unknown", "s")):
            assert await history.save_spoken(tx, ROOM, SpokenRow(f"${number}", session, ANN, number, 30 - number))
        assert not await history.save_spoken(tx, ROOM, SpokenRow("$0", "s", ANN, 9, 99))
        assert (await history.count_spoken(tx, ROOM, ANN), await history.count_spoken(tx, ROOM, BOB)) == (3, 0)
        assert [row.event_id for row in await history.spoken(tx, ROOM)] == ["$2", "$0"]
        assert [row.session_id for row in await history.shared_keys(tx, ROOM)] == ["s"]


async def test_bundles_are_for_whom_the_right_account_has_invited(database: Database) -> None:
    async with database.transaction() as tx:
        await history.set_present(tx, ROOM, PresentRow(ANN, "$a", 5, 5, 5, "@announcements:example.org"))
        await history.set_present(tx, ROOM, PresentRow(BOB, "$b", 5, 5, 50, "@office:example.org"))
        found = await history.awaiting_bundle(tx, ROOM, since=0, inviter="@announcements:example.org")
        assert [one.user_id for one in found] == [ANN]
        await history.set_bundle(tx, ROOM, {ANN: "$another"}, "sent")
        assert await history.awaiting_bundle(tx, ROOM, since=0, inviter="@announcements:example.org") == found
        assert await history.awaiting_bundle(tx, ROOM, since=5, inviter="@announcements:example.org") == []
        await history.no_bundles(tx, ROOM, before=10)
        assert await history.awaiting_bundle(tx, ROOM, since=0, inviter="@office:example.org") != []


async def test_who_has_a_bundle_is_known_once_all_their_requests_are_answered(database: Database) -> None:
    async def waiting_for_it() -> list[str]:
        await history.settle_bundles(tx, ROOM, {ANN: "$10", BOB: "$10"})
        return [one.user_id for one in await history.awaiting_bundle(tx, ROOM, since=0, inviter="@a:example.org")]

    async with database.transaction() as tx:
        for user in (ANN, BOB):
            await comes(tx, user, device(user, "A"), device(user, "B"))
        assert await waiting_for_it() == [ANN, BOB], "nothing was sent yet"
        rows = [
            GivenRow(history.BUNDLE, ANN, name, device(ANN, name).ed25519, history.PENDING, txn)
            for name, txn in (("A", "t"), ("B", "u"), ("gone", "v"))
        ]
        await history.save_given(tx, ROOM, rows)
        await history.settle_given(tx, ROOM, history.BUNDLE, "t")
        await history.serve(tx, ROOM, [device(ANN, "A")])
        assert await waiting_for_it() == [ANN, BOB]
        assert len(await history.given(tx, ROOM, [ANN])) == 3
        await history.refuse_given(tx, ROOM, history.BUNDLE, [(ANN, "B")])
        assert await waiting_for_it() == [BOB]
        assert await history.given(tx, ROOM, [ANN]) == []


async def test_what_lies_behind_the_window_is_forgotten_but_not_what_is_in_use(database: Database) -> None:
    async with database.transaction() as tx:
        for session in ("old", "used since", "in use", "new"):
            row = replace(room_key(session), original=b"as it was")
            await keys.save_inbound(tx, row, now_ms=100 if session == "new" else 1)
            await keys.note_message(tx, ROOM, session, ANN, 0, f"${session}")
        await keys.begin_outbound(tx, OutboundRow(ROOM, "in use", b"p", 1, 0, "digest"))
        for session in ("old", "in use", "new"):
            await history.hold(tx, session, [Candidate(device(ANN, "A"), "$a")], 0, "t", now_ms=1)
        await history.save_spoken(tx, ROOM, SpokenRow("$1", "old", ANN, 0, 2))
        await history.save_spoken(tx, ROOM, SpokenRow("$2", "used since", ANN, 1, 60))
        await history.save_spoken(tx, ROOM, SpokenRow("$3", "used since", ANN, 0, 2))
        await history.save_spoken(tx, ROOM, SpokenRow("$4", "in use", ANN, 0, 2))
        await history.save_spoken(tx, ROOM, SpokenRow("$5", "no key", ANN, 0, 2))
        await history.save_spoken(tx, ROOM, SpokenRow("$6", "no key yet", ANN, 0, 2))
        await history.save_spoken(tx, ROOM, SpokenRow("$7", "no key yet", ANN, 1, 60))
        await history.save_move(tx, ROOM, MoveRow(ANN, "$a", "join", ANN, 1))
        await history.set_present(tx, ROOM, PresentRow(ANN, "$a", 1, 1, 1, None))
        await history.save_move(tx, ROOM, MoveRow(BOB, "$b", "leave", BOB, 1))
        await history.purge(tx, ROOM, before=50)
        assert {row.session_id for row in await history.shared_keys(tx, ROOM)} == {"used since", "in use", "new"}
        assert {row.event_id for row in await history.spoken(tx, ROOM)} == {"$2", "$3", "$4"}, "with their key"
        rows = await tx.fetch("SELECT event_id FROM crypto_spoken WHERE session_id LIKE 'no key%'")
        assert {row["event_id"] for row in rows} == {"$6", "$7"}
        assert await tx.fetch_value("SELECT COUNT(*) FROM crypto_message_index") == 3
        rows = await tx.fetch("SELECT session_id FROM crypto_share ORDER BY session_id")
        assert [row["session_id"] for row in rows] == ["in use", "new"]
        assert set(await history.moves_of(tx, ROOM, [ANN, BOB])) == {ANN}
