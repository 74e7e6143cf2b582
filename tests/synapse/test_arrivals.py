"""Whoever joins is welcomed in a direct chat, reads it, and can write commands there."""

from __future__ import annotations

from tests.harness.community import ANNOUNCER, Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School


async def test_a_newcomer_reads_the_welcome_in_a_chat_with_the_announcer(
    estate: Estate, schools: dict[str, School], folk: People
) -> None:
    community = schools["12"].community
    await community.apply(welcome="Good to have you here!", rules="Be kind.", rules_required=True)
    lisa = await folk.js("lisa", cross_sign=True)
    lisa.accept_invites()
    await estate.ask("people", deed="invite", community=community.id, users=[lisa.user_id])
    await community.inside(lisa)
    chat = await eventually(
        lambda: next(iter(lisa.rooms - set(community.rooms.values())), None), 20, "the chat with the announcer"
    )
    assert chat is not None
    message = await lisa.wait_text(chat, lambda message: "Welcome to" in message.text)
    assert message.decrypted
    assert message.sender == ANNOUNCER
    assert "Good to have you here!" in message.text
    assert "Be kind." in message.text
    assert await estate.membership(community["general"], lisa.user_id) == ""
    await lisa.react(chat, message.event_id, "✅")
    await lisa.wait_text(chat, lambda message: "Thank you" in message.text)
    await lisa.wait_joined(community["general"])
    await lisa.send(chat, "help")
    await lisa.wait_text(chat, lambda message: message.sender == ANNOUNCER and "`digest" in message.text)
    await estate.ask("people", deed="remove", community=community.id, users=[lisa.user_id])
    await community.gone(lisa)
    await community.apply(welcome=None, rules=None, rules_required=None)
