"""One process owns the database, and nobody does once it is dead."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from bridge.core.errors import StoreError
from bridge.store.database import Database
from bridge.store.ownership import Ownership
from tests.harness.wait import eventually

HOLDER = """
import asyncio, sys
from bridge.store.database import Database
from bridge.store.ownership import Ownership
async def main():
    ownership = Ownership(Database(sys.argv[1]))
    await ownership.take()
    print("taken", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


async def holder(url: str) -> asyncio.subprocess.Process:
    """Another process that has the database."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLDER,
        url,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"taken\n"
    return process


async def try_to_take(url: str) -> Ownership | None:
    ownership = Ownership(Database(url))
    try:
        await ownership.take()
    except StoreError:
        return None
    return ownership


async def test_a_second_process_is_refused_until_the_first_is_killed(url: str) -> None:
    process = await holder(url)
    try:
        with pytest.raises(StoreError, match="another matrix-communities process") as caught:
            await Ownership(Database(url)).take()
        assert "running service" in caught.value.remedy
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    ownership = await eventually(lambda: try_to_take(url), what="the lock")
    assert ownership is not None
    await ownership.release()


async def test_it_is_taken_and_given_back(url: str) -> None:
    for _ in range(3):
        ownership = await try_to_take(url)
        assert ownership is not None
        assert await try_to_take(url) is None
        await ownership.keep()
        assert await try_to_take(url) is None
        await ownership.release()
        await ownership.release()


async def test_two_databases_have_two_owners(url: str, tmp_path: Path) -> None:
    one, other = await try_to_take(url), await try_to_take(f"sqlite:///{tmp_path / 'other.db'}")
    assert one is not None
    assert other is not None
    await one.release()
    await other.release()


async def test_the_lock_beside_a_file_is_nobody_elses_to_read(tmp_path: Path) -> None:
    ownership = await try_to_take(f"sqlite:///{tmp_path / 'house.db'}")
    assert ownership is not None
    assert (tmp_path / "house.db.lock").stat().st_mode & 0o777 == 0o600
    await ownership.release()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        await Ownership(Database(f"sqlite:///{tmp_path}/nowhere/house.db")).take()


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        await Ownership(Database("postgres://house:secret-word@127.0.0.1:1/house")).take()
    assert "secret-word" not in str(caught.value)


async def _cut(url: str) -> None:
    other = await asyncpg.connect(url)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()


async def test_a_connection_that_was_cut_is_noticed_and_the_lock_taken_again(postgres_url: str) -> None:
    ownership = await try_to_take(postgres_url)
    assert ownership is not None
    await _cut(postgres_url)

    async def is_back() -> bool:
        await ownership.keep()
        return await try_to_take(postgres_url) is None

    await eventually(is_back)
    await ownership.release()


async def test_a_lock_that_another_took_meanwhile_is_lost(postgres_url: str) -> None:
    ownership = await try_to_take(postgres_url)
    assert ownership is not None
    await _cut(postgres_url)
    other = await eventually(lambda: try_to_take(postgres_url))
    assert other is not None

    async def is_refused() -> bool:
        try:
            await ownership.keep()
        except StoreError as error:
            return "another" in error.what
        return False

    await eventually(is_refused)
    await other.release()
    await ownership.release()
