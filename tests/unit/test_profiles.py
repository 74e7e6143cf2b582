"""Since when people are on our homeserver: known soon, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.core.ids import UserId
from bridge.matrix import profiles
from bridge.matrix.client import Client
from bridge.matrix.profiles import Profiles
from bridge.matrix.servers import OtherServers


class Homeserver(Client):
    """Answers one thing; None is no answer at all."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        super().__init__("http://fake.invalid", "no token")
        self.answer = answer
        self.asked: list[str] = []

    async def request(self, method: str, url_path: str, **how: Any) -> dict[str, Any]:
        self.asked.append(f"{method} {url_path}")
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer or {}


async def since(homeserver: Homeserver, user: str = "@eve:example.org") -> int | None:
    return await Profiles(homeserver, OtherServers(homeserver, "example.org")).here_since(UserId(user))


async def test_it_is_asked_of_our_homeserver_and_of_our_people_alone() -> None:
    homeserver = Homeserver({"creation_ts": 1_560_432_506})
    assert await since(homeserver, "@eve/x:example.org") == 1_560_432_506
    assert homeserver.asked == ["GET /_synapse/admin/v2/users/%40eve%2Fx%3Aexample.org"]
    assert await since(homeserver, "@eve:example.net") is None
    assert len(homeserver.asked) == 1


async def test_a_homeserver_that_does_not_answer_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "SINCE_SECONDS", 0.01)
    async with asyncio.timeout(5):
        assert await since(Homeserver(None)) is None


@pytest.mark.parametrize("made", [None, 0, -1, "2019", True, 1e9, 10**15])
async def test_what_is_no_time_is_not_known(made: Any) -> None:
    assert await since(Homeserver({"creation_ts": made})) is None
