"""What a homeserver refuses as a whole is asked of it in parts: one thing that it does not take is nobody else's loss.

A request for hundreds of devices may be refused for a single one of them, or for its size. It is cut in two then, and
those parts in two, until what is refused stands alone. Whether the homeserver takes anything at all is seen by a
request that asks nothing: where it refuses that too, nobody's device is to blame, and the error is raised.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridge.core.errors import BadRequest, Forbidden, MatrixError, NotFound, Unreachable

MOST_REFUSALS = 100
"""How many refusals are cut further: enough to find ten people among hundreds who do not know of each other."""

LONGEST_SECONDS = 300.0
"""For how long after the first refusal it goes on: a refusal may take all of the client's patience."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal(Generic[T]):
    """What the homeserver does not take, and its words; empty where it took everything."""

    things: Sequence[T]
    reason: str = ""


async def in_parts(
    things: Sequence[T],
    ask: Callable[[Sequence[T]], Awaitable[None]],
    *,
    owner: Callable[[T], str],
    probe: Callable[[], Awaitable[object]],
    outlasting: bool = True,
) -> Refusal[T]:
    """Ask for everything at once, and where that is refused in parts.

    People are told apart before their devices are, so that one person's many devices never use up what it takes to find
    another's. Beyond `MOST_REFUSALS` each part that is left is asked for once, as it is; beyond `LONGEST_SECONDS` what
    is left counts as refused.

    Args:
        things: what it is for, at least one.
        ask: makes one request for some of them; what it raises tells a refusal.
        owner: whose a thing is.
        probe: makes a request of the same kind for nothing.
        outlasting: whether 502 to 504 that outlast the client's retries are refusals as well: to a request that is too
            much for the homeserver at once they are, and to an outage that the probe did not see.

    Raises:
        MatrixError: the homeserver cannot be asked, or takes nothing of that kind at all.
    """
    several, single = deque([things]), deque[Sequence[T]]()
    refused: list[T] = []
    reason, refusals, until = "", 0, float("inf")
    now = asyncio.get_running_loop().time
    while several or single:
        part = several.popleft() if several else single.popleft()
        if now() > until:
            refused += part
            continue
        try:
            await ask(part)
        except MatrixError as error:
            if not isinstance(error, BadRequest | Forbidden | NotFound) and not (outlasting and _is_answer(error)):
                raise
            await _see_that_it_takes(probe, error)
            reason, refusals, until = error.what, refusals + 1, min(until, now() + LONGEST_SECONDS)
            if len(part) == 1 or refusals > MOST_REFUSALS:
                refused += part
                continue
            for half in _halves(part, owner):
                (single if owner(half[0]) == owner(half[-1]) else several).append(half)
    return Refusal(refused, reason)


def _is_answer(error: MatrixError) -> bool:
    return isinstance(error, Unreachable) and error.status > 0


async def _see_that_it_takes(probe: Callable[[], Awaitable[object]], refusal: MatrixError) -> None:
    """Return where the homeserver takes a request for nothing; else raise what is the matter."""
    try:
        await probe()
    except MatrixError as error:
        raise (error if error.retry_helps else refusal) from error


def _halves(things: Sequence[T], owner: Callable[[T], str]) -> tuple[Sequence[T], Sequence[T]]:
    """Two parts of about the same size, between two people where there are several."""
    ordered = sorted(things, key=owner)
    middle = len(ordered) // 2
    borders = [at for at in range(1, len(ordered)) if owner(ordered[at - 1]) != owner(ordered[at])]
    cut = min(borders, key=lambda at: abs(at - middle), default=middle)
    return ordered[:cut], ordered[cut:]
