"""Other homeservers that answer, that do not, and what that is to those who wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.core.errors import NotFound, ServerAway, Unreachable
from bridge.core.ids import UserId
from bridge.matrix import servers as under_test
from bridge.matrix.client import Client
from bridge.matrix.servers import AT_ONCE, OtherServers
from tests.harness.wait import eventually

OURS, LISA, BART, FAR = (
    UserId("@homer:example.org"),
    UserId("@lisa:there.example"),
    UserId("@bart:there.example"),
    UserId("@nelson:far.example"),
)


class OurHomeserver(Client):
    """Reaches for others, or does not."""

    def __init__(self) -> None:
        super().__init__("http://fake.invalid", "no token")
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.up = True
        self.held = asyncio.Event()
        self.held.set()

    async def request(self, method: str, url_path: str, **_: Any) -> dict[str, Any]:
        self.asked.append(url_path)
        if url_path.endswith("/versions"):
            if not self.up:
                raise Unreachable("cannot be reached")
            return {}
        await self.held.wait()
        if self.error is not None:
            raise self.error
        return {}

    @property
    def questions(self) -> int:
        return sum("/profile/" in path for path in self.asked)


@pytest.fixture
def ours() -> OurHomeserver:
    return OurHomeserver()


@pytest.fixture
async def servers(ours: OurHomeserver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtherServers]:
    monkeypatch.setattr(under_test, "PATIENCE_SECONDS", 0.05)
    servers = OtherServers(ours, "example.org")
    yield servers
    await servers.stop()


async def reach(servers: OtherServers, user: UserId) -> str:
    async with servers.reached(user):
        return "done"


async def test_our_own_people_are_reached_without_a_question(ours: OurHomeserver, servers: OtherServers) -> None:
    assert await reach(servers, OURS) == "done"
    assert ours.asked == []


@pytest.mark.parametrize("error", [None, NotFound("no profile", status=404)])
async def test_a_server_that_says_anything_is_there(
    ours: OurHomeserver, servers: OtherServers, error: Exception | None
) -> None:
    ours.error = error
    assert await reach(servers, LISA) == "done"


async def test_a_server_that_does_not_answer_is_left_alone_for_longer_and_longer(
    ours: OurHomeserver, servers: OtherServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(under_test, "_now", lambda: now)
    ours.error = Unreachable("HTTP 502", status=502)
    for seconds in (5.0, 10.0, 20.0):
        with pytest.raises(ServerAway, match=r"there\.example") as away:
            await reach(servers, LISA)
        assert away.value.seconds == seconds
        before = ours.questions
        with pytest.raises(ServerAway):
            await reach(servers, BART)
        assert ours.questions == before, "it was asked a moment ago"
        now += seconds
    assert await reach(servers, OURS) == "done"
    ours.error = None
    assert await reach(servers, FAR) == "done", "others are there"
    assert await reach(servers, LISA) == "done", "it is back, when it is asked again"


async def test_who_hears_from_a_server_need_not_wait_for_the_next_question(
    ours: OurHomeserver, servers: OtherServers
) -> None:
    ours.error = Unreachable("HTTP 502", status=502)
    with pytest.raises(ServerAway):
        await reach(servers, LISA)
    ours.error = None
    servers.answered(BART)
    assert await reach(servers, LISA) == "done"


async def test_a_server_that_hangs_costs_a_moment_once(
    ours: OurHomeserver, servers: OtherServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PATIENCE_SECONDS", 0.5)
    ours.held.clear()
    async with asyncio.timeout(4):  # in turns of three, each waiting anew, it would be seven seconds
        results = await asyncio.gather(*(reach(servers, LISA) for _ in range(40)), return_exceptions=True)
    assert all(isinstance(result, ServerAway) for result in results)
    assert ours.questions == 1, "they wait for one answer"
    ours.held.set()
    assert await eventually(lambda: _reached(servers, LISA)), "it has answered late"


async def _reached(servers: OtherServers, user: UserId) -> bool:
    try:
        return await reach(servers, user) == "done"
    except ServerAway:
        return False


async def test_a_request_that_fails_in_the_middle_tells_of_the_server(
    ours: OurHomeserver, servers: OtherServers
) -> None:
    with pytest.raises(ServerAway):
        async with servers.reached(LISA):
            raise Unreachable("no answer within 15 s")
    with pytest.raises(ServerAway):
        await reach(servers, BART)


async def test_trouble_with_our_own_homeserver_is_no_word_about_another(
    ours: OurHomeserver, servers: OtherServers
) -> None:
    ours.error, ours.up = Unreachable("cannot be reached"), False
    with pytest.raises(Unreachable) as failed:
        await reach(servers, LISA)
    assert not isinstance(failed.value, ServerAway)
    ours.error = None
    with pytest.raises(Unreachable) as failed:
        async with servers.reached(LISA):
            raise Unreachable("no answer within 15 s")
    assert not isinstance(failed.value, ServerAway)
    ours.up = True
    assert await reach(servers, LISA) == "done"


async def test_few_requests_reach_for_one_server_at_a_time(ours: OurHomeserver, servers: OtherServers) -> None:
    inside: Counter[str] = Counter()
    most: Counter[str] = Counter()
    let_go = asyncio.Event()

    async def one(user: UserId, place: str) -> None:
        async with servers.reached(user):
            inside[place] += 1
            most[place] = max(most[place], inside[place])
            await let_go.wait()
            inside[place] -= 1

    work = [asyncio.create_task(one(user, place)) for user, place in [(LISA, "there"), (FAR, "far")] * 8]
    await eventually(lambda: inside.total() == 2 * AT_ONCE)
    let_go.set()
    await asyncio.gather(*work)
    assert most == {"there": AT_ONCE, "far": AT_ONCE}
