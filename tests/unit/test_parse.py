"""What an event means to us."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import (
    Event,
    Ignored,
    Invited,
    MembershipChanged,
    Posted,
    Redacted,
    Said,
    StateChanged,
    Unreadable,
    Verifying,
)
from bridge.intake.interest import Interest
from bridge.intake.parse import MAX_TEXT_BYTES, MOST_PILLS, essence, parse

STEWARD = UserId("@communities:example.org")
ANNOUNCER = UserId("@announcements:example.org")
ACCOUNTS = (STEWARD, ANNOUNCER)
ALICE = UserId("@alice:example.org")
HEAD = (EventId("$1"), RoomId("!room"), ALICE, 17)


def raw(kind: str, content: Any = None, **members: Any) -> dict[str, Any]:
    """An event as a homeserver sends it."""
    base = {"event_id": "$1", "room_id": "!room", "sender": ALICE, "origin_server_ts": 17}
    return {**base, "type": kind, "content": {} if content is None else content, **members}


def meaning(event: Any, interest: Interest | None, clear: dict[str, Any] | None = None) -> Event | Ignored:
    return parse(event, interest=interest, accounts=ACCOUNTS, clear=clear)


def said(content: dict[str, Any]) -> Event | Ignored:
    return meaning(raw("m.room.message", content), Interest.CHAT)


@pytest.mark.parametrize("interest", [*Interest, None])
def test_an_invite_to_our_accounts_is_seen_in_any_room(interest: Interest | None) -> None:
    stripped = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    event = raw(
        "m.room.member", {"membership": "invite"}, state_key=ANNOUNCER, unsigned={"invite_room_state": stripped}
    )
    assert meaning(event, interest) == Invited(*HEAD, user=ANNOUNCER, encrypted=True)
    del event["unsigned"]
    assert meaning(event, interest) == Invited(*HEAD, user=ANNOUNCER, encrypted=False)


@pytest.mark.parametrize("membership", ["invite", "join", "knock", "leave", "ban"])
@pytest.mark.parametrize("interest", list(Interest))
def test_memberships_of_people(membership: str, interest: Interest) -> None:
    event = raw("m.room.member", {"membership": membership}, state_key="@bob:example.org")
    wanted = MembershipChanged(*HEAD, user=UserId("@bob:example.org"), membership=membership)
    assert meaning(event, interest) == wanted
    for before, known in (("invite", "invite"), ("join", "join"), ("nonsense", None), (5, None)):
        event["unsigned"] = {"prev_content": {"membership": before, "displayname": "Bob"}}
        assert meaning(event, interest) == replace(wanted, before=known)
        assert meaning(essence(event), interest) == replace(wanted, before=known)
        assert "Bob" not in str(essence(event)), "names are not kept"


@pytest.mark.parametrize("event", [
    raw("m.room.member", {"membership": "leave"}, state_key=STEWARD),
    raw("m.room.name", {"name": "x"}, state_key=""),
    raw("m.room.message", {"msgtype": "m.text", "body": "x"}),
])  # fmt: skip
def test_a_room_that_is_not_ours(event: dict[str, Any]) -> None:
    assert isinstance(meaning(event, None), Ignored)


@pytest.mark.parametrize("interest", list(Interest))
def test_state(interest: Interest) -> None:
    event = raw("m.room.power_levels", state_key="")
    assert meaning(event, interest) == StateChanged(*HEAD, type="m.room.power_levels", state_key="")


@pytest.mark.parametrize("content", [None, [], "x", {"users": 3}])
def test_state_with_malformed_content_is_still_a_change(content: Any) -> None:
    event = raw("m.room.power_levels", state_key="")
    event["content"] = content
    assert isinstance(meaning(event, Interest.ANNOUNCEMENTS), StateChanged)


@pytest.mark.parametrize("sender", ["@ünal:example.org", "@a b:example.org", "@\u200d:[::1]:8448", "@:example.org"])
@pytest.mark.parametrize("sent_at", ["now", -1, 2**80, None, True, 1.5])
def test_nobody_goes_unnoticed_by_an_odd_name_or_time(sender: str, sent_at: object) -> None:
    event = raw("m.room.power_levels", state_key="", sender=sender, origin_server_ts=sent_at)
    assert meaning(event, Interest.SPACE) == StateChanged(
        EventId("$1"), RoomId("!room"), UserId(sender), 0, type="m.room.power_levels", state_key=""
    )


@pytest.mark.parametrize("members", [{"redacts": "$0"}, {"content": {"redacts": "$0"}}])
def test_redactions_of_all_room_versions(members: dict[str, Any]) -> None:
    event = raw("m.room.redaction", **members)
    for interest in Interest:
        assert meaning(event, interest) == Redacted(*HEAD, redacts=EventId("$0"))


@pytest.mark.parametrize("kind", ["m.room.encrypted", "m.room.message", "m.sticker", "org.example.poll"])
def test_what_is_posted_in_an_announcement_room(kind: str) -> None:
    assert meaning(raw(kind), Interest.ANNOUNCEMENTS) == Posted(*HEAD, type=kind, short_reaction=False)


PLAIN = {"rel_type": "m.annotation", "event_id": "$0", "key": "👍"}


@pytest.mark.parametrize(
    ("content", "short"),
    [
        ({"m.relates_to": PLAIN}, True),
        ({"m.relates_to": PLAIN, "shortcode": "thumbsup"}, True),
        ({"m.relates_to": {**PLAIN, "key": "x" * 32}}, True),
        ({"m.relates_to": {**PLAIN, "key": "x" * 33}}, False),
        ({"m.relates_to": {**PLAIN, "key": 3}}, False),
        ({"m.relates_to": PLAIN, "body": "a text", "msgtype": "m.text"}, False),
        ({"m.relates_to": PLAIN, "shortcode": "x" * 600}, False),
        ({"m.relates_to": {"m.in_reply_to": {"event_id": "$0"}}, "body": "a text"}, False),
        ({"m.relates_to": {**PLAIN, "rel_type": "m.thread"}}, False),
        ({"m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}, "m.new_content": {"body": "a text"}}, False),
        ({}, False),
    ],
)
def test_reactions(content: dict[str, Any], short: bool) -> None:
    event = raw("m.reaction", content)
    found = meaning(event, Interest.ANNOUNCEMENTS)
    assert isinstance(found, Posted)
    relation: dict[str, Any] = content.get("m.relates_to", {})
    assert found.short_reaction is short
    assert found.key == (relation["key"] if short else "")
    assert (found.relation, found.to) == (
        (relation["rel_type"], relation["event_id"]) if "rel_type" in relation else ("", "")
    )
    assert meaning(essence(event), Interest.ANNOUNCEMENTS) == meaning(event, Interest.ANNOUNCEMENTS)


@pytest.mark.parametrize(
    ("more", "wordy"),
    [
        ({}, False),
        ({"reason": "spam"}, False),
        ({"reason": "x" * 32}, False),
        ({"reason": None}, False),
        ({"m.mentions": {}}, False),
        ({"with_rel_types": ["m.reference"], "org.matrix.msc3912.with_relations": ["*"]}, False),
        ({"reason": "a long text " * 20}, True),
        ({"reason": {"text": "a long text " * 20}}, True),
        ({"reason": ["a long text"]}, True),
        ({"reason": 3}, True),
        ({"body": "a text", "msgtype": "m.text"}, True),
        ({"with_rel_types": ["a long text"]}, True),
        ({"with_rel_types": {"a long text": 1}}, True),
        ({"with_rel_types": [["a long text"]]}, True),
        ({"with_rel_types": ["*"] * 1000}, True),
        ({"m.mentions": {"user_ids": ["a long text"]}}, True),
    ],
)
def test_a_redaction_may_carry_a_text(more: dict[str, Any], wordy: bool) -> None:
    event = raw("m.room.redaction", {"redacts": "$0", **more})
    found = meaning(event, Interest.ANNOUNCEMENTS)
    assert isinstance(found, Redacted)
    assert found.wordy is wordy
    kept = essence(event)
    assert meaning(kept, Interest.ANNOUNCEMENTS) == found
    assert "text" not in str(kept)


def test_a_redaction_of_nothing_is_a_post() -> None:
    event = raw("m.room.redaction", {"body": "a text"})
    assert meaning(event, Interest.ANNOUNCEMENTS) == Posted(*HEAD, type="m.room.redaction", short_reaction=False)
    assert isinstance(meaning(event, Interest.GROUP), Ignored)


def test_a_redaction_that_names_something_else_within_carries_a_text() -> None:
    event = raw("m.room.redaction", {"redacts": "a text"}, redacts="$0")
    assert meaning(event, Interest.ANNOUNCEMENTS) == Redacted(*HEAD, redacts=EventId("$0"), wordy=True)


def test_a_message_in_a_group_is_nobodys_business() -> None:
    assert isinstance(meaning(raw("m.room.message"), Interest.GROUP), Ignored)


@pytest.mark.parametrize("interest", [Interest.CHAT, Interest.CONTROL])
def test_a_message_to_us(interest: Interest) -> None:
    content = {"msgtype": "m.text", "body": "announce springfield hello"}
    wanted = Said(*HEAD, text="announce springfield hello", encrypted=False)
    assert meaning(raw("m.room.message", content), interest) == wanted


@pytest.mark.parametrize(("formatted", "pills"), [
    ('who <a href="https://matrix.to/#/@bob:c.org">Bob &amp; Co</a>?', [("Bob & Co", "@bob:c.org")]),
    ('<a href="https://matrix.to/#/%40bob%3Ac.org?via=c.org" class="x">Bob</a>', [("Bob", "@bob:c.org")]),
    ('<a href="https://matrix.to/#/!room:c.org">A room</a>', []),
    ('<a href="https://evil.example/#/@bob:c.org">Bob</a>', []),
    ('<a href="https://matrix.to/#/@bob:c.org"><b>Bob</b></a>', []),
    ('<a href="https://matrix.to/#/@bob:c.org">Bob</a>' * 100, [("Bob", "@bob:c.org")] * MOST_PILLS),
    ("<a href=" * 5_000, []),
    (17, []),
])  # fmt: skip
def test_whom_a_message_mentions(formatted: Any, pills: list[tuple[str, str]]) -> None:
    found = said({"msgtype": "m.text", "body": "who", "formatted_body": formatted})
    assert isinstance(found, Said)
    assert [(pill.text, pill.user) for pill in found.pills] == pills


@pytest.mark.parametrize("interest", [Interest.CHAT, Interest.CONTROL])
def test_an_encrypted_message_to_us(interest: Interest) -> None:
    event = raw("m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "s"})
    clear = {"type": "m.room.message", "content": {"msgtype": "m.text", "body": "status"}}
    assert meaning(event, interest, clear) == Said(*HEAD, text="status", encrypted=True)
    assert meaning(event, interest) == Unreadable(*HEAD)
    assert isinstance(meaning(event, interest, {**clear, "type": "m.room.member"}), Ignored)


@pytest.mark.parametrize(
    ("kind", "content"),
    [("m.room.message", {"msgtype": "m.key.verification.request", "body": "…"}), ("m.key.verification.mac", {"a": 1})],
)
def test_steps_of_a_verification_in_the_clear_or_encrypted(kind: str, content: dict[str, Any]) -> None:
    plain = meaning(raw(kind, content), Interest.CHAT)
    assert plain == Verifying(*HEAD, type=kind, encrypted=False)
    sealed = meaning(raw("m.room.encrypted"), Interest.CHAT, {"type": kind, "content": content})
    assert sealed == Verifying(*HEAD, type=kind, encrypted=True)
    assert isinstance(plain, Verifying)
    assert isinstance(sealed, Verifying)
    assert plain.content == sealed.content == content
    assert isinstance(meaning(raw(kind, content), Interest.GROUP), Ignored)


@pytest.mark.parametrize("where", ["wire", "clear"])
def test_an_edit_says_the_new_text_and_what_it_replaces(where: str) -> None:
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}}
    message = {"msgtype": "m.text", "body": "* new", "m.new_content": {"msgtype": "m.text", "body": "new"}}
    event = raw("m.room.encrypted", relation if where == "wire" else {})
    content: dict[str, Any] = {**message, **(relation if where == "clear" else {})}
    clear = {"type": "m.room.message", "content": content}
    assert meaning(event, Interest.CHAT, clear) == Said(*HEAD, text="new", encrypted=True, edits=EventId("$0"))
    content["m.new_content"] = ["garbled"]
    assert meaning(event, Interest.CHAT, clear) == Ignored("not a text")


@pytest.mark.parametrize("target", [None, 7, "", {}])
def test_an_edit_of_nothing_is_malformed(target: Any) -> None:
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": target}}
    clear = {"type": "m.room.message", "content": {"msgtype": "m.text", "body": "x", **relation}}
    assert isinstance(meaning(raw("m.room.encrypted"), Interest.CHAT, clear), Ignored)


@pytest.mark.parametrize(("body", "wanted"), [
    ("> <@bob:example.org> old\n> more\n\nnew", "new"),
    ("> <@bob:example.org> old", ""),
    ("new\n> not a fallback", "new\n> not a fallback"),
    ("plain", "plain"),
])  # fmt: skip
def test_the_quote_of_a_reply_is_taken_off(body: str, wanted: str) -> None:
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": "$0"}}}
    event = said({"msgtype": "m.text", "body": body, **reply})
    assert isinstance(event, Said)
    assert event.text == wanted


def test_a_quote_that_is_no_reply_stays() -> None:
    event = said({"msgtype": "m.text", "body": "> wise words"})
    assert isinstance(event, Said)
    assert event.text == "> wise words"


@pytest.mark.parametrize("kind", ["m.notice", "m.emote", "m.image", None, 3])
def test_only_texts_are_listened_to(kind: object) -> None:
    assert isinstance(said({"msgtype": kind, "body": "help"}), Ignored)


def test_a_text_is_taken_whole_or_not_at_all() -> None:
    event = said({"msgtype": "m.text", "body": "é" * (MAX_TEXT_BYTES // 2)})
    assert isinstance(event, Said)
    assert len(event.text) == MAX_TEXT_BYTES // 2
    assert said({"msgtype": "m.text", "body": "é" * (MAX_TEXT_BYTES // 2) + "a"}) == Ignored("longer than 64 KiB")


def test_a_text_that_no_database_takes_is_made_harmless() -> None:
    event = said({"msgtype": "m.text", "body": "a\0b\ud800c"})
    assert isinstance(event, Said)
    assert event.text == "a\ufffdb\ufffdc"
