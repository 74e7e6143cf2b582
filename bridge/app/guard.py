"""A watch over the service's two accounts: the steward must own no device, the announcer exactly one, and that signed.

It reports, in the log, in `status` and as metrics. What the homeserver has lost of the announcer's device is published
again. A device that somebody has added to the announcer is left where it is, for the operator to see, as long as
nothing has to be published; when something has, as at each start, it is deleted. What was seen stays in the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bridge.core.errors import BadRequest, CommunitiesError, DeviceUnknown, Forbidden, NotFound, OldDatabase
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.e2ee.establishment import Standing
from bridge.e2ee.keys import Keys
from bridge.store.outage import is_outage

log = logging.getLogger(__name__)

EVERY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was last seen."""

    steward_devices: tuple[str, ...]
    announcer: Standing

    @property
    def faults(self) -> list[str]:
        """What is not as it must be, for the log."""
        found = []
        if self.steward_devices:
            names = _names(self.steward_devices)
            found.append(f"the steward owns devices ({names}): members' clients encrypt to them. Delete them")
        if others := self.announcer.foreign_devices:
            names = _names(others)
            found.append(f"the announcer owns devices that are not ours ({names}): members' clients see them unsigned")
        if self.announcer.identity == "another":
            found.append("the announcer is published with an identity that is not ours")
        elif not self.announcer.cross_signed:
            found.append("the announcer's device is not cross-signed")
        return found


def _names(devices: Sequence[str]) -> str:
    return ", ".join(one_line(device, LONGEST_NAME) for device in devices)


class Guard:
    """Looks from time to time, and remembers what it saw."""

    def __init__(self, keys: Keys, steward_devices: Callable[[], Awaitable[list[str]]]) -> None:
        self._keys = keys
        self._steward_devices = steward_devices
        self.last: Sight | None = None
        """None before the first look, and where the last one failed."""
        self._told: list[str] = []

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.watch()
            await asyncio.sleep(EVERY_SECONDS)

    async def watch(self) -> None:
        """Look once, report what is new, and mend what can be mended. Only an old database raises."""
        try:
            self.last = await self._look_and_mend()
        except OldDatabase:
            raise
        except Exception as error:
            self.last = None
            foreseen = isinstance(error, CommunitiesError) or is_outage(error)
            log.warning("the service's accounts could not be looked at: %s", error, exc_info=not foreseen)
            return
        faults = self.last.faults
        for fault in faults:
            if fault not in self._told:
                log.error("%s (docs/security.md)", fault)
        if self._told and not faults:
            log.info("the service's accounts are as they should be again")
        self._told = faults

    async def _look_and_mend(self) -> Sight:
        try:
            sight = await self.look()
            await self._keys.note_strange(sight.announcer.foreign_devices)
            whole = sight.announcer.cross_signed or sight.announcer.identity == "another"
        except DeviceUnknown:
            whole = False
        if whole:
            return sight
        log.warning("the homeserver has lost of the announcer's device or its signatures: they are published again")
        await self._keys.mend()
        return await self.look()

    async def look(self) -> Sight:
        """Look, and change nothing.

        Raises:
            MatrixError: the homeserver cannot be asked.
            StoreError: the announcer has no device yet.
        """
        try:
            steward = await self._steward_devices()
        except (Forbidden, NotFound, BadRequest):
            steward = []  # before the first run there is no such account
        return Sight(tuple(steward), await self._keys.describe())
