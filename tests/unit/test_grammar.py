"""What people write to the announcer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands.grammar import Announce, ApplyHeld, Command, Help, NotUnderstood, Status, Thaw, parse


@pytest.mark.parametrize(("text", "command"), [
    ("help", Help()),
    ("Help", Help()),
    ("  HELP\n", Help()),
    ("hello there", Help()),
    ("?", Help()),
    ("!help", Help()),
    ("! help", Help()),
    ("status", Status()),
    ("Status:", Status()),
    ("announce school Hello", Announce("school", "Hello")),
    ("Announce School Hello", Announce("school", "Hello")),
    ("announce: school Hello", Announce("school", "Hello")),
    ("!announce school Hello", Announce("school", "Hello")),
    ("announce school\nHello\n\n- one\n  - two\n", Announce("school", "Hello\n\n- one\n  - two")),
    ("announce   school    two  spaces", Announce("school", "two  spaces")),
    ("announce school !wow", Announce("school", "!wow")),
    ("announce school", Announce("school", "")),
    ("announce", Announce("", "")),
    ("apply school 12AB", ApplyHeld("school", "12ab")),
    ("apply school 12ab \n", ApplyHeld("school", "12ab")),
    ("apply school", ApplyHeld("school", "")),
    ("thaw school", Thaw("school")),
    ("thaw", Thaw("")),
    ("Thaw School please", Thaw("school")),
    ("announcement school Hello", NotUnderstood("announcement school Hello")),
    ("good morning", NotUnderstood("good morning")),
    ("!", NotUnderstood("!")),
    ("", NotUnderstood("")),
    ("   ", NotUnderstood("   ")),
])  # fmt: skip
def test_commands(text: str, command: Command) -> None:
    assert parse(text, to_everybody=False) == command


@pytest.mark.parametrize("text", ["help", "announce school Hello", "we should help", "status?", "", "   "])
def test_people_who_talk_to_each_other_are_not_answered(text: str) -> None:
    assert parse(text, to_everybody=True) is None


@pytest.mark.parametrize(("text", "command"), [
    ("!help", Help()),
    ("  !thaw school", Thaw("school")),
    ("!announce school Hello", Announce("school", "Hello")),
    ("!nonsense", NotUnderstood("!nonsense")),
])  # fmt: skip
def test_in_a_control_room_a_command_begins_with_a_mark(text: str, command: Command) -> None:
    assert parse(text, to_everybody=True) == command


WORDS = st.sampled_from(
    ("announce", "apply", "thaw", "status", "help", "!", " ", "\n", "\t", "school", "\0", "\u2028", ":")
)


@given(st.text() | st.lists(WORDS | st.text(max_size=4)).map("".join), st.booleans())
def test_any_text_is_something(text: str, to_everybody: bool) -> None:
    command = parse(text, to_everybody=to_everybody)
    assert command is None or isinstance(command, Command)
    assert (command is None) <= to_everybody
    for name in ("community", "digest"):
        word = getattr(command, name, "")
        assert word == word.strip()
        assert word == word.lower()


@given(st.text(min_size=1).filter(lambda text: text.strip() == text))
def test_an_announcements_words_are_left_as_they_are(text: str) -> None:
    assert parse(f"announce school {text}", to_everybody=False) == Announce("school", text)


@pytest.mark.parametrize("piece", [" ", "\n", "!", " !", "a ", "\u3000", "announce ", ":", "\0"])
def test_a_long_message_is_read_in_no_time(piece: str) -> None:
    text = piece * (60_000 // len(piece))
    begun = time.perf_counter()
    parse(text, to_everybody=False)
    parse(text, to_everybody=True)
    assert time.perf_counter() - begun < 1.0  # it took half a minute once
