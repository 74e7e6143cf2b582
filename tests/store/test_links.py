"""Links are kept without their secret, and no use of one is given twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bridge.core.community import Role
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.links import Link, Stage, fingerprint
from bridge.core.messages import AskToJoin, LetIn, ShowLink
from bridge.features.entering import Entering, Terms
from bridge.store import links as store
from bridge.store.database import Database
from bridge.store.jobs import Jobs, decode
from bridge.store.links import Entry

SCHOOL = CommunityId("school")
HOMER = UserId("@homer:example.org")


class Clock:
    now = 1_000_000

    def now_ms(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def entering(database: Database, clock: Clock) -> Entering:
    return Entering(database=database, jobs=Jobs(database), wake=lambda: None, clock=clock, secret=b"of the links")


def crowd(count: int) -> list[UserId]:
    return [UserId(f"@person{number}:example.org") for number in range(count)]


async def everything(database: Database) -> str:
    """All that stands in the tables of links, as one text."""
    async with database.transaction() as tx:
        rows = [row for table in ("link", "entry", "job", "audit") for row in await tx.fetch(f"SELECT * FROM {table}")]
    return repr([tuple(row) for row in rows])


def shown(number: int) -> ShowLink:
    return ShowLink(RoomId("!chat:example.org"), EventId(f"$asked{number}"), HOMER, "en", None)


async def test_a_message_that_is_handled_again_makes_the_same_link(entering: Entering, database: Database) -> None:
    link, token = await entering.make(Terms(SCHOOL, HOMER), shown(1))
    before = await everything(database)
    assert await entering.make(Terms(SCHOOL, HOMER), shown(1)) == (link, token)
    assert await everything(database) == before, "nothing was added, nor shown twice"
    other, other_token = await entering.make(Terms(SCHOOL, HOMER), shown(2))
    assert (other.id, other_token) != (link.id, token)
    assert entering.token_of(EventId("$asked1")) == token
    assert token not in before


async def test_a_reset_that_is_handled_again_leaves_its_own_link(entering: Entering) -> None:
    old, _ = await entering.make(Terms(SCHOOL, HOMER))
    link, token, revoked = await entering.reset(Terms(SCHOOL, HOMER), shown(1))
    assert revoked == [old.id]
    assert await entering.reset(Terms(SCHOOL, HOMER), shown(1)) == (link, token, [])
    assert [one.id for one in await entering.of_community(SCHOOL) if one.revoked_at is None] == [link.id]


async def test_who_lacks_the_secret_cannot_make_a_link_from_a_message(database: Database, clock: Clock) -> None:
    one, other = (
        Entering(database=database, jobs=Jobs(database), wake=lambda: None, clock=clock, secret=secret)
        for secret in (b"ours", b"theirs")
    )
    assert one.token_of(EventId("$asked")) != other.token_of(EventId("$asked"))
    assert len(one.token_of(EventId("$asked"))) == 22


async def test_a_link_comes_back_as_it_went_and_its_secret_is_nowhere(entering: Entering, database: Database) -> None:
    groups = (RoomKeyName("chess"), RoomKeyName("board"))
    terms = Terms(SCHOOL, "operator", groups, 60_000, 3, False, Role.MODERATOR)
    link, token = await entering.make(terms)
    assert await entering.by_token(token) == link == await entering.by_id(link.id)
    assert (link.groups, link.expires_at, link.uses, link.role) == (groups, 1_060_000, 3, Role.MODERATOR)
    assert await entering.by_token(token[:-1]) is None
    await entering.use(link, HOMER)
    found = await everything(database)
    assert token not in found
    assert fingerprint(token) in found


async def test_secrets_are_of_128_random_bits(entering: Entering) -> None:
    tokens = {(await entering.make(Terms(SCHOOL, "operator")))[1] for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == 22 for token in tokens)  # 16 bytes in base64


async def test_of_ten_at_once_on_the_last_use_one_gets_in(entering: Entering, database: Database) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator", uses=3))
    for user in crowd(12)[10:]:
        assert isinstance(await entering.use(link, user), Entry)
    came = await asyncio.gather(*(entering.use(link, user) for user in crowd(10)))
    assert sum(isinstance(one, Entry) for one in came) == 1
    assert [str(one) for one in came if not isinstance(one, Entry)] == ["used_up"] * 9
    assert len(await entering.who_came(link)) == 3
    assert (await entering.by_id(link.id) or link).used == 3
    assert await Jobs(database).waiting() == 3


async def test_the_same_person_again_does_not_count(entering: Entering) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator", uses=1))
    came = await asyncio.gather(*(entering.use(link, HOMER) for _ in range(5)))
    tickets = {one.ticket for one in came if isinstance(one, Entry)}
    assert len(tickets) == 1
    assert (await entering.by_id(link.id) or link).used == 1


async def test_who_came_before_it_was_revoked_or_expired_comes_no_second_time(entering: Entering, clock: Clock) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator", span_ms=1000))
    other, _ = await entering.make(Terms(SCHOOL, "operator"))
    for one in (link, other):
        assert isinstance(await entering.use(one, HOMER), Entry)
    assert await entering.revoke(other, "operator")
    assert not await entering.revoke(other, "operator")
    clock.now += 1000
    assert await entering.use(link, HOMER) == "expired"
    assert await entering.use(other, HOMER) == "unknown"
    assert await entering.use(other, crowd(1)[0]) == "unknown"


async def test_a_use_is_recorded_together_with_the_job_that_lets_them_in(
    entering: Entering, database: Database
) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator"))
    entry = await entering.use(link, HOMER)
    assert isinstance(entry, Entry)
    [stored] = await Jobs(database).heads(10**12, 10)
    assert decode(stored.kind, stored.body) == LetIn(entry.ticket, SCHOOL, HOMER)
    assert stored.id == entering.job_of(entry)


async def test_by_a_link_that_needs_approval_somebody_is_asked(entering: Entering, database: Database) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator", (RoomKeyName("chess"),), needs_approval=True))
    entry = await entering.use(link, HOMER, "I am new")
    assert isinstance(entry, Entry)
    assert entry.stage is Stage.ASKED
    [stored] = await Jobs(database).heads(10**12, 10)
    ask = AskToJoin(SCHOOL, HOMER, "link", link.id, (RoomKeyName("chess"),), "I am new")
    assert decode(stored.kind, stored.body) == ask


async def test_everybody_has_a_place_in_the_order_in_which_they_came(entering: Entering) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator"))
    entries = [one for user in crowd(5) if isinstance(one := await entering.use(link, user), Entry)]
    elsewhere = await entering.use(link, UserId("@far:elsewhere.example"))
    assert isinstance(elsewhere, Entry)
    assert [await entering.ahead_of(entry) for entry in entries] == [0, 1, 2, 3, 4]
    assert await entering.ahead_of(elsewhere) == 0  # nobody waits for another's homeserver
    await entering.came(entries[1].ticket, Stage.INVITED)
    assert [await entering.ahead_of(entry) for entry in entries[2:]] == [1, 2, 3]
    assert await entering.waiting(SCHOOL) == 5


async def test_a_reset_takes_back_all_of_one_community_and_makes_one(entering: Entering, database: Database) -> None:
    mine = [(await entering.make(Terms(SCHOOL, "operator")))[0] for _ in range(3)]
    other, _ = await entering.make(Terms(CommunityId("club"), "operator"))
    link, token, revoked = await entering.reset(Terms(SCHOOL, "@owner:example.org"))
    assert revoked == sorted(one.id for one in mine)
    assert await entering.by_token(token) == link
    async with database.transaction() as tx:
        assert await store.count_live(tx, 1_000_001) == 2
        assert (await store.by_id(tx, other.id) or replace(other, revoked_at=1)).revoked_at is None
    assert {one.id for one in await entering.of_community(SCHOOL)} == {*revoked, link.id}


async def test_links_that_cannot_be_used_are_not_counted_as_live(entering: Entering, database: Database) -> None:
    link, _ = await entering.make(Terms(SCHOOL, "operator", uses=1))
    await entering.make(Terms(SCHOOL, "operator", span_ms=10))
    async with database.transaction() as tx:
        assert await store.count_live(tx, 1_000_000) == 2
    await entering.use(link, HOMER)
    async with database.transaction() as tx:
        assert await store.count_live(tx, 1_000_010) == 0


async def test_no_link_leads_into_a_group_that_is_gone(database: Database) -> None:
    chess, go = RoomKeyName("chess"), RoomKeyName("go")
    two = Link("two", SCHOOL, "operator", 1, groups=(chess, go))
    one = replace(two, id="one", groups=(go,))
    moderators = replace(one, id="moderators", role=Role.MODERATOR)
    elsewhere = replace(one, id="elsewhere", community=CommunityId("club"))
    async with database.transaction() as tx:
        for link in (two, one, moderators, elsewhere):
            await store.add(tx, link, f"digest of {link.id}")
        await store.without_group(tx, SCHOOL, go, "operator", 7)
        left = {link.id: link for link in await store.of_community(tx, SCHOOL)}
        assert await store.of_community(tx, elsewhere.community) == [elsewhere]
    assert (left["two"].groups, left["one"].groups) == ((chess,), ())
    assert [left[name].revoked_at for name in ("two", "one", "moderators")] == [None, None, 7]
