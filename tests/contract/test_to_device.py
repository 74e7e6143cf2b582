"""What key delivery relies on where a homeserver refuses a request for one of those whom it is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.errors import BadRequest
from bridge.e2ee.division import in_parts
from bridge.e2ee.olm_sessions import Message, by_device
from bridge.matrix.client import Client, path
from bridge.matrix.key_server import HomeserverKeys
from tests.fakes.homeserver import ANNOUNCER

TYPE = "org.example.test"
TOO_LARGE = {"body": "x" * 70_000}
"""Of one message to a device Synapse takes 64 KiB at most."""


async def _synced(homeserver: PrivateSynapse, token: str, since: str = "") -> tuple[list[Any], str]:
    """What a device was sent, and from where its next sync goes on."""
    client = Client(homeserver.url, token, retries=0)
    await client.start()
    try:
        query = {"timeout": "0", **({"since": since} if since else {})}
        answer = await client.request("GET", path("v3", "sync"), query=query)
    finally:
        await client.stop()
    return [event["content"] for event in answer.get("to_device", {}).get("events", [])], answer["next_batch"]


async def test_one_message_that_is_refused_is_found_and_the_rest_arrives_once(
    contract_synapse: tuple[PrivateSynapse, str],
) -> None:
    homeserver, as_token = contract_synapse
    accounts = [await homeserver.register(f"recipient{number}") for number in range(5)]
    names = [(account.user_id, account.device_id) for account in accounts]
    messages: list[Message] = [(name, TOO_LARGE if name is names[2] else {"body": "small"}) for name in names]
    client = Client(homeserver.url, as_token, retries=0)
    await client.start()
    server = HomeserverKeys(client, ANNOUNCER)
    try:
        with pytest.raises(BadRequest):
            await server.send_to_device(TYPE, "whole", by_device(messages))
        received, since = await _synced(homeserver, accounts[0].access_token)
        assert received == [], "it is refused as a whole"
        number = 0

        async def send(part: Sequence[Message]) -> None:
            nonlocal number
            number += 1
            await server.send_to_device(TYPE, f"part {number}", by_device(part))

        async def nothing() -> None:
            await server.send_to_device(TYPE, f"nothing {number}", {})

        refused = await in_parts(messages, send, owner=lambda message: message[0][0], probe=nothing)
        assert [name for name, _ in refused.things] == [names[2]]
        assert await server.claim_keys({}) is not None
        assert await server.query_keys([]) is not None
    finally:
        await client.stop()
    tokens = [account.access_token for account in accounts]
    got = [(await _synced(homeserver, token, since if token is tokens[0] else ""))[0] for token in tokens]
    assert got == [[] if number == 2 else [{"body": "small"}] for number in range(5)]
