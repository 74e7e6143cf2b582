"""What the homeserver is answered, and what is stored by then."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.core.errors import StoreError
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Receipt
from bridge.intake.interest import Interest
from bridge.intake.transactions import MAX_BODY_BYTES, Transactions
from bridge.store.database import Database
from bridge.store.inbox import Inbox

TOKEN = "the homeserver's token"
STEWARD = UserId("@communities:example.org")
ANNOUNCER = UserId("@announcements:example.org")
PATH = "/_matrix/app/v1/transactions/"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Rooms:
    """A group, a chat and an announcement room."""

    def interest(self, room_id: RoomId) -> Interest | None:
        kinds = {"!group": Interest.GROUP, "!chat": Interest.CHAT, "!news": Interest.ANNOUNCEMENTS}
        return kinds.get(room_id)

    def is_voting(self, room_id: RoomId) -> bool:
        return False


def state(event_id: str, room_id: str = "!group", **members: Any) -> dict[str, Any]:
    base = {"event_id": event_id, "room_id": room_id, "sender": "@alice:example.org", "type": "m.room.name"}
    return {**base, "state_key": "", "content": {}, "origin_server_ts": 1, **members}


def message(event_id: str, room_id: str = "!group") -> dict[str, Any]:
    event = state(event_id, room_id, type="m.room.encrypted")
    del event["state_key"]
    return event


class Door:
    """The endpoint over real HTTP, and the database behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored = 0
        self.failed = 0
        self.receipts: list[Receipt] = []
        self.trouble: Exception | None = None

    async def open(self) -> None:
        self.database = Database(f"sqlite:///{self.path}")
        await self.database.start()
        self.inbox = Inbox(self.database)
        self.transactions = Transactions(
            hs_token=TOKEN,
            steward=STEWARD,
            announcer=ANNOUNCER,
            rooms=Rooms(),
            inbox=self.inbox,
            clock=SystemClock(),
            on_stored=self.count_stored,
            on_failure=self.count_failed,
            on_receipts=self.take_receipts,
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        self.transactions.add_routes(app)
        self.client = TestClient(TestServer(app))
        await self.client.start_server()

    async def close(self) -> None:
        await self.client.close()
        await self.database.stop()

    def count_stored(self) -> None:
        self.stored += 1

    def count_failed(self) -> None:
        self.failed += 1

    async def take_receipts(self, receipts: Sequence[Receipt]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.receipts += receipts

    async def put(self, txn_id: str, body: Any, **options: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        url = options.pop("url", PATH + txn_id)
        async with self.client.put(
            url, data=io.BytesIO(data), headers=options.pop("headers", AUTHORIZED), **options
        ) as answer:
            return answer.status, await answer.json()

    async def events(self, *events: Any, txn_id: str = "1") -> tuple[int, Any]:
        return await self.put(txn_id, {"events": list(events)})

    async def kept(self) -> list[str]:
        return [held.event_id for held in await self.inbox.after(0, 100_000)]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path / "door.db")
    await door.open()
    yield door
    await door.close()


@pytest.mark.parametrize("url", [PATH + "1", "/transactions/1"])
async def test_what_is_wanted_is_stored_before_the_answer(door: Door, url: str) -> None:
    body = {"events": [state("$1"), message("$2"), message("$3", "!chat"), state("$4", "!elsewhere"), state("$5")]}
    assert await door.put("1", body, url=url) == (200, {})
    assert await door.kept() == ["$1", "$3", "$5"]
    assert door.stored == 1
    counts = door.transactions.counts
    assert (counts.transactions, counts.events, counts.stored, counts.unwanted) == (1, 5, 3, 2)


@pytest.mark.parametrize(("given", "status", "errcode"), [
    ({}, 401, "M_UNAUTHORIZED"),
    ({"headers": {"Authorization": ""}}, 401, "M_UNAUTHORIZED"),
    ({"headers": {"Authorization": f"Basic {TOKEN}"}}, 401, "M_UNAUTHORIZED"),
    ({"headers": {"Authorization": "Bearer wrong"}}, 403, "M_FORBIDDEN"),
    ({"headers": {"Authorization": f"Bearer {TOKEN}x"}}, 403, "M_FORBIDDEN"),
    ({"headers": {"Authorization": "Bearer ümlaut"}}, 403, "M_FORBIDDEN"),
    ({"params": {"access_token": "wrong"}}, 403, "M_FORBIDDEN"),
    ({"params": {"access_token": "ümlaut"}}, 403, "M_FORBIDDEN"),
    ({"params": {"access_token": TOKEN}}, 200, None),
    ({"headers": {"Authorization": f"bearer {TOKEN}"}}, 200, None),
])  # fmt: skip
async def test_only_the_homeserver_is_let_in(
    door: Door, given: dict[str, Any], status: int, errcode: str | None
) -> None:
    for method, path in (
        ("PUT", PATH + "1"),
        ("PUT", "/transactions/1"),
        ("POST", "/_matrix/app/v1/ping"),
        ("GET", f"/_matrix/app/v1/users/{STEWARD}"),
        ("GET", "/_matrix/app/v1/rooms/%23x:example.org"),
    ):
        async with door.client.request(method, path, data=b'{"events": []}', **given) as answer:
            body = await answer.json()
            wanted = 404 if "rooms" in path and status == 200 else status
            assert (method, path, answer.status) == (method, path, wanted)
            assert body.get("errcode") == (errcode if wanted != 404 else "M_NOT_FOUND")


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"3", b'{"events": [', b'{"events": nope}', b"\xff\xfe"])
async def test_what_is_not_json_is_refused(door: Door, body: bytes) -> None:
    status, answer = await door.put("1", body)
    assert status == 400
    assert answer["errcode"] == "M_NOT_JSON"
    assert "JSON" in answer["error"]


