"""The one database of the process, and its typed transaction.

mautrix's `Database` does connections, pools and the version table. Its current connection is a context variable that
tasks inherit when they are started inside a transaction; so nothing but this module touches it, and every statement
runs on a connection that was acquired explicitly.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import orjson
from mautrix.util.async_db import Database as MautrixDatabase
from mautrix.util.async_db import DatabaseException, Scheme, UnsupportedDatabaseVersion, UpgradeTable
from yarl import URL

from bridge.core.errors import StoreError
from bridge.store.migrations import STEPS
from bridge.store.outage import is_outage

OWNER = "matrix-communities"
CONNECT_SECONDS = 15.0
STATEMENT_SECONDS = 30.0

_inside: ContextVar[bool] = ContextVar("inside_database_transaction", default=False)


class Row(Protocol):
    """A row: columns by name or by position."""

    def __getitem__(self, key: str | int) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


def inside_transaction() -> bool:
    """Whether the current task is inside a database transaction, where no network call may happen."""
    return _inside.get()


class Transaction:
    """One open database transaction; all or nothing."""

    def __init__(self, connection: Any, *, sqlite: bool) -> None:
        self._connection = connection
        self._sqlite = sqlite

    async def execute(self, query: str, *args: Any) -> None:
        """Run one statement; placeholders are `$1`, `$2`, …"""
        await self._connection.execute(query, *args)

    async def execute_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows."""
        batch = list(rows)
        if batch:
            await self._connection.executemany(query, batch)

    async def put(
        self,
        query: str,
        types: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        always: Mapping[str, Any] | None = None,
    ) -> None:
        """Insert many rows in one go: `INSERT INTO … (…) {rows} …`, the marked place taken by them.

        With `ON CONFLICT … DO UPDATE` no two of the rows may conflict with each other.

        Args:
            types: PostgreSQL's type of each column of `rows` (`text`, `bigint`, `integer`, `bytea`); bytes have to be
                ASCII, as libolm's pickles are.
            always: the columns that are the same in every row, which the statement names last: name and value.
        """
        if not rows:
            return
        same = list((always or {}).values())
        if self._sqlite:
            # One step for all: a step for each row would take Python's lock and let go of it each time.
            columns = [_json_column("value", at, kind) for at, kind in enumerate(types)]
            columns += [f"${number}" for number in range(2, len(same) + 2)]
            source = f"SELECT {', '.join(columns)} FROM json_each($1) WHERE true"  # noqa: S608 - nothing of others is put in
            await self._connection.execute(query.replace("{rows}", source), _json_text(rows), *same)
        else:
            arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, start=1))
            more = "".join(f", ${number}" for number in range(len(types) + 1, len(types) + len(same) + 1))
            source = f"SELECT new.*{more} FROM unnest({arrays}) AS new"  # noqa: S608 - nothing of others is put in
            columns_of = (list(column) for column in zip(*rows, strict=True))
            await self._connection.execute(query.replace("{rows}", source), *columns_of, *same)

    async def set_each(
        self, table: str, key: str, column: str, types: tuple[str, str], rows: Sequence[tuple[Any, Any]]
    ) -> None:
        """Set one column of many rows in one go, each row found by its key.

        Args:
            types: PostgreSQL's types of the key and of the column; bytes have to be ASCII.
            rows: of each row its key and the value.
        """
        if not rows:
            return
        if self._sqlite:
            if types[1] == "bytea":
                rows = [(name, value.decode("ascii")) for name, value in rows]  # faster than `_ascii`, value by value
            await self._connection.execute(
                f"UPDATE {table} SET {column} = {_json_column('new.value', 1, types[1])} FROM json_each($1) AS new "  # noqa: S608 - names of ours
                f"WHERE {table}.{key} = {_json_column('new.value', 0, types[0])}",
                _json_text(rows),
            )
        else:
            await self._connection.execute(
                f"UPDATE {table} SET {column} = new.b FROM unnest($1::{types[0]}[], $2::{types[1]}[]) AS new (a, b) "  # noqa: S608 - names of ours
                f"WHERE {table}.{key} = new.a",
                [row[0] for row in rows],
                [row[1] for row in rows],
            )

    def one_of(self, mark: str) -> str:
        """SQL for "is one of the texts of a list", the list passed through `texts` at that place."""
        return f"IN (SELECT value FROM json_each({mark}))" if self._sqlite else f"= ANY({mark}::text[])"  # noqa: S608 - only a placeholder is put in

    def holds(self, column: str, mark: str) -> str:
        """SQL for "this column's text holds that one somewhere"."""
        return f"instr({column}, {mark}) > 0" if self._sqlite else f"strpos({column}, {mark}) > 0"

    def bytewise(self, column: str) -> str:
        """SQL for a column of texts that is compared as Python compares them: by code points."""
        return column if self._sqlite else f'{column} COLLATE "C"'

    def texts(self, values: Iterable[str]) -> Any:
        """A list of texts as an argument of a statement."""
        return orjson.dumps(list(values)).decode() if self._sqlite else list(values)

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        return list(await self._connection.fetch(query, *args))

    async def fetch_many(self, columns: Mapping[str, str], query: str, *args: Any) -> list[Sequence[Any]]:
        """As `fetch`, for many rows at once, columns by position.

        Args:
            columns: what the query gives, in that order, with PostgreSQL's types; bytes have to be ASCII.
        """
        if not self._sqlite:
            return list(await self._connection.fetch(query, *args))
        # One row with everything: a step for each row would take and let go of Python's lock each time.
        names = ", ".join(f"CAST({name} AS TEXT)" if kind == "bytea" else name for name, kind in columns.items())
        whole = f"SELECT json_group_array(json_array({names})) FROM ({query})"  # noqa: S608 - names of ours
        rows: list[list[Any]] = orjson.loads(await self._connection.fetchval(whole, *args))
        for at in [at for at, kind in enumerate(columns.values()) if kind == "bytea"]:
            for row in rows:
                row[at] = row[at].encode()
        return list(rows)

    async def fetch_row(self, query: str, *args: Any) -> Row | None:
        row: Row | None = await self._connection.fetchrow(query, *args)
        return row

    async def fetch_value(self, query: str, *args: Any) -> Any:
        return await self._connection.fetchval(query, *args)


