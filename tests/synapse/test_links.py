"""Somebody opens an invite link, types their Matrix ID, and is invited; everybody else is told why not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ruamel.yaml import YAML

from bridge.core.links import fingerprint
from tests.harness.community import ANNOUNCER, STEWARD, Estate
from tests.harness.joining import JOIN_URL, Visitor, new_link, path_of
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf50"
    "0f00038101805a346b0000000049454e44ae426082"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture
def modern(schools: dict[str, School]) -> School:
    """The school of room version 12: where the version makes no difference, one is enough."""
    return schools["12"]


@pytest.fixture
async def visitor(estate: Estate) -> AsyncIterator[Visitor]:
    async with Visitor(estate) as visitor:
        yield visitor


async def test_somebody_enters_by_a_link_and_is_invited_to_everything_that_it_names(
    modern: School, folk: People, visitor: Visitor
) -> None:
    community = modern.community
    link = await new_link(community, groups=["board"], uses=5)
    bart = await folk.nio("bart")
    assert (await visitor.open(path_of(link))).status == 200
    page = await visitor.enter(link, bart.user_id)
    assert page.stage == "invited", "within a second"
    assert await bart.wait_invite(community.space) == STEWARD
    await bart.join(community.space)
    assert await bart.wait_invite(community.announcements) == ANNOUNCER
    for key in ("general", "board"):
        assert await bart.wait_invite(community[key]) == STEWARD
    assert community["chess"] not in bart.invites
    await eventually(lambda: _stage(visitor, page.path, "inside"))
    again = await visitor.enter(link, bart.user_id)
    assert again.stage == "inside", "they are not in every group yet"
    for key in ("announcements", "general", "board"):
        await bart.join(community[key])
    await community.estate.idle()
    assert "already" in (await visitor.enter(link, bart.user_id)).problem
    shown = await community.estate.ask("link", do="show", link_id=link["id"])
    assert shown["used"] == 1
    assert [(one["user"], one["stage"]) for one in shown["came"]] == [(bart.user_id, "invited")]


async def _stage(visitor: Visitor, path: str, wanted: str) -> bool:
    return (await visitor.open(path)).stage == wanted


async def test_of_ten_who_race_for_the_last_use_one_gets_in(
    estate: Estate, modern: School, folk: People, visitor: Visitor
) -> None:
    community = modern.community
    link = await new_link(community, uses=1)
    crowd = await asyncio.gather(*(folk.account("racer") for _ in range(10)))
    pages = await asyncio.gather(*(visitor.enter(link, person.user_id) for person in crowd))
    assert sum(page.status == 200 for page in pages) == 1
    assert {page.problem.split(".")[0] for page in pages if page.status != 200} == {
        "This link has been used as often as it may be"
    }
    await estate.idle()
    here = await asyncio.gather(*(estate.membership(community.space, person.user_id) for person in crowd))
    assert sorted(here) == [""] * 9 + ["invite"]
    assert "as often as it may be" in (await visitor.open(path_of(link))).problem


async def test_who_may_not_come_in_is_told_no_more_than_needed(
    estate: Estate, modern: School, folk: People, visitor: Visitor
) -> None:
    community = modern.community
    link = await new_link(community)
    nelson = await folk.account("nelson")
    await modern.admin.ban(community.space, nelson.user_id)
    before = await new_link(community)  # until the service was told of the ban, they may use that one up
    await eventually(lambda: _barred(visitor, before, nelson.user_id))
    assert await _barred(visitor, link, nelson.user_id)
    assert await estate.membership(community.space, nelson.user_id) == "ban"
    assert "cannot join with this link" in (await visitor.enter(link, ANNOUNCER)).problem
    assert "Nobody has this Matrix ID" in (await visitor.enter(link, "@nobody-at-all:example.org")).problem
    assert "not a Matrix ID" in (await visitor.enter(link, "homer")).problem
    assert "does not answer" in (await visitor.enter(link, "@far:nowhere.invalid")).problem
    [listed] = [one for one in await estate.ask("link", do="list") if one["id"] == link["id"]]
    assert listed["used"] == 0, "nobody who was refused took a use away"


async def _barred(visitor: Visitor, link: dict[str, Any], user: str) -> bool:
    return "cannot join with this link" in (await visitor.enter(link, user)).problem


async def test_links_that_are_over(estate: Estate, modern: School, folk: People, visitor: Visitor) -> None:
    community = modern.community
    expired, revoked = await new_link(community), await new_link(community)
    bart = await folk.account("bart")
    database = estate.operator.folder / "communities.db"
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute("UPDATE link SET expires_at = made_at + 1 WHERE id = ?", (expired["id"],))
    await estate.ask("link", do="revoke", link_id=revoked["id"])
    for page in (await visitor.open(path_of(expired)), await visitor.enter(expired, bart.user_id)):
        assert (page.status, page.problem.split(".")[0]) == (410, "This link has expired")
    never = {"url": f"{JOIN_URL}/join/AAAAAAAAAAAAAAAAAAAAAA"}
    for one in (revoked, never):
        assert await estate.membership(community.space, bart.user_id) == ""
        page = await visitor.enter(one, bart.user_id)
        assert page.text == (await visitor.open(path_of(never))).text, "one cannot be told from the other"
        assert page.status == 404


async def test_a_link_that_needs_approval_asks_and_the_page_follows(
    modern: School, folk: People, visitor: Visitor
) -> None:
    community = modern.community
    link = await new_link(community, needs_approval=True)
    bart = await folk.account("bart")
    assert 'name="words"' in (await visitor.open(path_of(link))).text
    page = await visitor.enter(link, bart.user_id, "I am **Bart**,\nof year 5 <b>")
    assert page.stage == "asked"
    assert await community.estate.membership(community.space, bart.user_id) == ""
    text = await community.told(modern.owner, f"!approve {bart.user_id}")
    assert "link" in text, "the card says how they came"
    assert "by whoever typed this name there: “I am **Bart**, of year 5 <b>”" in text
    await _decide(modern, bart.user_id, "approve")
    await eventually(lambda: _stage(visitor, page.path, "invited"))
    lisa = await folk.account("lisa")
    page = await visitor.enter(link, lisa.user_id)
    await community.told(modern.owner, f"!approve {lisa.user_id}")
    await _decide(modern, lisa.user_id, "reject")
    await eventually(lambda: _stage(visitor, page.path, "declined"))
    assert await community.estate.membership(community.space, lisa.user_id) == ""


async def _decide(school: School, user: str, deed: str) -> None:
    await school.community.estate.ask("people", deed=deed, community=school.community.id, users=[user])


async def test_a_link_asked_for_in_the_control_room_works_and_can_be_taken_back(
    modern: School, folk: People, visitor: Visitor
) -> None:
    community = modern.community
    await modern.owner.send(community.control, "!link new board --uses 1")
    text = await community.told(modern.owner, JOIN_URL)
    link = {"url": text.splitlines()[1]}
    milhouse = await folk.nio("milhouse")
    assert (await visitor.enter(link, milhouse.user_id)).stage == "invited"
    assert await milhouse.wait_invite(community.space) == STEWARD
    await modern.owner.send(community.control, "!link new --uses 3")
    spare = await community.told(modern.owner, JOIN_URL, "of 3")
    name = spare.splitlines()[2].split("`")[1]
    await modern.owner.send(community.control, f"!link revoke {name}")
    await community.told(modern.owner, name, "is taken back")
    assert (await visitor.open(path_of({"url": spare.splitlines()[1]}))).status != 200


async def test_the_page_shows_the_picture_and_never_a_script(modern: School, visitor: Visitor) -> None:
    community = modern.community
    link = await new_link(community)
    assert (await visitor.picture(link))[0] == 404
    homeserver = community.estate.synapse.url
    token = {"Authorization": f"Bearer {community.estate.as_token}"}
    for data, kind, shown in ((PNG, "image/png", True), (SVG, "image/svg+xml", False)):
        headers = {**token, "Content-Type": kind}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{homeserver}/_matrix/media/v3/upload", data=data) as response,
        ):
            uri = (await response.json())["content_uri"]
        event_id = await modern.owner.put_state(community.space, "m.room.avatar", "", {"url": uri})
        await community.estate.taken_in(event_id)
        await eventually(partial(_shows, visitor, link, shown))


async def _shows(visitor: Visitor, link: dict[str, Any], shown: bool) -> bool:
    status, kind, data = await visitor.picture(link)
    return (status, kind, data[:8]) == (200, "image/png", PNG[:8]) if shown else status == 404


async def test_links_by_the_command_line(estate: Estate, modern: School, visitor: Visitor) -> None:
    name = modern.community.id
    terms = ("--group", "board", "--expires", "2w", "--uses", "50", "--json")
    made = (await estate.command("link", "new", name, *terms)).json
    assert (made["groups"], made["uses"], made["expires_at"] - made["made_at"]) == (["board"], 50, 14 * 86_400_000)
    assert (await visitor.open(path_of(made))).status == 200
    assert estate.rows("SELECT token_sha256 FROM link WHERE id = ?", made["id"]) == [
        (fingerprint(path_of(made).removeprefix("/join/")),)
    ]
    said = (await estate.command("link", "reset", name)).out
    assert JOIN_URL in said
    assert (await visitor.open(path_of(made))).status == 404
    listed = (await estate.command("link", "list", name, "--json")).json
    assert next(one["verdict"] for one in listed) == "ok"
    assert {one["verdict"] for one in listed[1:]} <= {"revoked"}
    assert all("url" not in one for one in listed)
    revoked = (await estate.command("link", "revoke", listed[0]["id"])).out
    assert "taken back" in revoked
    refused = await estate.command("link", "new", name, "--group", "cooking", expect=(1,))
    assert "there is no group 'cooking'" in refused.err


# --- a crowd, on a homeserver that limits invitations -----------------------------------------------------------------

PEOPLE = 30
PER_SECOND, BURST = 5, 3


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Estate]:
    """An estate whose service is limited as any user is, with few invitations a second."""
    invites = {"per_second": PER_SECOND, "burst_count": BURST}
    limits = {"per_room": invites, "per_issuer": {"per_second": 1000, "burst_count": 1000}}
    estate = Estate(tmp_path, homeserver={"rc_invites": limits})
    try:
        await estate.set_up(join={"url": JOIN_URL})
        yaml = YAML()
        registration = yaml.load(estate.operator.registration.read_text())
        registration["rate_limited"] = True
        with estate.operator.registration.open("w") as file:
            yaml.dump(registration, file)
        await estate.synapse.start()
        await estate.operator.start()
        yield estate
    finally:
        await estate.stop()


async def test_a_crowd_is_invited_as_fast_as_the_homeserver_takes_it_and_first_come(strict: Estate) -> None:
    owner = await strict.people.nio("owner")
    owner.accept_invites()
    community = strict.declare("club", name="Club", owners=[owner.user_id], general=False)
    await strict.apply(community)
    link = await new_link(community)
    crowd = await asyncio.gather(*(strict.people.account("guest") for _ in range(PEOPLE)))
    async with Visitor(strict) as visitor:
        pages = await asyncio.gather(*(visitor.enter(link, person.user_id) for person in crowd))
        assert {page.status for page in pages} == {200}, "nobody sees an error"
        assert sum("before you" in page.text for page in pages) > PEOPLE / 2, "those who wait see their place"
        await strict.operator.kill()  # whoever waits, waits on after a restart
        await strict.operator.start()
        await strict.idle()
        assert {(await visitor.open(page.path)).stage for page in pages} == {"invited"}
        events = (await strict.as_service("GET", "rooms", community.space, "state"))["value"]
        entered = [row[0] for row in strict.rows("SELECT user_id FROM entry ORDER BY seq")]
        order = {
            event["state_key"]: event["origin_server_ts"]
            for event in events
            if event["type"] == "m.room.member" and event["state_key"] in entered
        }
        assert sorted(entered, key=lambda user: order[user]) == entered, "first come, first invited"
        took = (max(order.values()) - min(order.values())) / 1000
        assert took < 2 * (PEOPLE - BURST) / PER_SECOND + 8, "no longer than the limit asks for, twice, and the restart"

        await strict.synapse.stop()
        page = await visitor.enter(link, "@somebody:example.org")
        assert (page.status, page.problem.split(".")[0]) == (503, "The homeserver does not answer at the moment")
