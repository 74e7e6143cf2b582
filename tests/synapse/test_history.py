"""Past announcements for whoever comes later: a real homeserver, and clients whose cryptography is not ours."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from bridge.cli.demo.person import Client
from tests.harness.community import Community, Estate
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.reading import does_not_read, reads
from tests.harness.wait import eventually

TEXTS = [f"number {number}" for number in range(20)]


@dataclass(frozen=True)
class Past:
    """A community in which things were said, and what; nobody but its owner and its admin was there."""

    community: Community
    admin: JsPerson
    ours: list[str]
    """Events of the announcer."""
    theirs: list[str]
    """Events of the admin."""

    @property
    def room(self) -> str:
        """The announcement room."""
        return self.community.announcements

    async def is_read(self, person: Client, *, theirs: bool = True) -> None:
        """Wait until a person reads everything, nothing with a red shield."""
        texts = dict(zip(self.ours, TEXTS, strict=True))
        if theirs:
            texts |= dict(zip(self.theirs, TEXTS, strict=True))
        await reads(person, self.room, texts)


@pytest.fixture(scope="module")
async def pasts(estate: Estate) -> dict[str, Past]:
    """A past in a room of each version."""
    return {version: await made(estate, version) for version in ("11", "12")}


async def made(estate: Estate, version: str) -> Past:
    owner, admin = await asyncio.gather(estate.people.nio("owner"), estate.people.js("admin", cross_sign=True))
    community = estate.declare(
        f"past{version}",
        room_version=version,
        name="Past",
        join="request",
        owners=[owner.user_id],
        admins=[admin.user_id],
    )
    for person in (owner, admin):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, admin)
    ours = [await community.announce(text) for text in TEXTS]
    theirs = [await admin.send(community.announcements, text) for text in TEXTS]
    await estate.taken_in(theirs[-1])
    return Past(community, admin, ours, theirs)


@pytest.fixture
def past(pasts: dict[str, Past], room_version: str) -> Past:
    return pasts[room_version]


async def test_whom_the_file_names_reads_the_past(past: Past, folk: People) -> None:
    lisa, bart = await asyncio.gather(folk.js("lisa", cross_sign=True), folk.nio("bart"))
    await past.community.admit(lisa, bart)
    await asyncio.gather(past.is_read(lisa), past.is_read(bart, theirs=False))


async def test_whom_an_admin_invites_in_their_client_reads_the_past(past: Past, folk: People) -> None:
    lisa = await folk.js("lisa", cross_sign=True)
    lisa.accept_invites()
    await past.admin.invite(past.community.space, lisa.user_id)
    await past.community.inside(lisa)
    await past.is_read(lisa)


async def test_whose_knock_is_accepted_reads_the_past(past: Past, folk: People) -> None:
    lisa = await folk.js("lisa", cross_sign=True)
    lisa.accept_invites()
    await lisa.knock(past.community.space)
    await past.admin.invite(past.community.space, lisa.user_id)
    await past.community.inside(lisa)
    await past.is_read(lisa)


async def test_a_second_device_reads_what_the_announcer_said(past: Past, folk: People) -> None:
    bart = await folk.nio("bart")
    await past.community.admit(bart)
    await past.is_read(bart, theirs=False)
    other = await folk.nio(account=bart.account, new_device=True)
    await past.is_read(other, theirs=False)


@pytest.mark.parametrize("set_up", ["before the join", "later"])
async def test_a_second_device_reads_what_people_said_from_the_backup_of_the_first(
    pasts: dict[str, Past], folk: People, estate: Estate, set_up: str
) -> None:
    past = pasts["12"]
    lisa = await folk.js("lisa", cross_sign=True)
    recovery_key = await lisa.set_up_recovery() if set_up == "before the join" else ""
    await past.community.admit(lisa)
    await past.is_read(lisa)
    other = await folk.js(account=lisa.account, new_device=True)
    await reads(other, past.room, dict(zip(past.ours, TEXTS, strict=True)))
    await does_not_read(other, past.room, estate, past.theirs)
    recovery_key = recovery_key or await lisa.set_up_recovery()
    sessions = {message.session_id for message in lisa.messages(past.room)}

    async def everything_is_kept() -> bool:
        return sessions <= await lisa.backed_up(past.room)

    await eventually(everything_is_kept, 40, what="the keys of the past to be in the backup", interval=0.5)
    await lisa.close()
    await other.recover(recovery_key)
    await past.is_read(other)


async def test_an_announcement_right_after_the_join_does_not_come_in_the_way(
    past: Past, folk: People, estate: Estate
) -> None:
    lisa, bart = await asyncio.gather(folk.js("lisa", cross_sign=True), folk.nio("bart"))
    for person in (lisa, bart):
        person.accept_invites()
    joined = asyncio.gather(*(person.wait_joined(past.room) for person in (lisa, bart)))
    declared = [*past.community.declaration.get("members", []), lisa.user_id, bart.user_id]
    _, now = await asyncio.gather(past.community.apply(members=declared), _once_somebody_came(past, joined))
    await asyncio.gather(past.is_read(lisa), past.is_read(bart, theirs=False))
    for person in (lisa, bart):
        await reads(person, past.room, {now: "now"})


async def _once_somebody_came(past: Past, joined: asyncio.Future[list[None]]) -> str:
    await joined
    return await past.community.announce("now")


@pytest.mark.parametrize("remover", ["the file", "an admin"])
async def test_who_comes_back_reads_the_past_but_not_what_was_said_meanwhile(
    past: Past, folk: People, estate: Estate, remover: str
) -> None:
    community = past.community
    lisa = await folk.js("lisa", cross_sign=True)
    await community.admit(lisa)
    await past.is_read(lisa)
    inside = await past.admin.send(past.room, "with lisa")
    await reads(lisa, past.room, {inside: "with lisa"})
    names = [name for name in community.declaration["members"] if name != lisa.user_id]
    if remover == "the file":
        await community.apply(members=names, force=True)
    else:
        await past.admin.kick(community.space, lisa.user_id)
    await community.gone(lisa)
    said = [await community.announce("meanwhile"), await past.admin.send(past.room, "meanwhile")]
    await estate.taken_in(said[-1])
    other = await folk.js(account=lisa.account, new_device=True)  # it has nothing from before
    await lisa.close()
    other.accept_invites()
    if remover == "the file":
        await community.apply(members=[*names, lisa.user_id])
    else:
        await past.admin.invite(community.space, lisa.user_id)
    await community.inside(other)
    await past.is_read(other)
    await does_not_read(other, past.room, estate, said)
    later = await community.announce("later")
    await reads(other, past.room, {later: "later", inside: "with lisa"})


async def test_who_leaves_again_at_once_is_given_no_bundle(past: Past, folk: People, estate: Estate) -> None:
    lisa = await folk.js("lisa", cross_sign=True)
    await past.community.apply(members=[*past.community.declaration.get("members", []), lisa.user_id])
    await lisa.join(past.room)
    await lisa.leave(past.room)
    await estate.idle()
    await does_not_read(lisa, past.room, estate, past.theirs)
