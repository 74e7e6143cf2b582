"""Tags, and how people came: kept while they are in a community, in whatever order events arrive."""

from __future__ import annotations

from bridge.core.ids import CommunityId, UserId
from bridge.store import belonging, tags
from bridge.store.belonging import Belonging
from bridge.store.database import Database

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
ANN, BEA = UserId("@ann:example.org"), UserId("@bea:example.org")


async def known(database: Database) -> dict[UserId, Belonging]:
    async with database.transaction() as tx:
        return dict(await belonging.of_community(tx, SCHOOL))


async def test_tags_are_given_once_and_taken(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tags.give(tx, SCHOOL, "teacher", ANN, 5)
        assert not await tags.give(tx, SCHOOL, "teacher", ANN, 6)
        assert await tags.give(tx, CLUB, "teacher", BEA, 5)
        assert await tags.of_community(tx, SCHOOL) == {"teacher": {ANN}}
        assert await tags.take(tx, SCHOOL, "teacher", ANN)
        assert not await tags.take(tx, SCHOOL, "teacher", ANN)
        assert await tags.of_community(tx, SCHOOL) == {}


async def test_tags_go_with_who_leaves_but_not_those_of_a_later_time(database: Database) -> None:
    async with database.transaction() as tx:
        await tags.give(tx, SCHOOL, "teacher", ANN, 5)
        await tags.give(tx, SCHOOL, "year-5", ANN, 9)
        await tags.forget(tx, SCHOOL, ANN, 7)
        assert await tags.of_community(tx, SCHOOL) == {"year-5": {ANN}}


async def test_the_latest_word_before_somebody_joins_counts(database: Database) -> None:
    async with database.transaction() as tx:
        await belonging.bidden(tx, SCHOOL, ANN, "client", BEA, "", 1)
        await belonging.bidden(tx, SCHOOL, ANN, "link", BEA, "k3x9", 2)
        await belonging.joined(tx, SCHOOL, ANN, "", 3)
        await belonging.bidden(tx, SCHOOL, ANN, "invite", BEA, "", 4)
        await belonging.joined(tx, SCHOOL, ANN, "", 5)
    assert await known(database) == {ANN: Belonging(3, "link", BEA, "k3x9")}


async def test_an_arrival_that_may_be_none_is_noted_of_who_was_bidden_in(database: Database) -> None:
    async with database.transaction() as tx:
        await belonging.arrived(tx, SCHOOL, ANN, 3)
        assert await belonging.of_community(tx, SCHOOL) == {}
        await belonging.bidden(tx, SCHOOL, ANN, "invite", BEA, "", 4)
        await belonging.arrived(tx, SCHOOL, ANN, 5)
        await belonging.arrived(tx, SCHOOL, ANN, 6)
    assert await known(database) == {ANN: Belonging(5, "invite", BEA, "")}


async def test_a_leave_that_comes_late_takes_nothing_of_the_time_after(database: Database) -> None:
    async with database.transaction() as tx:
        await belonging.joined(tx, SCHOOL, ANN, "configuration", 5)
        await belonging.left(tx, SCHOOL, ANN, 4)
    assert await known(database) == {ANN: Belonging(5, "configuration", "", "")}
    async with database.transaction() as tx:
        await belonging.left(tx, SCHOOL, ANN, 6)
    assert await known(database) == {}
    async with database.transaction() as tx:
        await belonging.bidden(tx, SCHOOL, ANN, "invite", BEA, "", 8)
        await belonging.left(tx, SCHOOL, ANN, 7)
    assert await known(database) == {ANN: Belonging(None, "invite", BEA, "")}
