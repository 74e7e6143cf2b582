"""What a case costs: time, processor time, calls of the database driver, memory.

Statements are counted at the driver (aiosqlite, asyncpg), the same for both sides: each `execute`, `executemany`,
`fetch…` or `copy…` is one, however many rows it carries. What begins and ends database transactions, and the reset of
a connection that returns to its pool, is not counted.

Memory is the highest resident set during the case (`VmHWM`) less the resident set before it. The kernel forgets the
earlier height when 5 is written to `/proc/self/clear_refs`; before that, garbage is collected and the allocator gives
back what is free, so that the case cannot hide in it.
"""

from __future__ import annotations

import ctypes
import gc
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NOT_COUNTED = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SELECT pg_advisory_unlock_all)", re.IGNORECASE)


class _Counter:
    statements = 0


@dataclass(slots=True)
class Cost:
    wall: float
    cpu: float
    statements: int
    memory: int


def count_statements() -> None:
    """Count from now on; once a process."""
    import aiosqlite
    import asyncpg

    for name in ("execute", "executemany", "executescript", "execute_insert", "execute_fetchall"):
        _count(aiosqlite.Connection, name)
    for name in ("execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "copy_records_to_table"):
        _count(asyncpg.Connection, name)


def _count(owner: type, name: str) -> None:
    inner = getattr(owner, name)

    def counted(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        if _NOT_COUNTED.match(query) is None:
            _Counter.statements += 1
        return inner(self, query, *args, **kwargs)

    setattr(owner, name, counted)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


class Meter:
    """Measures what happens between its making and `stop`."""

    def __init__(self) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        self._idle = _status("VmRSS")
        self._statements = _Counter.statements
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> Cost:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Cost(wall, cpu, _Counter.statements - self._statements, _status("VmHWM") - self._idle)
