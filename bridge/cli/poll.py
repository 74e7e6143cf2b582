"""`matrix-communities poll`."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, out, print_json, say
from bridge.config import load
from bridge.core.errors import Refused

app = typer.Typer(no_args_is_help=True, help="Ask a community, and see what came of it.", rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="The poll's number, as `list` shows it.")]


@app.callback()
def poll() -> None:
    """Ask a community something, and see how people voted."""


@app.command()
def new(
    community: Community,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What is asked.")],
    options: Annotated[list[str], typer.Argument(metavar="OPTION…", help="What can be chosen: two to ten.")],
    multiple: Annotated[bool, typer.Option("--multiple", help="Let everybody choose several.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="In secret: on ballots in direct chats.")] = False,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="When it ends by itself: `friday 18:00`, `3 days`.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="WORD", help="One group instead of everybody: group:chess.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Ask everybody in a community, or one group."""
    what: dict[str, Any] = {"to": [] if to is None else [to]}
    what |= {"text": question, "options": options, "multiple": multiple, "hidden": hidden, "until": until}
    _tell(_do("poll", community, config, source=f"command-{secrets.token_hex(12)}", **what), json=json)


@app.command()
def show(
    community: Community,
    number: Number,
    csv: Annotated[bool, typer.Option("--csv", help="The counts as a table for spreadsheets.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show how people voted so far, or in the end."""
    found = _do("poll show", community, config, announcement=number)
    if csv:
        if not found["csv"]:
            raise Refused(
                "there is no count: secret votes are not counted before the end, and a group counts its own",
                remedy="end a secret poll with `poll close`, and look at the others in their group",
            )
        out.file.write(found["csv"])
    elif json:
        print_json(found["poll"])
    else:
        _tell(found, json=False)


@app.command()
def close(community: Community, number: Number, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """End a poll; its result is announced."""
    _tell(_do("poll close", community, config, announcement=number), json=json)


@app.command("list")
def list_polls(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show the polls of a community, the newest first."""
    found = _do("poll list", community, config)
    if json:
        print_json(found["polls"])
    else:
        _tell(found, json=False)


def _tell(result: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json({name: value for name, value in result.items() if name != "said"})
        return
    for line in result["said"]:
        say(line)


def _do(deed: str, community: str, config: ConfigFile, **what: Any) -> dict[str, Any]:
    return asyncio.run(_ask(deed, community, config, what))


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config), with_keys=True) as asked:
        return await asked.announcements(deed, community, what)
