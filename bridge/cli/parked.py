"""`matrix-communities parked`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from bridge.app.house import House
from bridge.app.operations import Operations
from bridge.cli.door import Door
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, when, working
from bridge.config import Config, load
from bridge.core.errors import Refused
from bridge.core.lines import one_line


def parked(
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
    release: Annotated[
        str | None, typer.Option(metavar="ID", help="Try this one again; `all` tries everything again.")
    ] = None,
    drop: Annotated[str | None, typer.Option(metavar="ID", help="Forget this one.")] = None,
) -> None:
    """Show the events and jobs that were given up, with the reason; try them again, or forget them."""
    if release is not None and drop is not None:
        raise Refused("give either --release or --drop", where="parked", remedy="do one after the other")
    with working("looking"):
        found = asyncio.run(_parked(load(config), release, drop))
    if json:
        print_json(found)
    else:
        _show(found)


async def _parked(config: Config, release: str | None, drop: str | None) -> dict[str, Any]:
    door = Door(config)
    if await door.is_there():
        return await door.parked(release=release, drop=drop)
    house = House(config)  # the homeserver is not needed for it: it may be the reason
    await house.own()
    try:
        return await Operations(house).parked(release=release, drop=drop)
    finally:
        await house.close()


def _show(found: dict[str, Any]) -> None:
    for name in found["released"]:
        say(f"{name} is tried again")
    for name in found["dropped"]:
        say(f"{name} is forgotten")
    if not found["parked"]:
        say("Nothing is given up.")
    for one in found["parked"]:
        say(f"{one['id']} ({one['kind']})", "bold")
        say(f"  room   {one['room'] or one['room_id'] or 'not known'}")
        say(f"  since  {when(one['since'])}")
        say(f"  why    {one_line(one['why'])}", "yellow")
