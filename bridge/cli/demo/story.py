"""The steps of the demo. Each says what was seen as evidence, or raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.cli.demo.person import Person, Refused
from bridge.cli.demo.scene import ADMIN, COMMUNITY, LEAVER, OWNER, PARENT, PEOPLE, TEACHER, Scene

Step = Callable[[Scene], Awaitable[str]]

FIRST = "Welcome! **School starts on Monday.**"
BY_CHAT = "The bus is ten minutes late today."
TO_CONFIRM = "The trip is on Friday: bring rain clothes."
BY_HAND = "Parents' evening is on Thursday."
AFTERWARDS = "For those who are still with us."
SECRET = "Who brings the cake?"  # noqa: S105 - a message, no password
COUNTED_SECONDS = 30.0
AT_A_TIME = "The bell rings in a minute."
SECONDS_AHEAD = 8
EVERY_MEMBER = (OWNER, ADMIN, TEACHER, PARENT, LEAVER)


class NotShown(AssertionError):
    """A step did not show what it should."""


def expect(true: bool, what: str) -> None:
    """Go on only if something is as it should be."""
    if not true:
        raise NotShown(what)


async def start_homeserver(scene: Scene) -> str:
    """A private Synapse, and the config and registration written with the commands."""
    await scene.operator.set_up()
    await scene.synapse.start()
    return f"Synapse at {scene.synapse.url}; config.yaml and registration.yaml written"


async def make_people(scene: Scene) -> str:
    """Five people with encrypting clients, independent of the service."""
    for name, shown in PEOPLE.items():
        scene.accounts[name] = await scene.synapse.register(name, f"{name}-password", displayname=shown)
    clients = await asyncio.gather(*(Person.login(scene.synapse.url, account) for account in scene.accounts.values()))
    scene.people = dict(zip(scene.accounts, clients, strict=True))
    for person in scene.people.values():
        person.accept_invites()
    return f"{len(scene.people)} clients on matrix-nio (vodozemac), each with its own device"


async def check(scene: Scene) -> str:
    ran = await scene.operator.command("check", "--json")
    verdicts = [finding["verdict"] for finding in ran.json["checks"]]
    expect(ran.json["ok"], ran.out)
    return f"{verdicts.count('ok')} fine, {verdicts.count('warning')} warnings before the first run, 0 failed"


async def plan(scene: Scene) -> str:
    scene.operator.edit(communities=scene.declaration())
    found = (await scene.operator.command("plan", "--json", expect=(2,))).json
    kinds = [action["kind"] for action in found["actions"]]
    return (
        f"{len(kinds)} actions: {kinds.count('create')} rooms, {kinds.count('invite')} invites; plan {found['digest']}"
    )


async def apply(scene: Scene) -> str:
    await scene.operator.command("apply", "--yes")
    again = (await scene.operator.command("plan", "--json")).json
    expect(not again["actions"], f"a second plan is not empty: {again['actions']}")
    return "all done; a second plan is empty"


async def start_service(scene: Scene) -> str:
    await scene.operator.start()
    await scene.learn_rooms()
    return f"running, {len(scene.rooms)} rooms, every one but the space encrypted"


async def members_join(scene: Scene) -> str:
    for name in EVERY_MEMBER:
        await scene.people[name].wait_joined(scene.rooms["announcements"])
        await scene.people[name].wait_joined(scene.rooms["space"])
    shown = await scene.people[PARENT].hierarchy(scene.rooms["space"])
    return (
        f"{len(EVERY_MEMBER)} joined; a parent sees {len(shown) - 1} rooms in the space (the hidden one is not there)"
    )


async def announce(scene: Scene) -> str:
    ran = await scene.operator.command("announce", COMMUNITY, "--text", FIRST, "--json")
    event_id = ran.json["targets"][0]["event_id"]
    return await _readers(scene, FIRST, EVERY_MEMBER, event_id)


async def _readers(scene: Scene, text: str, names: tuple[str, ...], event_id: str | None = None) -> str:
    room = scene.rooms["announcements"]
    raw = None
    for name in names:
        message = await scene.people[name].wait_text(room, text)
        expect(message.decrypted, f"{name} got it in the clear")
        expect(event_id in (None, message.event_id), f"{name} got another event")
        raw = await scene.people[name].event(room, message.event_id)
        expect(raw["type"] == "m.room.encrypted", "the homeserver holds it in the clear")
    return f"decrypted by {', '.join(names)}; the homeserver holds only m.room.encrypted"


async def announce_by_chat(scene: Scene) -> str:
    office = scene.people[ADMIN]
    scene.chat = chat = await office.create_dm(scene.announcer)
    await office.wait_joined(chat, scene.announcer)
    await office.send(chat, f"announce {COMMUNITY} {BY_CHAT}")
    await office.wait_text(chat, BY_CHAT, sender=scene.announcer)
    offered = await office.wait_event(chat, lambda event: _key(event) == "✅")
    await office.react(chat, offered["content"]["m.relates_to"]["event_id"], "✅")
    answer = await office.wait_text(chat, lambda message: message.text.startswith("Sent to"))
    await _readers(scene, BY_CHAT, EVERY_MEMBER)
    return f"the office wrote it in an encrypted chat, saw the preview, and agreed with ✅; “{answer.text}”"


def _key(event: dict[str, Any]) -> str | None:
    """The emoji of a reaction; None for any other event."""
    key = (event["content"].get("m.relates_to") or {}).get("key")
    return key if event["type"] == "m.reaction" and isinstance(key, str) else None


def _reacted_to(event: dict[str, Any]) -> str | None:
    """The message to which a reaction belongs."""
    found: str | None = (event["content"].get("m.relates_to") or {}).get("event_id")
    return found


async def confirm(scene: Scene) -> str:
    ran = await scene.operator.command("announce", COMMUNITY, "--text", TO_CONFIRM, "--ack", "--json")
    event_id, room = ran.json["targets"][0]["event_id"], scene.rooms["announcements"]
    for name in (PARENT, TEACHER):
        person = scene.people[name]
        message = await person.wait_text(room, lambda one: one.event_id == event_id)
        expect("Please confirm" in message.text, "nobody is asked to confirm it")
        await person.react(room, event_id, "✅")
    link = f"https://matrix.to/#/{room}/{event_id}"
    wanted = {scene.people[name].user_id for name in (PARENT, TEACHER)}

    found: dict[str, Any] = {}
    async with asyncio.timeout(COUNTED_SECONDS):
        while set(found.get("confirmed", [])) != wanted:
            ran = await scene.operator.command("announcement", "ack", COMMUNITY, link, "--json", expect=(0, 1))
            found = ran.json if ran.code == 0 else {}
    return f"{len(wanted)} have confirmed; {len(found['waiting'])} have not, and would be reminded tomorrow"


async def schedule(scene: Scene) -> str:
    office = scene.people[ADMIN]
    asked = await office.send(scene.chat, f"schedule {COMMUNITY} in {SECONDS_AHEAD} seconds: {AT_A_TIME}")
    card = (await office.wait_text(scene.chat, lambda message: "(UTC), when you agree" in message.text)).event_id
    await office.wait_event(scene.chat, lambda event: _key(event) == "✅" and _reacted_to(event) == card)
    await office.react(scene.chat, card, "✅")
    answer = await office.wait_text(scene.chat, lambda message: message.text.startswith("Scheduled"))
    scene.scheduled = (await office.event(scene.chat, asked))["origin_server_ts"] + SECONDS_AHEAD * 1000
    return f"the announcer answered “{answer.text}”"


async def scheduled_arrives(scene: Scene) -> str:
    shown = await _readers(scene, AT_A_TIME, (OWNER, TEACHER, PARENT))
    message = await scene.people[PARENT].wait_text(scene.rooms["announcements"], AT_A_TIME)
    wire = await scene.people[PARENT].event(scene.rooms["announcements"], message.event_id)
    late = wire["origin_server_ts"] - scene.scheduled
    expect(late >= 0, "it was announced before its time")
    return f"{shown}, {late} ms after its time"


async def announce_by_hand(scene: Scene) -> str:
    await scene.people[ADMIN].send(scene.rooms["announcements"], BY_HAND)
    return await _readers(scene, BY_HAND, (OWNER, TEACHER, PARENT, LEAVER))


async def member_is_refused(scene: Scene) -> str:
    parent = scene.people[PARENT]
    room = scene.rooms["announcements"]
    try:
        await parent.send(room, "Buy my old bicycle!")
    except Refused as refused:
        expect(refused.status == 403, f"status {refused.status}")
        first = await parent.wait_text(room, FIRST)
        await parent.react(room, first.event_id, "👍")
        return f"“{refused}”; a reaction was accepted"
    raise NotShown("the homeserver accepted it")


async def owner_opens_space(scene: Scene) -> str:
    owner = scene.people[OWNER]
    room = scene.rooms["space"]
    before = await owner.state(room, "m.room.power_levels")
    expect(before is not None, "the space has no power levels")
    await owner.put_state(room, "m.room.power_levels", "", {**(before or {}), "invite": 0, "kick": 0, "ban": 0})
    seconds = await scene.until_healed(owner, "space", before or {})
    return f"the owner let everybody kick and ban; put back after {seconds * 1000:.0f} ms"


async def token_opens_room(scene: Scene) -> str:
    parent = scene.people[PARENT]
    room = scene.rooms["announcements"]
    before = await parent.state(room, "m.room.power_levels") or {}
    await scene.as_service("PUT", f"/rooms/{room}/state/m.room.power_levels/", {**before, "events_default": 0})
    seconds = await scene.until_healed(parent, "announcements", before)
    try:
        await parent.send_raw(room, "m.room.message", {"msgtype": "m.text", "body": "Now I can!"})
    except Refused as refused:
        return f"opened with the service's own token (no client can); put back after {seconds * 1000:.0f} ms: {refused}"
    raise NotShown("a member could post afterwards")


async def group_is_private(scene: Scene) -> str:
    parent, teacher = scene.people[PARENT], scene.people[TEACHER]
    room = scene.rooms["class-1a"]
    await parent.join(room)
    await teacher.wait_joined(room)
    await parent.wait_joined(room, teacher.user_id)
    await parent.send(room, SECRET)
    message = await teacher.wait_text(room, SECRET)
    expect(message.decrypted, "it went in the clear")
    members = await parent.joined_members(room)
    expect(scene.steward in members, "the steward is not in the room")
    expect(scene.announcer not in members, "the announcer is in the group")
    ours = [sent for sent in parent.sent_to_device if sent.user_id == scene.steward]
    expect(not ours, f"the client sent to a device of the steward: {ours}")
    expect(bool(teacher.room_keys(room)), "the teacher was given no key")
    return "a parent and a teacher talked; the steward is in the room, and was sent no key: it owns no device"


async def removed_cannot_read(scene: Scene) -> str:
    leaver = scene.people[LEAVER]
    room = scene.rooms["announcements"]
    scene.operator.edit(communities=scene.declaration(with_leaver=False))
    await scene.operator.command("apply", "--yes")
    await leaver.wait_left(room)
    await leaver.wait_left(scene.rooms["space"])
    ran = await scene.operator.command("announce", COMMUNITY, "--text", AFTERWARDS, "--json")
    event_id = ran.json["targets"][0]["event_id"]
    shown = await _readers(scene, AFTERWARDS, (OWNER, ADMIN, TEACHER, PARENT), event_id)
    wire = await scene.people[PARENT].event(room, event_id)
    smuggled = await leaver.try_decrypt(room, wire)
    expect(smuggled is None, "the removed visitor decrypted it")
    return f"{shown}; handed the ciphertext, {LEAVER} has no key for it"


async def steward_has_no_device(scene: Scene) -> str:
    status = (await scene.operator.command("status", "--json")).json
    expect(status["steward"]["devices"] == [], f"the steward owns {status['steward']['devices']}")
    expect(status["announcer"]["cross_signed"] is True, "the announcer's device is not cross-signed")
    queried = await scene.people[PARENT].call("POST", "/keys/query", {"device_keys": {scene.steward: []}})
    expect(not queried["device_keys"].get(scene.steward), "a member's client finds a device of the steward")
    return f"{scene.steward} has none; {scene.announcer} has one, cross-signed"


STORY: tuple[tuple[str, Step], ...] = (
    ("A private homeserver", start_homeserver),
    ("People with encrypting clients", make_people),
    ("check", check),
    ("plan: a school is declared", plan),
    ("apply", apply),
    ("run: the service starts", start_service),
    ("Members join", members_join),
    ("announce: by command", announce),
    ("announce: by chat", announce_by_chat),
    ("announce --ack: two confirm it", confirm),
    ("schedule: an announcement in a while", schedule),
    ("An admin posts from a client", announce_by_hand),
    ("A member's post is refused", member_is_refused),
    ("Drift: an owner opens the space", owner_opens_space),
    ("Drift: the announcement room opened", token_opens_room),
    ("A group stays private", group_is_private),
    ("The scheduled announcement arrives", scheduled_arrives),
    ("Removed people cannot read on", removed_cannot_read),
    ("The steward has no device", steward_has_no_device),
)
