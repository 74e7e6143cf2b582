"""What people did while the service was away is made good when it is back."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.cli.demo.person import Person
from tests.harness.community import Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School

LEVELS = "m.room.power_levels"


async def misbehave(estate: Estate, school: School, bart: Person, lisa: Person) -> dict[str, str]:
    """Open the announcement room and post there; let somebody go, and somebody be banned."""
    community, room = school.community, school.community.announcements
    levels = await estate.state(room, LEVELS)
    await estate.put_state(room, LEVELS, levels | {"events_default": 0})
    spam = await school.homer.send(room, "spam while nobody looks")
    rightful = await school.owner.send(room, "an owner in the meantime")
    await school.owner.put_state(community.space, LEVELS, "", await estate.state(community.space, LEVELS) | {"kick": 0})
    await school.admin.put_state(community.space, "m.space.child", room, {})
    await bart.leave(community.space)
    await school.admin.ban(community.space, lisa.user_id)
    return {"spam": spam, "rightful": rightful}


async def test_all_is_put_right_after_an_absence(estate: Estate, schools: dict[str, School], folk: People) -> None:
    both = list(schools.values())
    pupils = [(await folk.nio("bart"), await folk.nio("lisa")) for _ in both]
    for school, pair in zip(both, pupils, strict=True):
        await school.community.admit(*pair)
        await school.community.announce("before the absence")
        for pupil in pair:
            await pupil.wait_text(school.community.announcements, "before the absence")
    before = [
        {key: await estate.state(school.community[key], LEVELS) for key in ("space", "announcements")}
        for school in both
    ]  # fmt: skip
    await estate.operator.stop()
    done = await asyncio.gather(
        *(misbehave(estate, school, *pair) for school, pair in zip(both, pupils, strict=True))
    )  # fmt: skip
    await estate.operator.start()

    for school, (bart, lisa), levels, posts in zip(both, pupils, before, done, strict=True):
        community, room = school.community, school.community.announcements

        async def healed(school: School = school, levels: dict[str, dict[str, Any]] = levels) -> bool:
            for key, wanted in levels.items():
                assert await estate.state(school.community[key], LEVELS) == wanted
            return bool(await estate.state(school.community.space, "m.space.child", school.community.announcements))

        async def redacted(school: School = school, spam: str = posts["spam"]) -> bool:
            return not (await school.owner.event(school.community.announcements, spam))["content"]

        await eventually(healed, 30)
        await eventually(redacted, 30)
        await community.gone(bart)
        await community.gone(lisa, "ban")
        assert (await refusal(school.homer.send(room, "spam again"))).status == 403
        after = await community.announce("after the absence")
        for member in school.members:
            assert (await member.wait_text(room, "after the absence")).decrypted
            assert (await member.wait_text(room, "an owner in the meantime")).decrypted
        event = await school.homer.event(room, after)
        for pupil in (bart, lisa):
            assert await pupil.try_decrypt(room, event) is None
        assert (await school.owner.event(room, posts["rightful"]))["content"]
        members = [user for user in community.declaration["members"] if user not in (bart.user_id, lisa.user_id)]
        await community.apply(members=members)


async def test_who_left_in_the_meantime_reads_nothing_that_is_announced_alone(
    estate: Estate, schools: dict[str, School], folk: People
) -> None:
    both = list(schools.values())
    leavers = [(await folk.nio("bart"), await folk.nio("lisa")) for _ in both]
    for school, pair in zip(both, leavers, strict=True):
        await school.community.admit(*pair)
        await school.community.announce("while they are here")
        for leaver in pair:
            await leaver.wait_text(school.community.announcements, "while they are here")
    await estate.operator.stop()
    try:
        for school, (bart, lisa) in zip(both, leavers, strict=True):
            community = school.community
            await bart.leave(community.space)
            await school.admin.kick(community.space, lisa.user_id)
            ran = await estate.operator.command("announce", community.id, "--text", "without them", "--json")
            assert ran.json["ok"]
            room = community.announcements
            event = await school.homer.event(room, ran.json["targets"][0]["event_id"])
            assert (await school.homer.wait_text(room, "without them")).decrypted
            for leaver in (bart, lisa):
                assert await leaver.try_decrypt(room, event) is None
    finally:
        await estate.operator.start()
    for school, pair in zip(both, leavers, strict=True):
        gone = {leaver.user_id for leaver in pair}
        members = [user for user in school.community.declaration["members"] if user not in gone]
        await school.community.apply(members=members)