@pytest.mark.parametrize("body", [{}, {"events": 3}, {"events": {"a": 1}}, {"events": None, "ephemeral": "x"}])
async def test_odd_transactions_are_tolerated(door: Door, body: Any) -> None:
    assert await door.put("1", body) == (200, {})
    assert await door.kept() == []


async def test_odd_events_do_not_take_others_with_them(door: Door) -> None:
    nowhere, nameless = {**state("$2"), "room_id": []}, {**state("$3"), "event_id": None}
    odd: list[Any] = [None, 3, [], {}, state(""), nowhere, nameless]
    assert await door.events(state("$1"), *odd, state("$9")) == (200, {})
    assert await door.kept() == ["$1", "$9"]
    assert door.transactions.counts.malformed == len(odd)


async def test_an_event_nested_too_deep_does_not_take_others_with_it(door: Door) -> None:
    deep = b"[" * 20_000 + b"]" * 20_000
    spoilt = orjson.dumps(state("$2", content={"membership": "join", "x": "HERE"})).replace(b'"HERE"', deep)
    body = b'{"events": [' + b",".join([orjson.dumps(state("$1")), spoilt, orjson.dumps(state("$3"))]) + b"]}"
    assert await door.put("1", body) == (200, {})
    held = await door.inbox.after(0, 10)
    assert [one.event_id for one in held] == ["$1", "$2", "$3"]
    assert orjson.loads(held[1].body)["content"] == {"membership": "join"}


async def test_messages_to_us_are_kept_whole_and_nothing_else(door: Door) -> None:
    content = {"x": "the words of people"}
    assert await door.events(state("$1", content=content), {**message("$2", "!chat"), "content": content}) == (200, {})
    kept = [orjson.loads(held.body)["content"] for held in await door.inbox.after(0, 10)]
    assert kept == [{}, content]


async def test_a_large_transaction_is_taken(door: Door) -> None:
    large = [{**message(f"${number}", "!chat"), "content": {"x": "y" * 60_000}} for number in range(500)]
    assert await door.events(*large) == (200, {})
    assert await door.kept() == [event["event_id"] for event in large]


async def test_repeats_are_taken_once_and_acknowledged_each_time(door: Door) -> None:
    for _ in range(3):
        assert await door.events(state("$1"), state("$2")) == (200, {})
    assert await door.events(state("$2"), state("$3"), txn_id="2") == (200, {})
    assert await door.kept() == ["$1", "$2", "$3"]
    assert door.stored == 2
    assert door.transactions.counts.duplicates == 5


async def test_the_same_transaction_at_the_same_time(door: Door) -> None:
    events = [state(f"${number}") for number in range(50)]
    answers = await asyncio.gather(*(door.events(*events) for _ in range(6)))
    assert answers == [(200, {})] * 6
    assert await door.kept() == [event["event_id"] for event in events]
    assert door.stored == 1


async def test_repeats_are_known_after_a_restart(door: Door) -> None:
    assert await door.events(state("$1")) == (200, {})
    await door.close()
    await door.open()
    assert await door.events(state("$1")) == (200, {})
    assert await door.events(state("$1"), txn_id="2") == (200, {})
    assert await door.kept() == ["$1"]
    assert door.stored == 1


