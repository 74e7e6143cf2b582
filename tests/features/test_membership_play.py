"""Any sequence of joins, leaves, role changes, bans and approvals, in the client and by command, ends in rooms whose
members and levels are what the community says: with the whole house, which hears of what people do event by event."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core import rank
from bridge.core.community import Role
from bridge.core.errors import MatrixError, Refused
from bridge.core.ids import RoomKeyName, UserId
from bridge.core.languages import EN
from tests.fakes.scene import Scene, url_in
from tests.harness.membership_model import CHESS, CLUB, FOUNDER, Act, Model, acts
from tests.unit import strategies as some

LEVELS = "m.room.power_levels"


class Play:
    """A community with its model: each act is done in the house if its rules allow it, and then in the model."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.model = Model()

    async def begin(self) -> None:
        self.scene.reconciler.declare([CLUB])
        await self.scene.apply(CLUB)
        await self.scene.reconciler.memory.bid(CLUB.id, FOUNDER)
        await self.look()
        await self.rest()
        await self.scene.members.give_role(CLUB, None, FOUNDER, Role.OWNER)
        await self.look()
        await self.rest()

    async def look(self) -> None:
        """What follows every command."""
        self.scene.watch.look_again(CLUB.id)

    async def rest(self) -> None:
        """Let events be heard and invites be accepted until nothing is left."""
        for _ in range(8):
            await self.scene.catch_up()
            before = len(self.scene.homeserver.feed)
            await self.scene.accept_all()
            if len(self.scene.homeserver.feed) == before:
                return
        raise AssertionError("it never comes to rest")

    def here(self, key: RoomKeyName, user: UserId) -> str:
        return self.scene.room(key).membership(user)

    def level(self, key: RoomKeyName, user: UserId) -> int:
        return self.scene.room(key).level(user)

    # --- acts -------------------------------------------------------------------------------------------------------

    async def act(self, what: int, by: UserId, user: UserId, flag: bool, role: Role) -> None:
        """Do one of them.

        Raises:
            MatrixError, Refused: it is not allowed, and nothing was done.
        """
        asker = None if flag else by
        match what:
            case 0 | 1:
                await self.scene.members.invite(CLUB, None, [user], [CHESS])
                self.model.inside.add(user)
            case 2:
                await self.scene.members.remove(CLUB, asker, user, "", ban=flag)
                self.model.moderators.discard(user)
                self.model.out(user, ban=flag)
            case 3:
                await self.scene.members.unban(CLUB, asker, user)
                self.model.banned.discard(user)
            case 4:
                await self.scene.members.give_role(CLUB, asker, user, role)
                self.model.has(user, role)
            case 5:
                await self.scene.members.moderator(CLUB, asker, CHESS, user, add=flag)
                (self.model.moderators.add if flag else self.model.moderators.discard)(user)
            case 6:
                await self.scene.leave(user, self.scene.space)
                self.model.out(user)
            case 7:
                await self._knock_and_be_let_in(user)
            case 8:
                await self.scene.move(by, self.scene.space, "ban" if flag else "kick", user)
                self.model.out(user, ban=flag)
            case _:
                await self._write_level(by, user, role)
        if what < 6:
            await self.look()

    async def _knock_and_be_let_in(self, user: UserId) -> None:
        await self.scene.do(user, "POST", "knock", self.scene.space.room_id)
        await self.scene.catch_up()
        rank.check_decision(await self.scene.members.people(CLUB), FOUNDER)
        await self.scene.requests.decide(CLUB.id, FOUNDER, user, approve=True, reason="", language=EN)
        self.model.inside.add(user)

    async def _write_level(self, by: UserId, user: UserId, role: Role) -> None:
        levels = self.scene.levels(self.scene.space)
        users = {**levels["users"], str(user): int(role)}
        if users == levels["users"] or user not in self.model.inside:
            return
        await self.scene.write(by, self.scene.space, LEVELS, {**levels, "users": users})
        self.model.wrote(user, role)


async def play(sequence: list[Act], version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(url_in(Path(folder)), version=version)
        await scene.start()
        try:
            it = Play(scene)
            await it.begin()
            for act in sequence:
                with contextlib.suppress(MatrixError, Refused):  # the rules say no, and nothing was done
                    await it.act(*act)
                await it.rest()
                it.model.must_be_so(it.here, it.level)
            scene.forget_requests()
            assert (await scene.reconciler.look(CLUB, fresh=True)).plan.empty, "nothing was left to the timer"
        finally:
            await scene.stop()


@given(st.lists(acts, max_size=8), some.room_versions)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
async def test_rooms_are_what_the_community_says(sequence: list[Act], version: str) -> None:
    await play(sequence, version)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(st.lists(acts, max_size=25), some.room_versions)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
async def test_rooms_are_what_the_community_says_for_long(sequence: list[Act], version: str) -> None:
    await play(sequence, version)
