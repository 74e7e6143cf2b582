"""Features upon a real SQLite database and the fake homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.e2ee.keys import Keys
from bridge.store.database import Database
from tests.fakes.scene import Scene, url_in
from tests.harness.key_world import KeyWorld, StillClock, keys_upon


@pytest.fixture
async def new_scene(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Make scenes, each with a database and a homeserver of its own."""
    made: list[Scene] = []

    async def make(**options: Any) -> Scene:
        folder = tmp_path / f"scene-{len(made)}"
        folder.mkdir()
        scene = Scene(url_in(folder), **options)
        await scene.start()
        made.append(scene)
        return scene

    yield make
    for scene in made:
        scene.faults.arm(None)
        await scene.stop()


@pytest.fixture
async def scene(new_scene: Callable[..., Any]) -> Scene:
    """A process upon an empty database and an empty homeserver."""
    made: Scene = await new_scene()
    return made


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An open, empty database."""
    database = Database(f"sqlite:///{tmp_path}/keys.db")
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
def world() -> KeyWorld:
    """A homeserver that only carries keys, with nobody on it."""
    return KeyWorld()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def keys(world: KeyWorld, database: Database, clock: StillClock) -> Keys:
    """The announcer's keys, started."""
    keys = keys_upon(world, database, clock)
    await keys.start()
    return keys
