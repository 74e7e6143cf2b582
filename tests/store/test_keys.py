"""The announcer's keys at rest, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.core.ids import UserId
from bridge.store import keys, shares
from bridge.store.database import Database
from bridge.store.keys import DeviceList, DeviceRow, InboundRow, OlmRow, OutboundRow
from bridge.store.shares import ShareRow

ME = UserId("@announcements:example.org")
ANN = UserId("@ann:example.org")
BOB = UserId("@bob:example.org")


def device(user: UserId, name: str = "A", keys_of: str = "1") -> DeviceRow:
    return DeviceRow(user, name, f"c-{user}-{name}-{keys_of}", f"e-{user}-{name}-{keys_of}", cross_signed=True)


def olm(number: int, used_at: int) -> OlmRow:
    return OlmRow(f"s{number}", "curve", "ed", f"pickle {number}".encode(), number, used_at)


def room_key(owner: str = ANN, *, index: int = 5, curve25519: str = "c", pickle: bytes = b"p") -> InboundRow:
    return InboundRow("!room", "session", owner, curve25519, "e", True, False, index, pickle)


async def test_a_device_is_stored_with_its_marks(database: Database) -> None:
    async with database.transaction() as tx:
        assert await keys.load_account(tx, ME) is None
        await keys.begin_device(tx, ME, "DEVICE", b"first")
        await keys.save_account(tx, ME, b"second")
        await keys.set_fallback_at(tx, ME, 7)
        await keys.set_published(tx, ME, True)
        await keys.set_generation(tx, ME, 3)
        await keys.set_next_batch(tx, ME, "s1")
    async with database.transaction() as tx:
        assert await keys.load_account(tx, ME) == keys.AccountRow("DEVICE", b"second", True, 7, 3, "s1")


async def test_a_new_device_ends_what_the_old_one_had_with_others(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.begin_device(tx, ME, "OLD", b"old")
        await keys.save_olm_sessions(tx, [olm(1, 1)])
        await keys.begin_outbound(tx, OutboundRow("!room", "session", b"p", 1, 0, "digest"))
        await keys.save_inbound(tx, room_key(), now_ms=1)
        await keys.save_device_lists(tx, [DeviceList(ANN, 0, [device(ANN)])], now_ms=1)
        await keys.begin_device(tx, ME, "NEW", b"new")
        assert await keys.load_account(tx, ME) == keys.AccountRow("NEW", b"new", False, None, 0, None, former=("OLD",))
        assert not await keys.olm_sessions(tx, ["curve"])
        assert await keys.outbound(tx, "!room") is None
        assert await keys.inbound(tx, "!room", "session", ANN) is not None
        assert (await keys.tracked_users(tx, [ANN]))[ANN].outdated == 1


async def test_what_is_known_of_the_account_outlasts_its_device(database: Database) -> None:
    names = ["SPY", "line\nbreak", "nul\x00", "", "long" * 100]
    async with database.transaction() as tx:
        await keys.begin_device(tx, ME, "FIRST", b"1")
        await keys.set_renew_until(tx, ME, 17)
        await keys.note_strange(tx, ME, [*names, *map(str, range(100))], now_ms=5)
        await keys.begin_device(tx, ME, "SECOND", b"2")
        await keys.begin_device(tx, ME, "THIRD", b"3")
    async with database.transaction() as tx:
        row = await keys.load_account(tx, ME)
        assert row is not None
        assert (row.renew_until, row.former, row.strange_at) == (17, ("FIRST", "SECOND"), 5)
        assert row.strange[:5] == (*names[:4], names[4][: keys.MAX_DEVICE_ID])
        assert len(row.strange) == keys.MAX_STRANGE
        await keys.forget_strange(tx, ME)
        row = await keys.load_account(tx, ME)
        assert row is not None
        assert (row.strange, row.strange_at) == ((), None)


async def test_the_session_last_used_comes_first_and_few_are_kept(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_olm_sessions(tx, [olm(number, used_at=number % 10) for number in range(20)])
        await keys.save_olm_sessions(tx, [replace(olm(3, used_at=50), pickle=b"newer")])
        await keys.prune_olm_sessions(tx, "curve")
        kept = (await keys.olm_sessions(tx, ["curve", "other"]))["curve"]
    assert kept[0] == replace(olm(3, used_at=50), pickle=b"newer")
    assert [row.session_id for row in kept[1:4]] == ["s19", "s9", "s18"]
    assert len(kept) == keys.MAX_OLM_SESSIONS


async def test_a_broken_session_is_replaced_once_an_hour(database: Database) -> None:
    async with database.transaction() as tx:
        assert await keys.claim_unwedging(tx, ANN, "A", now_ms=1000, pause_ms=100)
        assert not await keys.claim_unwedging(tx, ANN, "A", now_ms=1099, pause_ms=100)
        assert await keys.claim_unwedging(tx, ANN, "B", now_ms=1099, pause_ms=100)
        assert await keys.claim_unwedging(tx, ANN, "A", now_ms=1100, pause_ms=100)
        # a clock that was set back does not close the door for ever
        assert await keys.claim_unwedging(tx, ANN, "A", now_ms=10, pause_ms=100)


async def test_device_lists_replace_what_was_there(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_device_lists(
            tx,
            [DeviceList(ANN, 0, [device(ANN), device(ANN, "B")], "m", "s"), DeviceList(BOB, 0, [device(BOB)])],
            now_ms=1,
        )
        await keys.save_device_lists(tx, [DeviceList(ANN, 0, [device(ANN, "B", "2"), device(ANN, "C")])], now_ms=1)
        assert await keys.devices_of(tx, [ANN, BOB, ME]) == {
            ANN: [device(ANN, "B", "2"), device(ANN, "C")],
            BOB: [device(BOB)],
        }


async def test_a_list_that_changed_while_it_was_read_stays_outdated(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_device_lists(tx, [DeviceList(ANN, 0, [])], now_ms=1)
        await keys.mark_outdated(tx, [ANN, BOB])
        seen = (await keys.tracked_users(tx, [ANN, BOB]))[ANN].outdated
        assert seen == 1
        await keys.mark_outdated(tx, [ANN])
        await keys.save_device_lists(tx, [DeviceList(ANN, seen, [])], now_ms=1)
        users = await keys.tracked_users(tx, [ANN, BOB])
        assert users.keys() == {ANN}, "somebody who is not followed is not begun with"
        assert users[ANN].outdated == 2
        await keys.save_device_lists(tx, [DeviceList(ANN, 2, [])], now_ms=1)
        assert (await keys.tracked_users(tx, [ANN]))[ANN].outdated == 0


async def test_a_list_that_cannot_be_read_is_outdated_and_keeps_what_is_known(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_device_lists(tx, [DeviceList(ANN, 0, [device(ANN)])], now_ms=1)
        await keys.mark_failed(tx, [ANN, BOB], now_ms=9)
        users = await keys.tracked_users(tx, [ANN, BOB])
        assert {(user.outdated, user.failed_at) for user in users.values()} == {(1, 9)}
        assert await keys.devices_of(tx, [ANN]) == {ANN: [device(ANN)]}
        await keys.mark_outdated(tx, [ANN])
        assert (await keys.tracked_users(tx, [ANN]))[ANN].failed_at is None


async def test_thousands_in_one_question(database: Database) -> None:
    users = [UserId(f"@{number}:example.org") for number in range(2500)]
    async with database.transaction() as tx:
        await keys.save_device_lists(tx, [DeviceList(user, 0, [device(user)]) for user in users], now_ms=1)
        assert len(await keys.devices_of(tx, users)) == 2500
        await keys.mark_outdated(tx, users)
        assert {user.outdated for user in (await keys.tracked_users(tx, users)).values()} == {1}


async def test_a_session_moves_on_and_its_shares_are_known_until_the_one_after_the_next(database: Database) -> None:
    share = ShareRow(ANN, "A", "c", "e", "$1", 0, "pending", "txn")
    async with database.transaction() as tx:
        await keys.begin_outbound(tx, OutboundRow("!room", "one", b"p0", 1, 0, "digest"))
        await shares.save_shares(tx, "one", [share, share._replace(device_id="B", state="no_olm", txn_id="")], now_ms=1)
        await shares.settle_shares(tx, "one", "txn", "held", users=(ANN, ANN), now_ms=2)
        await keys.advance_outbound(tx, "!room", "one", b"p1")
        await keys.advance_outbound(tx, "!room", "another", b"p2")
        assert await keys.outbound(tx, "!room") == OutboundRow("!room", "one", b"p1", 1, 1, "digest")
        assert await shares.count_held(tx, "one") == 1
        assert (await shares.reach(tx, "!room", ours=[ME])).without == {"no_olm": 1}
        await keys.save_inbound(tx, replace(room_key(ME), session_id="one", original=b"p0"), now_ms=1)
        await keys.begin_outbound(tx, OutboundRow("!room", "two", b"q", 5, 0, "digest"))
        await shares.forget_earlier_holders(tx, "!room", but=("two", "one"))
        assert await shares.count_held(tx, "one") == 1
        assert (await shares.reach(tx, "!room", ours=[ME])).without == {}
        assert await shares.count_states(tx) == {}
        await keys.begin_outbound(tx, OutboundRow("!room", "three", b"q", 6, 0, "digest"))
        await shares.forget_earlier_holders(tx, "!room", but=("three", "two"))
        assert await shares.count_held(tx, "one") == 0


async def test_of_two_copies_of_a_room_key_the_earlier_begin_wins(database: Database) -> None:
    async with database.transaction() as tx:
        for index in (5, 9, 2, 7):
            await keys.save_inbound(tx, room_key(index=index, pickle=str(index).encode()), now_ms=1)
        assert await keys.inbound(tx, "!room", "session", ANN) == room_key(index=2, pickle=b"2")


async def test_a_room_key_never_changes_its_owner_nor_its_device(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_inbound(tx, room_key(index=5), now_ms=1)
        await keys.save_inbound(tx, room_key(index=0, curve25519="another"), now_ms=1)
        await keys.save_inbound(tx, room_key(BOB, index=0), now_ms=1)
        assert await keys.inbound(tx, "!room", "session", ANN) == room_key(index=5)
        assert await keys.inbound(tx, "!room", "session", BOB) == room_key(BOB, index=0)
        assert await keys.inbound(tx, "!other", "session", ANN) is None
        assert await keys.has_inbound(tx, "!room", "session")
        assert not await keys.has_inbound(tx, "!room", "another")


async def test_a_room_key_is_verified_later(database: Database) -> None:
    async with database.transaction() as tx:
        await keys.save_inbound(tx, replace(room_key(), verified=False, original=b"original"), now_ms=1)
        await keys.mark_inbound_verified(tx, "!room", "session", ANN)
        assert await keys.inbound(tx, "!room", "session", ANN) == replace(room_key(), original=b"original")


async def test_nobody_fills_the_database_with_keys(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_ROOM_KEYS_OF_ONE_OWNER", 3)
    async with database.transaction() as tx:
        for number in range(6):
            await keys.save_inbound(tx, replace(room_key(), session_id=f"s{number}"), now_ms=number)
        await keys.save_inbound(tx, room_key(BOB), now_ms=0)
        await keys.prune_inbound(tx, ANN)
        left = [await keys.inbound(tx, "!room", f"s{number}", ANN) is not None for number in range(6)]
        assert left == [False, False, True, True, True, True]
        assert await keys.inbound(tx, "!room", "session", BOB) is not None


async def test_a_place_in_a_session_belongs_to_one_event(database: Database) -> None:
    async with database.transaction() as tx:
        assert await keys.note_message(tx, "!room", "session", ANN, 0, "$first") == "$first"
        assert await keys.note_message(tx, "!room", "session", ANN, 0, "$first") == "$first"
        assert await keys.note_message(tx, "!room", "session", ANN, 0, "$second") == "$first"
        assert await keys.note_message(tx, "!room", "session", ANN, 1, "$second") == "$second"
        # somebody who repeats another's message does not take its place
        assert await keys.note_message(tx, "!room", "session", BOB, 0, "$third") == "$third"
