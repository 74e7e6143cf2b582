"""The service's own intake, pump, router and handlers, in this process: whatever an event says, it is worked off."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.app.service import Service
from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.cli.demo.operator import Operator
from bridge.config import load
from bridge.core.community import RoomKind
from bridge.core.errors import NotFound
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.intake.pump import Patience
from bridge.intake.salvage import dumps, loads
from bridge.store.rooms import Place
from tests.faults.test_transactions import JUNK, TYPES
from tests.harness.community import ANNOUNCER, STEWARD

MEMBER = "@bob:example.org"
ROOMS = {RoomId(f"!{kind.value}"): kind for kind in RoomKind}
CHAT = RoomId("!chat")

texts = st.text(st.characters(codec=None, categories=None), max_size=40)
scalars = st.sampled_from(JUNK) | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of a type that is read, with up to three things wrong in it."""
    event_type = draw(st.sampled_from(sorted(TYPES)))
    content = dict(TYPES[event_type])
    event: dict[str, Any] = {
        "type": event_type,
        "room_id": draw(st.sampled_from(sorted([*ROOMS, CHAT, "!foreign"]))),
        "sender": draw(st.sampled_from([MEMBER, ANNOUNCER, STEWARD])),
        "event_id": f"${secrets.token_urlsafe(8)}",
        "origin_server_ts": 1,
        "unsigned": {},
    }
    if draw(st.booleans()):
        event["state_key"] = draw(st.sampled_from(["", MEMBER, ANNOUNCER, STEWARD, "!child", "x" * 300]))
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            content[draw(st.sampled_from(sorted(content)) | texts)] = draw(values)
        else:
            event[draw(st.sampled_from(sorted(event)))] = draw(values)
    return {**event, "content": draw(values) if draw(st.integers(0, 9)) == 0 else content}


class Nowhere:
    """A homeserver on which nothing is found."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes what the client takes."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def request(self, method: str, url_path: str, **_: Any) -> dict[str, Any]:
        """Refuse."""
        raise NotFound(f"{method} {url_path}", status=404, errcode="M_NOT_FOUND")


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The service, wired as ever, with every kind of room and a chat, and its pump running."""
    folder = tmp_path_factory.mktemp("malformed")
    operator = Operator(folder, PrivateSynapse(folder / "nowhere"))
    await operator.command("init", "--homeserver", "http://127.0.0.1:1", "--domain", "example.org")
    operator.edit(communities=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.app.house.Client", Nowhere)
        service = Service(load(operator.config))
    house = service.house
    await house.own()
    for room_id, kind in ROOMS.items():
        house.index.places[room_id] = Place(CommunityId("springfield"), RoomKeyName(kind.value), kind)
    service.pump._patience = Patience(key_seconds=0.01, first_backoff_seconds=0.001)
    await service.pump.start()
    yield service
    await service.pump.stop()
    await house.close()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batch=st.lists(events(), min_size=1, max_size=20))
async def test_whatever_an_event_says_it_is_worked_off(service: Service, batch: list[dict[str, Any]]) -> None:
    service.house.index.chats[CHAT] = UserId(MEMBER)  # a chat ends when somebody comes or goes
    body = loads(orjson.dumps({"events": [loads(dumps(event)) for event in encodable(batch)]}))
    answer = await service.transactions._take_in(secrets.token_hex(8), body)
    assert answer.status == 200
    await service.pump.drained()
    assert await service.inbox.parked() == []


def encodable(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What of it can stand in JSON: halves of surrogate pairs are replaced, numbers that are too long cut off."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        if isinstance(value, dict):
            return {clean(key): clean(member) for key, member in value.items()}
        if isinstance(value, list):
            return [clean(member) for member in value]
        return value if not isinstance(value, int) or abs(value) < 2**63 else 2**53

    return [clean(event) for event in batch]