async def test_messages_of_groups_never_touch_the_database(door: Door) -> None:
    await door.database.stop()
    assert await door.events(*(message(f"${number}") for number in range(100))) == (200, {})
    assert door.transactions.counts.unwanted == 100


async def test_without_a_database_the_homeserver_keeps_what_is_wanted(door: Door) -> None:
    await door.database.stop()
    status, answer = await door.events(message("$1"), state("$2"))
    assert (status, answer["errcode"]) == (500, "M_UNKNOWN")
    assert (door.stored, door.failed) == (0, 1)
    await door.client.close()
    await door.open()
    assert await door.events(message("$1"), state("$2")) == (200, {})
    assert await door.kept() == ["$2"]


async def test_to_device_messages_are_counted_and_not_kept(door: Door) -> None:
    secret = {"type": "m.room.encrypted", "sender": "@a:b", "content": {"ciphertext": {}}, "to_user_id": ANNOUNCER}
    assert await door.put("1", {"events": [], "de.sorunome.msc2409.to_device": [secret]}) == (200, {})
    assert await door.put("2", {"events": [], "to_device": [secret]}) == (200, {})
    assert door.transactions.counts.to_device == 2
    assert await door.kept() == []


async def test_a_ping_wakes_who_waits_for_it(door: Door) -> None:
    async def ping(body: bytes) -> int:
        async with door.client.post("/_matrix/app/v1/ping", data=body, headers=AUTHORIZED) as answer:
            return answer.status

    waiting = asyncio.create_task(door.transactions.wait_ping("mine", 10))
    assert await ping(b'{"transaction_id": "another"}') == 200
    assert not waiting.done()
    assert await ping(b'{"transaction_id": "mine"}') == 200
    assert await waiting
    assert await door.transactions.wait_ping("another", 0.1)
    assert not await door.transactions.wait_ping("never", 0.01)
    assert await ping(b"{}") == 200
    assert await ping(b"x") == 400


@pytest.mark.parametrize(("user", "status"), [(STEWARD, 200), (ANNOUNCER, 200), ("@other:example.org", 404)])
@pytest.mark.parametrize("prefix", ["", "/_matrix/app/v1"])
async def test_our_two_accounts_exist(door: Door, user: str, status: int, prefix: str) -> None:
    async with door.client.get(f"{prefix}/users/{user}", headers=AUTHORIZED) as answer:
        assert answer.status == status
        assert (await answer.json()).get("errcode") == (None if status == 200 else "M_NOT_FOUND")


@pytest.mark.parametrize("name", ["ephemeral", "de.sorunome.msc2409.ephemeral"])
async def test_receipts_come_beside_events_and_the_database_alone_has_them_repeated(door: Door, name: str) -> None:
    receipt = {"type": "m.receipt", "room_id": "!news", "content": {"$1": {"m.read": {"@bea:x": {"ts": 1}}}}}
    body = {"events": [message("$1", "!chat")], name: [receipt, {"type": "m.typing", "room_id": "!news"}, 7]}
    assert await door.put("1", body) == (200, {})
    assert door.receipts == [Receipt(RoomId("!news"), UserId("@bea:x"), EventId("$1"))]
    assert await door.kept() == ["$1"]

    door.trouble = StoreError("away")
    status, _ = await door.put("2", {"events": [message("$2", "!chat")], name: [receipt]})
    assert (status, door.failed) == (500, 1)
    assert await door.kept() == ["$1", "$2"], "what is stored is stored, and known when it comes again"
    door.trouble = RuntimeError("a fault of ours")
    assert await door.put("2", {"events": [message("$2", "!chat"), message("$3", "!chat")], name: [receipt]}) == (
        200,
        {},
    )
    assert await door.kept() == ["$1", "$2", "$3"], "a receipt does not keep out what is behind it"
    assert await door.put("3", {name: {"no": "list"}}) == (200, {})


async def test_events_have_their_place_in_the_order_after_a_restart_too(door: Door) -> None:
    await door.events(message("$1", "!chat"), message("$2", "!chat"))
    await door.inbox.forget([1])
    again = Inbox(door.database)
    for inbox in (door.inbox, again):
        found = await inbox.positions([EventId("$2"), EventId("$1"), EventId("$never")])
        assert list(found) == ["$2", "$1"]
        assert found[EventId("$1")] < found[EventId("$2")]
