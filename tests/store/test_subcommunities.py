"""Communities that people made within others, and whom bans from above keep out, on both databases."""

from __future__ import annotations

from dataclasses import replace

from bridge.core.ids import CommunityId, UserId
from bridge.core.subcommunities import OwnCommunity
from bridge.plan.state import Known
from bridge.store import communities, subcommunities
from bridge.store.database import Database

SCHOOL, YEAR, CLASS = (CommunityId(name) for name in ("school", "year-1", "class-1a"))
DAN, EVE = (UserId(f"@{name}:example.org") for name in ("dan", "eve"))


async def test_a_community_is_kept_and_moved_and_who_made_it_stays(database: Database) -> None:
    class_ = OwnCommunity(CLASS, YEAR, "@ann:example.org", "$ask")
    async with database.transaction() as tx:
        await subcommunities.put(tx, class_)
        await subcommunities.put(tx, OwnCommunity(YEAR, SCHOOL))
        await subcommunities.put(tx, OwnCommunity(CLASS, SCHOOL, "@bea:example.org", "$another"))
        assert await subcommunities.load_all(tx) == [replace(class_, parent=SCHOOL), OwnCommunity(YEAR, SCHOOL)]


async def test_who_is_shut_out_is_remembered_for_each_community(database: Database) -> None:
    both, one = Known(shut_out=frozenset({DAN, EVE})), Known(shut_out=frozenset({EVE}))
    async with database.transaction() as tx:
        await communities.save_known(tx, CLASS, Known(), both, 1)
        await communities.save_known(tx, YEAR, Known(), one, 1)
        assert (await communities.load_known(tx, CLASS)).shut_out == {DAN, EVE}
        await communities.save_known(tx, CLASS, both, one, 2)
        assert (await communities.load_known(tx, CLASS)).shut_out == {EVE}
        assert (await communities.load_known(tx, YEAR)).shut_out == {EVE}
