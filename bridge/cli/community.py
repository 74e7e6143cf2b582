"""`matrix-communities community`: how a community is set up, its end, and its beginning anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, working
from bridge.cli.pictures import content_of
from bridge.config import load
from bridge.core.lines import one_line

app = typer.Typer(no_args_is_help=True, help="Set up, end and begin communities again.", rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="What to set, by its key in the configuration.")]


@app.command()
def about(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show how a community is set up, and what of it the configuration decides."""
    result = asyncio.run(_ask("about", community, config, {}))
    if json:
        print_json(result)
        return
    for setting in result["settings"]:
        mark = "  (in the configuration)" if setting["declared"] else ""
        say(f"{setting['key']:<20} {one_line(setting['value'], 200) or '–'}{mark}")


@app.command("set")
def set_(
    community: Community,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What it shall be.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Change what the configuration leaves to people: name, rules, language and so on."""
    _do("set", community, config, json, key=key, text=value)


@app.command()
def reset(community: Community, key: Key, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Take back what people set."""
    _do("reset", community, config, json, key=key)


@app.command()
def picture(
    community: Community,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A PNG, JPEG, GIF or WebP file.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the picture away.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Give a community a picture, or take it away."""
    _do("picture", community, config, json, remove=remove, data=content_of(file, remove=remove))


@app.command()
def deactivate(
    community: Community,
    name: Annotated[str, typer.Option("--name", help="The community's name, to say that you mean it.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """End a community: its groups go on by themselves, announcements can be read, and the space says so."""
    if not name:
        found = asyncio.run(_ask("caution", community, config, {}))
        say(f"{one_line(found['name'])} ends: its groups leave it, with their moderators and admins in charge,")
        say("announcements become read-only, invite links stop working, and requests are closed.")
        if alone := found["without_heirs"]:
            say(f"Nobody would be in charge of: {', '.join(alone)}.", "yellow")
        name = typer.prompt("Type its name to deactivate it")
    _do("deactivate", community, config, json, text=name)


@app.command()
def reactivate(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Begin a deactivated community again. Groups that left it do not come back; declared ones are made anew."""
    _do("reactivate", community, config, json)


def _do(deed: str, community: str, config: ConfigFile, json: bool, **what: Any) -> None:
    with working("changing the rooms"):
        result = asyncio.run(_ask(deed, community, config, what))
    if json:
        print_json(result)
        return
    for line in result["said"]:
        say(one_line(line))
    if not result["done"]:
        say("Taken on; the service goes on with it, and `matrix-communities status` shows what is left.", "yellow")


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config), with_keys=True) as asked:
        return await asked.community(deed, community, **what)
