"""The commands about people: `invite`, `remove`, `ban`, `unban`, `promote`, `demote`, `moderator`, `transfer`,
`requests`, `approve`, `reject`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, when, working
from bridge.config import load
from bridge.core.lines import LONGEST_NAME, one_line

Community = Annotated[str, typer.Argument(metavar="COMMUNITY", help="The community's id.")]
User = Annotated[str, typer.Argument(metavar="@USER", help="The person's user id.")]
Users = Annotated[list[str], typer.Argument(metavar="@USER…", help="User ids.")]
RevokeLinks = Annotated[bool, typer.Option("--revoke-links", help="Take back invite links that they made.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; the person sees it.")]


def invite(
    community: Community,
    users: Users,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="A group to invite them to as well.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Invite people to a community, and to groups."""
    return _do("invite", community, config, json, users=users, groups=group or [])


def remove(
    community: Community,
    user: User,
    reason: Reason = "",
    revoke_links: RevokeLinks = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Remove somebody from every room of a community. They can be invited again."""
    return _do("remove", community, config, json, users=[user], reason=reason, revoke_links=revoke_links)


def ban(
    community: Community,
    user: User,
    reason: Reason = "",
    revoke_links: RevokeLinks = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Remove somebody from every room of a community, and keep them out."""
    return _do("ban", community, config, json, users=[user], reason=reason, revoke_links=revoke_links)


def unban(community: Community, user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Lift a ban in every room of a community."""
    return _do("unban", community, config, json, users=[user])


def promote(
    community: Community,
    user: User,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="`owner` or `admin`.")],
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Make somebody an owner or an admin."""
    return _do("promote", community, config, json, users=[user], role=role)


def demote(
    community: Community,
    user: User,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="What they are then: `member` or `admin`.")] = "member",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Make an owner or admin a member again, or an owner an admin."""
    return _do("demote", community, config, json, users=[user], role=role)


def moderator(
    deed: Annotated[str, typer.Argument(metavar="add|remove", help="`add` or `remove`.")],
    community: Community,
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The group's key.")],
    user: User,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Make somebody a moderator of a group, or end that."""
    if deed not in ("add", "remove"):
        raise typer.BadParameter("the first word is `add` or `remove`")
    return _do("moderator", community, config, json, users=[user], group=group, add=deed == "add")


def transfer(community: Community, user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Hand ownership of a community over: the one owner becomes an admin."""
    return _do("transfer", community, config, json, users=[user])


def requests(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Show who asks to join a community and waits for an answer."""
    return _do("requests", community, config, json)


def approve(community: Community, user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Let somebody in who asks to join."""
    return _do("approve", community, config, json, users=[user])


def reject(
    community: Community, user: User, reason: Reason = "", config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False
) -> int:
    """Turn somebody away who asks to join."""
    return _do("reject", community, config, json, users=[user], reason=reason)


def _do(deed: str, community: str, config: ConfigFile, json: bool, **what: Any) -> int:
    with working("changing the rooms"):
        result = asyncio.run(_ask(deed, community, config, what))
    if json:
        print_json(result)
    else:
        _show(deed, result)
    return 0


async def _ask(deed: str, community: str, config: ConfigFile, what: dict[str, Any]) -> dict[str, Any]:
    async with service_or_alone(load(config), with_keys=True) as asked:
        return await asked.people(deed, community, **what)


def _show(deed: str, result: dict[str, Any]) -> None:
    if deed != "requests":
        for line in result["said"]:
            say(one_line(line))
    if deed == "requests":
        for request in result["requests"]:
            name = f" ({one_line(request['name'], LONGEST_NAME)})" if request["name"] else ""
            say(f"{request['user']}{name}", "bold")
            suggests = request.get("suggests")
            asks = f"by {request['how']}: {one_line(request['detail'])}"
            asks = asks if suggests is None else f"suggests the group “{one_line(suggests, LONGEST_NAME)}”"
            say(f"  since {when(request['asked_at'])}, {asks}")
            if request["words"]:
                say(f"  written on the join page: {one_line(request['words'])}")
        if not result["requests"]:
            say("Nobody waits for an answer.")
    elif result["done"]:
        say("Done, in every room.")
    else:
        say("Taken on; the service goes on with it, and `matrix-communities status` shows what is left.", "yellow")
