"""A person is removed and erased by the operator's command: nothing of them is kept, and they read no more."""

from __future__ import annotations

import json
from typing import Any

from tests.harness.community import Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School


def naming(estate: Estate, user: str) -> dict[str, list[str]]:
    """Every row of the service's database in which the id stands, by table."""
    found: dict[str, list[str]] = {}
    for (table,) in estate.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for row in estate.rows(f"SELECT * FROM {table}"):
            if user in repr(row):
                found.setdefault(table, []).append(repr(row))
    return found


async def test_whoever_is_removed_and_erased_is_nowhere_and_reads_no_further(
    estate: Estate, schools: dict[str, School], folk: People
) -> None:
    school = schools["12"]
    community, room = school.community, school.community.announcements
    bart = await folk.nio("bart")
    bart.accept_invites()
    await estate.ask("people", deed="invite", community=community.id, users=[bart.user_id], groups=["board"])
    await community.inside(bart, keys=("space", "announcements", "general", "board"))
    await community.announce(f"before {bart.user_id}")
    await bart.wait_text(room, f"before {bart.user_id}")
    await estate.idle()

    async def person(deed: str, user: str, *more: str) -> dict[str, Any]:
        ran = await estate.command("person", deed, user, "--json", *more)
        return dict(ran.json)

    shown = await person("show", bart.user_id)
    assert shown["standing"]["member_of"] == [community.id]
    assert {record["table"] for record in shown["records"]} == naming(estate, bart.user_id).keys() | {
        "crypto_olm_session",
        "crypto_outbound",
    }
    assert "pickle" not in json.dumps(shown), "what opens messages is shown to nobody"
    said = (await estate.command("person", "show", bart.user_id)).out
    assert f"{bart.user_id}: {len(shown['records'])} records" in said
    assert f"In {community.id}: whoever is in a room is recorded again at the next look." in said
    refused = await estate.command("person", "erase", school.edna.user_id, "--yes", expect=(1,))
    assert "the configuration names" in refused.err
    assert "Remedy: take them out there" in refused.err

    await person("erase", bart.user_id, "--yes", "--leave")
    for key in ("space", "announcements", "general", "board"):
        await bart.wait_left(community[key])
    await estate.idle()

    async def nothing_left() -> bool:
        """What the homeserver told of their leaving is erased as well, as the command advises."""
        again = await person("erase", bart.user_id, "--yes")
        return again["standing"]["member_of"] == [] and naming(estate, bart.user_id) == {}

    await eventually(nothing_left, 20, "nothing of them to be left")
    sent = await community.announce("after they were erased")
    assert (await school.homer.wait_text(room, "after they were erased")).decrypted
    assert await bart.try_decrypt(room, await school.homer.event(room, sent)) is None
    assert naming(estate, bart.user_id) == {}

    await estate.ask("people", deed="ban", community=community.id, users=[bart.user_id])
    await estate.idle()
    kept = await person("erase", bart.user_id, "--yes")
    assert kept["standing"]["banned_in"] == [community.id]
    assert await estate.membership(community.space, bart.user_id) == "ban"
    lifted = await person("erase", bart.user_id, "--yes", "--bans")
    assert lifted["standing"]["banned_in"] == []
    assert await estate.membership(community.space, bart.user_id) == "leave"
    said = (await estate.command("person", "erase", bart.user_id, "--yes")).out
    assert f"POST /_synapse/admin/v1/deactivate/{bart.user_id}" in said
    unasked = await estate.command("person", "erase", bart.user_id, expect=(1,))
    assert "Remedy: look with `person show`, and add --yes" in unasked.err
