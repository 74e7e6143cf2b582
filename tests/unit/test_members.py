"""Who is joined, out of the homeserver's answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.ids import EventId, UserId
from bridge.matrix.members import joined_members, member_of
from bridge.ports import Member

ANN = {
    "type": "m.room.member",
    "state_key": "@ann:example.org",
    "event_id": "$join",
    "sender": "@ann:example.org",
    "origin_server_ts": 1_790_000_000_000,
    "content": {"membership": "join", "displayname": "Ann", "avatar_url": None},
    "unsigned": {"prev_content": {"membership": "invite"}, "age": 12},
}
MEMBER = Member(UserId("@ann:example.org"), EventId("$join"), 1_790_000_000_000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def answer(*events: Any) -> bytes:
    return json.dumps({"chunk": events}).encode()


def test_only_who_is_joined_counts() -> None:
    events = [ANN, *({**ANN, "content": {"membership": other}} for other in ("invite", "leave", "ban", "knock", "", 5))]
    assert joined_members(answer(*events)) == [MEMBER]
    assert joined_members(b"{}") == []


@given(st.sampled_from(["state_key", "event_id", "content", "origin_server_ts"]), JSON)
def test_an_event_that_is_malformed_costs_no_other(field: str, junk: Any) -> None:
    other = {**ANN, "state_key": "@bob:example.org"}
    found = joined_members(answer({**ANN, field: junk}, other, {}, None, [], "x"))
    assert found[-1] == Member(UserId("@bob:example.org"), EventId("$join"), MEMBER.at)
    assert len(found) <= 2


@pytest.mark.parametrize("whole", [b"", b"null", b"[]", b"{", b'{"chunk": 5}', b'{"chunk": [', b"<html>"])
def test_what_is_no_answer_is_refused(whole: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        joined_members(whole)


def test_without_a_time_there_is_none() -> None:
    for at in (None, "now", True, 1.5):
        member = member_of(json.dumps({**ANN, "origin_server_ts": at}).encode())
        assert member is not None
        assert member.at == 0
