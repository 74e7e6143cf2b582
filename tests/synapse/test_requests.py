"""Somebody knocks on a community: the card, the decision of one of two admins, and what the person sees."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from bridge.cli.demo.person import Client, ReceivedMessage
from tests.harness.community import ANNOUNCER, Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School
from tests.synapse.test_chats import chat_with_announcer


async def card_of(community: Community, admin: Client, user_id: str, *parts: str) -> ReceivedMessage:
    """The card of somebody's request, as an admin's client decrypts it."""
    return await admin.wait_text(
        community.control,
        lambda message: (
            message.sender == ANNOUNCER
            and f"{user_id}" in message.text
            and "asks to join" in message.text
            and all(part in message.text for part in parts)
        ),
    )


async def test_a_knock_is_a_card_that_two_admins_may_decide_at_once(
    estate: Estate, school: School, folk: People
) -> None:
    community = school.community
    await community.apply(join="request")
    lisa = await folk.nio("lisa")
    await lisa.knock(community.space, "I play the saxophone")
    card = await card_of(community, school.admin, lisa.user_id, "They knocked", "I play the saxophone")
    assert card.decrypted
    for key in ("✅", "❌"):
        relation = {"rel_type": "m.annotation", "event_id": card.event_id, "key": key}
        await school.owner.wait_event(community.control, partial(_relates, relation))
    await asyncio.gather(
        school.owner.react(community.control, card.event_id, "✅"),
        school.admin.react(community.control, card.event_id, "❌"),
    )

    async def decided() -> str:
        state = await estate.membership(community.space, lisa.user_id)
        return state if state != "knock" else ""

    outcome = await eventually(decided, 20, "one decision")
    edited = await card_of(community, school.owner, lisa.user_id, "Approved" if outcome == "invite" else "Rejected")
    assert (school.owner.user_id if outcome == "invite" else school.admin.user_id) in edited.text
    await estate.idle()
    assert await estate.membership(community.space, lisa.user_id) == outcome
    states = estate.rows("SELECT state FROM join_request WHERE user_id = ?", lisa.user_id)
    assert states == [("approved" if outcome == "invite" else "rejected",)]
    lisa.accept_invites()
    if outcome == "invite":
        await community.inside(lisa)
    await community.apply(join=None)


async def test_a_rejected_knock_is_answered_and_may_come_again(estate: Estate, school: School, folk: People) -> None:
    community = school.community
    await community.apply(join="request")
    milhouse = await folk.nio("milhouse")
    await milhouse.knock(community.space)
    card = await card_of(community, school.owner, milhouse.user_id)
    await estate.ask(
        "people", deed="reject", community=community.id, users=[milhouse.user_id], reason="only for parents"
    )

    async def reason() -> str:
        content = await estate.state(community.space, "m.room.member", milhouse.user_id)
        return str(content.get("reason", "")) if content["membership"] == "leave" else ""

    assert "only for parents" in await eventually(reason, 20)
    await card_of(community, school.owner, milhouse.user_id, "Rejected by the operator", "only for parents")
    await milhouse.knock(community.space)

    async def answered_kindly() -> bool:
        return bool("you may ask again 24 hours" in str(await reason()))

    await eventually(answered_kindly, 20)
    assert len(estate.rows("SELECT 1 FROM join_request WHERE user_id = ? AND card IS NOT NULL", milhouse.user_id)) == 1

    # whom the operator invites all the same needs no further word
    milhouse.accept_invites()
    await estate.ask("people", deed="invite", community=community.id, users=[milhouse.user_id], groups=["class-1a"])
    await community.inside(milhouse, keys=("space", "announcements", "class-1a"))
    assert card.event_id
    await estate.ask("people", deed="remove", community=community.id, users=[milhouse.user_id])
    await community.gone(milhouse)
    await community.apply(join=None)


async def test_admins_decide_and_appoint_by_writing_in_the_control_room(
    estate: Estate, schools: dict[str, School], folk: People
) -> None:
    school = schools["12"]
    community = school.community
    await community.apply(join="request")
    lisa = await folk.nio("lisa")
    lisa.accept_invites()
    await lisa.knock(community.space, "by word")
    await card_of(community, school.admin, lisa.user_id, "by word")
    await school.admin.send(community.control, f"!approve {lisa.user_id}")
    await community.inside(lisa)
    assert "Approved by" in await community.told(school.owner, lisa.user_id, school.admin.user_id)
    # a member asks for a group in a chat, as by a knock that not every client can
    chat = await chat_with_announcer(lisa)
    await lisa.send(chat, "ask Board")
    await lisa.wait_text(chat, lambda message: "there is no group" in message.text and "chess" in message.text)
    await lisa.send(chat, "ask chess CLUB")
    card = await card_of(community, school.admin, lisa.user_id, "Chess club", "asked me in a chat")
    await school.admin.react(community.control, card.event_id, "✅")
    await lisa.wait_joined(community["chess"])
    await school.owner.send(community.control, f"!promote {lisa.user_id} admin")
    await community.told(school.owner, "admins in the configuration decides that")
    await school.admin.send(community.control, f"!remove {lisa.user_id} for the test")
    await community.gone(lisa)
    await community.told(school.owner, lisa.user_id, "is removed", "for the test")
    await community.apply(join=None)


def _relates(relation: dict[str, str], event: dict[str, Any]) -> bool:
    return bool(event["sender"] == ANNOUNCER and event["content"].get("m.relates_to") == relation)
