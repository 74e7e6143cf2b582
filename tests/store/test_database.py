"""The database: opened only when it is ours and usable, all or nothing, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
import os
import pwd
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from bridge.core.errors import StoreError
from bridge.store.database import Database, Transaction, inside_transaction
from bridge.store.migrations import STEPS
from bridge.store.outage import is_outage
from tests.harness.wait import eventually


async def refusal(url: str) -> StoreError:
    """Why a database is not opened."""
    database = Database(url)
    with pytest.raises(StoreError) as caught:
        await database.start()
    with pytest.raises(StoreError, match="not open"):
        async with database.transaction():
            pass
    assert caught.value.where
    assert caught.value.remedy
    return caught.value


async def statement(url: str, query: str) -> None:
    """Change a database behind the service's back."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(query)
        connection.commit()
        connection.close()
    else:
        other = await asyncpg.connect(url)
        await other.execute(query)
        await other.close()


async def add(tx: Transaction, name: str) -> None:
    await tx.execute("INSERT INTO community (id) VALUES ($1)", name)


async def names(database: Database) -> list[str]:
    async with database.transaction() as tx:
        return [row["id"] for row in await tx.fetch("SELECT id FROM community ORDER BY id")]


# --- opening --------------------------------------------------------------------------------------------------------


async def test_it_keeps_what_was_stored(url: str) -> None:
    for expected in ([], ["one"]):
        database = Database(url)
        await database.start()
        assert await names(database) == expected
        if not expected:
            async with database.transaction() as tx:
                await add(tx, "one")
        await database.stop()
        await database.stop()


