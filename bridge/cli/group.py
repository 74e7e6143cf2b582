"""`matrix-communities group`: groups that people make, beside those of the configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, working
from bridge.cli.pictures import content_of
from bridge.config import load
from bridge.core.lines import LONGEST_NAME, one_line

app = typer.Typer(no_args_is_help=True, help="Make, change, archive and release groups.", rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
Key = Annotated[str, typer.Argument(metavar="GROUP", help="The group's key, as `group list` shows it.")]
Kind = Annotated[str, typer.Argument(metavar="KIND", help="`open`, `request` or `hidden`.")]


@app.command()
def create(
    community: Community,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="`open`, `request` or `hidden`.")] = "open",
    key: Annotated[str, typer.Option(metavar="KEY", help="Its key; made of the name if left out.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Make a group."""
    _do("create", community, config, json, text=name, kind=kind, key=key)


@app.command("list")
def list_groups(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show a community's groups, the declared ones and those that people made."""
    _do("list", community, config, json)


@app.command()
def rename(
    community: Community,
    key: Key,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Give a group another name. Its key stays."""
    _do("rename", community, config, json, key=key, text=name)


@app.command()
def describe(
    community: Community,
    key: Key,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the group is for.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Give a group another description."""
    _do("describe", community, config, json, key=key, text=text)


@app.command("announcements")
def let_in(
    community: Community,
    key: Key,
    on: Annotated[str, typer.Argument(metavar="ON", help="`on` or `off`.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Let the announcer into a group, so that announcements can be posted there, or out of it again.

    The service could read what is written there from then on; the group is told.
    """
    _do("announcements", community, config, json, key=key, on=on)


@app.command()
def picture(
    community: Community,
    key: Key,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A PNG, JPEG, GIF or WebP file.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the picture away.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Give a group a picture, or take it away."""
    _do("picture", community, config, json, key=key, remove=remove, data=content_of(file, remove=remove))


@app.command()
def posting(
    community: Community,
    key: Key,
    who: Annotated[str, typer.Argument(metavar="WHO", help="`members` or `moderators`.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Say who may post in a group."""
    _do("posting", community, config, json, key=key, posting=who)


@app.command()
def kind(community: Community, key: Key, kind: Kind, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Say how people come into a group."""
    _do("kind", community, config, json, key=key, kind=kind)


@app.command()
def archive(community: Community, key: Key, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Close a group: it can be read, and only admins post in it."""
    _do("archive", community, config, json, key=key)


@app.command()
def unarchive(community: Community, key: Key, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Open an archived group again."""
    _do("unarchive", community, config, json, key=key)


@app.command()
def adopt(
    community: Community,
    room: Annotated[str, typer.Argument(metavar="ROOM", help="The room's id (`!…`) or address (`#…`).")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="`open`, `request` or `hidden`; as the room is now.")] = "",
    key: Annotated[str, typer.Option(metavar="KEY", help="Its key; made of the room's name if left out.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="With --yes: encrypt a room that is not, for good.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Make a group of a room that exists. The steward has to be invited to it first, with an admin's level."""
    what = {"room": room, "kind": kind, "key": key}
    if not yes:
        found = asyncio.run(_ask("propose", community, config, what))
        for line in found["said"]:
            say(line)
        typer.confirm("Adopt it?", abort=True)
        encrypt = True  # what was shown says so
        what |= {"key": found["key"], "kind": found["kind"], "digest": found["digest"]}
    _do("adopt", community, config, json, encrypt=encrypt, **what)


@app.command()
def move(
    community: Community,
    key: Key,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The id of the community that it moves to.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Move a group to a community above, below or beside this one. Its room and its people stay."""
    _do("move", community, config, json, key=key, target=target)


@app.command()
def release(
    community: Community,
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Let a group leave the community, with its admins and moderators in charge. It cannot be undone."""
    if not yes:
        heirs = asyncio.run(_ask("heirs", community, config, {"key": key}))["heirs"]
        say(f"{key} leaves {community} for good, and the service leaves the room.")
        say(f"In charge of it are then: {', '.join(heirs) or 'nobody; it has no room'}.")
        typer.confirm("Release it?", abort=True)
    _do("release", community, config, json, key=key)


def _do(deed: str, community: str, config: ConfigFile, json: bool, **what: Any) -> None:
    with working("changing the rooms"):
        result = asyncio.run(_ask(deed, community, config, what))
    if json:
        print_json(result)
        return
    if deed == "list":
        for group in result["groups"]:
            marks = [group["kind"], *(["archived"] if group["archived"] else [])]
            marks += ["declared"] if group["declared"] else []
            say(f"{group['key']}  {one_line(group['name'], LONGEST_NAME)}  ({', '.join(marks)})")
        if not result["groups"]:
            say("There is no group.")
        return
    for line in result["said"]:
        say(one_line(line))
    if not result["done"]:
        say("Taken on; the service goes on with it, and `matrix-communities status` shows what is left.", "yellow")


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config), with_keys=True) as asked:
        return await asked.groups(deed, community, **what)
