"""`matrix-communities rotate-device`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, ConfigFile, say, working
from bridge.config import Config, load


def rotate_device(
    config: ConfigFile = DEFAULT_CONFIG,
    accept_old_database: Annotated[
        bool,
        typer.Option(
            "--accept-old-database",
            help="Go on with a database that is an old copy; what was still to be done in it is set aside.",
        ),
    ] = False,
) -> None:
    """Give the announcer a new device, signed by the same identity, and delete the old one."""
    with working("making a new device"):
        found = asyncio.run(_rotate(load(config), accept_old_database))
    say(f"The announcer's device is now {found['device_id']}, in the place of {found['before'] or 'none'}.", "green")
    aside = found["set_aside"]
    if aside["jobs"] or aside["events"]:
        say(f"Set aside, not to be done twice: {aside['jobs']} jobs, {aside['events']} events.")


async def _rotate(config: Config, accept_old_database: bool) -> dict[str, Any]:
    async with service_or_alone(config) as asked:
        return await asked.rotate_device(accept_old_database=accept_old_database)
