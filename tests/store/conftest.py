"""The store on both databases: every test that takes `database` or `url` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.store.database import Database


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """An open, empty database of either kind."""
    database = Database(url)
    await database.start()
    yield database
    await database.stop()
