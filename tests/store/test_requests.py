"""Join requests and arrivals in the database: one open at a time, decided once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bridge.core.ids import CommunityId, EventId, RoomKeyName, UserId
from bridge.store import arrivals, chat_aliases, requests
from bridge.store.database import Database
from bridge.store.requests import JoinRequest, State

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
EVE, FAY = UserId("@eve:example.org"), UserId("@fay:example.org")
CHESS, BOARD = RoomKeyName("chess"), RoomKeyName("board")
FIRST = JoinRequest("r1", SCHOOL, EVE, "Eve", "knock", "hello", (CHESS,), 1, words="I am new")


async def test_one_request_of_a_person_is_open_at_a_time(database: Database) -> None:
    async with database.transaction() as tx:
        assert await requests.add(tx, FIRST)
        assert not await requests.add(tx, FIRST)
        assert not await requests.add(tx, replace(FIRST, id="r2"))
        assert await requests.add(tx, replace(FIRST, id="r3", community=CLUB))
        assert await requests.add(tx, replace(FIRST, id="r4", user=FAY, asked_at=0))
        assert await requests.open_of(tx, SCHOOL, EVE) == FIRST
        assert [one.id for one in await requests.all_open(tx, SCHOOL)] == ["r4", "r1"]
        assert await requests.decide(tx, "r1", State.REJECTED, "@ann:example.org", "no", 5)
        assert await requests.add(tx, replace(FIRST, id="r5"))
    async with database.transaction() as tx:
        last = await requests.last_of(tx, SCHOOL, EVE, State.REJECTED)
        assert last is not None
        assert (last.id, last.decided_by, last.decided_at, last.reason) == ("r1", "@ann:example.org", 5, "no")


async def test_of_many_who_decide_at_once_one_does(database: Database) -> None:
    async with database.transaction() as tx:
        await requests.add(tx, FIRST)

    async def decide(number: int) -> bool:
        async with database.transaction() as tx:
            state = State.APPROVED if number % 2 else State.REJECTED
            return await requests.decide(tx, "r1", state, f"@admin{number}:example.org", "", number)

    first = await asyncio.gather(*(decide(number) for number in range(10)))
    assert sum(first) == 1
    async with database.transaction() as tx:
        found = await requests.find(tx, "r1")
    assert found is not None
    assert found.decided_by == f"@admin{first.index(True)}:example.org"


async def test_a_request_is_found_by_its_card_and_leads_into_more_groups(database: Database) -> None:
    async with database.transaction() as tx:
        await requests.add(tx, FIRST)
        await requests.carded(tx, "r1", EventId("$card"))
        await requests.add_keys(tx, FIRST, (BOARD, CHESS))
        found = await requests.of_card(tx, EventId("$card"))
        assert found is not None
        assert found.keys == (CHESS, BOARD)
        assert await requests.of_card(tx, EventId("$other")) is None


async def test_what_was_decided_long_ago_is_forgotten_and_what_is_open_is_not(database: Database) -> None:
    async with database.transaction() as tx:
        await requests.add(tx, FIRST)
        await requests.add(tx, replace(FIRST, id="r2", user=FAY))
        await requests.decide(tx, "r1", State.EXPIRED, "", "", 5)
        await requests.forget_before(tx, 6)
        assert await requests.find(tx, "r1") is None
        assert await requests.find(tx, "r2") is not None


async def test_a_chat_is_made_under_the_first_alias_until_that_is_dropped(database: Database) -> None:
    async with database.transaction() as tx:
        assert await chat_aliases.begin(tx, EVE, "#a:x") == "#a:x"
        assert await chat_aliases.begin(tx, EVE, "#b:x") == "#a:x"
        assert await chat_aliases.begin(tx, FAY, "#c:x") == "#c:x"
        await chat_aliases.dropped(tx, EVE)
        assert await chat_aliases.of(tx, EVE) is None
        assert await chat_aliases.begin(tx, EVE, "#b:x") == "#b:x"


async def test_somebody_arrives_once_in_each_community(database: Database) -> None:
    async with database.transaction() as tx:
        assert not await arrivals.has_arrived(tx, SCHOOL, EVE)
        assert await arrivals.add(tx, SCHOOL, EVE, 1)
        assert not await arrivals.add(tx, SCHOOL, EVE, 2)
        assert await arrivals.add(tx, CLUB, EVE, 3)
        assert await arrivals.has_arrived(tx, SCHOOL, EVE)
        assert await arrivals.untold(tx, EVE) == [SCHOOL, CLUB]
        await arrivals.told(tx, SCHOOL, EVE)
        assert await arrivals.untold(tx, EVE) == [CLUB]
        assert await arrivals.untold(tx, FAY) == []
