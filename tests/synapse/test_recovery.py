"""A lost database: rooms are found again by their mark, and none is made twice."""

from __future__ import annotations

from pathlib import Path

from bridge.cli.demo.operator import Operator
from bridge.cli.demo.person import Person
from tests.harness.people import People, SynapseFactory


async def test_a_lost_database_doubles_no_room(new_synapse: SynapseFactory, tmp_path: Path) -> None:
    synapse = new_synapse()
    folder = tmp_path / "service"
    folder.mkdir()
    operator, people = Operator(folder, synapse), People(synapse)
    await operator.set_up()
    await synapse.start()
    try:
        owner, member = await people.nio("owner"), await people.nio("member")
        declaration = {"name": "School", "owners": [owner.user_id], "members": [member.user_id]}
        operator.edit(communities={"school": {**declaration, "groups": {"chess": {"kind": "request"}}}})
        await operator.command("apply", "--yes")
        before = await _rooms(operator)
        for key in ("space", "announcements"):
            await _join(owner, before[key])
            await _join(member, before[key])
        levels = await owner.state(before["space"], "m.room.power_levels") or {}
        await operator.start()
        promoted = {**levels["users"], member.user_id: 100}
        await owner.put_state(before["space"], "m.room.power_levels", "", {**levels, "users": promoted})
        await owner.wait_state(
            before["announcements"],
            "m.room.power_levels",
            "",
            lambda content: content["users"].get(member.user_id) == 100,
        )
        await operator.stop()

        for file in folder.glob("communities.db*"):
            file.unlink()

        plan = (await operator.command("plan", "--json", expect=(0, 2))).json
        assert not [action for action in plan["actions"] if action["kind"] == "create"]
        await operator.start()
        assert await _rooms(operator) == before
        ran = await operator.command("announce", "school", "--text", "Still here", "--json")
        assert ran.json["ok"]
        assert (await member.wait_text(before["announcements"], "Still here")).decrypted
        after = await owner.state(before["space"], "m.room.power_levels") or {}
        assert after["users"].get(member.user_id) == 100, "a role that people gave was lost with the database"
    finally:
        await people.close()
        await operator.stop()
        await synapse.stop()


async def _join(person: Person, room_id: str) -> None:
    await person.wait_invite(room_id)
    await person.join(room_id)
    await person.wait_joined(room_id)


async def _rooms(operator: Operator) -> dict[str, str]:
    community = (await operator.command("status", "--json")).json["communities"][0]
    return {room["key"]: room["room_id"] for room in community["rooms"]} | {"space": community["space"]}
