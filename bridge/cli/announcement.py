"""`matrix-communities announcement`: what was announced, and what is done about it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli import afterwards, schedule
from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say
from bridge.config import load
from bridge.core.errors import Refused

app = typer.Typer(no_args_is_help=True, help="See, schedule, change and repeat announcements.", rich_markup_mode=None)
app.add_typer(afterwards.app)
app.add_typer(schedule.app, name="schedule")

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]


@app.callback()
def announcements() -> None:
    """See, schedule, change and repeat announcements."""


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


CsvFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as CSV; - means standard output.")]


@app.command("stats")
def stats(
    community: Community,
    announcement: Annotated[str | None, typer.Argument(metavar="NUMBER", help="One announcement's number.")] = None,
    most: Annotated[int, typer.Option(min=1, max=500, help="How many at most, the newest first.")] = 40,
    csv: CsvFile = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the last ones; - means standard output.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show how many people announcements reached: given the key, read, reacted."""
    result = asyncio.run(_ask("reach", community, config, {"announcement": announcement, "most": most}))
    if svg is not None and "svg" not in result:
        raise Refused("there is a picture of several announcements alone", remedy="leave the number out")
    _hand_out(result, "announcements", {csv: result["csv"], svg: result.get("svg", "")}, json=json)


@app.command("ack")
def ack(
    community: Community,
    announcement: Annotated[str, typer.Argument(metavar="NUMBER", help="The announcement's number.")],
    csv: CsvFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show who has confirmed an announcement, and who has not."""
    result = asyncio.run(_ask("acknowledgement", community, config, {"announcement": announcement}))
    _hand_out(result, "acknowledgement", {csv: result["csv"]}, json=json)


def _hand_out(result: dict[str, Any], name: str, files: dict[Path | None, str], *, json: bool) -> None:
    """Write the files that were asked for; else show it."""
    wanted = {path: text for path, text in files.items() if path is not None}
    for path, text in wanted.items():
        if str(path) == "-":
            typer.echo(text, nl=False)
        else:
            _write(path, text)
    if json:
        print_json(result[name])
    elif not wanted:
        for line in result["said"]:
            say(line)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Refused(f"cannot be written: {error}", where=str(path), remedy="name a file that can be") from error


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config)) as asked:
        return await asked.announcements(deed, community, what)
