"""`matrix-communities announcement`: what was announced."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from bridge.cli import schedule
from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say
from bridge.config import load

app = typer.Typer(no_args_is_help=True, help="See and schedule announcements.", rich_markup_mode=None)

app.add_typer(schedule.app, name="schedule")

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]


@app.callback()
def announcements() -> None:
    """See and schedule announcements."""


@app.command("list")
def list_announcements(
    community: Community,
    most: Annotated[int, typer.Option(min=1, max=500, help="How many at most, the newest first.")] = 20,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Only those with smaller numbers.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show what was announced in a community, with the numbers by which to name it."""
    result = asyncio.run(_ask("list", community, config, {"most": most, "before": before}))
    if json:
        print_json(result["announcements"])
        return
    for line in result["said"]:
        say(line)


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config)) as asked:
        return await asked.announcements(deed, community, what)
