"""A proxy between service and homeserver that can hold up, refuse and break what goes through, and kill there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum

from aiohttp import web

from bridge.cli.demo.homeserver import free_port
from tests.harness.tap import Tap
from tests.harness.wait import eventually

Before = Callable[[web.Request], Awaitable[web.Response | None]]
After = Callable[[web.Request, web.Response], Awaitable[None]]


class Meddler(Tap):
    """Passes everything on, unless a test put something in its way."""

    def __init__(self, target: str) -> None:
        super().__init__(target, free_port())
        self.before: Before | None = None
        """May answer in the target's place."""
        self.after: After | None = None
        """Knows the target's answer before whoever asked."""
        self.under_way = 0

    def leave_alone(self) -> None:
        """Meddle no more."""
        self.before = self.after = None

    async def quiet(self) -> None:
        """Wait until the target has answered everything but long polls: it works on when its client is dead."""
        await eventually(lambda: self.under_way == 0, 60, "the end of all requests", interval=0.01)

    async def _pass_on(self, request: web.Request) -> web.Response:
        counted = not is_background(request)
        self.under_way += counted
        try:
            if self.before is not None:
                answer = await self.before(request)
                if answer is not None:
                    return answer
            response = await super()._pass_on(request)
            if self.after is not None:
                await self.after(request, response)
            return response
        finally:
            self.under_way -= counted


def is_background(request: web.Request) -> bool:
    """Whether a request comes on its own, and not because of what is under test."""
    return request.path.endswith(("/sync", "/ping"))


class Moment(StrEnum):
    """When a process dies, seen from one of its requests."""

    UNSENT = "before the request arrives"
    AT_WORK = "while the other side works on it"
    UNHEARD = "when the other side has done it, and the answer is not back yet"
    HEARD = "shortly after the answer"


class Killer:
    """Kills a process at one of the requests that go through a proxy: which one, and when, comes from the dice."""

    def __init__(
        self, dice: random.Random, last: int, *, counts: Callable[[web.Request], bool] = lambda _: True
    ) -> None:
        """
        Args:
            last: the kill happens at one of the first `last` requests for which `counts` says True.
        """
        self._left = self.at = dice.randint(1, last)
        self.moment = dice.choice(list(Moment))
        self.delay = dice.uniform(0.0, 0.12 if self.moment is Moment.AT_WORK else 0.02)
        self._counts = counts
        self._chosen: web.Request | None = None
        self._soon: asyncio.TimerHandle | None = None
        self.where = ""
        """The request at which it happened."""
        self.done = asyncio.Event()

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"kill at request {self.at}{where}, {self.moment}, {self.delay * 1000:.0f} ms"

    def watch(self, proxy: Meddler, kill: Callable[[], None]) -> None:
        """Begin: `kill` kills the process, if it still lives."""
        proxy.before, proxy.after = self._before, self._after
        self._proxy, self._kill_process = proxy, kill

    def must_be_why(self, error: Exception) -> None:
        """Whatever failed has to have failed because of the kill."""
        if not self.done.is_set():
            raise AssertionError("it failed, and nothing was killed") from error

    def call_off(self) -> None:
        """What was under test has ended: kill no more."""
        self._proxy.leave_alone()
        if self._soon is not None:
            self._soon.cancel()

    def _kill_soon(self) -> None:
        self._soon = asyncio.get_running_loop().call_later(self.delay, self._kill)

    def _kill(self) -> None:
        self._kill_process()
        self._proxy.leave_alone()
        self.done.set()

    async def _before(self, request: web.Request) -> web.Response | None:
        if is_background(request) or not self._counts(request) or self.done.is_set():
            return None
        self._left -= 1
        if self._left != 0:
            return None
        self._chosen, self.where = request, f"{request.method} {request.path}"
        if self.moment is Moment.UNSENT:
            self._kill()
            return web.Response(status=502)
        if self.moment is Moment.AT_WORK:
            self._kill_soon()
        return None

    async def _after(self, request: web.Request, _: web.Response) -> None:
        if request is not self._chosen:
            return
        if self.moment is Moment.UNHEARD:
            self._kill()
        elif self.moment is Moment.HEARD:
            self._kill_soon()
