"""Whatever stands in an event, it is either understood or ignored; and what is kept, every database takes."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any, get_args

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.messages import Event, Ignored
from bridge.intake.interest import Interest
from bridge.intake.parse import essence, parse
from bridge.intake.salvage import NotJson, dumps, loads
from bridge.intake.sieve import Sieve
from tests.unit.test_parse import ACCOUNTS, ANNOUNCER, raw

TEXTS = st.text(st.characters(codec=None, categories=None), max_size=300)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
INTERESTS = st.sampled_from([*Interest, None])
RELATION = {"m.relates_to": {"rel_type": "m.annotation", "key": "👍", "m.in_reply_to": {"event_id": "$0"}}}
STRIPPED = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
WELL_FORMED: list[dict[str, Any]] = [
    raw("m.room.member", {"membership": "join"}, state_key="@bob:example.org"),
    raw("m.room.member", {"membership": "invite"}, state_key=ANNOUNCER, unsigned={"invite_room_state": STRIPPED}),
    raw("m.room.power_levels", {"users": {"@bob:example.org": 100}}, state_key=""),
    raw("m.room.redaction", {"redacts": "$0", "reason": "spam"}, redacts="$0"),
    raw("m.reaction", RELATION),
    raw("m.room.message", {"msgtype": "m.text", "body": "> a\n\nb", **RELATION}),
    raw("m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "s", **RELATION}),
]


def paths(value: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where something can be put in place of something else."""
    found = [prefix] if prefix else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in inner:
        found += paths(member, (*prefix, key))
    return found


def replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


MUTATIONS = st.sampled_from(WELL_FORMED).flatmap(
    lambda event: st.tuples(st.just(event), st.sampled_from(paths(event)), JSON).map(lambda one: replaced(*one))
)


def sound(text: str) -> None:
    assert "\0" not in text
    text.encode()


def must_be_sound(event: Event | Ignored) -> None:
    assert isinstance(event, (*get_args(Event), Ignored))
    for value in dataclasses.asdict(event).values():
        if isinstance(value, str):
            sound(value)
        if type(value) is int:
            assert 0 <= value < 2**53


@given(JSON | MUTATIONS, INTERESTS, st.none() | st.dictionaries(st.sampled_from(["type", "content"]), JSON))
def test_parse_never_raises(event: Any, interest: Interest | None, clear: dict[str, Any] | None) -> None:
    must_be_sound(parse(event, interest=interest, accounts=ACCOUNTS, clear=clear))


@given(MUTATIONS)
def test_parse_never_raises_for_decrypted_mutations(clear: Any) -> None:
    for interest in (Interest.CHAT, Interest.CONTROL):
        wire = raw("m.room.encrypted", {"session_id": "s"})
        must_be_sound(parse(wire, interest=interest, accounts=ACCOUNTS, clear=clear))


@given(MUTATIONS, INTERESTS)
@example(raw("m.room.redaction", {"redacts": "$0", "reason": "spam"}) | {"redacts": []}, Interest.GROUP)
def test_what_is_not_kept_would_not_have_been_read(event: Any, interest: Interest | None) -> None:
    """Of all but the messages to us, whose words are kept."""
    if not isinstance(event, dict) or (interest in (Interest.CHAT, Interest.CONTROL) and "state_key" not in event):
        return
    kept = essence(event)
    assert parse(kept, interest=interest, accounts=ACCOUNTS) == parse(event, interest=interest, accounts=ACCOUNTS)


def test_the_words_of_people_are_not_kept() -> None:
    event = raw("m.room.member", {"membership": "ban", "reason": "secret"}, state_key="@bob:example.org")
    assert "secret" not in str(essence(event))
    assert "hello" not in str(essence(raw("m.room.message", {"msgtype": "m.text", "body": "hello"})))


class Everything:
    """Knows every room."""

    def __init__(self, interest: Interest | None) -> None:
        self._interest = interest

    def interest(self, room_id: str) -> Interest | None:
        hash(room_id)
        return self._interest

    def is_voting(self, room_id: str) -> bool:
        return False


@given(st.lists(JSON | MUTATIONS, max_size=5), INTERESTS)
def test_the_sieve_never_raises_and_keeps_what_can_be_stored(events: list[Any], interest: Interest | None) -> None:
    wanted, malformed = Sieve(Everything(interest), ACCOUNTS).sift(events)
    assert len(wanted) + malformed <= len(events)
    for event in wanted:
        sound(event["event_id"])
        sound(event["room_id"])
        loads(dumps(event))


@given(st.binary(max_size=200) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_json_or_are_not(body: bytes) -> None:
    with suppress(NotJson):
        assert isinstance(loads(body), dict)
