"""The count of the device's uses, here and at the homeserver, and the day after a homeserver was put back."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import OldDatabase, Unreachable
from bridge.e2ee.counting import COUNT_EVERY_MS
from bridge.e2ee.establishment import RENEW_AFTER_REWIND_MS
from bridge.e2ee.keys import Keys
from bridge.store import keys as store
from bridge.store.database import Database
from bridge.store.keys import AccountRow
from tests.harness.key_world import ANNOUNCER, KeyWorld, StillClock, keys_upon, say

ANN = "@ann:example.org"


class Unsteady(KeyWorld):
    """A homeserver at which counting fails when told to, before or after it has counted."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_before = False
        self.fails_after = False

    async def set_generation(self, number: int) -> None:
        if self.fails_before:
            raise Unreachable("502")
        await super().set_generation(number)
        if self.fails_after:
            raise Unreachable("504")


class Ground:
    """Processes, one after the other, upon one database and one homeserver."""

    def __init__(self, database: Database) -> None:
        self.world, self.database, self.clock = Unsteady(), database, StillClock()

    async def start(self) -> Keys:
        keys = keys_upon(self.world, self.database, self.clock)
        await keys.start()
        return keys

    async def row(self) -> AccountRow:
        async with self.database.transaction() as tx:
            row = await store.load_account(tx, ANNOUNCER)
        assert row is not None
        return row


@pytest.fixture
def ground(database: Database) -> Ground:
    return Ground(database)


@pytest.mark.parametrize("failures", [["before"] * 5, ["after"] * 5, ["before", "after"] * 3, ["after", "before"] * 3])
async def test_starts_that_cannot_count_do_not_look_like_a_homeserver_that_was_put_back(
    ground: Ground, failures: list[str]
) -> None:
    await ground.start()
    device = (await ground.row()).device_id
    for failure in failures:
        ground.world.fails_before, ground.world.fails_after = failure == "before", failure == "after"
        with pytest.raises(Unreachable):
            await ground.start()
        row = await ground.row()
        assert (ground.world.counted or 0) in (row.generation - 1, row.generation)
    ground.world.fails_before = ground.world.fails_after = False
    before = (await ground.row()).generation
    await ground.start()
    row = await ground.row()
    assert row.device_id == device
    assert row.generation == ground.world.counted
    assert row.generation > before  # every start that succeeds tells itself from a copy made before it


async def test_hours_that_cannot_count_do_not_look_like_it_either(ground: Ground) -> None:
    keys = await ground.start()
    device = (await ground.row()).device_id
    for goes_on in (keys.sync_once, ground.start):
        ground.world.fails_before = True
        for _ in range(3):
            ground.clock.now += COUNT_EVERY_MS
            with pytest.raises(Unreachable):
                await keys.sync_once()
        ground.world.fails_before = False
        await goes_on()
        row = await ground.row()
        assert row.device_id == device
        assert row.generation == ground.world.counted


async def test_a_copy_with_a_number_that_was_never_confirmed_is_refused_once_the_original_has_started(
    ground: Ground,
) -> None:
    await ground.start()
    ground.world.fails_before = True
    with pytest.raises(Unreachable):
        await ground.start()
    copied = (await ground.row()).generation
    ground.world.fails_before = False
    await ground.start()
    async with ground.database.transaction() as tx:
        await store.set_generation(tx, ANNOUNCER, copied)
    with pytest.raises(OldDatabase):
        await ground.start()


async def test_a_homeserver_that_is_behind_by_more_was_put_back(ground: Ground) -> None:
    await ground.start()
    await ground.start()
    device = (await ground.row()).device_id
    ground.world.counted = None
    await ground.start()
    row = await ground.row()
    assert row.device_id != device
    assert row.generation == ground.world.counted


async def test_the_day_of_renewed_keys_outlasts_restarts_and_ends(ground: Ground) -> None:
    await ground.start()
    await ground.start()
    ground.world.counted = None
    ground.world.add(ANN, "A")
    keys = await ground.start()
    put_back_at = ground.clock.now

    async def session() -> str:
        content = await say(keys, "hello")
        return str(content["session_id"])

    seen = [await session()]
    assert await session() == seen[0]
    for _ in range(3):
        keys = await ground.start()  # each start counts, and so it renews
        seen.append(await session())
        ground.clock.now += COUNT_EVERY_MS
        await keys.sync_once()
        seen.append(await session())
    await keys.rotate()
    keys = await ground.start()
    seen.append(await session())
    ground.clock.now += COUNT_EVERY_MS
    await keys.sync_once()
    seen.append(await session())
    assert len(set(seen)) == len(seen)
    ground.clock.now = put_back_at + RENEW_AFTER_REWIND_MS
    keys = await ground.start()
    last = await session()
    ground.clock.now += COUNT_EVERY_MS
    await keys.sync_once()
    assert await session() == last


async def test_nothing_is_renewed_where_the_homeserver_was_not_put_back(ground: Ground) -> None:
    ground.world.add(ANN, "A")
    sessions = set()
    for _ in range(3):
        keys = await ground.start()
        content = await say(keys, "hello")
        sessions.add(content["session_id"])
        ground.clock.now += COUNT_EVERY_MS
        await keys.sync_once()
    assert len(sessions) == 1


@pytest.mark.parametrize("step", ["put_device", "upload_keys", "set_generation", "query_keys"])
async def test_a_rotation_that_fails_half_way_is_finished_by_the_running_service(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    keys = await ground.start()
    before = (await ground.row()).device_id

    async def fail(*_: Any, **__: Any) -> None:
        raise Unreachable("502")

    with monkeypatch.context() as patch:
        real = keys._establishment._begin

        async def begin() -> None:
            await real()
            patch.setattr(ground.world, step, fail)

        patch.setattr(keys._establishment, "_begin", begin)
        with pytest.raises(Unreachable):
            await keys.rotate()
    ground.clock.now += COUNT_EVERY_MS
    await keys.sync_once()
    row = await ground.row()
    assert row.device_id != before
    assert row.published
    assert ground.world.own_device == row.device_id
    assert row.generation == ground.world.counted
