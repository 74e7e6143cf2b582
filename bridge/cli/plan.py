"""`matrix-communities plan` and `apply`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from bridge.cli.door import ask_or_do, silent
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, progress_bar, say
from bridge.config import Config, load
from bridge.core.errors import Refused

SOMETHING_TO_DO = 2
Community = Annotated[str | None, typer.Argument(help="One community; all of them where none is named.")]

_SIGNS = {
    "create": ("+", "green"), "invite": ("+", "green"), "link": ("+", "green"), "join": ("+", "green"),
    "kick": ("-", "red"), "ban": ("-", "red"), "adopt": ("<", "cyan"),
}  # fmt: skip


def plan(community: Community = None, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Show what would change. Exit code 2 where there is something to do."""
    found = asyncio.run(_plan(load(config), community))
    if json:
        print_json(found)
    else:
        show(found)
    return SOMETHING_TO_DO if found["actions"] else 0


def apply(
    community: Community = None,
    config: ConfigFile = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Carry out an unsafe plan too, and lift locks after a fight.")
    ] = False,
) -> int:
    """Show what would change, ask, and do it."""
    loaded = load(config)
    found = asyncio.run(_plan(loaded, community))
    show(found)
    if found["unsafe"] and not force:
        raise Refused(
            "the plan is unsafe, for the reasons above",
            remedy="see that the configuration says what you mean; then use --force",
        )
    if not found["actions"] and not force:
        asyncio.run(_apply(loaded, community, force, found["digest"]))
        return 0
    if not yes:
        _agree()
    result = asyncio.run(_apply(loaded, community, force, None if force else found["digest"]))
    return _summary(result)


def _agree() -> None:
    if not sys.stdin.isatty():
        raise Refused("nobody can be asked here", remedy="add --yes to carry the plan out without asking")
    typer.confirm("Carry this out?", abort=True)


def _names(community: str | None) -> list[str]:
    return [] if community is None else [community]


async def _plan(config: Config, community: str | None) -> Any:
    names = _names(community)
    return await ask_or_do(
        config, "plan", {"communities": names}, lambda operations: operations.plan(names), make_accounts=False
    )


async def _apply(config: Config, community: str | None, force: bool, digest: str | None) -> Any:
    names = _names(community)
    body = {"communities": names, "force": force, "digest": digest}
    with progress_bar("working") as told:
        return await ask_or_do(
            config,
            "apply",
            body,
            lambda operations: operations.apply(names, force=force, digest=digest, progress=told),
            told=told or silent,
        )


def show(found: dict[str, Any]) -> None:
    """Show a plan to a person."""
    if not found["actions"]:
        say("Nothing to do: everything is as declared.")
    else:
        count = len(found["actions"])
        say(f"{count} action{'s' if count != 1 else ''} (plan {found['digest']}):")
    for action in found["actions"]:
        sign, style = _SIGNS.get(action["kind"], ("~", "yellow"))
        say(f"  {sign} {action['room']}: {action['summary']}", style)
    for item in found["blocked"]:
        say(f"  ! {item['room']} is blocked: {item['reason']}", "bold red")
    for reason in found["unsafe"]:
        say(f"  ! unsafe: {reason}", "bold red")
    for note in found.get("notes", []):
        say(f"  · {note}", "dim")
    for name in found.get("not_declared", []):
        say(f"  · {name} is declared no longer; its rooms are left as they are", "dim")


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
