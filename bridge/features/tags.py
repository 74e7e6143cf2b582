"""Tags by somebody's word: given and taken. Who carries which is for `core/tags` to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from bridge.core import rank
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.rank import People
from bridge.core.tags import MOST_TAGS, parse_tag
from bridge.ports import Clock
from bridge.store import tags as store
from bridge.store.communities import record
from bridge.store.database import Database


class Tags:
    """Carries out what people with a role, or the operator, ask about tags. `by` is None for the operator."""

    def __init__(self, *, database: Database, people: Callable[[Community], Awaitable[People]], clock: Clock) -> None:
        """
        Args:
            people: what the rules ask of a community's people.
        """
        self._database = database
        self._people = people
        self._clock = clock

    async def change(
        self, community: Community, by: UserId | None, users: Collection[UserId], tag: str, *, give: bool
    ) -> str:
        """Give people a tag, or take it from them; gives the tag's name as it is kept. Safe to repeat.

        Raises:
            Refused: one of them may not be given it, or it is none; then nobody's tags change.
        """
        people = await self._people(community)
        try:
            name = parse_tag(tag)
        except ValueError as error:
            raise Refused(str(error), where="tag", remedy="call it something like `teacher` or `year-5`") from None
        for user in users:
            rank.check_tag(people, by, user, name, give=give)
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            if give:
                names = {*await store.of_community(tx, community.id), *(one.name for one in community.tags)}
                if name not in names and len(names) >= MOST_TAGS:
                    raise Refused(
                        f"there are {len(names)} tags already, and {MOST_TAGS} may be",
                        where=str(community.id),
                        remedy="use one of them (see `tags`), or take one from everybody who carries it",
                    )
            for user in users:
                changed = (
                    await store.give(tx, community.id, name, user, now)
                    if give
                    else await store.take(tx, community.id, name, user)
                )
                if changed:
                    what = "tagged" if give else "untagged"
                    await record(tx, now, community.id, "", by or "operator", what, f"{user}: {name}")
        return name

    async def given(self, community: CommunityId) -> Mapping[str, Collection[UserId]]:
        """Whom tags were given by hand, in the community or not any more."""
        async with self._database.transaction() as tx:
            return await store.of_community(tx, community)
