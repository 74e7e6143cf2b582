"""An announcement to many people one by one: what one copy takes does not grow with how many others there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import pytest

from bridge.core.announcements import Target
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import DeliverAnnouncement, EditCopy, WithdrawCopy
from bridge.core.rendering import render
from bridge.features.afterwards import job_of_edit, job_of_withdrawal
from bridge.features.direct_copies import DirectCopies
from bridge.store.database import Transaction
from tests.fakes.scene import Scene

SCHOOL, CHAT = CommunityId("school"), RoomId("!chat:example.org")
FEW, MANY = 15, 150


class Crowd:
    """An announcement for a room and many people, and what the database does for each of its copies."""

    def __init__(self, scene: Scene, people: int) -> None:
        self.scene = scene
        self.there = True
        """Whether people are in their chats."""
        self.steps = 0
        """Which SQLite's virtual machine has made, those over rows that it passes over among them."""
        users = [UserId(f"@p{number:04}:example.org") for number in range(people)]
        self.targets = [Target(SCHOOL, RoomId("!school:example.org")), *(Target(SCHOOL, None, one) for one in users)]
        self.direct_copies = DirectCopies(
            database=scene.database,
            belongs=self._belongs,
            chat_with=self._chat_with,
            facts=self,
            deliver=scene.announcements.deliver,
            miss=scene.announcements.missed,
            tell=scene.announcements.tell,
            jobs=scene.jobs,
            wake=lambda: None,
            clock=scene.clock,
        )
        self._plain = scene.database.transaction
        scene.database.transaction = self._counted  # type: ignore[method-assign]

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[Transaction]:
        async with self._plain() as tx:
            await tx._connection.set_progress_handler(self._step, 1)
            yield tx

    def _step(self) -> None:
        self.steps += 1

    async def _belongs(self, _: CommunityId, __: UserId) -> bool:
        return True

    async def _chat_with(self, user: UserId) -> RoomId:
        return RoomId(f"!{user[1:]}")

    async def still_joined(self, _: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        return {user: EventId("$there") for user in users} if self.there else {}

    async def costs(self, do: Callable[[Target], Awaitable[None]]) -> list[int]:
        """What each copy takes, but the last: with it whoever wrote it is told of all."""
        found = []
        for target in self.targets:
            before = self.steps
            await do(target)
            found.append(self.steps - before)
        return found[:-1]

    async def publish(self) -> str:
        return await self.scene.announcements.publish(
            source="$one", author="@ann:example.org", parts=[render("Hello")], targets=self.targets, reply_room=CHAT
        )

    async def delivered(self, *, there: bool) -> list[int]:
        """Have it delivered; or have it wait in people's chats."""
        self.there = there
        announcement = await self.publish()

        async def deliver(target: Target) -> None:
            job = DeliverAnnouncement(announcement, target.community, target.room_id, target.place)
            if target.place:
                await self.direct_copies.do(target.job_of(announcement), job)
            else:
                await self.scene.announcements.deliver(target.job_of(announcement), job)

        return await self.costs(deliver)

    async def changed(self, *, withdraw: bool) -> list[int]:
        """Have it delivered, and then edited or withdrawn."""
        await self.delivered(there=True)
        async with self.scene.database.transaction() as tx:
            announcement = str(await tx.fetch_value("SELECT id FROM announcement"))
        afterwards, how = self.scene.afterwards, {"community": SCHOOL, "author": "@ann:example.org", "reply_room": CHAT}
        if withdraw:
            await afterwards.withdraw(announcement, **how)  # type: ignore[arg-type]
        else:
            edit = await afterwards.edit(announcement, render("Good morning"), source="$edit", **how)  # type: ignore[arg-type]

        async def change(target: Target) -> None:
            place = (announcement, target.community, target.place)
            if withdraw:
                await afterwards.withdraw_copy(job_of_withdrawal(announcement, target), WithdrawCopy(*place))
            else:
                await afterwards.edit_copy(job_of_edit(edit, target), EditCopy(edit, *place))

        return await self.costs(change)

    async def missed(self) -> list[int]:
        """Have it delivered to nobody, since all have left."""

        async def nobody(_: CommunityId, __: UserId) -> bool:
            return False

        self.direct_copies._belongs = nobody
        return await self.delivered(there=True)

    def told(self) -> list[str]:
        return self.scene.messenger.said(CHAT)


async def delivered(crowd: Crowd) -> list[int]:
    return await crowd.delivered(there=True)


async def waiting(crowd: Crowd) -> list[int]:
    return await crowd.delivered(there=False)


async def missed(crowd: Crowd) -> list[int]:
    return await crowd.missed()


async def edited(crowd: Crowd) -> list[int]:
    return await crowd.changed(withdraw=False)


async def withdrawn(crowd: Crowd) -> list[int]:
    return await crowd.changed(withdraw=True)


@pytest.mark.parametrize("story", [delivered, waiting, missed, edited, withdrawn])
async def test_one_copy_takes_as_much_of_the_database_among_few_as_among_many(
    new_scene: Callable[..., Awaitable[Scene]], story: Callable[[Crowd], Awaitable[list[int]]]
) -> None:
    few, many = [await story(Crowd(await new_scene(), people)) for people in (FEW, MANY)]
    assert len(many) == MANY
    assert max(many) <= max(few) * 1.1, (max(few), max(many))


async def test_with_the_last_copy_whoever_wrote_it_is_told_of_all(new_scene: Callable[..., Awaitable[Scene]]) -> None:
    crowd = Crowd(await new_scene(), FEW)
    await crowd.delivered(there=True)
    await crowd.scene.do_jobs()
    assert crowd.told() == [f"Sent to school. 3 devices can read it. {FEW} people have it in direct chats."]
