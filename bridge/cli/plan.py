"""`matrix-communities plan` and `apply`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from bridge.cli.door import Door, service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, progress_bar, say, working
from bridge.config import Config, load
from bridge.core.errors import Refused
from bridge.core.lines import one_line

SOMETHING_TO_DO = 2
Community = Annotated[str | None, typer.Argument(help="One community; all of them where none is named.")]

_SIGNS = {
    "create": ("+", "green"), "invite": ("+", "green"), "link": ("+", "green"), "join": ("+", "green"),
    "kick": ("-", "red"), "ban": ("-", "red"), "adopt": ("<", "cyan"),
}  # fmt: skip


def plan(community: Community = None, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Show what would change. Exit code 2 where there is something to do."""
    with working("looking at the rooms"):
        found = asyncio.run(_plan(load(config), _names(community)))
    if json:
        print_json(found)
    else:
        show(found)
    return SOMETHING_TO_DO if found["actions"] else 0


async def _plan(config: Config, names: list[str]) -> dict[str, Any]:
    async with service_or_alone(config) as asked:
        return await asked.plan(names)


def apply(
    community: Community = None,
    config: ConfigFile = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Carry out an unsafe plan too, and lift locks after a fight.")
    ] = False,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Give up rooms that cannot be read any more, and make them anew.")
    ] = False,
) -> int:
    """Show what would change, ask, and do it."""
    return asyncio.run(_apply(load(config), _names(community), yes=yes, force=force, recreate=recreate))


async def _apply(config: Config, names: list[str], *, yes: bool, force: bool, recreate: bool) -> int:
    async with service_or_alone(config) as asked:
        with working("looking at the rooms"):
            found = await asked.plan(names, recreate=recreate)
        show(found)
        if found["unsafe"] and not force:
            raise Refused(
                "the plan is unsafe, for the reasons above",
                remedy="see that the configuration says what you mean; then use --force",
            )
        nothing_to_do = not found["actions"] and not force
        if nothing_to_do and not isinstance(asked, Door):
            return 0
        if not yes and not nothing_to_do:
            _agree()
        with progress_bar("working") as told:
            digest = None if force else found["digest"]
            result = await asked.apply(names, force=force, digest=digest, progress=told, recreate=recreate)
    return 0 if nothing_to_do else _summary(result)


def _agree() -> None:
    if not sys.stdin.isatty():
        raise Refused("nobody can be asked here", remedy="add --yes to carry the plan out without asking")
    typer.confirm("Carry this out?", abort=True)


def _names(community: str | None) -> list[str]:
    return [] if community is None else [community]


def show(found: dict[str, Any]) -> None:
    """Show a plan to a person."""
    if not found["actions"]:
        say("Nothing to do: everything is as declared.")
    else:
        count = len(found["actions"])
        say(f"{count} action{'s' if count != 1 else ''} (plan {found['digest']}):")
    for action in found["actions"]:
        sign, style = _SIGNS.get(action["kind"], ("~", "yellow"))
        say(f"  {sign} {action['room']}: {one_line(action['summary'])}", style)
    for item in found["blocked"]:
        say(f"  ! {item['room']} is blocked: {one_line(item['reason'])}", "bold red")
    for reason in found["unsafe"]:
        say(f"  ! unsafe: {one_line(reason)}", "bold red")
    for note in found.get("notes", []):
        say(f"  · {one_line(note)}", "dim")
    for name in found.get("not_declared", []):
        say(f"  · {name} is declared no longer; its rooms are left as they are", "dim")
    for name in found.get("deactivated", []):
        say(f"  · {name} was deactivated, so nothing is done about it: take it out of the configuration,", "yellow")
        say(f"    or begin it again with `matrix-communities community reactivate {name}`", "yellow")


def _summary(result: dict[str, Any]) -> int:
    for community in result["communities"]:
        say(f"{community['community']}: {community['done']} done, {len(community['failures'])} failed")
        for failure in community["failures"]:
            say(f"  ! {failure['room']}: {failure['summary']}: {failure['why']}", "bold red")
        for reason in community["unsafe"]:
            say(f"  ! not done, unsafe: {reason}", "bold red")
    if not result["ok"]:
        say("What failed is tried again by the running service, or by the next `apply`.")
    return 0 if result["ok"] else 1
