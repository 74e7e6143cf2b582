"""`matrix-communities event`: events that people are invited to."""

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

app = typer.Typer(no_args_is_help=True, help="Invite people to events, and see who comes.", rich_markup_mode=None)

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
Which = Annotated[str, typer.Argument(metavar="NUMBER", help="The event's number, as `list` shows it, or a link.")]
WHEN = "When, in numbers or words: `2026-07-04 18:30 - 22:00`, `next friday 19:00 to 22:00`."
Place = Annotated[str | None, typer.Option(help="Where it is.")]
Description = Annotated[str | None, typer.Option(help="What else there is to say.")]
Seats = Annotated[int | None, typer.Option(min=1, metavar="N", help="How many seats there are.")]


@app.command()
def new(
    community: Community,
    title: Annotated[str, typer.Option(help="What it is called.")],
    at: Annotated[str, typer.Option("--when", metavar="WHEN", help=WHEN)],
    place: Place = None,
    description: Description = None,
    seats: Seats = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Invite everybody in a community to an event."""
    fields = {"title": title, "when": at, **_given(place=place, description=description, seats=seats)}
    result = _asked("event", community, config, **fields)
    if json:
        print_json({name: result[name] for name in ("announcement", "begins_at", "ends_at")})
    else:
        say(f"“{title}” on {result['when']} goes to {community}.")


@app.command("list")
def list_events(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Show the events that are to come, the next one first, and how many come."""
    result = _asked("event list", community, config)
    if json:
        print_json(result["events"])
        return
    _say(result)


@app.command()
def show(
    community: Community,
    event: Which,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write who comes and who waits as CSV; - is the output.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show an event, how many come, and with --csv who."""
    result = _asked("event show", community, config, announcement=event)
    if csv is not None and str(csv) == "-":
        typer.echo(result["csv"], nl=False)
    elif csv is not None:
        _write(csv, result["csv"])
    if json:
        print_json({name: value for name, value in result.items() if name not in ("said", "csv")})
    elif csv is None:
        _say(result)


@app.command()
def change(
    community: Community,
    event: Which,
    title: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    at: Annotated[str | None, typer.Option("--when", metavar="WHEN", help=WHEN)] = None,
    place: Place = None,
    description: Description = None,
    seats: Seats = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Change an event, and tell whoever comes."""
    fields = _given(title=title, when=at, place=place, description=description, seats=seats)
    if not fields:
        raise Refused(
            "nothing to change is given",
            where="change",
            remedy="give --title, --when, --place, --description or --seats",
        )
    _show(_asked("event change", community, config, announcement=event, fields=fields), json)


@app.command()
def cancel(
    community: Community,
    event: Which,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Cancel an event, and tell whoever comes."""
    if not yes:
        _say(_asked("event show", community, config, announcement=event))
        typer.confirm("Cancel it?", abort=True)
    _show(_asked("event cancel", community, config, announcement=event), json)


def _given(**fields: str | int | None) -> dict[str, str]:
    """The fields that are given, as text."""
    return {name: str(value) for name, value in fields.items() if value is not None}


def _show(result: dict[str, Any], json: bool) -> None:
    if json:
        print_json({"number": result["number"]})
    else:
        _say(result)


def _say(result: dict[str, Any]) -> None:
    for line in result["said"]:
        say(line)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Refused(f"cannot be written: {error}", where=str(path), remedy="name a file that can be") from error


def _asked(deed: str, community: str, config: Path, **what: Any) -> dict[str, Any]:
    with working("the homeserver is asked"):
        return asyncio.run(_ask(deed, community, config, what))


async def _ask(deed: str, community: str, config: Path, what: dict[str, Any]) -> dict[str, Any]:
    source = f"command-{secrets.token_hex(12)}"
    async with service_or_alone(load(config), with_keys=True) as asked:
        return await asked.announcements(deed, community, {"source": source, **what})