async def test_a_fresh_schema_has_every_table_and_the_newest_version(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tx.fetch_value("SELECT version FROM version") == len(STEPS)
        assert await tx.fetch_value("SELECT owner FROM database_owner") == "matrix-communities"
        for table in (
            "community", "room", "role", "moderator", "profile", "named", "invited", "settled", "heal", "frozen",
            "report", "audit", "chat", "inbox", "job", "sending", "announcement", "announcement_copy",
            "announcement_number", "crypto_account",
        ):  # fmt: skip
            assert await tx.fetch(f"SELECT * FROM {table}") == []


async def test_steps_are_numbered_without_a_gap() -> None:
    numbers = [int(step.__name__.rpartition(".")[2][1:3]) for step in STEPS]
    assert numbers == list(range(1, len(STEPS) + 1))
    assert all(step.DESCRIPTION for step in STEPS)


async def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    database = Database(url)
    await database.start()
    await database.stop()
    await statement(url, "UPDATE version SET version = 99")
    assert "newer version" in (await refusal(url)).what


async def test_another_services_database_is_refused(url: str) -> None:
    await statement(url, "CREATE TABLE database_owner (key INTEGER PRIMARY KEY DEFAULT 0, owner TEXT NOT NULL)")
    await statement(url, "INSERT INTO database_owner (key, owner) VALUES (0, 'mautrix-whatsapp')")
    error = await refusal(url)
    assert "another service" in error.what
    assert "whatsapp" in error.what


@pytest.mark.parametrize("table", ["state_groups_state", "roomserver_rooms"])
async def test_a_homeservers_database_is_refused(url: str, table: str) -> None:
    await statement(url, f"CREATE TABLE {table} (id INTEGER)")
    assert "another service" in (await refusal(url)).what


async def test_tables_that_nobody_signed_are_not_ours(url: str) -> None:
    await statement(url, "CREATE TABLE version (version INTEGER PRIMARY KEY)")
    await statement(url, "INSERT INTO version VALUES (7)")
    error = await refusal(url)
    assert "another service" in error.what
    assert "version" in error.what


async def test_a_start_that_was_cut_off_is_taken_up(url: str) -> None:
    """The table that says whose it is comes first; a kill right after it leaves it empty."""
    await statement(url, "CREATE TABLE database_owner (key INTEGER PRIMARY KEY DEFAULT 0, owner TEXT NOT NULL)")
    database = Database(url)
    await database.start()
    assert await names(database) == []
    await database.stop()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "house.db"
    place.write_text("dear diary" * 1000)
    assert "not a SQLite database" in (await refusal(f"sqlite:///{place}")).what
    assert place.read_text().startswith("dear diary")


async def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in (await refusal(f"sqlite:///{tmp_path}/nowhere/house.db")).what


async def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    await refusal(f"sqlite:///{tmp_path}")


READ_ONLY = """
import asyncio, os, sys
from bridge.core.errors import StoreError
from bridge.store.database import Database
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[2]))
async def main():
    database = Database(sys.argv[1])
    try:
        await database.start()
    except StoreError as error:
        print(error)
asyncio.run(main())
"""


async def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    """Root writes everywhere, so another user tries."""
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    place = tmp_path / "house.db"
    database = Database(f"sqlite:///{place}")
    await database.start()
    await database.stop()
    place.chmod(0o444)
    for folder in [tmp_path, *tmp_path.parents][:-2]:
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    tmp_path.chmod(0o555)
    try:
        arguments = [f"sqlite:///{place}", str(user.pw_uid), str(user.pw_gid)]
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", READ_ONLY, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    finally:
        tmp_path.chmod(0o755)
    assert "read-only" in ran.stdout, ran.stdout + ran.stderr


async def test_a_read_only_postgresql_is_refused(postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.start()
    await database.stop()
    name = postgres_url.rpartition("/")[2]
    await statement(postgres_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "read-only" in (await refusal(postgres_url)).what


async def test_a_postgresql_that_is_not_there_is_named_without_its_password() -> None:
    error = await refusal("postgres://house:secret-word@127.0.0.1:1/house")
    assert "secret-word" not in str(error)
    assert "127.0.0.1" in str(error)


async def test_an_unknown_kind_of_database_is_refused() -> None:
    await refusal("mysql://localhost/house")


def test_addresses() -> None:
    assert Database("sqlite:///house.db").sqlite_path == Path("house.db")
    assert Database("sqlite:////var/lib/house.db").sqlite_path == Path("/var/lib/house.db")
    assert Database("postgres://localhost/house").sqlite_path is None


async def test_nobody_else_reads_the_files(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'house.db'}")
    await database.start()
    async with database.transaction() as tx:
        await add(tx, "one")
    files = sorted(tmp_path.glob("house.db*"))
    assert len(files) >= 2  # the write-ahead log is beside it
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    await database.stop()


async def test_sqlite_keeps_a_commit_over_a_power_cut(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'house.db'}")
    await database.start()
    async with database.transaction() as tx:
        assert await tx.fetch_value("PRAGMA journal_mode") == "wal"
        assert await tx.fetch_value("PRAGMA synchronous") == 2
    await database.stop()


# --- transactions ---------------------------------------------------------------------------------------------------


async def test_an_exception_undoes_everything(database: Database) -> None:
    async def work() -> None:
        async with database.transaction() as tx:
            await add(tx, "one")
            raise KeyError

    with pytest.raises(KeyError):
        await work()
    assert await names(database) == []


async def test_a_statement_that_fails_undoes_everything_before_it(database: Database) -> None:
    async def work() -> None:
        async with database.transaction() as tx:
            await add(tx, "one")
            await add(tx, "one")

    with pytest.raises((sqlite3.IntegrityError, asyncpg.UniqueViolationError)):
        await work()
    assert await names(database) == []


async def test_many_rows_are_all_or_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute_many("INSERT INTO community (id) VALUES ($1)", [("a",), ("b",)])
        await tx.execute_many("INSERT INTO community (id) VALUES ($1)", [])
    with pytest.raises((sqlite3.IntegrityError, asyncpg.UniqueViolationError)):
        async with database.transaction() as tx:
            await tx.execute_many("INSERT INTO community (id) VALUES ($1)", [("c",), ("a",)])
    assert await names(database) == ["a", "b"]


WORDS = ("plain", "", "Ünï ☃ 🎒", "quotes \"' and \\", "line\nbreak", "$1 ?1 {rows}", "x" * 9000)


async def test_many_rows_in_one_statement_are_what_was_put(database: Database) -> None:
    rows = [(f"{number} {word}", number - 3, b"pickle" * number) for number, word in enumerate(WORDS * 300)]
    query = (
        "INSERT INTO bulk (name, number, pickle, session) {rows} "
        "ON CONFLICT (name) DO UPDATE SET number = excluded.number, session = excluded.session"
    )
    types = {"name": "text", "number": "bigint", "pickle": "bytea", "session": "text"}
    async with database.transaction() as tx:
        blob = "BLOB" if database.is_sqlite else "BYTEA"
        await tx.execute(f"CREATE TABLE bulk (name TEXT PRIMARY KEY, number BIGINT, pickle {blob}, session TEXT)")
        await tx.put(query, ("text", "bigint", "bytea"), rows, always={"session": "a"})
        await tx.put(query, ("text", "bigint", "bytea"), rows[:10], always={"session": "b"})
        await tx.put(query, ("text", "bigint", "bytea"), [], always={"session": "c"})
        await tx.set_each("bulk", "name", "pickle", ("text", "bytea"), [(rows[5][0], b"moved"), ("nobody", b"x")])
        await tx.set_each("bulk", "name", "pickle", ("text", "bytea"), [])
        found = await tx.fetch_many(types, "SELECT name, number, pickle, session FROM bulk ORDER BY number")
        none = await tx.fetch_many({"name": "text"}, "SELECT name FROM bulk WHERE number > $1", 10**6)
    expected = [(*row, "b" if at < 10 else "a") for at, row in enumerate(rows)]
    expected[5] = (*rows[5][:2], b"moved", "b")
    assert [tuple(row) for row in found] == expected
    assert none == []


async def test_one_inside_another_is_refused(database: Database) -> None:
    async with database.transaction() as tx:
        await add(tx, "one")
        with pytest.raises(RuntimeError, match="inside another"):
            async with database.transaction():
                pass
        assert inside_transaction()
    assert not inside_transaction()
    assert await names(database) == ["one"]


async def test_a_task_that_is_started_inside_may_open_none(database: Database) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="inside another"):
            await asyncio.create_task(names(database))


async def test_transactions_at_once_lose_nothing(database: Database) -> None:
    async def count_up() -> None:
        async with database.transaction() as tx:
            await tx.execute("UPDATE community SET last_reconcile = last_reconcile + 1 WHERE id = 'one'")

    async with database.transaction() as tx:
        await tx.execute("INSERT INTO community (id, last_reconcile) VALUES ('one', 0)")
    await asyncio.gather(*(count_up() for _ in range(50)))
    async with database.transaction() as tx:
        assert await tx.fetch_value("SELECT last_reconcile FROM community") == 50


@pytest.mark.parametrize("steps", range(12))
async def test_whoever_is_cancelled_leaves_nothing_behind_and_nobody_waiting(database: Database, steps: int) -> None:
    """Cancelled at any of its waits: before it begins, in the middle, while it is undone or committed."""

    async def work() -> None:
        async with database.transaction() as tx:
            await add(tx, "one")
            await add(tx, "two")

    task = asyncio.create_task(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(10):
        assert await names(database) in ([], ["one", "two"])
        async with database.transaction() as tx:
            await add(tx, "three")
    assert "three" in await names(database)


async def test_many_that_are_cancelled_at_any_moment_do_no_harm(database: Database) -> None:
    async def work(number: int) -> None:
        async with database.transaction() as tx:
            await add(tx, f"{number}-a")
            await asyncio.sleep(0)
            await add(tx, f"{number}-b")

    async def cut_off(number: int) -> None:
        task = asyncio.create_task(work(number))
        await asyncio.sleep(0.0005 * (number % 7))
        task.cancel()
        await asyncio.wait({task})

    await asyncio.gather(*(cut_off(number) for number in range(60)))
    async with asyncio.timeout(20):
        left = await names(database)
    assert {name.removesuffix("-a") for name in left if name.endswith("-a")} == {
        name.removesuffix("-b") for name in left if name.endswith("-b")
    }


async def test_a_commit_that_fails_is_undone(tmp_path: Path) -> None:
    """A deferred constraint speaks at the commit alone; the connection is usable afterwards."""
    database = Database(f"sqlite:///{tmp_path / 'house.db'}")
    await database.start()
    async with database.transaction() as tx:
        await tx.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        await tx.execute("CREATE TABLE child (p INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO child VALUES (1)")
    async with database.transaction() as tx:
        assert await tx.fetch_value("SELECT COUNT(*) FROM child") == 0
    await database.stop()


async def test_postgresql_that_comes_back_is_used_again(postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.start()
    other = await asyncpg.connect(postgres_url)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()

    async def is_back() -> bool:
        try:
            return await names(database) == []
        except StoreError:
            return False

    await eventually(is_back)
    await database.stop()


async def test_a_wrong_statement_is_no_outage(database: Database) -> None:
    async def ask(query: str) -> None:
        async with database.transaction() as tx:
            await tx.fetch(query)

    for query in ("SELECT nonsense FROM community", "SELECT 1 FROM nowhere", "SELEKT 1"):
        with pytest.raises((sqlite3.Error, asyncpg.PostgresError)) as caught:
            await ask(query)
        assert not is_outage(caught.value)


async def test_a_database_that_is_locked_by_somebody_is_an_outage(tmp_path: Path) -> None:
    place = tmp_path / "house.db"
    database = Database(f"sqlite:///{place}")
    await database.start()
    async with database.transaction() as tx:
        await tx.fetch("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        await names(database)
    assert is_outage(caught.value)
    other.execute("ROLLBACK")
    other.close()
    assert await names(database) == []
    await database.stop()
