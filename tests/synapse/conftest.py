"""The service on a homeserver, and a school of either room version on it, once for this whole folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.cli.demo.person import Client, Person
from tests.harness.announcer import AS_TOKEN, Stage, write_registration
from tests.harness.community import Community, Estate
from tests.harness.joining import JOIN_URL
from tests.harness.js_person import JsPerson
from tests.harness.people import People, SynapseFactory


@dataclass(frozen=True)
class School:
    """A community that stands, with people in it. Tests that change it for good bring a community of their own."""

    community: Community
    owner: Person
    """Also the only member of the hidden group `board`."""
    admin: JsPerson
    """Cross-signed, as Element does it."""
    homer: Person
    """A member."""
    marge: JsPerson
    """A member, cross-signed."""
    edna: Person
    """The moderator of `class-1a` and of `chess`."""

    @property
    def everybody(self) -> tuple[Client, ...]:
        """All of them."""
        return (self.owner, self.admin, self.homer, self.marge, self.edna)

    @property
    def members(self) -> tuple[Person, JsPerson]:
        """One member on each library."""
        return (self.homer, self.marge)


@pytest.fixture(scope="session")
async def estate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """The homeserver and the service."""
    estate = Estate(tmp_path_factory.mktemp("estate"))
    try:
        # a fight is what its own tests call one; and what is done is done because it was pushed, not since it is time
        await estate.start(reconcile={"freeze_after_changes": 1000, "every_minutes": 1440}, join={"url": JOIN_URL})
        yield estate
    finally:
        await estate.stop()


@pytest.fixture
async def folk(estate: Estate) -> AsyncIterator[People]:
    """Make people of a test's own, on the homeserver of the service."""
    people = People(estate.synapse)
    yield people
    await people.close()


async def found_school(estate: Estate, version: str) -> School:
    """Declare a school and its people; not applied yet."""
    people = estate.people
    owner, admin, homer, marge, edna = await asyncio.gather(
        people.nio("owner"),
        people.js("admin", cross_sign=True),
        people.nio("homer"),
        people.js("marge", cross_sign=True),
        people.nio("edna"),
    )
    community = estate.declare(
        f"school{version}",
        room_version=version,
        name=f"School {version}",
        owners=[owner.user_id],
        admins=[admin.user_id],
        members=[homer.user_id, marge.user_id],
        groups={
            "class-1a": {"name": "Class 1A", "kind": "open", "moderators": [edna.user_id]},
            "chess": {"name": "Chess club", "kind": "request", "moderators": [edna.user_id]},
            "board": {"name": "Board", "kind": "hidden", "members": [owner.user_id]},
        },
    )
    school = School(community, owner, admin, homer, marge, edna)
    for person in school.everybody:
        person.accept_invites()
    return school


@pytest.fixture(scope="session")
async def schools(estate: Estate) -> dict[str, School]:
    """A school of each room version."""
    schools = {version: await found_school(estate, version) for version in ("11", "12")}
    await estate.apply(*(school.community for school in schools.values()))
    for school in schools.values():
        await school.community.inside(*school.everybody, keys=("space", "announcements", "general"))
        await school.community.inside(school.owner, school.admin, keys=("control",))
        await school.community.inside(school.edna, keys=("class-1a", "chess"))
    return schools


@pytest.fixture
def school(schools: dict[str, School], room_version: str) -> School:
    """The school of one room version."""
    return schools[room_version]


# --- the keys alone, without the rest of the service ------------------------------------------------------------------


@pytest.fixture(scope="module")
async def homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateSynapse]:
    """A homeserver that knows the service, which does not run: for tests of the keys."""
    folder = tmp_path_factory.mktemp("keys")
    synapse = PrivateSynapse(folder / "synapse")
    synapse.add_registration(write_registration(folder, AS_TOKEN))
    async with synapse:
        yield synapse


@pytest.fixture
async def stage(homeserver: PrivateSynapse, tmp_path: Path) -> AsyncIterator[Stage]:
    """The announcer's keys upon a database of the test's own."""
    stage = Stage(homeserver, AS_TOKEN, f"sqlite:///{tmp_path}/keys.db")
    try:
        await stage.start()
        yield stage
    finally:
        await stage.close()


@pytest.fixture
async def crowd(homeserver: PrivateSynapse) -> AsyncIterator[People]:
    """Make people on that homeserver."""
    crowd = People(homeserver)
    yield crowd
    await crowd.close()


@pytest.fixture
async def own_stage(new_synapse: SynapseFactory, tmp_path: Path) -> AsyncIterator[Stage]:
    """As `stage`, upon a homeserver of the test's own, which it may break."""
    synapse = new_synapse()
    synapse.add_registration(write_registration(tmp_path, AS_TOKEN))
    await synapse.start()
    stage = Stage(synapse, AS_TOKEN, f"sqlite:///{tmp_path}/keys.db")
    try:
        await stage.start()
        yield stage
    finally:
        await stage.close()


@pytest.fixture
async def own_crowd(own_stage: Stage) -> AsyncIterator[People]:
    """Make people on that homeserver."""
    crowd = People(own_stage.homeserver)
    yield crowd
    await crowd.close()
