"""Which faults of a database pass by themselves."""

from __future__ import annotations

import sqlite3

import asyncpg

from bridge.core.errors import StoreError

_PASSING: tuple[type[BaseException], ...] = (
    StoreError,
    OSError,
    TimeoutError,
    sqlite3.OperationalError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
)


def is_outage(error: BaseException) -> bool:
    """Whether the database was out of reach, restarted, busy or full: the same statement may work later.

    A statement that is wrong, or a value that does not fit, is no outage.
    """
    if isinstance(error, sqlite3.OperationalError) and _primary(error) == sqlite3.SQLITE_ERROR:
        return False
    return isinstance(error, _PASSING) and not isinstance(error, ValueError)


def _primary(error: sqlite3.OperationalError) -> int | None:
    """SQLite's primary result code, None where the error is not SQLite's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
