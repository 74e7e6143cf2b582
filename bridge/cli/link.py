"""`matrix-communities link`: invite links."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Annotated, Any

import segno
import typer

from bridge.app.house import House
from bridge.app.links import LinkDesk
from bridge.cli.door import Door
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, out, print_json, say, when, working
from bridge.config import Config, load

app = typer.Typer(no_args_is_help=True, help="Make, list and take back invite links.", rich_markup_mode=None)

CommunityName = Annotated[str, typer.Argument(metavar="COMMUNITY", help="Whom the link is for.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="KEY", help="A group to be invited to as well; may be repeated.")
]
Expires = Annotated[str, typer.Option(metavar="SPAN", help="For how long: 30m, 12h, 7d, 2w, or never.")]
Uses = Annotated[
    int | None, typer.Option(metavar="N", help="For how many people; any number if left out, one with a role.")
]
NeedsApproval = Annotated[bool, typer.Option("--needs-approval", help="An admin has to agree to each person.")]
RoleName = Annotated[str, typer.Option(metavar="ROLE", help="member, moderator (of the groups) or admin.")]
LinkName = Annotated[str, typer.Argument(metavar="ID", help="As `link list` shows it.")]
WEEK = "7d"


@app.command()
def new(
    community: CommunityName,
    group: Groups = None,
    expires: Expires = WEEK,
    uses: Uses = None,
    needs_approval: NeedsApproval = False,
    role: RoleName = "member",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Make an invite link, and show it once, with its QR code."""
    terms = _terms(community, group, expires, uses, needs_approval, role)
    _show_new(_asked(load(config), "new", terms), json)


@app.command()
def reset(
    community: CommunityName,
    group: Groups = None,
    expires: Expires = WEEK,
    uses: Uses = None,
    needs_approval: NeedsApproval = False,
    role: RoleName = "member",
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Take back all links of a community, and make one."""
    terms = _terms(community, group, expires, uses, needs_approval, role)
    made = _asked(load(config), "reset", terms)
    if not json:
        say(f"{len(made['revoked'])} taken back")
    _show_new(made, json)


@app.command("list")
def list_links(
    community: Annotated[
        str | None, typer.Argument(metavar="COMMUNITY", help="One community; all if left out.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show the links that there are, the newest first. Their addresses are stored nowhere."""
    found = _asked(load(config), "list", {"community": community})
    if json:
        print_json(found)
        return
    if not found:
        say("There is no link.")
    for link in found:
        _show(link)


@app.command("show")
def show_link(
    link: LinkName,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Show a link, and who came by it."""
    found = _asked(load(config), "show", {"link_id": link})
    if json:
        print_json(found)
        return
    _show(found)
    for one in found["came"]:
        say(f"  {when(one['at'])}  {one['user']}  {one['stage']}")


@app.command()
def revoke(
    link: LinkName,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Take a link back: nobody comes in by it any more."""
    revoked = _asked(load(config), "revoke", {"link_id": link})
    if json:
        print_json(revoked)
    else:
        say(f"{revoked['id']} is taken back; {_people(revoked['used'])} had used it")


def _terms(
    community: str, group: list[str] | None, expires: str, uses: int | None, needs_approval: bool, role: str
) -> dict[str, Any]:
    return {
        "community": community,
        "groups": group or [],
        "expires": expires,
        "uses": uses,
        "needs_approval": needs_approval,
        "role": role,
    }


def _asked(config: Config, what: str, terms: dict[str, Any]) -> Any:
    with working("asking"):
        return asyncio.run(_ask(config, what, terms))


async def _ask(config: Config, what: str, terms: dict[str, Any]) -> Any:
    door = Door(config)
    if await door.is_there():
        return await door.ask("link", {"do": what, **terms})
    house = House(config)  # links need the database alone; the homeserver may be away
    await house.own()
    try:
        return await getattr(LinkDesk(house), what)(**terms)
    finally:
        await house.close()


def _show_new(link: dict[str, Any], json: bool) -> None:
    if json:
        print_json(link)
        return
    _show(link)
    say()
    say(link["url"], "bold")
    say("This address is shown once, and stored nowhere. Whoever has it can use it.")
    if sys.stdout.isatty():
        drawn = io.StringIO()
        segno.make(link["url"], micro=False).terminal(out=drawn, compact=True)
        out.file.write(drawn.getvalue())


def _show(link: dict[str, Any]) -> None:
    limit = "" if link["uses"] is None else f" of {link['uses']}"
    says = {"ok": "", "revoked": ": taken back", "expired": ": expired", "used_up": ": used up"}[link["verdict"]]
    say(f"{link['id']} into {link['community']}{says}", "bold" if link["verdict"] == "ok" else "dim")
    say(f"  made      {when(link['made_at'])} by {link['maker']}")
    say(f"  expires   {when(link['expires_at'])}")
    say(f"  used by   {_people(link['used'])}{limit}")
    if link["groups"]:
        say(f"  groups    {', '.join(link['groups'])}")
    if link["role"] != "member":
        say(f"  makes     {link['role']}s")
    if link["needs_approval"]:
        say("  an admin has to agree to each")


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
