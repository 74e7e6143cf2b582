"""One process owns the database: the keys and the reconciler would fight with themselves otherwise."""

from __future__ import annotations

import fcntl
import os
from typing import IO

import asyncpg

from bridge.core.errors import StoreError
from bridge.store.database import CONNECT_SECONDS, Database

ANSWER_SECONDS = 5.0
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_LOCK_NUMBER = 0x6D63_6F6D_6D75
_TAKEN = "another matrix-communities process uses this database"
_REMEDY = "let the running service do it, or stop that first"


class Ownership:
    """A lock that is gone with the process: on a file beside a SQLite database, or an advisory one in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._file: IO[str] | None = None
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._taken = False

    async def take(self) -> None:
        """Take the lock.

        Raises:
            StoreError: somebody else has it, or the database cannot be reached.
        """
        path = self._database.sqlite_path
        if path is not None:
            self._take_file(f"{path}.lock")
        else:
            await self._take_advisory()
        self._taken = True

    def _take_file(self, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written ({error.strerror})",
                where=f"database {self._database.shown_url}",
                remedy="let the service's user write to the database's folder",
            ) from error
        file = os.fdopen(descriptor, "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise StoreError(_TAKEN, where=f"database {self._database.shown_url}", remedy=_REMEDY) from None
        self._file = file

    async def _take_advisory(self) -> None:
        try:
            self._connection = await asyncpg.connect(self._database.url, timeout=CONNECT_SECONDS)
            free = await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_NUMBER)
        except (*_AWAY, ValueError) as error:
            raise StoreError(
                f"the database cannot be reached ({type(error).__name__}: {error})",
                where=f"database {self._database.shown_url}",
                remedy="see that it runs, and that `database.url` names the right host, user and password",
            ) from error
        if not free:
            await self._disconnect()
            raise StoreError(_TAKEN, where=f"database {self._database.shown_url}", remedy=_REMEDY)

    async def keep(self) -> None:
        """Take the lock again if its connection was cut; to be called again and again.

        Raises:
            StoreError: somebody else has it by now, or the database cannot be reached yet.
        """
        if not self._taken or self._database.is_sqlite:
            return
        if self._connection is not None and not await self._answers(self._connection):
            self._connection.terminate()
            self._connection = None
        if self._connection is None:
            await self._take_advisory()

    @staticmethod
    async def _answers(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
        """Whether the server still knows the connection; a cut cable closes nothing on this side."""
        try:
            await connection.fetchval("SELECT 1", timeout=ANSWER_SECONDS)
        except _AWAY:
            return False
        return True

    async def release(self) -> None:
        """Give the lock back."""
        self._taken = False
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                await connection.close(timeout=ANSWER_SECONDS)
            except _AWAY:
                connection.terminate()
