"""The commands about who is in a community: `members`, `who`, `tag`, `untag`, `tags`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, out, print_json, say, working
from bridge.cli.people import Community, User, Users
from bridge.config import load
from bridge.core.community import Role
from bridge.core.lines import one_line
from bridge.core.roster import STATES, as_csv

TagName = Annotated[str, typer.Argument(metavar="TAG", help="The name of the tag, such as `teacher`.")]


def members(
    community: Community,
    word: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="A role, a group, a tag, `invited`, or a part of a name.")
    ] = "",
    csv: Annotated[bool, typer.Option("--csv", help="As a table for spreadsheets.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Show who is in a community, in what role and groups, with tags."""
    found = _ask("members", community, config, filter=word)["members"]
    if json:
        print_json(found)
    elif csv:
        out.file.write(as_csv({**person, "role": Role[person["role"].upper()]} for person in found))
    else:
        _table(found)
    return 0


def who(community: Community, user: User, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Show what somebody is in a community: role, groups, tags, since when, and by whom they came."""
    result = _ask("who", community, config, users=[user])
    if json:
        print_json(result["members"][0])
    else:
        _say(result)
    return 0


def tag(
    community: Community, tag: TagName, users: Users, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False
) -> int:
    """Mark people with a tag, by which they are found."""
    return _told("tag", community, config, json, tag=tag, users=users)


def untag(
    community: Community, tag: TagName, users: Users, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False
) -> int:
    """Take a tag from people."""
    return _told("untag", community, config, json, tag=tag, users=users)


def tags(community: Community, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Show the tags that there are in a community."""
    return _told("tags", community, config, json)


def _told(deed: str, community: str, config: ConfigFile, json: bool, **what: Any) -> int:
    result = _ask(deed, community, config, **what)
    if json:
        print_json(result)
    else:
        _say(result)
    return 0


def _ask(deed: str, community: str, config: ConfigFile, **what: Any) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with service_or_alone(load(config)) as asked:
            return await asked.people(deed, community, **what)

    with working("looking"):
        return asyncio.run(ask())


def _say(result: Mapping[str, Any]) -> None:
    for text in result["said"]:
        for line in text.splitlines():
            say(one_line(line))


def _table(found: Sequence[Mapping[str, Any]]) -> None:
    """One person a line, in columns as wide as what stands in them."""
    rows = [
        [
            one_line(person["user"]),
            person["role"] if person["state"] == "join" else STATES.get(person["state"], person["state"]),
            ", ".join(person["groups"]),
            " ".join(f"#{name}" for name in person["tags"]),
        ]
        for person in found
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        say("Nobody matches.")
