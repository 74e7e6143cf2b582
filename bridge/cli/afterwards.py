"""`matrix-communities announcement edit` and its like: what is done about announcements that were sent."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, working
from bridge.config import load
from bridge.core.errors import Refused
from bridge.core.links import parse_span

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
Which = Annotated[str, typer.Argument(metavar="NUMBER", help="The announcement's number there, or a link to it.")]


@app.command()
def edit(
    community: Community,
    which: Which,
    text: Annotated[str, typer.Option("--text", help="The new text, in Markdown.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Put another text in the place of an announcement, in every room and chat."""
    return _do("edit", community, which, config, json, text=text)


@app.command()
def withdraw(
    community: Community,
    which: Which,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Redact an announcement in every room and chat, with its edits and files."""
    if not yes:
        asked = asyncio.run(_ask("look", community, which, config, {}))
        for line in asked["said"]:
            say(line)
        if not typer.confirm("Withdraw it?"):
            raise Refused("nothing was withdrawn")
    return _do("withdraw", community, which, config, json)


@app.command()
def pin(
    community: Community,
    which: Which,
    span: Annotated[str, typer.Option("--for", metavar="SPAN", help="For how long: 24h, 7d, 30d.")] = "7d",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Pin an announcement in its rooms for a while."""
    try:
        milliseconds = parse_span(span)
    except ValueError as error:
        raise Refused(str(error), where="--for") from error
    if milliseconds is None:
        raise Refused("a pin ends", where="--for", remedy="for instance 30d")
    return _do("pin", community, which, config, json, seconds=milliseconds // 1000)


@app.command()
def unpin(community: Community, which: Which, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Take the pin off an announcement."""
    return _do("unpin", community, which, config, json)


@app.command()
def repost(community: Community, which: Which, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Announce an announcement once more, to the same people."""
    return _do("repost", community, which, config, json)


@app.command()
def forward(
    community: Community,
    which: Which,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The community to announce it in.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Announce an announcement in another community, too."""
    return _do("forward", community, which, config, json, target=target)


@app.command()
def retry(community: Community, which: Which, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Try again what was given up of an announcement: deliveries, edits, withdrawals."""
    return _do("retry", community, which, config, json)


def _do(deed: str, community: str, which: str, config: Path, json: bool, **what: Any) -> int:
    with working("the homeserver is asked"):
        result = asyncio.run(_ask(deed, community, which, config, what))
    if json:
        print_json(result)
    else:
        for line in result["said"]:
            say(line)
    return 0 if result["done"] else 1


async def _ask(deed: str, community: str, which: str, config: Path, what: dict[str, Any]) -> dict[str, Any]:
    source = f"command-{secrets.token_hex(12)}"
    async with service_or_alone(load(config), with_keys=deed != "look") as asked:
        return await asked.announcements(deed, community, {"announcement": which, "source": source, **what})
