"""An operator at work in a folder: writes the config and the registration with the commands, and runs the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

from bridge.cli.demo.homeserver import PrivateSynapse, free_port

COMMAND_SECONDS = 300.0
START_SECONDS = 90.0
STOP_SECONDS = 30.0
PUSHES_SECONDS = 5.0
"""For the homeserver to send what it kept while the service was away. Where something keeps it from that, so be it."""


class CommandFailed(RuntimeError):
    """A command ended with an exit code that was not expected; the text is what it printed."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Operator:
    """Does what an operator does, with the same commands, in a folder of its own."""

    def __init__(self, folder: Path, synapse: PrivateSynapse, *, database: str | None = None) -> None:
        self.folder = folder
        self.synapse = synapse
        self._database = database
        self.config = folder / "config.yaml"
        self.registration = folder / "registration.yaml"
        self.log = folder / "service.log"
        self._process: asyncio.subprocess.Process | None = None

    async def command(
        self, *args: str, expect: Sequence[int] = (0,), stdin: str | None = None, seconds: float = COMMAND_SECONDS
    ) -> Ran:
        """Run a command to its end.

        Raises:
            CommandFailed: another exit code than expected, or no end within `seconds`.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge", *args,
            cwd=self.folder, env=_environment(), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate(None if stdin is None else stdin.encode())
        except TimeoutError:
            raise CommandFailed(f"{' '.join(args)}: no end within {seconds:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        ran = Ran(process.returncode or 0, out.decode(), err.decode())
        if ran.code not in expect:
            raise CommandFailed(f"{' '.join(args)}: exit code {ran.code}\n{ran.out}\n{ran.err}")
        return ran

    async def set_up(self) -> None:
        """Write config and registration with the commands, and make them known to the homeserver (not yet started)."""
        database = [] if self._database is None else ["--database", self._database]
        await self.command("init", "--homeserver", self.synapse.url, "--domain", self.synapse.server_name, *database)
        # nio, on which the people of the demo are, never signs its devices
        self.edit(listen={"port": free_port()}, encryption={"trust": "all"})
        await self.command("registration")
        self.synapse.add_registration(self.registration)

    def edit(self, **sections: Any) -> None:
        """Change sections of the config as somebody with an editor would; mappings are merged, all else replaced."""
        yaml = YAML()
        document = yaml.load(self.config.read_text(encoding="utf-8"))
        for name, value in sections.items():
            have = document.get(name)
            if isinstance(value, Mapping) and isinstance(have, dict) and name != "communities":
                have.update(value)
            elif value is None:
                document.pop(name, None)
            else:
                document[name] = value
        with self.config.open("w", encoding="utf-8") as file:
            yaml.dump(document, file)

    def settings(self) -> Any:
        """The config as plain data."""
        return YAML(typ="safe", pure=True).load(self.config.read_text(encoding="utf-8"))

    # --- the service --------------------------------------------------------------------------------------------

    async def start(self, *, ready: bool = True) -> None:
        """Start the service, and wait until it answers on its local door, and has heard what the homeserver kept."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridge", "run", cwd=self.folder, env=_environment(), stdout=log, stderr=log
            )
        if ready:
            await self.wait_ready()
            await self.synapse.pushes_to(self.settings()["registration"]["id"], PUSHES_SECONDS)

    async def wait_ready(self) -> None:
        """Wait until the service has met the homeserver and answers."""
        async with asyncio.timeout(START_SECONDS):
            while not await self._answers():
                if self._process is None or self._process.returncode is not None:
                    raise CommandFailed(f"the service ended:\n{self.log_tail()}")
                await asyncio.sleep(0.1)

    async def _answers(self) -> bool:
        settings = self.settings()
        url = f"http://127.0.0.1:{settings['listen']['port']}/_communities/v1/ready"
        headers = {"Authorization": f"Bearer {settings['control']['secret']}"}
        try:
            async with aiohttp.ClientSession() as session, session.post(url, data=b"{}", headers=headers) as response:
                return '"ready":true' in await response.text()
        except aiohttp.ClientError:
            return False

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def reload(self) -> None:
        """Tell the service to read its config again."""
        self.send_signal(signal.SIGHUP)

    def send_signal(self, number: signal.Signals) -> None:
        """Send the service a signal; nothing where it does not run."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the service's end, and give its exit code (the negative number of a signal that killed it)."""
        return 0 if self._process is None else await self._process.wait()

    async def kill(self) -> None:
        """End the service as a power cut would."""
        self.send_signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """End the service as an operator would."""
        self.send_signal(signal.SIGTERM)
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
