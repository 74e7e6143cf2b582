"""One look for many: whoever asks for a look at a community while one is under way shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bridge.core.ids import CommunityId, RoomKeyName

Look = Callable[[CommunityId, RoomKeyName], Awaitable[None]]
Place = tuple[CommunityId, RoomKeyName]


class SharedLooks:
    """Looks at communities. Each serves everybody who asked for it before it began, so none of them sees less than with
    a look of their own: an announcement to a hundred rooms of a community needs some looks, and not a hundred.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._under_way: dict[Place, asyncio.Task[None]] = {}
        self._next: dict[Place, asyncio.Task[None]] = {}

    async def look(self, community: CommunityId, key: RoomKeyName) -> None:
        """Look at a community before something is said in a room of it, alone or with others.

        Whoever is cancelled takes nothing from the others.

        Raises:
            whatever the look raises, for each who shares it.
        """
        place = (community, key)
        task = self._next.get(place)
        if task is None:
            task = self._next[place] = asyncio.create_task(self._begin(place), name=f"look {community}/{key}")
            task.add_done_callback(_heard)
        await asyncio.shield(task)

    async def stop(self) -> None:
        """End what is under way: those who waited for it have gone."""
        tasks = [*self._under_way.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._next.clear()

    async def _begin(self, place: Place) -> None:
        try:
            if (before := self._under_way.get(place)) is not None:
                await asyncio.wait({before})
        finally:
            task = self._next.pop(place)  # who asks from here on asks too late for this one
        self._under_way[place] = task
        try:
            await self._look(*place)
        finally:
            del self._under_way[place]


def _heard(task: asyncio.Task[None]) -> None:
    """What went wrong is for those who wait; if nobody does any more, it is for nobody."""
    if not task.cancelled():
        task.exception()
