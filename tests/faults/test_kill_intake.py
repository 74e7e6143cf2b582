"""Killed at random while people write to it and rooms drift: every command is answered once, every drift is healed."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bridge.cli.demo.person import Person
from tests.faults.ground import SETTLE_SECONDS, Ground
from tests.faults.ledger import LEDGER
from tests.faults.meddler import Killer
from tests.harness.community import ANNOUNCER, Community
from tests.harness.people import People
from tests.harness.wait import eventually

MEMBERS = 3
HEALED: dict[str, dict[str, dict[str, Any]]] = {
    "space": {
        "m.room.power_levels": {"users_default": 100},
        "m.room.history_visibility": {"history_visibility": "world_readable"},
    },
    "announcements": {"m.room.power_levels": {"events_default": 0}, "m.room.join_rules": {"join_rule": "public"}},
    "control": {"m.room.guest_access": {"guest_access": "can_join"}},
    "chess": {"m.room.encryption": {}, "m.room.history_visibility": {"history_visibility": "world_readable"}},
}
"""What is written over the state that is in force; for the levels on top of it."""


@dataclass
class Village:
    """A community whose members write to the announcer."""

    community: Community
    members: list[Person]
    chats: dict[str, str]
    """The chat of each member with the announcer."""
    right: dict[tuple[str, str], dict[str, Any]]
    """The state that is in force."""

    def has_answered(self, member: Person, word: str) -> bool:
        return self.answers(member, word) == 1

    def answers(self, member: Person, word: str) -> int:
        """How often a word that nobody understands was answered."""
        messages = member.messages(self.chats[member.user_id])
        return sum(one.sender == ANNOUNCER and f"“{word}”" in one.text for one in messages)


@pytest.fixture(scope="module")
async def village(ground: Ground) -> AsyncIterator[Village]:
    """Made once, each member with an open chat."""
    await ground.running()
    people = People(ground.synapse)
    members = [await people.nio("villager") for _ in range(MEMBERS)]
    owner = await ground.account("owner")
    community = ground.declare(
        "village",
        name="Village",
        owners=[owner.user_id],
        members=[one.user_id for one in members],
        general=False,
        groups={"chess": {"name": "Chess", "kind": "request"}},
    )
    ground.only(community)
    for member in members:
        member.accept_invites()
    await ground.apply(community)
    await community.inside(*members)
    chats = {}
    for member in members:
        room = chats[member.user_id] = await member.create_dm(ANNOUNCER)
        await member.wait_joined(room, ANNOUNCER)
        await member.wait_text(room, lambda message: "announcer" in message.text, sender=ANNOUNCER)
    await ground.converged(community)
    right = {
        (key, event_type): await ground.state(community[key], event_type)
        for key, pieces in HEALED.items()
        for event_type in pieces
    }
    yield Village(community, members, chats, right)
    await people.close()


async def drift(ground: Ground, village: Village, key: str, event_type: str) -> None:
    """Write something wrong into a room, with the service's own token."""
    content = HEALED[key][event_type]
    if event_type == "m.room.power_levels":
        content = village.right[key, event_type] | content
    await ground.put_state(village.community[key], event_type, content)


async def talk(village: Village, words: list[tuple[Person, str]], dice: random.Random) -> None:
    """Let people write words, each after the other."""
    for member, word in words:
        await member.send(village.chats[member.user_id], word)
        await asyncio.sleep(dice.uniform(0, 0.05))


async def test_no_command_and_no_drift_is_lost(ground: Ground, village: Village, seed: int) -> None:
    dice = random.Random(seed)
    ground.only(village.community)
    await ground.running()
    words = [(member, f"w{seed}-{secrets.token_hex(4)}") for member in village.members for _ in range(2)]
    dice.shuffle(words)
    drifts = dice.sample(sorted((key, event_type) for key, pieces in HEALED.items() for event_type in pieces), 3)
    proxy = dice.choice(["asked", "pushed"])
    killer = Killer(dice, 25 if proxy == "asked" else 6)
    with LEDGER.run("intake") as row, ground.told(f"seed {seed}", proxy, killer, drifts):
        killer.watch(getattr(ground, proxy), ground.kill_now)
        await asyncio.gather(
            talk(village, words, dice), *(drift(ground, village, key, event_type) for key, event_type in drifts)
        )
        try:
            async with asyncio.timeout(3):
                await killer.done.wait()
            row.killed_at_work += 1
        except TimeoutError:
            killer.call_off()
        await ground.restart()
        await ground.converged(village.community)

        async def answered() -> bool:
            assert {word: village.answers(member, word) for member, word in words} == {word: 1 for _, word in words}
            return True

        await eventually(answered, SETTLE_SECONDS)
        await ground.converged(village.community)
        for (key, event_type), content in village.right.items():
            assert await ground.state(village.community[key], event_type) == content
        # nothing comes a second time either
        marks = [await member.send(village.chats[member.user_id], f"end-{seed}") for member in village.members]
        assert marks
        for member in village.members:
            await eventually(partial(village.has_answered, member, f"end-{seed}"), 30)
        assert await answered()
