"""One homeserver and one service for this folder. Whoever breaks them puts them right again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from tests.faults.ground import NO_FIGHTS, Ground
from tests.harness.people import People


@pytest.fixture(scope="package")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """The homeserver and the service."""
    ground = Ground(tmp_path_factory.mktemp("faults"))
    try:
        await ground.start(reconcile=NO_FIGHTS)
        yield ground
    finally:
        await ground.stop()


@pytest.fixture
async def folk(ground: Ground) -> AsyncIterator[People]:
    """Make people of a test's own."""
    people = People(ground.synapse)
    yield people
    await people.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a `seed` runs with a handful of seeds, and with SOAK_RUNS more (or SOAK_SEEDS=7,8) as a soak.

    One with a `slow_seed`, which takes many seconds, runs with a single one, and with as many more; one with a
    `calamity_seed` with three, and with 60 more where nothing is said.
    """
    name = next((name for name in ("seed", "slow_seed", "calamity_seed") if name in metafunc.fixturenames), None)
    if name is None:
        return
    chosen = os.environ.get("SOAK_SEEDS", "")
    runs = int(os.environ.get("SOAK_RUNS", "60" if name == "calamity_seed" else "30"))
    soak = [int(seed) for seed in chosen.split(",")] if chosen else range(100, 100 + runs)
    handful = range(1, 2 if name == "slow_seed" else 4)
    metafunc.parametrize(name, [*handful, *(pytest.param(seed, marks=pytest.mark.soak) for seed in soak)])
