"""Groups that people made are kept as they were stored, each with who made it first."""

from __future__ import annotations

from bridge.core.community import Posting, RoomKind
from bridge.core.groups import OwnGroup, Stage
from bridge.core.ids import CommunityId, RoomKeyName
from bridge.store import groups
from bridge.store.database import Database

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
CHESS = OwnGroup(RoomKeyName("chess"), RoomKind.HIDDEN, Posting.MODERATORS, Stage.OPEN, "@ann:example.org", "$one")


async def test_groups_come_back_as_they_were_stored(database: Database) -> None:
    go = OwnGroup(RoomKeyName("go"))
    async with database.transaction() as tx:
        await groups.put(tx, SCHOOL, go)
        await groups.put(tx, SCHOOL, CHESS)
        await groups.put(tx, CLUB, go)
    async with database.transaction() as tx:
        assert await groups.load_all(tx) == {CLUB: [go], SCHOOL: [CHESS, go]}


async def test_a_change_keeps_who_made_it_and_a_dropped_group_is_gone(database: Database) -> None:
    async with database.transaction() as tx:
        await groups.put(tx, SCHOOL, CHESS)
        await groups.put(
            tx, SCHOOL, OwnGroup(CHESS.key, RoomKind.OPEN, Posting.MEMBERS, Stage.ARCHIVED, "@bob", "$two")
        )
        changed = (await groups.load_all(tx))[SCHOOL]
    assert changed == [
        OwnGroup(CHESS.key, stage=Stage.ARCHIVED, made_by=CHESS.made_by, source=CHESS.source)
    ]  # fmt: skip
    async with database.transaction() as tx:
        await groups.drop(tx, CLUB, CHESS.key)
        assert SCHOOL in await groups.load_all(tx)
        await groups.drop(tx, SCHOOL, CHESS.key)
        assert await groups.load_all(tx) == {}
