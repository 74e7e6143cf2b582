"""A look that is shared: never one that began before somebody asked, and as few as that allows."""

from __future__ import annotations

import asyncio

import pytest

from bridge.app.shared_looks import SharedLooks
from bridge.core.community import ANNOUNCEMENTS
from bridge.core.errors import Unreachable
from bridge.core.ids import CommunityId, RoomKeyName
from tests.harness.wait import eventually

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")


class Eyes:
    """Looks that end when they are let."""

    def __init__(self) -> None:
        self.begun: list[CommunityId] = []
        self.ends = asyncio.Event()
        self.error: Exception | None = None

    async def look(self, community: CommunityId, _: RoomKeyName) -> None:
        self.begun.append(community)
        await self.ends.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


async def test_who_asks_during_a_look_shares_the_next_one(eyes: Eyes) -> None:
    looks = SharedLooks(eyes.look)
    first = asyncio.create_task(looks.look(SCHOOL, ANNOUNCEMENTS))
    await eventually(lambda: eyes.begun == [SCHOOL])
    others = [asyncio.create_task(looks.look(SCHOOL, ANNOUNCEMENTS)) for _ in range(7)]
    elsewhere = asyncio.create_task(looks.look(CLUB, ANNOUNCEMENTS))
    await eventually(lambda: eyes.begun == [SCHOOL, CLUB])
    assert not any(one.done() for one in others)
    eyes.ends.set()
    await asyncio.gather(first, *others, elsewhere)
    assert sorted(eyes.begun) == [CLUB, SCHOOL, SCHOOL]
    await looks.look(SCHOOL, ANNOUNCEMENTS)
    assert len(eyes.begun) == 4, "nothing that was seen before counts"


async def test_all_who_share_a_look_hear_that_it_failed_and_the_next_one_is_new(eyes: Eyes) -> None:
    looks = SharedLooks(eyes.look)
    eyes.error = Unreachable("HTTP 502")
    asked = [asyncio.create_task(looks.look(SCHOOL, ANNOUNCEMENTS)) for _ in range(3)]
    await eventually(lambda: eyes.begun == [SCHOOL])
    eyes.ends.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(one) for one in outcomes] == [str(eyes.error)] * 3
    eyes.error = None
    await looks.look(SCHOOL, ANNOUNCEMENTS)
    assert eyes.begun == [SCHOOL, SCHOOL]


async def test_who_is_cancelled_takes_nothing_from_the_others_and_a_stop_ends_all(eyes: Eyes) -> None:
    looks = SharedLooks(eyes.look)
    first, second = (asyncio.create_task(looks.look(SCHOOL, ANNOUNCEMENTS)) for _ in range(2))
    await eventually(lambda: eyes.begun == [SCHOOL])
    late = asyncio.create_task(looks.look(SCHOOL, ANNOUNCEMENTS))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not second.done()
    await looks.stop()
    outcomes = await asyncio.gather(second, late, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
    eyes.ends.set()
    await looks.look(SCHOOL, ANNOUNCEMENTS)
    assert eyes.begun == [SCHOOL, SCHOOL]
