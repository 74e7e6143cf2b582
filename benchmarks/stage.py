"""A homeserver, a service and a counter of the requests between them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.cli.demo.homeserver import PrivateSynapse, free_port
from bridge.cli.demo.operator import Operator
from tests.harness.people import People
from tests.harness.tap import Exchange, Tap

STEWARD = "@communities:example.org"
ANNOUNCER = "@announcements:example.org"
_BY_ITSELF = ("/sync", "/keys/", "/sendToDevice", "/account_data/", "/devices")


@dataclass
class Stage:
    """Everything that a benchmark acts on."""

    synapse: PrivateSynapse
    operator: Operator
    people: People
    tap: Tap

    def mark(self) -> int:
        """Where the count stands now."""
        return len(self.tap.heard)

    def requests(self, mark: int) -> list[Exchange]:
        """What the service asked of the homeserver since, but for what its device does by itself (sync, keys)."""
        return [one for one in self.tap.heard[mark:] if not any(part in one.path for part in _BY_ITSELF)]


@asynccontextmanager
async def stage(**sections: Any) -> AsyncIterator[Stage]:
    """Set up with the commands; the homeserver runs, the service does not."""
    with tempfile.TemporaryDirectory(prefix="matrix-communities-benchmark-") as folder:
        home = Path(folder)
        synapse = PrivateSynapse(home / "synapse")
        service = home / "service"
        service.mkdir()
        operator = Operator(service, synapse)
        tap = Tap(synapse.url)
        people = People(synapse)
        await tap.start()
        try:
            await operator.command("init", "--homeserver", tap.url, "--domain", synapse.server_name)
            operator.edit(listen={"port": free_port()}, encryption={"trust": "all"}, **sections)
            await operator.command("registration")
            synapse.add_registration(operator.registration)
            await synapse.start()
            yield Stage(synapse, operator, people, tap)
        finally:
            await people.close()
            await operator.stop()
            await tap.stop()
            await synapse.stop()
