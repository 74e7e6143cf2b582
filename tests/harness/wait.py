"""Waiting for a condition with a deadline, for what nobody announces."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Coroutine[Any, Any, T]], deadline: float = ..., what: str = ..., *, interval: float = ...
) -> T: ...
@overload
async def eventually(check: Callable[[], T], deadline: float = ..., what: str = ..., *, interval: float = ...) -> T: ...
async def eventually(
    check: Callable[[], Any],
    deadline: float = 15.0,
    what: str = "",
    *,
    interval: float = 0.02,
) -> Any:
    """Call ``check`` until its result is truthy (or it no longer fails an assertion), and return that result.

    ``check`` may be a coroutine function. At the deadline the last failed assertion is raised, or a ``TimeoutError``
    with ``what`` and the last result.
    """
    last: Any = None
    failure: AssertionError | None = None
    try:
        async with asyncio.timeout(deadline):
            while True:
                try:
                    result = check()
                    last = await result if inspect.isawaitable(result) else result
                    failure = None
                except AssertionError as error:
                    last, failure = None, error
                if last:
                    return last
                await asyncio.sleep(interval)
    except TimeoutError:
        if failure is not None:
            raise failure from None
        raise TimeoutError(f"waited {deadline:g} s for {what or check}; the last result was {last!r}") from None
