"""`matrix-communities announce`."""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import Told, service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, progress_bar, say
from bridge.config import Config, load
from bridge.core.errors import Refused


def announce(
    communities: Annotated[list[str], typer.Argument(metavar="COMMUNITY…", help="One community, or several.")],
    text: Annotated[str | None, typer.Option(help="The text, in Markdown.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="A Markdown file; - means standard input.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Whom it is for: everybody, group:…, community:…, below or tag:…"),
    ] = None,
    ack: Annotated[bool, typer.Option("--ack", help="Ask everybody to confirm it with ✅.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Post an announcement, encrypted, as the announcer."""
    body = _text(text, file)
    with progress_bar("handing out keys, and sending") as told:
        result = asyncio.run(_announce(load(config), communities, body, to or [], told, ack=ack))
    if json:
        print_json(result)
    else:
        _show(result)
    return 0 if result["ok"] else 1


def _text(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise Refused("give either --text or --file", where="announce", remedy='for instance --text "School is closed"')
    if text is not None:
        return text
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return Path(str(file)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"cannot be read: {error}", where=str(file), remedy="name a UTF-8 text file") from error


async def _announce(
    config: Config, communities: list[str], text: str, to: list[str], told: Told, *, ack: bool
) -> dict[str, Any]:
    source = f"command-{secrets.token_hex(12)}"
    async with service_or_alone(config, with_keys=True) as asked:
        return await asked.announce(communities, text, source=source, to=to, progress=told, acknowledge=ack)


def _show(result: dict[str, Any]) -> None:
    people = [one for one in result["targets"] if str(one.get("place", "")).startswith("@")]
    for target in result["targets"]:
        if target in people:
            continue
        name = "/".join(filter(None, [target["community"], target.get("place")]))
        if target.get("event_id"):
            say(f"{name}: sent ({target['event_id']}), {target['devices']} devices can read it")
            if target.get("unreached"):
                say(f"  {target['unreached']} members cannot: `matrix-communities status` says why", "yellow")
        elif target.get("failed"):
            say(f"{name}: not sent: {target['failed']}", "bold red")
        else:
            say(f"{name}: still on its way; the service goes on trying", "yellow")
    if people:
        _show_people(people)


def _show_people(people: list[dict[str, Any]]) -> None:
    sent, waits = sum(bool(one.get("event_id")) for one in people), sum(bool(one.get("waits")) for one in people)
    say(f"direct chats: {sent} of {len(people)} people have it")
    if waits:
        say(f"  {waits} were invited to a chat, and get it when they accept")
    for one in people:
        if one.get("failed"):
            say(f"  {one['place']}: not sent: {one['failed']}", "yellow" if one.get("closed") else "bold red")
    if left := sum(not (one.get("event_id") or one.get("waits") or one.get("failed")) for one in people):
        say(f"  {left} still on their way; the service goes on trying", "yellow")
