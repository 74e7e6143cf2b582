"""Members of another homeserver: they come in, read, and go like anybody; and their server may be away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.cli.demo.person import Person
from tests.harness.community import Community, Estate, refusal
from tests.harness.federation import Authority, federating_synapse
from tests.harness.joining import JOIN_URL, Visitor, new_link
from tests.harness.people import People
from tests.harness.reading import does_not_read
from tests.harness.wait import eventually

HISTORY = "m.room.history_visibility"
BEFORE_SYNAPSE_GIVES_UP = 50.0
"""Synapse tries a server that does not answer for a minute, four times: whatever waits for that takes longer."""


@dataclass(frozen=True)
class Two:
    """Our homeserver with the service on it, another one, and a community on ours."""

    estate: Estate
    there: PrivateSynapse
    people_there: People
    community: Community
    owner: Person

    async def enter(self, name: str) -> Person:
        """Somebody of the other server comes in by a link, and accepts what they are invited to."""
        person = await self.people_there.nio(name)
        person.accept_invites()
        link = await new_link(self.community)
        async with Visitor(self.estate) as visitor:
            page = await visitor.enter(link, person.user_id)
        assert page.stage in ("invited", "waiting"), page.problem
        await self.community.inside(person, keys=("space", "announcements", "general"))
        return person

    async def ask(self, deed: str, person: Person) -> None:
        await self.estate.ask("people", deed=deed, community=self.community.id, users=[person.user_id])


@pytest.fixture(scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Two]:
    folder = tmp_path_factory.mktemp("federation")
    authority = Authority(folder / "tls")
    here, there = (federating_synapse(folder / name, authority) for name in ("here", "there"))
    estate, people_there = Estate(folder / "estate", synapse=here), People(there)
    try:
        await there.start()
        await estate.start(join={"url": JOIN_URL})
        owner = await estate.people.nio("owner")
        owner.accept_invites()
        groups = {"chess": {"name": "Chess", "kind": "open"}}
        community = estate.declare("club", name="Club", owners=[owner.user_id], groups=groups)
        await estate.apply(community)
        await community.inside(owner)
        yield Two(estate, there, people_there, community, owner)
    finally:
        there.resume()
        await people_there.close()
        await estate.stop()
        await there.stop()


async def test_a_member_of_another_server_enters_by_link_reads_and_is_removed(two: Two) -> None:
    community, room = two.community, two.community.announcements
    lisa = await two.enter("lisa")
    await community.announce("hello over there")
    assert (await lisa.wait_text(room, "hello over there")).decrypted
    await lisa.join(community["chess"], via=[two.estate.synapse.server_name])
    assert (await refusal(lisa.send(room, "may I?"))).status == 403

    await two.ask("remove", lisa)
    await community.gone(lisa)
    for key in ("space", "announcements", "general", "chess"):
        await lisa.wait_left(community[key])
    after = await community.announce("without them")
    assert (await two.owner.wait_text(room, "without them")).decrypted
    event = await two.owner.event(room, after)
    assert await lisa.try_decrypt(room, event) is None
    assert (await refusal(lisa.join(community["chess"], via=[two.estate.synapse.server_name]))).status == 403


async def test_a_server_that_hangs_keeps_nobody_waiting_but_its_own_people(two: Two) -> None:
    estate, community, room = two.estate, two.community, two.community.announcements
    lisa, bart = await two.enter("lisa"), await two.enter("bart")
    maggie, milhouse = await two.people_there.nio("maggie"), await estate.people.nio("milhouse")
    for person in (maggie, milhouse):
        person.accept_invites()
    await community.announce("all is well")
    for person in (lisa, bart):
        await person.wait_text(room, "all is well")

    two.there.pause()
    async with asyncio.timeout(BEFORE_SYNAPSE_GIVES_UP):
        await two.ask("invite", maggie)
        await two.ask("invite", milhouse)
        await community.inside(milhouse, keys=("space", "announcements", "general"))
        await two.ask("remove", bart)
        await community.gone(bart)
        announced = await community.announce("while they are away")
        assert (await milhouse.wait_text(room, "while they are away")).decrypted
        await estate.put_state(room, HISTORY, {"history_visibility": "joined"})
        await eventually(lambda: _shared(estate, room))
        status = await community.status()
        assert [line for line in status["drift"] if maggie.user_id in line], "it says what has to wait"
    two.there.resume()

    for key in ("space", "announcements", "general"):
        await bart.wait_left(community[key])
    await community.inside(maggie, keys=("space", "announcements", "general"))
    assert (await lisa.wait_text(room, "while they are away")).decrypted
    await does_not_read(bart, room, estate, [announced])


async def _shared(estate: Estate, room_id: str) -> bool:
    return bool((await estate.state(room_id, HISTORY))["history_visibility"] == "shared")


async def test_somebody_is_removed_while_their_server_is_down_and_finds_themselves_out(two: Two) -> None:
    community, room = two.community, two.community.announcements
    nelson = await two.enter("nelson")
    await community.announce("while all are up")
    await nelson.wait_text(room, "while all are up")
    await two.there.kill()
    async with asyncio.timeout(BEFORE_SYNAPSE_GIVES_UP):
        await two.ask("ban", nelson)
        await community.gone(nelson, "ban")
        announced = await community.announce("while it is down")
        assert (await two.owner.wait_text(room, "while it is down")).decrypted
        status = await community.status()
        assert (status["outstanding"], [line for line in status["drift"] if nelson.user_id in line]) == ([], [])
    await two.there.start()
    for key in ("space", "announcements", "general"):
        await nelson.wait_left(community[key])
    await does_not_read(nelson, room, two.estate, [announced])
    assert (await refusal(nelson.join(room, via=[two.estate.synapse.server_name]))).status == 403
