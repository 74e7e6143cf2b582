"""`matrix-communities subcommunity`: communities that people make within others."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, working
from bridge.config import load
from bridge.core.lines import LONGEST_NAME, one_line

app = typer.Typer(no_args_is_help=True, help="Make, move and rename communities within others.", rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]


@app.command()
def create(
    community: Community,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    key: Annotated[str, typer.Option("--id", metavar="ID", help="Its id; made of the name if left out.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Make a community within another."""
    _do("create", community, config, json, text=name, key=key)


@app.command("list")
def list_communities(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show a community and those within it."""
    _do("list", community, config, json)


@app.command()
def move(
    community: Community,
    parent: Annotated[str, typer.Argument(metavar="PARENT", help="Within which it is to stand.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Have a community stand within another. Its rooms and its people stay."""
    _do("move", community, config, json, parent=parent)


@app.command()
def rename(
    community: Community,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Give a community another name. Its id stays."""
    _do("rename", community, config, json, text=name)


def _do(deed: str, community: str, config: ConfigFile, json: bool, **what: Any) -> None:
    with working("changing the rooms"):
        result = asyncio.run(_ask(deed, community, config, what))
    if json:
        print_json(result)
        return
    if deed == "list":
        for one in result["communities"]:
            mark = "  (declared)" if one["declared"] else ""
            say(f"{'  ' * one['depth']}{one['id']}  {one_line(one['name'], LONGEST_NAME)}{mark}")
        return
    for line in result["said"]:
        say(one_line(line))
    if not result["done"]:
        say("Taken on; the service goes on with it, and `matrix-communities status` shows what is left.", "yellow")


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config), with_keys=True) as asked:
        return await asked.subcommunities(deed, community, **what)
