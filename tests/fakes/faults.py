"""Faults at chosen points: errors of the homeserver, and the death of the process between any two lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bridge.core.errors import MatrixError
from bridge.store.database import Database, Transaction


class Crash(BaseException):
    """The process was killed. No handler may survive it, so it is no `Exception`."""


class Faults:
    """Counts the points at which a process can die, and lets it die at one of them.

    After its death everything that still runs dies at its next point, as a killed process does nothing more.
    """

    def __init__(self) -> None:
        self.crash_at: int | None = None
        self.points = 0
        self.dead = False
        self._instead: MatrixError | None = None
        self._errors: list[tuple[Callable[[str], bool], MatrixError, int | None]] = []

    def arm(self, crash_at: int | None, *, instead: MatrixError | None = None) -> None:
        """Start counting anew, and die at that point (0 is the first); None: never.

        Args:
            instead: it is the homeserver that dies at that point: the request in question gets this error.
        """
        self.points, self.dead, self.crash_at, self._instead = 0, False, crash_at, instead

    def point(self, *, of_homeserver: bool = False) -> None:
        """A place between two steps.

        Raises:
            Crash: the process dies, or is dead.
        """
        due = self.points == self.crash_at
        self.points += 1
        if self._instead is not None:
            if due and of_homeserver:
                raise self._instead
            return
        if self.dead or due:
            self.dead = True
            raise Crash(f"killed at point {self.crash_at}")

    def fail(self, error: MatrixError, when: Callable[[str], bool] = lambda _: True, *, times: int | None = 1) -> None:
        """Let requests that match fail, so many times (None: always). A request is named `METHOD /path as user`."""
        self._errors.append((when, error, times))

    def fail_nth(self, error: MatrixError, nth: int) -> None:
        """Let the request after `nth` others fail."""
        left = nth

        def when(_: str) -> bool:
            nonlocal left
            left -= 1
            return left == -1

        self.fail(error, when)

    def heal(self) -> None:
        """No more errors."""
        self._errors.clear()

    def check(self, request: str) -> None:
        """Raise the error that is due for this request, if there is one."""
        for index, (when, error, times) in enumerate(self._errors):
            if when(request):
                if times is not None:
                    self._errors[index : index + 1] = [(when, error, times - 1)] if times > 1 else []
                raise error


class MortalDatabase(Database):
    """A real database in a process that can die before and after each of its transactions."""

    def __init__(self, url: str, faults: Faults) -> None:
        super().__init__(url)
        self._faults = faults

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self._faults.point()
        async with super().transaction() as tx:
            yield tx
            self._faults.point()
        self._faults.point()
