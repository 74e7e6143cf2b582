"""People who write what no client would: nothing of it reaches others through us, and everybody else is served."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from bridge.cli.demo.homeserver import Account
from bridge.cli.demo.person import Person, ReceivedMessage
from tests.faults.ground import SETTLE_SECONDS, Ground, run
from tests.harness.community import ANNOUNCER, Community
from tests.harness.people import People
from tests.harness.wait import eventually

MARKUP = '<img src=x onerror=alert(1)><h1>HACKED</h1><a href="https://evil.example">click</a>'
OUR_TAGS = {f"<{end}{name}>" for name in ("p", "ul", "li", "code", "strong") for end in ("", "/")} | {"<br>"}
NASTY_NAME = "Mallory\n<b>admin</b>\r\n\u202etxet desrever\x1b[31mred\x00"


@dataclass
class Town:
    """A community, its owner in a chat with the announcer, and somebody who means no good."""

    ground: Ground
    community: Community
    owner: Person
    mallory: Person
    chats: dict[str, str]

    async def ask(self, person: Person, text: str, **content: Any) -> ReceivedMessage:
        """Write to the announcer, and give its next answer."""
        chat = self.chats[person.user_id]
        seen = len(self.notices(person))
        await person.send(chat, text, **content)
        await eventually(lambda: len(self.notices(person)) > seen, SETTLE_SECONDS, f"an answer to {text[:40]!r}")
        return self.notices(person)[seen]

    def notices(self, person: Person) -> list[ReceivedMessage]:
        """What the announcer wrote to somebody."""
        return [one for one in person.messages(self.chats[person.user_id]) if one.sender == ANNOUNCER]

    async def still_served(self) -> None:
        """Others are answered, and nothing was given up."""
        word = f"w{secrets.token_hex(4)}"
        assert f"“{word}”" in (await self.ask(self.owner, word)).text
        self.ground.nothing_given_up()


@pytest.fixture(scope="module")
async def town(ground: Ground) -> AsyncIterator[Town]:
    """Made once."""
    await ground.running()
    people = People(ground.synapse)
    owner, mallory = await people.nio("owner"), await people.nio("mallory")
    community = ground.declare(
        "hostile",
        owners=[owner.user_id],
        members=[mallory.user_id],
        general=False,
        groups={"chess": {"name": "Chess", "kind": "open"}, "talk": {"kind": "open"}},
    )
    ground.only(community)
    for person in (owner, mallory):
        person.accept_invites()
    await ground.apply(community)
    await community.inside(owner, mallory)
    await community.inside(owner, keys=("control",))
    chats = {}
    for person in (owner, mallory):
        room = chats[person.user_id] = await person.create_dm(ANNOUNCER)
        await person.wait_joined(room, ANNOUNCER)
        await person.wait_text(room, lambda message: "announcer" in message.text, sender=ANNOUNCER)
    yield Town(ground, community, owner, mallory, chats)
    await people.close()


@pytest.fixture(autouse=True)
async def at_rest(ground: Ground, town: Town) -> None:
    """The service runs with this community."""
    ground.only(town.community)
    await ground.running()


@pytest.mark.parametrize(
    "text", ["help", "status", f"announce {MARKUP} {MARKUP}", MARKUP, "thaw " + "x" * 5000, "\n \n"]
)
async def test_markup_is_never_echoed(ground: Ground, town: Town, text: str) -> None:
    for person in (town.owner, town.mallory):
        answer = await town.ask(person, text, html=MARKUP)
        formatted = answer.content.get("formatted_body", "")
        assert set(re.findall(r"<[^>]*>", formatted)) <= OUR_TAGS
        assert "HACKED" not in formatted
        assert "evil.example" not in formatted
        assert answer.content["msgtype"] == "m.notice"
        assert answer.content["m.mentions"] == {}
        assert "HACKED" not in answer.text
        assert "evil.example" not in answer.text
        assert len(answer.text) < (2800 if text == "help" else 2000)  # help has a bound of its own


async def test_a_display_name_of_several_lines(ground: Ground, town: Town) -> None:
    community, mallory = town.community, town.mallory
    name = NASTY_NAME.replace("\x00", "")
    await mallory.call("PUT", f"/profile/{mallory.user_id}/displayname", {"displayname": name})
    await mallory.put_state(
        community.announcements, "m.room.member", mallory.user_id, {"membership": "join", "displayname": name * 4}
    )
    with ground.told():
        # people notice her: a role is taken over, a contradiction reported
        levels = await town.owner.state(community.space, "m.room.power_levels")
        assert levels is not None
        await town.owner.put_state(
            community.space, "m.room.power_levels", "", levels | {"users": levels["users"] | {mallory.user_id: 100}}
        )
        await town.owner.wait_text(community.control, lambda message: mallory.user_id in message.text, SETTLE_SECONDS)
        await town.owner.put_state(community.space, "m.room.power_levels", "", levels)
        await ground.converged(community)
        await town.owner.kick(community.announcements, mallory.user_id, reason=NASTY_NAME)
        code, out = await run(ground, "plan", community.id)
        assert code in (0, 2)
        _, status = await run(ground, "status")
        said = [one.text for one in town.owner.messages(community.control)]
        said += [one.text for one in town.notices(town.owner)]
        for text in (out, status, *said):
            assert "Mallory" not in text
            assert "<b>" not in text
        await ground.converged(community)


async def test_a_room_name_of_five_kilobytes(ground: Ground, town: Town) -> None:
    community, owner = town.community, town.owner
    line = "Springfield\n  everything is as declared\n<b>bold</b> \x1b[31m "
    name = (line * 200)[:5000]
    await owner.join(community["talk"])
    with ground.told():
        for key in ("space", "talk"):
            await owner.put_state(community[key], "m.room.name", "", {"name": name})
            await owner.put_state(community[key], "m.room.topic", "", {"topic": name})
        # it belongs to the people, who may call their room what they like
        await ground.converged(community)
        assert await ground.state(community.space, "m.room.name") == {"name": name}
        for command in ("plan", "status"):
            code, out = await run(ground, command)
            assert code == 0, out
            assert "\x1b" not in out
            assert len(out) < 5000
            # no line of a name stands where a line of ours would
            assert all(not line.startswith("  everything is as declared") for line in out.splitlines())
        answer = await town.ask(owner, "status")
        assert len(answer.text) < 2000
        assert all("everything is as declared" not in text for text in answer.text.splitlines()[1:])
        # and it can be called something else again
        for key in ("space", "talk"):
            await owner.put_state(community[key], "m.room.name", "", {"name": "Short"})
            await owner.put_state(community[key], "m.room.topic", "", {"topic": ""})
        await ground.converged(community)
        assert await ground.state(community.space, "m.room.name") == {"name": "Short"}


async def test_children_of_a_space_with_names_of_several_lines(ground: Ground, town: Town) -> None:
    community, owner = town.community, town.owner
    keys = ["!x\nAll is well. <b>Ignore</b> the rest", "!" + "y" * 200, "!\x1b[31m:evil", "!a b:evil", "plain"]
    with ground.told():
        for key in keys:
            await owner.put_state(community.space, "m.space.child", key, {"via": ["example.org"], "suggested": "\n"})
        await ground.converged(community)
        plan = await ground.ask("plan", communities=[community.id])
        for text in (*plan["notes"], *(one.text for one in owner.messages(community.control))):
            assert "All is well" not in text
            assert "\x1b" not in text
        assert all("\n" not in note for note in plan["notes"])
        for key in keys:
            await owner.put_state(community.space, "m.space.child", key, {})


async def test_reactions_of_ten_kilobytes(ground: Ground, town: Town) -> None:
    community, mallory = town.community, town.mallory
    event_id = await community.announce(f"react {secrets.token_hex(4)}")
    await mallory.wait_event(community.announcements, lambda event: event["event_id"] == event_id)
    with ground.told():
        # what Synapse would call an annotation may be 500 long; anything else as long as an event
        reactions = [
            await mallory.react(community.announcements, event_id, (MARKUP * 10)[:499]),
            await mallory.send_raw(
                community.announcements,
                "m.reaction",
                {"m.relates_to": {"rel_type": "org.example.other", "event_id": event_id, "key": MARKUP * 110}},
            ),
        ]

        async def redacted() -> bool:
            events = [await town.owner.event(community.announcements, one) for one in reactions]
            return not any(one["content"] for one in events)

        await eventually(redacted, SETTLE_SECONDS, "the reactions to be redacted")
        await town.owner.wait_text(community.control, lambda one: mallory.user_id in one.text, SETTLE_SECONDS)
        assert all(MARKUP not in one.text for one in town.owner.messages(community.control))


async def test_a_flood_of_posts_does_not_flood_the_control_room(ground: Ground, town: Town, folk: People) -> None:
    community = town.community
    nelson = await folk.nio("nelson")
    nelson.accept_invites()
    await community.admit(nelson)
    event_id = await community.announce(f"flood {secrets.token_hex(4)}")
    with ground.told():
        reactions = [
            await nelson.react(community.announcements, event_id, f"{number} {'x' * 40}") for number in range(15)
        ]
        await ground.taken_in(reactions[-1])
        await ground.nothing_waits()
        for reaction in reactions:
            assert not (await town.owner.event(community.announcements, reaction))["content"]
        word = f"w{secrets.token_hex(4)}"
        await town.owner.send(community.control, f"!{word}")
        await town.owner.wait_text(community.control, lambda one: word in one.text and one.sender == ANNOUNCER)
        assert sum(nelson.user_id in one.text for one in town.owner.messages(community.control)) == 1
        ground.nothing_given_up()


@pytest.mark.parametrize(
    ("device_id", "reads"),
    # Synapse stores no one-time keys of devices whose names are not ASCII, and nothing longer is an identifier
    [("a b/c\"'<b>?#%2F", True), ("..", True), ("x" * 200, True), ("☃ 雪\u202e", False), ("x" * 400, False)],
)
async def test_devices_with_odd_ids(ground: Ground, town: Town, folk: People, device_id: str, reads: bool) -> None:
    community = town.community
    reader = await folk.nio("reader")
    reader.accept_invites()
    await community.admit(reader)
    account = reader.account
    body = {
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": account.user_id},
        "password": account.password, "device_id": device_id,
    }  # fmt: skip
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{ground.synapse.url}/_matrix/client/v3/login", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        token = (await answer.json())["access_token"]
    with ground.told(device_id):
        odd = await folk.nio(account=Account(account.user_id, token, device_id, account.password))
        text = f"to odd devices {secrets.token_hex(4)}"
        await community.announce(text)
        for person in (odd, reader, town.owner) if reads else (reader, town.owner):
            await person.wait_text(community.announcements, text, SETTLE_SECONDS)


async def test_garbage_keys_to_the_announcer(ground: Ground, town: Town) -> None:
    mallory = town.mallory
    devices = await mallory.call("POST", "/keys/query", {"device_keys": {ANNOUNCER: []}})
    ((device_id, device),) = devices["device_keys"][ANNOUNCER].items()
    curve = device["keys"][f"curve25519:{device_id}"]
    olm, long = "m.olm.v1.curve25519-aes-sha2", "A" * 500
    junk: list[tuple[str, Any]] = [
        ("m.room_key", {}),
        ("m.room_key", {"algorithm": "m.megolm.v1.aes-sha2", "room_id": [], "session_id": 5, "session_key": None}),
        ("m.room_key", {"algorithm": "m.megolm.v1.aes-sha2", "room_id": town.chats[mallory.user_id],
                        "session_id": "x", "session_key": "A" * 10_000}),
        ("m.forwarded_room_key", {"room_id": "!a:b", "sender_key": curve, "session_key": "x"}),
        ("m.room_key_request", {"action": "request", "body": 5, "request_id": [], "requesting_device_id": {}}),
        ("m.room.encrypted", {}),
        ("m.room.encrypted", {"algorithm": olm, "sender_key": curve, "ciphertext": {}}),
        ("m.room.encrypted", {"algorithm": olm, "sender_key": "x" * 43, "ciphertext": {curve: {"body": "x"}}}),
        ("m.room.encrypted", {"algorithm": olm, "sender_key": curve, "ciphertext": {curve: {"type": "0", "body": []}}}),
        ("m.room.encrypted", {"algorithm": olm, "sender_key": curve, "ciphertext": {curve: {"type": 0, "body": long}}}),
        ("m.room.encrypted", {"algorithm": olm, "sender_key": curve, "ciphertext": {curve: {"type": 1, "body": long}}}),
        ("m.dummy", {"a": MARKUP * 50}),
        ("m.key.verification.request", {"from_device": "x", "methods": 5, "transaction_id": []}),
        ("m.secret.request", {"name": "m.cross_signing.master", "action": "request", "request_id": "x"}),
        ("org.example." + "x" * 200, {"deep": [[[[[[]]]]]]}),
    ]  # fmt: skip
    mark = ground.log_mark()
    with ground.told():
        sent_before = len(mallory.to_device)
        for event_type, content in junk:
            for target in (device_id, "*"):
                await mallory.call(
                    "PUT",
                    f"/sendToDevice/{event_type}/{secrets.token_hex(8)}",
                    {"messages": {ANNOUNCER: {target: content}}},
                )
        await town.still_served()
        word = f"w{secrets.token_hex(4)}"
        assert f"“{word}”" in (await town.ask(mallory, word)).text
        assert "Traceback" not in ground.logged(mark)
        assert all(one.inner_type != "m.secret.send" for one in mallory.to_device[sent_before:])
        check = await ground.ask("check")
        assert {one["verdict"] for one in check} == {"ok"}


async def test_broken_ciphertext_is_answered_and_the_room_goes_on(ground: Ground, town: Town) -> None:
    mallory, chat = town.mallory, town.chats[town.mallory.user_id]
    sent = await mallory.send(chat, "help")
    good = (await mallory.event(chat, sent))["content"]
    broken = [
        {**good, "ciphertext": good["ciphertext"][:-8] + "AAAAAAAA"},
        {**good, "ciphertext": ""},
        {**good, "ciphertext": "A" * 60_000},
        {**good, "ciphertext": [1]},
        {**good, "session_id": 5},
        {**good, "algorithm": "m.olm.v1.curve25519-aes-sha2"},
        {"algorithm": good["algorithm"]},
        good,  # a replay
    ]
    with ground.told():
        await eventually(lambda: any("announcement" in one.text for one in town.notices(mallory)), SETTLE_SECONDS)
        before = sum("could not read" in one.text for one in town.notices(mallory))
        await asyncio.gather(*(mallory.send_raw(chat, "m.room.encrypted", content) for content in broken))
        word = f"w{secrets.token_hex(4)}"
        await mallory.send(chat, word)
        await eventually(lambda: any(f"“{word}”" in one.text for one in town.notices(mallory)), SETTLE_SECONDS)
        assert sum("could not read" in one.text for one in town.notices(mallory)) == before + len(broken)
        await town.still_served()
