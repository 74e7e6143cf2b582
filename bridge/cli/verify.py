"""`matrix-communities verify`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from bridge.cli.door import Door
from bridge.cli.options import DEFAULT_CONFIG, ConfigFile, say, working
from bridge.config import load
from bridge.core.errors import Refused, ServiceUnreachable
from bridge.core.ids import parse_user_id

POLL_SECONDS = 0.5
ASK_SECONDS = 300.0
STEP_SECONDS = 120.0
_BEFORE = ("requested", "asking", "ready", "starting", "exchanging")


def verify(
    config: ConfigFile = DEFAULT_CONFIG,
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="With whom; asks them where they have not asked.")
    ] = "",
) -> int:
    """Verify the announcer and somebody by comparing emoji with them, who sees them in Element."""
    if user:
        _must_be_user(user)
    return asyncio.run(_verify(Door(load(config)), user))


def _must_be_user(user: str) -> None:
    try:
        parse_user_id(user)
    except ValueError as error:
        raise Refused(str(error), where="--user", remedy="write it as @name:example.org") from error


async def _verify(door: Door, user: str) -> int:
    try:
        flow = await _begin(door, user)
    except ServiceUnreachable as error:
        raise Refused("the service does not run", where="verify", remedy="start it: it is who talks to them") from error
    try:
        flow = await _wait(door, flow, _BEFORE, "waiting for the other side")
        if flow["stage"] == "comparing":
            _show(flow)
            same = await asyncio.to_thread(typer.confirm, "Does the other side show the same?")
            flow = await door.verify("answer", id=flow["id"], matches=same)
            flow = await _wait(door, flow, ("waiting", "proven"), "waiting for the other side's answer")
    except (typer.Abort, KeyboardInterrupt, asyncio.CancelledError, Refused):
        await door.verify("cancel", id=flow["id"])
        raise
    if flow["stage"] != "done":
        say(f"Not verified: {flow['reason'] or 'cancelled'} ({flow['code']})", "bold red")
        return 1
    say(f"{flow['user_id']} and the announcer have verified each other.", "green")
    return 0


async def _begin(door: Door, user: str) -> Any:
    """The request to go on with: the newest of that user; ours where they have made none."""
    found = _of(await door.verify("open"), user)
    if user and not found:
        say(f"{user} has not asked; asking them. They find it in their client.")
        return await door.verify("ask", user=user)
    if not found:
        say("Nobody asks. In Element: open the chat with the announcer, its name, Verify user, Start verification.")
        found = await _until(lambda: _asking(door), ASK_SECONDS, "waiting for somebody to ask")
    if len({flow["user_id"] for flow in found}) > 1:
        names = ", ".join(sorted({flow["user_id"] for flow in found}))
        raise Refused(f"several people ask: {names}", where="verify", remedy="name one with --user")
    flow = found[-1]
    say(f"{flow['user_id']} asks, from the session {flow['device_id']}.")
    if not user and not await asyncio.to_thread(typer.confirm, "Is this who you want to verify?"):
        await door.verify("cancel", id=flow["id"])
        raise Refused("given up", where="verify")
    return await door.verify("accept", id=flow["id"])


async def _asking(door: Door) -> list[Any]:
    return _of(await door.verify("open"), "")


def _of(flows: list[Any], user: str) -> list[Any]:
    return [flow for flow in flows if flow["stage"] == "requested" and user in ("", flow["user_id"])]


async def _wait(door: Door, flow: Any, stages: tuple[str, ...], what: str) -> Any:
    async def moved() -> Any:
        now = await door.verify("look", id=flow["id"])
        return None if now["stage"] in stages else now

    return await _until(moved, STEP_SECONDS, what)


async def _until(look: Callable[[], Awaitable[Any]], seconds: float, what: str) -> Any:
    end = asyncio.get_running_loop().time() + seconds
    with working(what):
        while not (found := await look()):
            if asyncio.get_running_loop().time() > end:
                raise Refused("nothing came", where="verify", remedy="begin again, with both clients in sight")
            await asyncio.sleep(POLL_SECONDS)
    return found


def _show(flow: Any) -> None:
    say()
    say("    " + "   ".join(f"{sign} {name}" for sign, name in flow["emoji"]), "bold")
    say("    or, as numbers: " + " ".join(str(number) for number in flow["decimals"]))
    say()
