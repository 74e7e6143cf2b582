"""Letters: addresses that are taken, and messages as mail servers and mail programs want them."""

from __future__ import annotations

import email
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.ids import CommunityId, UserId
from bridge.core.mail import Letter, code_from, message, parse_address, parse_sender, ticket_from

SENDER = "School of Zürich <news@example.org>"


@pytest.mark.parametrize(
    "text", ["a@example.org", " lisa.simpson+news@mail.example.co.uk ", "mailto:o'neil@example.org", "x_-y@e-x.org"]
)
def test_addresses_that_people_have(text: str) -> None:
    assert parse_address(text) == text.strip().removeprefix("mailto:")


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a@b", "@example.org", "a@example", "a b@example.org", "a@example.org, b@example.org",
        "a@ex ample.org", "a@example.org\nBcc: b@example.org", "a@example.org\r", "<a@example.org>",
        '"a b"@example.org', "a@[127.0.0.1]", "a..b@example.org", ".a@example.org", "a@-x.org", "ä@example.org",
        "@ann:example.org", f"{'x' * 65}@example.org",
        f"a@{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 20}.org", "a@example.org\0",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="not an e-mail address"):
        parse_address(text)


def test_the_sender_has_a_name_or_none() -> None:
    assert parse_sender(SENDER) == ("School of Zürich", "news@example.org")
    assert parse_sender("news@example.org") == ("", "news@example.org")
    with pytest.raises(ValueError, match="not an e-mail address"):
        parse_sender("School")


def test_a_letter_can_be_ended_with_one_click() -> None:
    letter = Letter("lisa@example.org", "This week", "Hello\n.\nFrom here 🎉", "letter-1", "https://x/unsubscribe/abc")
    read = email.message_from_bytes(message(letter, SENDER, 1_790_000_000_000).as_bytes(), policy=SMTP)
    assert read["List-Unsubscribe"] == "<https://x/unsubscribe/abc>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["From"] == SENDER
    assert read["To"] == "lisa@example.org"
    assert read["Date"].startswith("Mon, 21 Sep 2026")
    assert read.get_content().splitlines() == ["Hello", ".", "From here 🎉"]
    again = message(letter, SENDER, 1_790_000_001_000)
    assert again["Message-ID"] == read["Message-ID"], "mailboxes can tell that it came twice"
    other = Letter("lisa@example.org", "This week", "Hello", "letter-2")
    assert message(other, SENDER, 0)["Message-ID"] != read["Message-ID"]
    assert "List-Unsubscribe" not in message(other, SENDER, 0)


@given(st.text(), st.text())
def test_no_words_break_out_of_their_place(subject: str, text: str) -> None:
    letter = Letter("lisa@example.org", subject, text, "id")
    sent = message(letter, SENDER, 0)
    raw = sent.as_bytes()
    read = email.message_from_bytes(raw, policy=SMTP)
    assert set(read.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
        "MIME-Version",
    }  # fmt: skip
    assert read["To"] == "lisa@example.org"


def test_codes_and_tickets_are_the_same_for_the_same_and_differ_otherwise() -> None:
    assert code_from(b"s", "$a", "a@x.org") == code_from(b"s", "$a", "a@x.org")
    assert (
        len({code_from(b"s", "$a", "a@x.org"), code_from(b"s", "$b", "a@x.org"), code_from(b"t", "$a", "a@x.org")}) == 3
    )
    assert all(len(code_from(b"s", f"${number}", "a@x.org")) == 6 for number in range(50))
    school, ann = CommunityId("school"), UserId("@ann:x")
    assert ticket_from(b"s", school, ann, "a@x.org") != ticket_from(b"s", school, ann, "b@x.org")
