"""`matrix-communities status`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from bridge.cli.door import service_or_alone
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, when, working
from bridge.config import Config, load
from bridge.core.lines import LONGEST_NAME, one_line

WITHHELD = {
    "m.unverified": "are not signed by their owner, or not verified by us (`encryption.trust`)",
    "m.no_olm": "have no one-time keys left: they get the key of the next messages when they are on line again",
    "refused": "are refused by the homeserver (its words are in the log): they are tried again with each message",
}


def status(
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
    forget_strange_devices: Annotated[
        bool,
        typer.Option(
            "--forget-strange-devices",
            help="Show once more which devices were added to the announcer, and forget them: you have looked into it.",
        ),
    ] = False,
) -> None:
    """Show communities, rooms, members by role, drift, and what is waiting."""
    with working("looking at the rooms"):
        found = asyncio.run(_status(load(config), forget_strange_devices))
    if json:
        print_json(found)
    else:
        _show(found)


async def _status(config: Config, forget_strange_devices: bool) -> dict[str, Any]:
    async with service_or_alone(config) as asked:
        return await asked.status(forget_strange_devices=forget_strange_devices)


def _show(found: dict[str, Any]) -> None:
    steward, announcer = found["steward"], found["announcer"]
    devices = steward["devices"]
    say(f"Steward    {steward['user_id']}: {_steward(devices)}", "red" if devices else None)
    signed = {True: "cross-signed", False: "NOT cross-signed", None: "not known yet"}[announcer["cross_signed"]]
    say(f"Announcer  {announcer['user_id']}: device {announcer['device_id'] or 'none yet'}, {signed}")
    _show_fingerprints(announcer)
    for community in found["communities"]:
        say()
        _show_community(community)
    queue = found.get("queue", {})
    say()
    say(f"Waiting: {queue.get('jobs', 0)} jobs, {queue.get('events', 0)} events; given up: {_given_up(queue)}")


def _show_fingerprints(announcer: dict[str, Any]) -> None:
    if others := [device for device in announcer["devices"] or [] if device != announcer["device_id"]]:
        say(f"           OTHER DEVICES: {_names(others)}", "bold red")
    elif strange := announcer["strange_devices"]:
        say(f"           had devices that its database does not know: {_names(strange['devices'])},", "yellow")
        say(f"           last seen {when(strange['seen_at'])}", "yellow")
    if announcer["identity"] == "another":
        say("           ANOTHER IDENTITY than ours is published for it", "bold red")
    say(f"           identity  {announcer['identity_fingerprint']}")
    if announcer["fingerprint"]:
        people = announcer["verified_people"]
        say(f"           session   {announcer['fingerprint']}")
        say(f"           has verified {people} {'person' if people == 1 else 'people'}")


def _names(devices: list[str]) -> str:
    return ", ".join(one_line(device, LONGEST_NAME) for device in devices)


def _steward(devices: list[str] | None) -> str:
    if devices is None:
        return "not known yet"
    return f"HAS DEVICES: {_names(devices)}" if devices else "no device, as it should be"


def _given_up(queue: dict[str, int]) -> str:
    jobs, events = queue.get("parked_jobs", 0), queue.get("parked_events", 0)
    return f"{jobs} jobs, {events} events" + (" (see `matrix-communities parked`)" if jobs or events else "")


def _show_community(community: dict[str, Any]) -> None:
    within = f", part of {community['parent']}" if community["parent"] else ""
    say(f"{one_line(community['name'], LONGEST_NAME)} ({community['id']}{within})", "bold")
    say(f"  space {community['space'] or 'not made yet'}, looked at {when(community.get('last_reconcile'))}")
    members = ", ".join(f"{count} {role}" for role, count in community["members"].items())
    say(f"  members: {members}")
    for room in community["rooms"]:
        lock = "encrypted" if room["encrypted"] else "NOT ENCRYPTED" if room["room_id"] else "not made yet"
        say(f"  {room['key']:<20} {room['kind']:<14} {lock:<14} {room['room_id'] or ''}")
    if keys := community.get("keys"):
        _show_keys(keys)
    if community.get("held"):
        say(f"  ! plan {community['held']} is held until an owner agrees, or `apply --force`", "bold red")
    for line in community["outstanding"]:
        say(f"  ! still to be done: {one_line(line)}", "yellow")
    if community["requests"]:
        say(f"  {community['requests']} ask to join: `matrix-communities requests {community['id']}`")
    for line in community["drift"]:
        say(f"  ~ {one_line(line)}", "yellow")


def _show_keys(keys: dict[str, Any]) -> None:
    """Who can read announcements, and why others cannot."""
    if keys["progress"]:
        say(f"  keys are going out: {keys['progress']['done']} of {keys['progress']['total']} devices")
    say(f"  announcements: {keys['devices']} devices hold the key, of {keys['people'] - keys['unreached']} members")
    if keys["unreached"]:
        say(f"  ! {keys['unreached']} members read nothing", "yellow")
    for code, count in sorted(keys["withheld"].items()):
        say(f"    {count} devices {WITHHELD[code]}", "yellow")
