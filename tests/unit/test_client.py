"""The client against a homeserver that behaves badly, on the loopback interface."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from bridge.core.errors import BadRequest, Forbidden, MatrixError, NotFound, RateLimited, Unreachable
from bridge.core.ids import DeviceId, UserId
from bridge.matrix import client as under_test
from bridge.matrix.client import Client, path
from bridge.store.database import Database

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Homeserver:
    """Answers as it is told: each answer once, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.at: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.at.append(time.monotonic())
        self.headers.append(dict(request.headers))
        self.seen.append(
            (request.method, request.raw_path.partition("?")[0], dict(request.query), await request.read())
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return await answer(request)
        finally:
            self.in_flight -= 1

    def gives(self, *answers: Answer) -> None:
        self.answers = list(answers)

    @property
    def waits(self) -> list[float]:
        """How long it was between the requests."""
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


def says(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({} if body is None else body, status=status, headers=headers)

    return answer


def raw(text: bytes, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=text, status=status, content_type="text/html")

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    raise asyncio.CancelledError


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


WELL = says(200, {"well": True})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of our own are short; those that the homeserver asks for are kept."""
    monkeypatch.setattr(under_test, "FIRST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
async def homeserver() -> AsyncIterator[Homeserver]:
    fake = Homeserver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def client(homeserver: Homeserver) -> AsyncIterator[Client]:
    client = Client(homeserver.url + "/", "the-token", retries=3)
    await client.start()
    await client.start()
    yield client
    await client.stop()
    await client.stop()


async def get(client: Client, **how: Any) -> dict[str, Any]:
    return await client.request("GET", path("v3", "thing"), **how)


# --- what is asked --------------------------------------------------------------------------------------------------


async def test_a_request_says_who_asks(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(WELL)
    announcer, device = UserId("@announcements:example.org"), DeviceId("DEV")
    assert await client.request(
        "PUT", path("v3", "a"), as_user=announcer, device_id=device, body={"x": "é"}, query={"q": "&="}
    ) == {"well": True}
    method, place, query, body = homeserver.seen[0]
    assert (method, place, body) == ("PUT", "/_matrix/client/v3/a", '{"x":"é"}'.encode())
    assert query == {"q": "&=", "user_id": announcer, "device_id": "DEV", "org.matrix.msc3202.device_id": "DEV"}
    assert homeserver.headers[0]["Authorization"] == "Bearer the-token"
    assert homeserver.headers[0]["Content-Type"] == "application/json"


async def test_parts_of_a_path_are_quoted(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(WELL)
    await client.request("GET", path("v3", "rooms", "!a/b:x", "state", "m.x", "k?#%é /.."))
    assert homeserver.seen[0][1] == "/_matrix/client/v3/rooms/%21a%2Fb%3Ax/state/m.x/k%3F%23%25%C3%A9%20%2F.."


@pytest.mark.parametrize("key", ["..", ".", "../..", "%2e%2e", ""])
async def test_a_part_leads_to_no_other_place(homeserver: Homeserver, client: Client, key: str) -> None:
    homeserver.gives(WELL)
    await client.request("GET", path("v3", "rooms", "!a:x", "state", "m.x", key), query={"format": "event"})
    place = homeserver.seen[0][1]
    assert place.startswith("/_matrix/client/v3/rooms/%21a%3Ax/state/m.x/")
    assert unquote(place.rpartition("/m.x/")[2]) == key


async def test_a_request_without_a_body_has_none(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(WELL)
    await get(client)
    assert homeserver.seen[0][3] == b""
    await client.request("POST", path("v3", "x"), body={})
    assert homeserver.seen[1][3] == b"{}"


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), [
    (400, BadRequest), (401, BadRequest), (403, Forbidden), (404, NotFound), (405, BadRequest), (409, BadRequest),
    (413, BadRequest), (500, BadRequest), (501, BadRequest), (302, BadRequest),
])  # fmt: skip
async def test_a_refusal_is_not_tried_again(
    homeserver: Homeserver, client: Client, status: int, kind: type[MatrixError]
) -> None:
    homeserver.gives(says(status, {"errcode": "M_SOMETHING", "error": "No, thank you"}))
    with pytest.raises(kind) as caught:
        await get(client)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.errcode) == (status, "M_SOMETHING")
    assert "No, thank you" in caught.value.what
    assert len(homeserver.seen) == client.requests == 1


async def test_a_token_that_is_not_known_has_its_remedy(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(says(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token"}))
    with pytest.raises(BadRequest) as caught:
        await get(client)
    assert "app_service_config_files" in caught.value.remedy


@pytest.mark.parametrize(
    "body", [b"", b"<html>nginx", b"[1]", b"null", b'{"errcode": 5, "error": {"a": 1}}', b"\xff\xfe"]
)
@pytest.mark.parametrize("status", [403, 429, 502])
async def test_any_body_of_a_refusal_is_understood(
    homeserver: Homeserver, client: Client, body: bytes, status: int
) -> None:
    homeserver.gives(raw(body, status))
    with pytest.raises(MatrixError) as caught:
        await get(client, retries=0)
    assert caught.value.status == status
    assert caught.value.what


async def test_long_words_of_a_refusal_are_cut(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(says(400, {"error": "x" * 100_000}))
    with pytest.raises(BadRequest) as caught:
        await get(client)
    assert len(caught.value.what) < 400


# --- what passes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 503, 504, 520, 524])
async def test_a_gateway_that_stumbles_is_asked_again(homeserver: Homeserver, client: Client, status: int) -> None:
    homeserver.gives(raw(b"<html>Bad gateway", status), says(status), WELL)
    assert await get(client) == {"well": True}
    assert len(homeserver.seen) == 3


async def test_tries_are_bounded(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(says(503))
    with pytest.raises(Unreachable) as caught:
        await get(client)
    assert caught.value.retry_helps
    assert len(homeserver.seen) == 1 + 3
    with pytest.raises(Unreachable):
        await get(client, retries=0)
    assert len(homeserver.seen) == 1 + 3 + 1


async def test_every_try_is_the_same_request(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(says(502), hangs_up, WELL)
    await client.request("PUT", path("v3", "send", "txn-1"), body={"a": 1})
    assert [seen[:2] + seen[3:] for seen in homeserver.seen] == [homeserver.seen[0][:2] + homeserver.seen[0][3:]] * 3


async def test_waits_grow(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(says(502))
    with pytest.raises(Unreachable):
        await get(client, retries=5)
    assert homeserver.waits[4] > homeserver.waits[0] * 4


@pytest.mark.parametrize("answer", [raw(b"<html>welcome"), raw(b"{broken"), raw(b"\xff")])
async def test_an_answer_that_is_no_json_is_asked_for_again(
    homeserver: Homeserver, client: Client, answer: Answer
) -> None:
    homeserver.gives(answer, WELL)
    assert await get(client) == {"well": True}
    homeserver.gives(answer)
    with pytest.raises(Unreachable, match="JSON"):
        await get(client)


async def test_an_empty_answer_is_an_empty_object_and_a_list_is_a_value(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(raw(b""), says(200, [1, 2]))
    assert await get(client) == {}
    assert await get(client) == {"value": [1, 2]}


async def test_a_connection_that_is_cut_is_made_again(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(hangs_up, hangs_up, WELL)
    assert await get(client) == {"well": True}


async def test_no_answer_within_the_deadline(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(hangs)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="no answer"):
        await get(client, deadline=0.05, retries=1)
    assert len(homeserver.seen) == 2
    assert time.monotonic() - begun < 5


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{taken.getsockname()[1]}", "t", retries=2)
        await client.start()
        with pytest.raises(Unreachable, match="cannot be reached") as caught:
            await get(client)
        await client.stop()
    assert client.requests == 3
    assert "homeserver.url" in caught.value.remedy


async def test_a_homeserver_that_comes_back_is_found(client: Client, homeserver: Homeserver) -> None:
    homeserver.gives(says(503))
    first = asyncio.create_task(get(client, retries=50))
    await asyncio.sleep(0.05)
    homeserver.gives(WELL)
    assert await first == {"well": True}


# --- being told to wait ---------------------------------------------------------------------------------------------


def limited(**body: Any) -> Answer:
    return says(429, {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many", **body})


async def test_the_wait_that_is_asked_for_is_kept(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(limited(retry_after_ms=300), WELL)
    assert await get(client) == {"well": True}
    assert 0.3 <= homeserver.waits[0] < 3


async def test_the_header_comes_before_the_body(homeserver: Homeserver, client: Client) -> None:
    answer = says(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 60_000}, {"Retry-After": "1"})
    homeserver.gives(answer, WELL)
    await get(client)
    assert 1.0 <= homeserver.waits[0] < 5


async def test_where_both_say_the_same_the_exact_one_counts(homeserver: Homeserver, client: Client) -> None:
    answer = says(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 200}, {"Retry-After": "1"})
    homeserver.gives(answer, WELL)
    await get(client)
    assert 0.2 <= homeserver.waits[0] < 0.9


@pytest.mark.parametrize("wait", [None, -5, "soon", True, {}, 0])
async def test_a_wait_that_is_none_is_our_own(homeserver: Homeserver, client: Client, wait: Any) -> None:
    homeserver.gives(limited(retry_after_ms=wait), WELL)
    await get(client)
    assert homeserver.waits[0] < 1


@pytest.mark.parametrize("header", ["Fri, 31 Dec 2049 23:59:59 GMT", "-1", "1e9", "²", ""])
async def test_a_header_that_is_no_number_of_seconds_does_not_count(
    homeserver: Homeserver, client: Client, header: str
) -> None:
    encoded = {"Retry-After": header.encode().decode("latin-1")}
    homeserver.gives(says(429, {"retry_after_ms": 1}, encoded), WELL)
    assert await get(client) == {"well": True}


async def test_an_endless_wait_is_not_obeyed_but_told(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(limited(retry_after_ms=3_600_000))
    with pytest.raises(RateLimited) as caught:
        await get(client)
    assert caught.value.retry_helps
    assert len(homeserver.seen) == 1
    assert getattr(caught.value, "seconds", None) == 3600


async def test_a_limit_that_lasts_is_told_after_all_tries(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(limited(retry_after_ms=1))
    with pytest.raises(RateLimited):
        await get(client)
    assert len(homeserver.seen) == 4


# --- many at once ---------------------------------------------------------------------------------------------------


async def test_not_too_many_at_once_and_a_long_poll_takes_no_place(homeserver: Homeserver, client: Client) -> None:
    gate = asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.json_response({})

    homeserver.gives(waits)
    tasks = [asyncio.create_task(get(client)) for _ in range(under_test.MAX_IN_FLIGHT * 2)]
    tasks.append(asyncio.create_task(get(client, long_poll=True)))
    await asyncio.sleep(0.3)
    assert homeserver.in_flight == under_test.MAX_IN_FLIGHT + 1
    gate.set()
    await asyncio.gather(*tasks)
    assert homeserver.most_in_flight == under_test.MAX_IN_FLIGHT + 1


async def test_whoever_waits_for_the_next_try_holds_no_place(
    homeserver: Homeserver, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_gate", asyncio.Semaphore(1))
    homeserver.gives(limited(retry_after_ms=500), WELL)
    slow = asyncio.create_task(get(client))
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    await get(client)
    assert time.monotonic() - begun < 0.4
    await slow


async def test_a_request_that_is_cancelled_gives_its_place_back(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(hangs)
    tasks = [asyncio.create_task(get(client)) for _ in range(under_test.MAX_IN_FLIGHT)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    homeserver.gives(WELL)
    async with asyncio.timeout(5):
        assert await get(client) == {"well": True}


# --- rules of the house ---------------------------------------------------------------------------------------------


async def test_no_network_inside_a_database_transaction(homeserver: Homeserver, client: Client, tmp_path: Path) -> None:
    homeserver.gives(WELL)
    database = Database(f"sqlite:///{tmp_path / 'house.db'}")
    await database.start()
    async with database.transaction():
        with pytest.raises(RuntimeError, match="inside a database transaction"):
            await get(client)
        with pytest.raises(RuntimeError, match="inside a database transaction"):
            await asyncio.create_task(get(client))
    assert await get(client) == {"well": True}
    await database.stop()
    assert len(homeserver.seen) == 1


async def test_a_client_that_is_not_started_says_so(homeserver: Homeserver) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await get(Client(homeserver.url, "t"))


async def test_every_request_can_be_logged_without_its_secrets(
    homeserver: Homeserver, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    homeserver.gives(says(404, {"errcode": "M_NOT_FOUND", "error": "a text"}), says(200))
    with caplog.at_level(logging.DEBUG, logger="bridge"):
        with pytest.raises(NotFound):
            await client.request("PUT", path("v3", "rooms", "!a b"), body={"body": "a text"})
        await client.request("GET", path("v3", "sync"), query={"since": "s1"})
    first, second = caplog.messages
    assert re.fullmatch(r"PUT /_matrix/client/v3/rooms/%21a%20b: 404 in \d+ ms", first)
    assert re.fullmatch(r"GET /_matrix/client/v3/sync: 200 in \d+ ms", second)


async def test_a_redirect_takes_the_token_nowhere(homeserver: Homeserver, client: Client) -> None:
    homeserver.gives(says(307, {}, {"Location": homeserver.url + "/elsewhere"}))
    with pytest.raises(MatrixError):
        await get(client)
    assert len(homeserver.seen) == 1
