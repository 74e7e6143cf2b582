"""Changing the pickle key: the file, the database, the file again. Killed at any point, it goes on when run again."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bridge.config import Config, load
from bridge.config.rekeying import must_be_changeable, with_next, with_next_in_place
from bridge.config.writing import SECRET_BYTES, keep_copy, write_private
from bridge.core.errors import Refused, StoreError
from bridge.e2ee.rekeying import is_under, rekey
from bridge.store.database import Database
from bridge.store.ownership import Ownership


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done."""

    pickles: int
    """How many things in the database were encrypted anew; 0 where that had been done already."""
    copy: Path | None
    """The copy of the file with the old key, where one was made now."""


async def change_pickle_key(path: Path) -> Changed:
    """Put the key given as `encryption.next_pickle_key`, or a fresh one, in the place of the present one.

    Raises:
        StoreError: the service runs, or the database is under neither key.
        ConfigError: the file is at fault, or not written so that it can be changed.
        Refused: the file cannot be written.
    """
    path = path.resolve()
    config = load(path)
    must_be_changeable(path.read_text(encoding="utf-8-sig"), path)
    database = Database(config.database.url.reveal())
    ownership = Ownership(database)
    await ownership.take()
    try:
        await database.start()
        copy = None if config.encryption.next_pickle_key is not None else _write_next(path)
        config = load(path)
        pickles = await _encrypt(config, database)
        _write(path, with_next_in_place(path.read_text(encoding="utf-8-sig"), path))
        return Changed(pickles, copy)
    finally:
        await database.stop()
        await ownership.release()


def _write_next(path: Path) -> Path:
    try:
        copy = keep_copy(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    _write(path, with_next(path.read_text(encoding="utf-8-sig"), path, secrets.token_urlsafe(SECRET_BYTES)))
    return copy


async def _encrypt(config: Config, database: Database) -> int:
    assert config.encryption.next_pickle_key is not None
    old, new = config.encryption.pickle_key.reveal(), config.encryption.next_pickle_key.reveal()
    under_old = await is_under(database, config.announcer, old)
    if under_old is False:
        if await is_under(database, config.announcer, new):
            return 0  # an earlier run came so far
        raise StoreError(
            "the announcer's keys open under neither the present nor the next pickle key",
            where="keys",
            remedy="put back the pickle key under which they were stored",
        )
    counts = await rekey(database, old, new)
    if (place := database.sqlite_path) is not None:
        await asyncio.to_thread(_sweep, place)
    return sum(counts.values())


def _sweep(place: Path) -> None:
    """Write the file anew, so that nothing under the old key is left in its unused pages."""
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write(path: Path, text: str) -> None:
    """Write the file in one step, with the permissions that it has."""
    try:
        mode = path.stat().st_mode & 0o777
        write_private(path, text)
        path.chmod(mode)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> Refused:
    return Refused(
        f"the file cannot be written ({error.strerror})",
        where=str(path),
        remedy="run it as the user whose file it is; running it again goes on where it stopped",
    )