def _json_column(row: str, at: int, kind: str) -> str:
    """SQLite's SQL for one column of a row that is a JSON array."""
    value = f"json_extract({row}, '$[{at}]')"
    return f"CAST({value} AS BLOB)" if kind == "bytea" else value


def _json_text(rows: Sequence[Sequence[Any]]) -> str:
    return orjson.dumps(rows, default=_ascii).decode()


def _ascii(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii")
    raise TypeError(f"a {type(value).__name__} cannot be stored in bulk")


class Database:
    """SQLite (one file, WAL, mode 600) or PostgreSQL, by URL: `sqlite:///path` or `postgres://…`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parsed = URL(url)
        self._inner: MautrixDatabase | None = None

    @property
    def is_sqlite(self) -> bool:
        return self._parsed.scheme.startswith("sqlite")

    @property
    def sqlite_path(self) -> Path | None:
        """The file of a SQLite database, None for PostgreSQL."""
        if not self.is_sqlite:
            return None
        path = self._parsed.path
        # sqlite:///relative and sqlite:////absolute, as elsewhere
        return Path(path[1:] if path.startswith("//") else path.removeprefix("/") or path)

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return str(self._parsed.with_password("***") if self._parsed.password else self._parsed)

    async def start(self) -> None:
        """Connect and bring the schema to this version.

        Raises:
            StoreError: not reachable, read-only, of a newer version, or of another service.
        """
        table = _upgrade_table()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._must_not_be_foreign(await self._tables())
            if self.is_sqlite:
                self._inner = self._open_sqlite(table)
            else:
                self._inner = MautrixDatabase.create(
                    self._parsed,
                    upgrade_table=table,
                    owner_name=OWNER,
                    ignore_foreign_tables=False,
                    db_args={
                        "min_size": 1,
                        "max_size": 8,
                        "timeout": CONNECT_SECONDS,
                        "command_timeout": STATEMENT_SECONDS,
                        "meow_exit_on_ice": False,
                    },
                )
            async with asyncio.timeout(2 * STATEMENT_SECONDS):
                await self._inner.start()
            await self._must_be_writable()
        except StoreError:
            await self.stop()
            raise
        except Exception as error:
            await self.stop()
            raise self._explain(error) from error

    def _open_sqlite(self, table: UpgradeTable) -> MautrixDatabase:
        path = self.sqlite_path
        assert path is not None
        if not path.parent.is_dir():
            raise StoreError(
                f"the folder {path.parent} does not exist",
                where="database",
                remedy="create it, or change `database.url`",
            )
        if not path.exists():
            path.touch(mode=0o600)
        return MautrixDatabase.create(
            URL.build(scheme="sqlite", path=str(path.absolute())),
            upgrade_table=table,
            owner_name=OWNER,
            ignore_foreign_tables=False,
            db_args={
                "min_size": 1,
                "init_commands": [
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA cache_size = -1024",  # KiB: what is asked for again is in the system's own cache
                    "PRAGMA foreign_keys = ON",
                    "PRAGMA busy_timeout = 5000",
                ],
            },
        )

    async def _tables(self) -> set[str]:
        path = self.sqlite_path
        if path is not None:
            if not path.is_file():
                return set()
            with closing(sqlite3.connect(path)) as file:
                return {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        server = await asyncpg.connect(self.url)
        try:
            rows = await server.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        finally:
            await server.close()
        return {row["tablename"] for row in rows}

    def _must_not_be_foreign(self, tables: set[str]) -> None:
        """Tables that nobody signed are somebody else's: ours are made after the one that says whose they are."""
        if tables and "database_owner" not in tables:
            raise StoreError(
                f"the database belongs to another service (it has {', '.join(sorted(tables)[:3])})",
                where=f"database {self.shown_url}",
                remedy="give matrix-communities a database of its own",
            )

    async def _must_be_writable(self) -> None:
        async with self.transaction() as tx:
            await tx.execute("UPDATE database_owner SET owner = owner")

    def _explain(self, error: Exception) -> StoreError:
        where = f"database {self.shown_url}"
        name = type(error).__name__
        if isinstance(error, UnsupportedDatabaseVersion):
            return StoreError(
                "the database was written by a newer version of matrix-communities",
                where=where,
                remedy="install that version again, or point `database.url` at another database",
            )
        if isinstance(error, DatabaseException):
            return StoreError(
                f"the database belongs to another service ({error})",
                where=where,
                remedy="give matrix-communities a database of its own",
            )
        text = str(error)
        if "readonly" in text or "read-only" in text or isinstance(error, PermissionError):
            return StoreError(
                "the database is read-only", where=where, remedy="let the service's user write to it (and its folder)"
            )
        if "not a database" in text:
            return StoreError("the file is not a SQLite database", where=where, remedy="change `database.url`")
        if isinstance(error, TimeoutError):
            text = "no answer within the deadline"
        return StoreError(
            f"the database cannot be used: {text or name}",
            where=where,
            remedy="see that it runs, and that `database.url` names the right host, user and password",
        )

    async def stop(self) -> None:
        if self._inner is not None:
            inner, self._inner = self._inner, None
            try:
                await asyncio.wait_for(inner.stop(), timeout=10)
            except (TimeoutError, OSError, asyncpg.PostgresError, sqlite3.Error):
                return

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a database transaction: committed at the end, rolled back on any exception, cancellation included.

        Raises:
            RuntimeError: nested use, which would silently join the outer transaction.
            StoreError: the database is out of reach, busy or full; a later try may help.
        """
        if _inside.get():
            raise RuntimeError("a database transaction inside another")
        if self._inner is None:
            raise StoreError("the database is not open", where="database")
        try:
            async with self._inner.acquire_direct() as connection:
                wrapped = connection.wrapped
                begin = _sqlite_transaction(wrapped) if self.is_sqlite else wrapped.transaction()
                async with begin:
                    with _mark_inside():
                        yield Transaction(wrapped, sqlite=self.is_sqlite)
        except StoreError:
            raise
        except Exception as error:
            if is_outage(error):
                raise self._explain(error) from error
            raise

    @property
    def dialect(self) -> Scheme:
        return Scheme.SQLITE if self.is_sqlite else Scheme.POSTGRES


@contextmanager
def _mark_inside() -> Any:
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


@asynccontextmanager
async def _sqlite_transaction(connection: Any) -> AsyncIterator[None]:
    # a statement goes on in its thread when whoever waits for it is cancelled: even one that begins has to be undone
    try:
        await connection.execute("BEGIN IMMEDIATE")
        yield
        await _to_its_end(connection.commit())
    except BaseException:
        await _to_its_end(connection.rollback())
        raise


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for something whatever happens, and be cancelled only afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
        except Exception:  # noqa: BLE001 - raised below
            break
    task.result()
    if cancelled:
        raise asyncio.CancelledError


def _upgrade_table() -> UpgradeTable:
    table = UpgradeTable(database_name=OWNER)
    for step in STEPS:
        table.register(_upgrade(step.STATEMENTS), description=step.DESCRIPTION)
    return table


def _upgrade(statements: Sequence[str]) -> Any:
    async def upgrade(connection: Any, scheme: Scheme) -> None:
        sqlite = scheme == Scheme.SQLITE
        for statement in statements:
            await connection.execute(
                statement.format(
                    blob="BLOB" if sqlite else "BYTEA",
                    serial="INTEGER PRIMARY KEY AUTOINCREMENT"
                    if sqlite
                    else "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
                )
            )

    return upgrade
