"""`verify`: the operator and somebody with Element compare emoji, through the running service."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from tests.harness.community import ANNOUNCER, Estate
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.wait import eventually


async def with_chat(folk: People) -> tuple[JsPerson, str]:
    ann = await folk.js("ann", cross_sign=True)
    room = await ann.create_dm(ANNOUNCER)
    await ann.wait_joined(room, ANNOUNCER)
    await eventually(lambda: ann.messages(room), 30, "the announcer's greeting")
    return ann, room


async def compared(ann: JsPerson) -> dict[str, Any]:
    async def shown() -> Any:
        now = await ann.verification()
        return now if now["emoji"] else None

    return dict(await eventually(shown, 60, "the emoji"))


async def test_the_operator_verifies_somebody_who_asks_in_the_chat(estate: Estate, folk: People) -> None:
    ann, room = await with_chat(folk)
    await ann.request_verification(ANNOUNCER, room_id=room)

    async def asks() -> bool:
        return ann.user_id in [one["user_id"] for one in await estate.ask("verify", step="open")]

    await eventually(asks, 30, "the request to come")
    command = asyncio.create_task(estate.operator.command("verify", "--user", ann.user_id, stdin="y\n"))
    seen = await compared(ann)
    await ann.answer_verification(matches=True)
    ran = await command
    assert all(name in ran.out for _, name in seen["emoji"][:1])
    assert " ".join(str(number) for number in seen["decimals"]) in ran.out
    assert re.search("have verified each other", ran.out)
    assert await eventually(lambda: ann.verified(ANNOUNCER), what="the announcer to be verified")
    status = await estate.ask("status")
    assert status["announcer"]["cross_signed"] is True


async def test_the_operator_says_no(estate: Estate, folk: People) -> None:
    ann, _ = await with_chat(folk)
    await ann.accept_verifications()
    command = asyncio.create_task(estate.operator.command("verify", "--user", ann.user_id, stdin="n\n", expect=[1]))
    await compared(ann)
    ran = await command
    assert "m.mismatched_sas" in ran.out
    assert not await ann.verified(ANNOUNCER)
