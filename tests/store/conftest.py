"""The store on both databases: every test that takes `database` or `url` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.store.database import Database


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of either kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'communities.db'}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """An open, empty database of either kind."""
    database = Database(url)
    await database.start()
    yield database
    await database.stop()
