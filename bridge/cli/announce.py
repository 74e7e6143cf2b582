"""`matrix-communities announce`."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import Told, service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, progress_bar, say
from bridge.config import Config, load
from bridge.core.errors import Refused


def announce(
    words: Annotated[
        list[str],
        typer.Argument(metavar="COMMUNITY…", help="One community, or several; then a template's fields, NAME=VALUE."),
    ],
    text: Annotated[str | None, typer.Option(help="The text, in Markdown.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="A Markdown file; - means standard input.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Whom it is for: everybody, group:…, community:…, below or tag:…"),
    ] = None,
    ack: Annotated[bool, typer.Option("--ack", help="Ask everybody to confirm it with ✅.")] = False,
    ring: Annotated[bool, typer.Option("--ring", help="Notify everybody, with @room.")] = False,
    template: Annotated[
        str, typer.Option(metavar="NAME", help="Fill in one of the community's announcement templates.")
    ] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be sent, and send nothing.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Post an announcement, encrypted, as the announcer."""
    fields = [word for word in words if template and "=" in word]
    communities = [word for word in words if word not in fields]
    if not communities:
        raise Refused("no community is named", where="announce", remedy="write its id before the fields")
    body = _filling(fields) if template else _text(text, file)
    if preview:
        if to and len(communities) != 1:
            raise Refused("says whom it is for in one community", where="--to", remedy="name one community with it")
        what = {"text": body, "ring": ring, "template": template, "to": to or [], "acknowledge": ack}
        shown = asyncio.run(_preview(load(config), communities, what))
        print_json(shown) if json else _show_preview(shown)
        return 0
    with progress_bar("handing out keys, and sending") as told:
        how = {"to": to or [], "acknowledge": ack, "ring": ring, "template": template}
        result = asyncio.run(_announce(load(config), communities, body, told, how))
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


def _filling(fields: list[str]) -> str:
    """The fields of a template as they are written in a chat: what the shell took apart is put into quotes."""
    found = []
    for field in fields:
        name, _, value = field.partition("=")
        found.append(f'{name}="{value}"')
    return " ".join(found)


async def _announce(
    config: Config, communities: list[str], text: str, told: Told, how: Mapping[str, Any]
) -> dict[str, Any]:
    source = f"command-{secrets.token_hex(12)}"
    async with service_or_alone(config, with_keys=True) as asked:
        return await asked.announce(communities, text, source=source, progress=told, **how)


async def _preview(config: Config, communities: list[str], what: dict[str, Any]) -> list[dict[str, Any]]:
    async with service_or_alone(config) as asked:
        return [(await asked.announcements("preview", name, what))["preview"] for name in communities]


def _show_preview(shown: list[dict[str, Any]]) -> None:
    for one in shown:
        say(f"{one['community']}: to {', '.join(one['audience'])}; {one['people']} people now, nothing was sent")
        say(one["content"]["body"])


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
