"""A private Synapse in a folder: for the demo and for the tests, never for people.

It listens on the loopback interface alone, federates with nobody, asks no key server, and is gone when its parent is.
Synapse itself comes from PyPI (``pip install matrix-communities[demo]``).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import sqlite3
import sys
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

START_DEADLINE: Final = 90.0
"""Seconds until Synapse must answer; a loaded machine of two cores needs up to 20."""

STOP_DEADLINE: Final = 15.0
"""Seconds that Synapse has to end by itself before it is killed."""

# Below the range from which the kernel takes ports for outgoing connections.
_PORTS: Final = range(18_000, 32_000)

# Linux ends the child with its parent, even when the parent is killed; elsewhere `stop` has to be called.
_LAUNCHER: Final = """
import ctypes, os, runpy, signal, sys
parent = int(sys.argv.pop(1))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
runpy.run_module("synapse.app.homeserver", run_name="__main__", alter_sys=True)
"""

_PLENTY: Final = {"per_second": 10_000, "burst_count": 10_000}

RELAXED_LIMITS: Final[Mapping[str, Any]] = {
    "rc_message": _PLENTY,
    "rc_registration": _PLENTY,
    "rc_registration_token_validity": _PLENTY,
    "rc_login": {"address": _PLENTY, "account": _PLENTY, "failed_attempts": _PLENTY},
    "rc_admin_redaction": _PLENTY,
    "rc_joins": {"local": _PLENTY, "remote": _PLENTY},
    "rc_joins_per_room": _PLENTY,
    "rc_key_requests": _PLENTY,
    "rc_3pid_validation": _PLENTY,
    "rc_invites": {"per_room": _PLENTY, "per_user": _PLENTY, "per_issuer": _PLENTY},
    "rc_third_party_invite": _PLENTY,
    "rc_media_create": _PLENTY,
    "rc_presence": {"per_user": _PLENTY},
    "rc_room_creation": _PLENTY,
    "rc_reports": _PLENTY,
    "rc_user_directory": _PLENTY,
    "rc_profile": _PLENTY,
}
"""Synapse's limits for ordinary users, so high that no test and no demo meets them."""


class HomeserverError(RuntimeError):
    """The private homeserver did not start, did not stay up, or refused what its owner asked."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the private homeserver, with the device that registration made."""

    user_id: str
    access_token: str
    device_id: str
    password: str


def free_port() -> int:
    """A port of the loopback interface on which nobody listens now, and which nobody else is given who asks so, for as
    long as this process lives: also while what listens there stops and starts again.

    What says that it is taken is the UDP port of the same number. Nothing here needs that, and the kernel lets go of it
    with the process, however that ends.
    """
    for port in secrets.SystemRandom().sample(_PORTS, min(100, len(_PORTS))):
        with socket.socket(type=socket.SOCK_DGRAM) as taken, socket.socket() as probe:
            try:
                taken.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            taken.detach()
        return port
    raise HomeserverError("no free port on 127.0.0.1 among a hundred tried: is something holding them all?")


