"""The throw-away PostgreSQL that the other tests of this folder stand on."""

from __future__ import annotations

import asyncpg
import pytest

from tests.harness.postgres import AWAY, Postgres, wheel_binaries


async def test_databases_are_empty_and_apart(postgres: Postgres, postgres_url: str) -> None:
    first = await asyncpg.connect(postgres_url)
    await first.execute("CREATE TABLE seen (what TEXT)")
    await first.close()
    second = await asyncpg.connect(await postgres.create_database())
    assert await second.fetchval("SELECT to_regclass('seen')") is None
    await second.close()


async def test_a_template_is_copied(postgres: Postgres, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE seen AS SELECT 'this' AS what")
    await connection.close()
    copy = await asyncpg.connect(await postgres.create_database(template=postgres_url.rpartition("/")[2]))
    assert await copy.fetchval("SELECT what FROM seen") == "this"
    await copy.close()


async def test_connections_can_be_cut(postgres: Postgres, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    assert await postgres.kill_connections(postgres_url) == 1
    with pytest.raises(AWAY):
        await connection.execute("SELECT 1")


@pytest.mark.parametrize("immediately", [False, True], ids=["restarted", "crashed"])
async def test_what_was_committed_outlives(postgres: Postgres, postgres_url: str, immediately: bool) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE seen AS SELECT 'this' AS what")
    await connection.close()
    await postgres.restart(immediately=immediately)
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT what FROM seen") == "this"
    await connection.close()


async def test_the_wheel_will_do_where_the_system_has_none() -> None:
    server = Postgres(wheel_binaries())
    try:
        await server.start()
        connection = await asyncpg.connect(await server.create_database())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    finally:
        await server.close()
