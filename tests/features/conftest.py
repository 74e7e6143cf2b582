"""Features upon a real SQLite database and the fake homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.scene import Scene, url_in


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
