"""A homeserver that says 429 to everything for a while: everything is done in the end, and nobody is hammered."""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from aiohttp import web

from tests.faults.ground import Ground
from tests.faults.meddler import Meddler
from tests.faults.test_kill_apply import declare, must_be_whole
from tests.harness.people import People


class Limiter:
    """Answers 429 to everything, for some seconds or to the first requests of each path."""

    def __init__(self, *, wait_ms: int, seconds: float = 0.0, first: int = 0, header: bool = False) -> None:
        """`wait_ms` is what it asks everybody to wait, in the body or in a header."""
        self.wait = wait_ms / 1000
        self._until = time.monotonic() + seconds
        self._first = first
        self._header = header
        self._counts: Counter[str] = Counter()
        self.refused: defaultdict[str, list[float]] = defaultdict(list)
        """When each request was refused."""
        self.returned: dict[str, float] = {}
        """When a request that was refused came and was let through."""

    def watch(self, proxy: Meddler) -> None:
        """Begin."""
        proxy.before = self._before

    async def _before(self, request: web.Request) -> web.Response | None:
        name = f"{request.method} {request.rel_url}"
        self._counts[name] += 1
        now = time.monotonic()
        if now >= self._until and self._counts[name] > self._first:
            if name in self.refused:
                self.returned.setdefault(name, now)
            return None
        self.refused[name].append(now)
        body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests"}
        if self._header:
            return web.json_response(body, status=429, headers={"Retry-After": str(int(self.wait))})
        return web.json_response(body | {"retry_after_ms": int(self.wait * 1000)}, status=429)

    def must_have_been_obeyed(self) -> None:
        """Nobody came back sooner than asked, and there were no more refusals than that leaves room for."""
        assert self.refused
        for name, times in self.refused.items():
            every = [*times, *([self.returned[name]] if name in self.returned else [])]
            for one, next_one in pairwise(every):
                assert next_one - one >= self.wait - 0.02, (name, [round(at - every[0], 2) for at in every])


@pytest.mark.parametrize(
    "limits",
    [
        {"seconds": 4.0, "wait_ms": 1500},
        {"first": 2, "wait_ms": 100},
        pytest.param({"seconds": 3.0, "wait_ms": 1000, "header": True}, marks=pytest.mark.soak),
        pytest.param({"seconds": 60.0, "wait_ms": 5000}, marks=[pytest.mark.soak, pytest.mark.timeout(400)]),
    ],
    ids=["everything", "each-twice", "by-header", "a-minute"],
)
async def test_a_limited_service_makes_a_community_and_announces(
    ground: Ground, folk: People, limits: dict[str, float]
) -> None:
    await ground.running()
    before = await ground.stewards_rooms()
    reader = await folk.nio("reader")
    reader.accept_invites()
    community = await declare(ground, 0, random.Random(1))
    community.change(members=[reader.user_id])
    with ground.told(limits):
        limiter = Limiter(**limits)  # type: ignore[arg-type]
        limiter.watch(ground.asked)
        result = await ground.ask("apply", communities=[community.id], force=False)
        assert result["ok"], result
        ground.asked.leave_alone()
        limiter.must_have_been_obeyed()
        await ground.converged(community)
        await must_be_whole(ground, community, before)

        await community.inside(reader)
        limiter = Limiter(**limits)  # type: ignore[arg-type]
        limiter.watch(ground.asked)
        text = f"slowly {secrets.token_hex(4)}"
        await community.announce(text)
        ground.asked.leave_alone()
        limiter.must_have_been_obeyed()
        await reader.wait_text(community.announcements, text)
        assert [one.text for one in reader.messages(community.announcements)].count(text) == 1
