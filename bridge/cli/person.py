"""`matrix-communities person`: what is stored about somebody, and its erasure."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, working
from bridge.config import load
from bridge.core.errors import Refused
from bridge.core.lines import one_line

app = typer.Typer(no_args_is_help=True, help="Show or erase what is stored about a person.", rich_markup_mode=None)

User = Annotated[str, typer.Argument(metavar="@USER", help="The person's user id.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Leave = Annotated[bool, typer.Option("--leave", help="Remove them from every community first.")]
Bans = Annotated[bool, typer.Option("--bans", help="Lift bans of them, too. They can come back then.")]
SHOWN = 5
"""How many rows of a kind are shown; `--json` shows all."""
LONGEST_ROW = 160


@app.command()
def show(user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """List everything that is stored about a person, and what becomes of it if they are erased."""
    with working("looking"):
        result = asyncio.run(_ask(config, "show", user))
    if json:
        print_json(result)
    else:
        _show(result)
    return 0


@app.command()
def erase(
    user: User,
    yes: Yes = False,
    leave: Leave = False,
    bans: Bans = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Erase everything that is stored about a person, after showing it. It cannot be undone."""
    if not yes:
        if json or not sys.stdin.isatty():
            raise Refused("nobody can be asked", where="person erase", remedy="look with `person show`, and add --yes")
        _show(asyncio.run(_ask(config, "show", user, bans=bans)))
        say()
        if not typer.confirm("Erase all of this? It cannot be undone."):
            say("Nothing was erased.")
            return 1
    with working("erasing"):
        result = asyncio.run(_ask(config, "erase", user, leave=leave, bans=bans))
    if json:
        print_json(result)
    else:
        _erased(result)
    return 0


async def _ask(config: Path, deed: str, user: str, *, leave: bool = False, bans: bool = False) -> dict[str, Any]:
    # a removal tells the person and the admins, for which a house that is alone needs the announcer's device
    async with service_or_alone(load(config), with_keys=leave or bans) as asked:
        return await asked.personal_data(deed, user, leave=leave, bans=bans)


def _show(result: Mapping[str, Any]) -> None:
    say(f"{result['user']}: {len(result['records'])} records", "bold")
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for record in result["records"]:
        kinds.setdefault(f"{record['kind']} ({record['way']})", []).append(record)
    for kind, records in kinds.items():
        say(f"{kind}: {len(records)}", "bold")
        for record in records[:SHOWN]:
            row = ", ".join(f"{name} {value}" for name, value in record["row"].items() if value not in (None, ""))
            say(f"  {record['table']}: {one_line(row, LONGEST_ROW)}")
        if len(records) > SHOWN:
            say(f"  … and {len(records) - SHOWN} more; --json shows all")
    _say_where(result["standing"])


def _say_where(standing: Mapping[str, Any]) -> None:
    """What rooms and the configuration say, and what follows for an erasure."""
    sayings = (
        ("member_of", "In {}: whoever is in a room is recorded again at the next look. --leave removes them first."),
        ("banned_in", "Banned in {}: the rooms keep that, for without it they come back. --bans lifts it."),
        ("kept_out_of", "Kept out of {} by `removed` in the configuration: that stays, for without it they come back."),
        ("only_owner_of", "The only owner of {}: somebody else has to become one before they can be erased."),
        ("declared", "Named in the configuration at {}: take them out there before they can be erased."),
        ("unread", "The space of {} could not be read, so it is not known what they are there."),
    )
    for key, text in sayings:
        if standing[key]:
            say(text.format(", ".join(standing[key])), "yellow")


def _erased(result: Mapping[str, Any]) -> None:
    say(f"Erased: {len(result['records'])} records about {result['user']}.", "bold")
    for kind, count in result["counts"].items():
        say(f"  {kind}: {count}")
    if result["left"]:
        left = ", ".join(f"{kind} {count}" for kind, count in result["left"].items())
        say(f"Recorded again meanwhile, or still to be worked off: {left}. Run this again in a moment.", "yellow")
    _say_where(result["standing"])
    say(
        "What the homeserver still has to tell of them, such as that they left, is recorded when it comes: look again "
        "with `person show` in a minute."
    )
    say(
        "On the homeserver stay their account, what they wrote, and their memberships; in rooms and chats stays what "
        "was told of them there. The homeserver's operator erases the account with Synapse's admin API: "
        f'POST /_synapse/admin/v1/deactivate/{result["user"]} with {{"erase": true}}. '
        "Logs and backups of the database are yours to delete."
    )
