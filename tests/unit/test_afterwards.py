"""What edits and repeats say, and which pins stay."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands.arguments import Setting
from bridge.commands.grammar import Asked, Fault, Found, read, recognise
from bridge.commands.table import TABLE
from bridge.core.afterwards import Pin, Stage, is_same, pinned, repeated, replacement, reworded
from bridge.core.ids import CommunityId, EventId
from bridge.core.rendering import LONGEST_TEXT_BYTES, render
from bridge.matrix.sender import MAX_PLAINTEXT_BYTES

EVENTS = [EventId(f"${number}") for number in range(6)]
PINS = st.lists(
    st.builds(
        Pin, st.sampled_from(EVENTS), st.integers(0, 20), st.integers(0, 5), st.sampled_from(Stage)
    ),
    unique_by=lambda pin: pin.event_id,
)  # fmt: skip
HERE = CommunityId("school")
SETTING = Setting((HERE, CommunityId("club")), (HERE,), None, {})


# --- contents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x", "**x**", "x" * 22_000, "*x* " * 2_000, "x" * (LONGEST_TEXT_BYTES - 200)])
def test_every_text_that_can_be_announced_can_be_an_edit(text: str) -> None:
    content = render(text)
    edit = replacement(EventId("$event"), content)
    assert len(orjson.dumps(edit)) < MAX_PLAINTEXT_BYTES
    assert edit["m.new_content"] == content
    assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$event"}
    assert edit["body"].startswith("* ")


def test_short_edits_say_all_of_it_to_clients_that_know_none() -> None:
    edit = replacement(EventId("$event"), render("one **two**"))
    assert (edit["body"], edit["formatted_body"]) == ("* one **two**", "* <p>one <strong>two</strong></p>")


def test_a_file_of_an_older_client_keeps_its_name_when_it_gets_a_caption() -> None:
    before = {"msgtype": "m.file", "body": "a.pdf", "file": {"url": "mxc://x/y"}, "m.relates_to": {"rel_type": "m.x"}}
    after = reworded(before, render("**read** this"))
    assert after == {
        "msgtype": "m.file", "filename": "a.pdf", "file": {"url": "mxc://x/y"}, "body": "**read** this",
        "format": "org.matrix.custom.html", "formatted_body": "<p><strong>read</strong> this</p>", "m.mentions": {},
    }  # fmt: skip
    plain = reworded(after, render("read this"))
    assert "formatted_body" not in plain
    assert not is_same(after, plain)
    assert is_same(plain, {**plain, "m.relates_to": {}})


def test_what_is_repeated_mentions_answers_and_replaces_nobody() -> None:
    content: dict[str, Any] = {
        "msgtype": "m.image", "body": "a", "file": {"key": {}}, "info": {"w": 1}, "m.mentions": {"room": True},
        "m.relates_to": {"m.in_reply_to": {}}, "m.new_content": {}, "org.example.secret": 1,
    }  # fmt: skip
    assert repeated(content) == {
        "msgtype": "m.image", "body": "a", "file": {"key": {}}, "info": {"w": 1}, "m.mentions": {},
    }  # fmt: skip
    assert repeated({"m.poll": {}}) is None


# --- pins -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(EVENTS), unique=True), PINS, st.integers(0, 20), st.integers(1, 3))
def test_pins_of_people_stay_and_ours_are_few_and_end(now: list[EventId], ours: list[Pin], at: int, most: int) -> None:
    plan = pinned(now, ours, at, most)
    named = {pin.event_id for pin in ours}
    assert [event for event in plan.events if event not in named] == [event for event in now if event not in named]
    for pin in ours:
        there = pin.event_id in plan.events
        if pin.stage is Stage.WANTED and pin.event_id in now:
            assert there, "people had pinned it"
        elif pin.stage is Stage.LEAVING or pin.until <= at or (pin.stage is Stage.PLACED and pin.event_id not in now):
            assert not there
        assert there or pin.event_id in plan.gone
    kept = [pin for pin in ours if pin.event_id in plan.events and pin.event_id not in plan.gone]
    assert len(kept) <= most
    assert len(set(plan.events)) == len(plan.events)
    # once it is written, nothing is left to do
    after = [
        Pin(pin.event_id, pin.until, pin.at, Stage.PLACED if pin.event_id in plan.placing else pin.stage)
        for pin in kept
    ]
    again = pinned(plan.events, after, at, most)
    assert (again.events, again.placing, again.gone) == (plan.events, (), ())


# --- words ------------------------------------------------------------------------------------------------------------


def asked(text: str) -> Asked | Fault:
    found = recognise(text, TABLE)
    assert isinstance(found, Found)
    return read(found, SETTING)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("edit #12 School is closed", {"announcement": "#12", "text": "School is closed"}),
        ("edit school: #12 School is closed", {"announcement": "#12", "text": "School is closed"}),
        ("edit 12 classes are cancelled", {"text": "12 classes are cancelled"}),
        ("edit School is closed", {"text": "School is closed"}),
        ("announcement edit https://matrix.to/#/!a/$b New", {
            "announcement": "https://matrix.to/#/!a/$b", "text": "New",
        }),
        ("withdraw 12", {"announcement": "12"}),
        ("withdraw", {}),
        ("pin #12 24h", {"announcement": "#12", "for": 86_400}),
        ("pin 30d", {"for": 30 * 86_400}),
        ("anheften #12 7 Tage", {"announcement": "#12", "for": 7 * 86_400}),
        ("forward #12 club", {"announcement": "#12", "target": "club"}),
        ("repost school #3", {"announcement": "#3"}),
    ],
)  # fmt: skip
def test_how_an_announcement_is_named(text: str, values: dict[str, Any]) -> None:
    found = asked(text)
    assert isinstance(found, Asked), found
    assert found.community == HERE
    assert {name: value for name, (value,) in found.values.items()} == values


@pytest.mark.parametrize("text", ["withdraw everything", "pin #12 ever", "edit #12", "forward #12", "unpin #12 7d"])
def test_what_is_not_understood(text: str) -> None:
    assert isinstance(asked(text), Fault)
