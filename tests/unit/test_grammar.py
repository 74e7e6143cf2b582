"""What people write to the announcer: any text has a clear answer, and every command is read as it is written."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands import arguments
from bridge.commands.arguments import Argument, Setting
from bridge.commands.grammar import (
    About,
    Asked,
    Command,
    Fault,
    Found,
    Trouble,
    Unknown,
    heard,
    read,
    recognise,
    render,
)
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.languages import DE
from bridge.core.messages import Pill

SCHOOL, CLUB, PARISH = CommunityId("school"), CommunityId("club"), CommunityId("parish")
HOMER = UserId("@homer:example.org")
HOUR, DAY = 3_600, 86_400

TEXT = arguments.text()
WHO = arguments.user()
REASON = arguments.text("reason", optional=True)
GROUPS = arguments.group().optionally().repeated()
USES = arguments.number("uses", 1, 1000, names={DE: "nutzungen"}).as_option()
EXPIRES = arguments.duration("expires", HOUR, 30 * DAY).as_option()
APPROVAL = arguments.flag("needs-approval")
SILENT = arguments.flag("silent")
PLAN = arguments.word("plan").optionally()
KIND = arguments.choice("kind", {"open": 1, "offen": 1, "hidden": 2})

ANNOUNCE = Command(name="announce", names={DE: "ankündigen"}, aliases=("tell",), arguments=(TEXT,))
REMOVE = Command(name="remove", arguments=(WHO, SILENT, REASON))
LINK = Command(name="link new", arguments=(GROUPS, USES, EXPIRES, APPROVAL))
LINKS = Command(name="link list")
APPLY = Command(name="apply", arguments=(PLAN,))
MAKE = Command(name="make", arguments=(KIND,))
STATUS = Command(name="status", about=About.ANY)
HELP = Command(name="help", aliases=("?",), about=About.NONE, arguments=(arguments.text("command", optional=True),))
COMMANDS = (ANNOUNCE, REMOVE, LINK, LINKS, APPLY, MAKE, STATUS, HELP)

KEYS = {SCHOOL: (RoomKeyName("chess"), RoomKeyName("parents")), CLUB: (RoomKeyName("board"),)}
KNOWN = (SCHOOL, CLUB, PARISH)
ONE = Setting(KNOWN, (SCHOOL,), groups=KEYS)
TWO = Setting(KNOWN, (SCHOOL, CLUB), groups=KEYS)
IN_CLUB = Setting(KNOWN, (SCHOOL, CLUB), CLUB, groups=KEYS)
NONE = Setting(KNOWN)
SETTINGS = (ONE, TWO, IN_CLUB, NONE)


def understood(text: str, setting: Setting = ONE, *pills: Pill) -> Asked | Fault | Unknown:
    found = recognise(text, COMMANDS, pills)
    return found if isinstance(found, Unknown) else read(found, setting)


def values(text: str, setting: Setting = ONE, *pills: Pill) -> tuple[str | None, dict[str, Any]]:
    asked = understood(text, setting, *pills)
    assert isinstance(asked, Asked), asked
    return asked.community, dict(asked.values)


def trouble(text: str, setting: Setting = ONE) -> Fault:
    fault = understood(text, setting)
    assert isinstance(fault, Fault), fault
    return fault


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "command"), [
    ("help", HELP), ("Help", HELP), ("HELP:", HELP), ("?", HELP), ("status", STATUS), ("Status:", STATUS),
    ("announce x", ANNOUNCE), ("Ankündigen x", ANNOUNCE), ("tell x", ANNOUNCE), ("ANNOUNCE:\nx", ANNOUNCE),
    ("link new", LINK), ("Link  New", LINK), ("link\nlist", LINKS),
])  # fmt: skip
def test_a_command_is_known_by_its_names(text: str, command: Command) -> None:
    found = recognise(text, COMMANDS)
    assert isinstance(found, Found)
    assert found.command is command


@pytest.mark.parametrize(("text", "nearest"), [
    ("anounce school Hello", ("announce",)),
    ("announcement", ("announce",)),
    ("stats", ("status",)),
    ("link", ("link new", "link list")),
    ("link nwe", ("link new",)),
    ("good morning", ()),
    ("", ()),
    ("!", ()),
])  # fmt: skip
def test_did_you_mean(text: str, nearest: tuple[str, ...]) -> None:
    found = recognise(text, COMMANDS)
    assert isinstance(found, Unknown)
    assert tuple(command.name for command in found.nearest) == nearest


@pytest.mark.parametrize(("text", "said"), [
    ("help", None), ("we should help", None), ("", None), ("   ", None),
    ("!help", "help"), ("  ! help\n", "help"), ("!", "!"), ("!announce a\n b", "announce a\n b"),
])  # fmt: skip
def test_in_a_control_room_a_command_begins_with_a_mark(text: str, said: str | None) -> None:
    assert heard(text, to_everybody=True) == said


@pytest.mark.parametrize(("text", "said"), [("help", "help"), ("!help", "help"), (" Help\n", "Help"), ("!", "!")])
def test_in_a_direct_chat_everything_is_meant_for_us(text: str, said: str) -> None:
    assert heard(text, to_everybody=False) == said


# --- which community --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "setting", "community", "words"), [
    ("announce school Hello", ONE, "school", "Hello"),
    ("announce school: Hello", ONE, "school", "Hello"),
    ("announce School: Hello", TWO, "school", "Hello"),
    ("announce school\nHello\n\n- one\n  - two\n", TWO, "school", "Hello\n\n- one\n  - two"),
    ("announce There is none", ONE, "school", "There is none"),
    ("announce School is closed", ONE, "school", "School is closed"),
    ("announce schools are closed", ONE, "school", "schools are closed"),
    ("announce There is none", IN_CLUB, "club", "There is none"),
    ("announce club Hello", IN_CLUB, "club", "Hello"),
    ("announce Club meets", IN_CLUB, "club", "Club meets"),
    ("announce school: Hello", IN_CLUB, "school", "Hello"),
    ("announce club Hello", TWO, "club", "Hello"),
])  # fmt: skip
def test_an_announcement_has_all_its_words_and_goes_where_it_is_meant(
    text: str, setting: Setting, community: str, words: str
) -> None:
    assert values(text, setting) == (community, {"text": (words,)})


@pytest.mark.parametrize(("text", "setting", "readings"), [
    # it may be the name, and it may be the first word
    ("announce School is closed", TWO, ("school: is closed", "school: School is closed")),
    ("announce club meets", ONE, ("school: club meets",)),
    ("announce school is closed", IN_CLUB, ("school: is closed", "club: school is closed")),
    ("announce Parish meets", IN_CLUB, ("club: Parish meets",)),
])  # fmt: skip
def test_what_can_be_meant_in_two_ways_is_asked(text: str, setting: Setting, readings: tuple[str, ...]) -> None:
    fault = trouble(text, setting)
    assert (fault.trouble, fault.choices) == (Trouble.UNCLEAR, readings)
    for reading in readings:
        assert isinstance(understood(f"announce {reading}", setting), Asked)


@pytest.mark.parametrize(("text", "setting", "expected", "nearest"), [
    ("announce schol Hello", TWO, Trouble.NOT_THERE, "school"),
    ("announce parish: Hello", TWO, Trouble.NOT_THERE, None),
    ("apply parish", ONE, Trouble.NOT_THERE, None),
    ("link list shcool", ONE, Trouble.NOT_THERE, "school"),
    ("announce", TWO, Trouble.WHICH, None),
    ("remove @homer:example.org", TWO, Trouble.WHICH, None),
    ("announce Hello", NONE, Trouble.NOBODY, None),
    ("announce Hello", Setting(KNOWN, (SCHOOL,), CLUB), Trouble.NOT_THERE, None),
])  # fmt: skip
def test_no_community_is_guessed(text: str, setting: Setting, expected: Trouble, nearest: str | None) -> None:
    fault = trouble(text, setting)
    assert (fault.trouble, fault.nearest) == (expected, nearest)


@pytest.mark.parametrize(("text", "setting", "community"), [
    ("status", ONE, None), ("status", TWO, None), ("status school", TWO, "school"), ("status", IN_CLUB, "club"),
    ("link list", ONE, "school"), ("link list School", TWO, "school"), ("link list", IN_CLUB, "club"),
    ("link list school", IN_CLUB, "school"),
])  # fmt: skip
def test_where_a_command_is_about(text: str, setting: Setting, community: str | None) -> None:
    assert values(text, setting)[0] == community


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [
    "@homer:example.org", "<@homer:example.org>", "@homer:example.org,", "https://matrix.to/#/@homer:example.org",
    "https://matrix.to/#/%40homer%3Aexample.org?via=example.org", "matrix:u/homer:example.org?action=chat",
    "[Homer J](https://matrix.to/#/@homer:example.org)", "Homer J", "Homer J:",
])  # fmt: skip
def test_a_person(word: str) -> None:
    pills = Pill("Marge", UserId("@marge:example.org")), Pill("Homer J", HOMER)
    assert values(f"remove {word} too loud", ONE, *pills) == ("school", {"user": (HOMER,), "reason": ("too loud",)})


@pytest.mark.parametrize(("text", "expected"), [
    ("link new", {}),
    ("link new chess, parents", {"group": ("chess", "parents")}),
    ("link new school chess uses 5", {"group": ("chess",), "uses": (5,)}),
    ("link new nutzungen 5 chess", {"group": ("chess",), "uses": (5,)}),
    ("link new expires 2d uses=7 needs-approval", {"expires": (2 * DAY,), "uses": (7,), "needs-approval": (True,)}),
    ("link new --uses 5 —expires 3 Tage", {"expires": (3 * DAY,), "uses": (5,)}),
    ("link new uses 5 uses 6", {"uses": (6,)}),
    ("remove @homer:example.org --silent he was", {"user": (HOMER,), "silent": (True,), "reason": ("he was",)}),
    ("remove @homer:example.org silent as he was", {"user": (HOMER,), "reason": ("silent as he was",)}),
    ("apply 12AB", {"plan": ("12AB",)}),
    ("make Offen", {"kind": (1,)}),
])  # fmt: skip
def test_arguments(text: str, expected: dict[str, Any]) -> None:
    assert values(text) == ("school", expected)


@pytest.mark.parametrize(("text", "expected", "argument", "nearest"), [
    ("announce", Trouble.MISSING, TEXT, None),
    ("announce school", Trouble.MISSING, TEXT, None),
    ("remove", Trouble.MISSING, WHO, None),
    ("remove homer", Trouble.WRONG, WHO, None),
    ("link new chass", Trouble.WRONG, GROUPS, "chess"),
    ("link new uses 0", Trouble.WRONG, USES, None),
    ("link new uses many", Trouble.WRONG, USES, None),
    ("link new uses", Trouble.MISSING, USES, None),
    ("link new expires 2", Trouble.WRONG, EXPIRES, None),
    ("link new expires 1s", Trouble.WRONG, EXPIRES, None),
    ("make hiden", Trouble.WRONG, KIND, "hidden"),
    ("link list school please", Trouble.TOO_MUCH, None, None),
])  # fmt: skip
def test_what_is_wrong_is_named(
    text: str, expected: Trouble, argument: Argument[Any] | None, nearest: str | None
) -> None:
    fault = trouble(text)
    assert (fault.trouble, fault.argument, fault.nearest) == (expected, argument, nearest)


@pytest.mark.parametrize(("command", "form"), [
    (ANNOUNCE, "announce [community] <text>"),
    (REMOVE, "remove [community] <user> [--silent] [reason]"),
    (LINK, "link new [community] [group …] [uses …] [expires …] [needs-approval]"),
    (HELP, "help [command]"),
])  # fmt: skip
def test_the_form_of_a_command(command: Command, form: str) -> None:
    assert command.form() == form
    assert ANNOUNCE.form(DE) == "ankündigen [community] <Text>"


@pytest.mark.parametrize(("seconds", "text"), [(3_600, "1h"), (90, "90s"), (0, "0s"), (DAY, "1d"), (14 * DAY, "2w")])
def test_a_duration_is_written_in_its_largest_unit(seconds: int, text: str) -> None:
    assert arguments.duration_text(seconds) == text


# --- any text ---------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from((
    "announce", "ankündigen", "apply", "link new", "link", "remove", "make", "status", "help", "!", " ", "\n", "\t",
    "school", "School", "club:", "\0", "\u2028", ":", "=", "--", "--uses", "uses=", "uses", "5", "2d", "chess",
    "@homer:example.org", "https://matrix.to/#/", "[x](", ")", "Homer J",
))  # fmt: skip
TEXTS = st.text() | st.lists(PIECES | st.text(max_size=4)).map(" ".join) | st.lists(PIECES).map("".join)


@given(TEXTS, st.sampled_from(SETTINGS), st.booleans())
def test_any_text_is_understood_or_has_a_clear_fault(text: str, setting: Setting, to_everybody: bool) -> None:
    said = heard(text, to_everybody=to_everybody)
    assert said is not None or to_everybody
    asked = understood(said or "", setting, Pill("Homer J", HOMER))
    if isinstance(asked, Asked):
        assert asked.community is None or asked.community in setting.may
        required = [one for one in asked.command.arguments if one.is_positional and not one.optional]
        assert all(asked.all(one) for one in required)
    elif isinstance(asked, Fault):
        named = {Trouble.MISSING, Trouble.WRONG}
        assert (asked.argument is not None) is (asked.trouble in named)
        assert len(asked.given) <= arguments.LONGEST_WORD
    else:
        assert len(asked.given) <= arguments.LONGEST_WORD


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(min_size=1).map(str.strip).filter(bool),
    "reason": st.text(min_size=1).map(str.strip).filter(lambda text: text and text[0] not in "-—–"),
    "user": st.sampled_from((HOMER, UserId("@a/b:c.org"))),
    "group": st.sampled_from(KEYS[SCHOOL]),
    "uses": st.integers(1, 1000),
    "expires": st.integers(HOUR, 30 * DAY),
    "needs-approval": st.just(True),
    "silent": st.just(True),
    "plan": st.sampled_from(("12ab", "x")),
    "kind": st.sampled_from((1, 2)),
    "command": st.sampled_from(("announce", "link new")),
}


@st.composite
def asked_things(draw: st.DrawFn) -> Asked:
    command = draw(st.sampled_from(COMMANDS))
    community = None if command.about is About.NONE else SCHOOL
    drawn: dict[str, tuple[Any, ...]] = {}
    for argument in command.arguments:
        lowest = 1 if argument.is_positional and not argument.optional else 0
        found = draw(st.lists(VALUES[argument.name], min_size=lowest, max_size=3 if argument.many else 1))
        if found:
            drawn[argument.name] = tuple(found)
    return Asked(command, community, drawn)


@given(asked_things(), st.sampled_from((ONE, TWO, IN_CLUB)))
def test_what_is_written_down_is_read_as_the_same(asked: Asked, setting: Setting) -> None:
    assert understood(render(asked), setting) == asked


@given(st.text(min_size=1).map(str.strip).filter(bool), st.sampled_from((ONE, TWO, IN_CLUB)))
def test_an_announcements_words_are_left_as_they_are(text: str, setting: Setting) -> None:
    assert values(f"announce school: {text}", setting) == ("school", {"text": (text,)})


@given(st.text(min_size=1).map(str.strip).filter(bool))
def test_an_announcement_to_the_only_community_loses_no_word(text: str) -> None:
    first = text.split(maxsplit=1)[0]
    asked = understood(f"announce {text}", ONE)
    if isinstance(asked, Asked):
        named = first in ("school", "school:") or first.lower() == "school:"
        assert asked[TEXT] == (text if not named else text.removeprefix(first).strip())


@pytest.mark.parametrize("piece", [
    " ", "\n", "!", " !", "a ", "\u3000", "announce ", ":", "\0", "uses ", "chess ", "[", "[x](", "https://matrix.to/#/",
    "--", "0", "9 ",
])  # fmt: skip
@pytest.mark.parametrize("start", ["", "announce ", "link new ", "remove ", "link new uses ", "link new expires "])
def test_a_long_message_is_read_in_no_time(start: str, piece: str) -> None:
    text = start + piece * (60_000 // len(piece))
    begun = time.perf_counter()
    for setting in (ONE, TWO):
        understood(heard(text, to_everybody=False) or "", setting, Pill("x", HOMER))
    assert time.perf_counter() - begun < 1.0  # it took half a minute once
