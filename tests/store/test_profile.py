"""What people set about a community, and that it was deactivated, is kept as it was stored."""

from __future__ import annotations

from dataclasses import replace

from bridge.core.community import SPACE
from bridge.core.ids import CommunityId, UserId
from bridge.core.profile import Aspect
from bridge.plan.state import Known
from bridge.store import communities, deactivations, profile
from bridge.store.database import Database
from bridge.store.deactivations import Deactivation

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
ANN = UserId("@ann:example.org")


async def test_settings_are_replaced_kept_apart_and_forgotten(database: Database) -> None:
    async with database.transaction() as tx:
        await profile.put(tx, SCHOOL, Aspect.RULES, "Be kind.\nBe brief.")
        await profile.put(tx, SCHOOL, Aspect.LANGUAGE, "de")
        await profile.put(tx, SCHOOL, Aspect.LANGUAGE, "en")
        await profile.put(tx, CLUB, Aspect.LANGUAGE, "de")
        await tx.execute("INSERT INTO own_setting (community, name, value) VALUES ('school', 'of_later', 'x')")
    async with database.transaction() as tx:
        assert await profile.load_all(tx) == {
            CLUB: {Aspect.LANGUAGE: "de"},
            SCHOOL: {Aspect.LANGUAGE: "en", Aspect.RULES: "Be kind.\nBe brief."},
        }
        await profile.drop(tx, CLUB, Aspect.LANGUAGE)
        assert CLUB not in await profile.load_all(tx)


async def test_a_community_is_deactivated_once_and_can_begin_again(database: Database) -> None:
    one = Deactivation(SCHOOL, "The School", ANN, 1_000)
    async with database.transaction() as tx:
        assert await deactivations.add(tx, one)
        assert not await deactivations.add(tx, replace(one, by="somebody else", at=2_000))
        await deactivations.done(tx, SCHOOL, 3_000)
    async with database.transaction() as tx:
        assert await deactivations.load_all(tx) == {SCHOOL: replace(one, done_at=3_000)}
        await deactivations.drop(tx, SCHOOL)
        assert await deactivations.load_all(tx) == {}


async def test_whoever_was_on_the_way_into_one_community_is_forgotten_there_alone(database: Database) -> None:
    waiting = Known(bidden=frozenset({(SPACE, ANN)}), waiting=frozenset({ANN}))
    async with database.transaction() as tx:
        for community in (SCHOOL, CLUB):
            await communities.save_known(tx, community, Known(), waiting, 1)
        await deactivations.forget_arrivals(tx, SCHOOL)
        assert await communities.load_known(tx, SCHOOL) == Known()
        assert await communities.load_known(tx, CLUB) == waiting
