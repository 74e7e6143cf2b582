"""`matrix-communities announcement schedule`: announcements that wait for their time."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say
from bridge.config import load
from bridge.core.errors import Refused

app = typer.Typer(no_args_is_help=True, help="Have something announced at a time.", rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
Number = Annotated[int, typer.Argument(min=1, metavar="NUMBER", help="Its number, as `list` shows it.")]


@app.command()
def add(
    community: Community,
    at: Annotated[str, typer.Option(metavar="WHEN", help="When, in words: `tomorrow 8:00`, `every monday at 8`.")],
    text: Annotated[str, typer.Option(help="The text, in Markdown.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Have a text announced at a time, or again and again."""
    _do("schedule", community, config, json, when=at, text=text)


@app.command("list")
def list_scheduled(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show what is scheduled in a community, the next one first."""
    _do("scheduled", community, config, json)


@app.command()
def show(community: Community, number: Number, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show one, with its text and when it comes next."""
    _do("schedule show", community, config, json, number=number)


@app.command()
def edit(
    community: Community,
    number: Number,
    at: Annotated[str | None, typer.Option(metavar="WHEN", help="Another time, in words.")] = None,
    text: Annotated[str | None, typer.Option(help="Another text, in Markdown.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Give one another time, another text, or both. From then on it is the operator's."""
    if at is None and text is None:
        raise Refused("nothing to change is given", where="edit", remedy="give --at, --text or both")
    _do("schedule edit", community, config, json, number=number, when=at, text=text)


@app.command()
def skip(community: Community, number: Number, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Leave the next time of one out."""
    _do("schedule skip", community, config, json, number=number)


@app.command()
def cancel(community: Community, number: Number, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Call one off."""
    _do("schedule cancel", community, config, json, number=number)


def _do(deed: str, community: str, config: ConfigFile, json: bool, **what: Any) -> None:
    result = asyncio.run(_ask(deed, community, config, {"source": f"command-{secrets.token_hex(12)}", **what}))
    if json:
        print_json(result["scheduled"])
        return
    for line in result["said"]:
        say(line)


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config)) as asked:
        return await asked.announcements(deed, community, what)
