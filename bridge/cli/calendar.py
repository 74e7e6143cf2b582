"""`matrix-communities calendar`: calendars of events that programs subscribe to."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say
from bridge.config import load

app = typer.Typer(
    no_args_is_help=True, help="Calendars of events, for programs that subscribe to them.", rich_markup_mode=None
)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
User = Annotated[str, typer.Argument(metavar="@USER", help="A member, whose address it is.")]


@app.command()
def on(
    community: Community,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Let members have addresses of the calendar: events leave encryption by it."""
    if not yes:
        for line in asyncio.run(_ask("calendar caution", community, config, {}))["said"]:
            say(line)
        typer.confirm("Open it?", abort=True)
    _do("calendar on", community, config, json)


@app.command()
def off(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Close the calendar: no address leads anywhere from then on."""
    _do("calendar off", community, config, json)


@app.command()
def show(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show whether the calendar is open, and how many members have an address."""
    result = asyncio.run(_ask("calendar show", community, config, {}))
    if json:
        print_json(_without_words(result))
        return
    state = f"open, with {result['addresses']} addresses" if result["open"] else "closed"
    say(f"The calendar of {community} is {state}.")


@app.command()
def address(community: Community, user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show a member's address of the calendar; one is made where there is none."""
    _do("calendar address", community, config, json, user=user)


@app.command()
def reset(community: Community, user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Give a member another address of the calendar: the one before leads nowhere."""
    _do("calendar reset", community, config, json, user=user)


def _do(deed: str, community: str, config: Path, json: bool, **what: Any) -> None:
    result = asyncio.run(_ask(deed, community, config, what))
    if json:
        print_json(_without_words(result))
        return
    for line in (result["webcal"], result["url"]) if "webcal" in result else result["said"]:
        say(line)


def _without_words(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "said"}


async def _ask(deed: str, community: str, config: Path, what: dict[str, Any]) -> dict[str, Any]:
    source = f"command-{secrets.token_hex(12)}"
    async with service_or_alone(load(config), with_keys=False) as asked:
        return await asked.announcements(deed, community, {"source": source, **what})