class PrivateSynapse:
    """One Synapse process and its folder. Its address stays the same over :meth:`restart`.

    ``database`` is the ``args`` of Synapse's psycopg2 connection; without it the homeserver uses SQLite.
    ``relaxed`` lifts the rate limits of ordinary users; ``extra`` replaces top-level keys of ``homeserver.yaml``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        server_name: str = "example.org",
        default_room_version: str | None = None,
        database: Mapping[str, Any] | None = None,
        relaxed: bool = True,
        extra: Mapping[str, Any] | None = None,
        port: int | None = None,
    ) -> None:
        self.folder: Final = folder.absolute()
        self.server_name: Final = server_name
        self.port: Final = port or free_port()
        self._default_room_version = default_room_version
        self._database = database
        self._relaxed = relaxed
        self._extra = dict(extra or {})
        self._registrations: list[Path] = []
        self._shared_secret = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The base address of the client-server API, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """Synapse's own log."""
        return self.folder / "homeserver.log"

    @property
    def config_path(self) -> Path:
        """The ``homeserver.yaml`` which :meth:`start` writes."""
        return self.folder / "homeserver.yaml"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def add_registration(self, path: Path) -> None:
        """Let an application service in: ``path`` is its registration file, read at the next start."""
        self._registrations.append(path.absolute())

    async def start(self, deadline: float = START_DEADLINE) -> None:
        """Write the config, start the process, and return when it answers. :class:`HomeserverError` otherwise."""
        if self.running:
            return
        self._write_config()
        output = (self.folder / "output.log").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _LAUNCHER,
                str(os.getpid()),
                "-c",
                str(self.config_path),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        finally:
            output.close()
        try:
            await asyncio.wait_for(self._answers(self._process), deadline)
        except TimeoutError:
            await self.stop()
            raise HomeserverError(self._explain(f"Synapse did not answer within {deadline:.0f} s")) from None
        except BaseException:
            await self.stop()
            raise

    async def pushes_to(self, service: str, seconds: float) -> None:
        """Wait until it is done with sending an application service what it kept for it; at most so long.

        What happens in the moment in which Synapse comes to the end of that is stored, and sent by nobody until it
        begins anew (ADR 59). It says in its database when it is over, so nobody has to try their luck.
        """
        if self._database is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    if not await asyncio.to_thread(self.keeps_something_for, service):
                        return
                    await asyncio.sleep(0.05)

    def keeps_something_for(self, service: str) -> bool:
        """Whether Synapse takes an application service for one that is away."""
        place = f"file:{self.folder / 'homeserver.db'}?mode=ro"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(place, uri=True)) as database:
            query = "SELECT 1 FROM application_services_state WHERE as_id = ? AND state = 'down'"
            return database.execute(query, (service,)).fetchone() is not None
        return False  # it was never started, or is too busy to say

    async def stop(self) -> None:
        """End the process in good order, and with force where that takes too long. Harmless when it is down."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_DEADLINE)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End the process as a power cut would (SIGKILL)."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def restart(self) -> None:
        """Stop and start again with the same data, address and secrets."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): it still accepts connections and answers nothing."""
        if self.running and self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        if self.running and self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    async def register(
        self, localpart: str, password: str | None = None, *, admin: bool = False, displayname: str | None = None
    ) -> Account:
        """Make a user with one device, by shared secret (``/_synapse/admin/v1/register``)."""
        password = password or secrets.token_urlsafe(12)
        address = f"{self.url}/_synapse/admin/v1/register"
        async with aiohttp.ClientSession() as http:
            async with http.get(address) as response:
                nonce = str((await response.json())["nonce"])
            parts = (nonce, localpart, password, "admin" if admin else "notadmin")
            mac = hmac.new(self._shared_secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
            body = {"nonce": nonce, "username": localpart, "password": password, "admin": admin, "mac": mac}
            if displayname is not None:
                body["displayname"] = displayname
            async with http.post(address, json=body) as response:
                answer = await response.json()
                if response.status != 200:
                    raise HomeserverError(f"Synapse refused to register {localpart}: {answer}")
        return Account(
            user_id=answer["user_id"],
            access_token=answer["access_token"],
            device_id=answer["device_id"],
            password=password,
        )

    async def __aenter__(self) -> PrivateSynapse:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.create_task(process.wait())
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
                while True:
                    if ended.done():
                        raise HomeserverError(self._explain(f"Synapse ended with exit code {ended.result()}"))
                    try:
                        async with http.get(f"{self.url}/_matrix/client/versions") as response:
                            if response.status == 200:
                                return
                    except (aiohttp.ClientError, TimeoutError):
                        pass
                    await asyncio.wait({ended}, timeout=0.1)
        finally:
            ended.cancel()

    def _explain(self, what: str) -> str:
        lines: list[str] = []
        for path in (self.log_path, self.folder / "output.log"):
            if path.exists():
                with path.open(errors="replace") as file:
                    lines += deque((line.rstrip() for line in file), maxlen=15)
        return "\n  ".join([f"{what}; its last words in {self.folder}:", *lines])

    def _write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        key_path = self.folder / "signing.key"
        if not key_path.exists():
            seed = b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            _write_private(key_path, f"ed25519 a_{secrets.token_hex(2)} {seed}\n")
        log_config = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
            "handlers": {
                "file": {"class": "logging.FileHandler", "filename": str(self.log_path), "formatter": "line"},
            },
            "root": {"level": "INFO", "handlers": ["file"]},
            "loggers": {"synapse.storage.SQL": {"level": "WARNING"}},
        }
        log_config_path = self.folder / "log.yaml"
        log_config_path.write_text(json.dumps(log_config))
        # JSON is YAML: no YAML library is needed to write it.
        _write_private(self.config_path, json.dumps(self._config(key_path, log_config_path), indent=2))

    def _config(self, key_path: Path, log_config_path: Path) -> dict[str, Any]:
        database: dict[str, Any]
        if self._database is None:
            database = {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}}
        else:
            database = {"name": "psycopg2", "allow_unsafe_locale": True, "args": dict(self._database)}
        config: dict[str, Any] = {
            "server_name": self.server_name,
            "public_baseurl": f"{self.url}/",
            "pid_file": str(self.folder / "homeserver.pid"),
            "listeners": [
                {
                    "port": self.port,
                    "type": "http",
                    "tls": False,
                    "bind_addresses": ["127.0.0.1"],
                    "resources": [{"names": ["client"], "compress": False}],
                }
            ],
            "database": database,
            "log_config": str(log_config_path),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(key_path),
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation_domain_whitelist": [],
            "report_stats": False,
            "bcrypt_rounds": 4,
            "enable_registration": False,
            "registration_shared_secret": self._shared_secret,
            "macaroon_secret_key": hashlib.sha256(self._shared_secret.encode()).hexdigest(),
            "form_secret": hashlib.sha256(key_path.read_bytes()).hexdigest(),
            "app_service_config_files": [str(path) for path in self._registrations],
            "presence": {"enabled": False},
            "url_preview_enabled": False,
            **(RELAXED_LIMITS if self._relaxed else {}),
        }
        if self._default_room_version is not None:
            config["default_room_version"] = self._default_room_version
        return config | self._extra


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
