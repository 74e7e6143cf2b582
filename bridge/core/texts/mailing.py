"""Summaries by e-mail, and the letters themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from bridge.core import moments
from bridge.core.languages import EN, Language, joined, say
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained


def explain_email(language: Language = EN) -> Explained:
    return Explained(say(language, "allows summaries by e-mail, not encrypted, or ends that"), "on")


def mail_caution(community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "E-mail leaves encryption: summaries of the announcements of {community} can be read by every mail server on "
        "their way, and stay in mailboxes. Each member decides for themselves. The announcement room is told of it.",
        community=community,
    )


def mail_is_allowed(language: Language = EN) -> Marked:
    return say(language, "Members can have summaries by e-mail now: they write `digest` and their address to me.")


def mail_has_ended(language: Language = EN) -> Marked:
    return say(language, "No summaries go out by e-mail any more, and the addresses are forgotten.")


def mail_opened(language: Language = EN) -> Marked:
    return say(
        language,
        "From now on members can have weekly summaries of this room by e-mail, which is not encrypted. Whoever wants "
        "that writes `digest` and their address to me in a direct chat.",
    )


def mail_closed(language: Language = EN) -> Marked:
    return say(language, "Summaries of this room no longer go out by e-mail.")


def code_sent(address: str, language: Language = EN) -> Marked:
    return say(
        language,
        "I have sent a code to {address}. Write `digest` and the code to me, and the summaries go there. They "
        "leave encryption: every mail server on their way can read them.",
        address=address,
    )


def digest_email_on(address: str, due: int, language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """
    Args:
        due: when the first comes, in milliseconds since 1970.
    """
    return say(
        language,
        "Summaries go to {address}, the first on {due}. `digest off` ends it, and so does a click in each letter.",
        address=address,
        due=moments.shown(due, zone),
    )


def only_in_a_chat(language: Language = EN) -> Marked:
    return say(language, "Write that to me in a direct chat: your address is nobody else's business.")


def code_subject(code: str, community: str, language: Language = EN) -> Marked:
    return say(language, "{code} is your code for {community}", code=code, community=community)


def code_text(code: str, community: str, user: str, language: Language = EN) -> Marked:
    """The letter that shows whose an address is."""
    return say(
        language,
        "{user} wants to have weekly summaries of {community} sent to this address.\n\n"
        "If that is you, write to the announcer on Matrix: digest {code}\n\n"
        "If not, do nothing: nothing more will come.",
        user=user,
        community=community,
        code=code,
    )


def digest_subject(community: str, language: Language = EN) -> Marked:
    return say(language, "This week in {community}", community=community)


def digest_text(
    community: str,
    found: Sequence[tuple[int, int, str, str]],
    unsubscribe: str,
    language: Language = EN,
    zone: tzinfo = UTC,
) -> Marked:
    """A week's summary by e-mail.

    Args:
        found: of each announcement its number, when it was sent (milliseconds since 1970), its first words, and its
            link.
    """
    items = [
        joined(
            "\n",
            [
                say(language, "#{number}, {date}", number=number, date=moments.shown(at, zone)),
                literal(words) if words else say(language, "(cannot be read any more)"),
                literal(link),
            ],
        )
        for number, at, words, link in found
    ]
    foot = say(language, "You asked for these letters. To end them: {unsubscribe}", unsubscribe=unsubscribe)
    return joined("\n\n", [say(language, "This week in {community}:", community=community), *items, foot])


def unsubscribe_question(community: str, language: Language = EN) -> Marked:
    return say(language, "End the letters of {community}?", community=community)


def unsubscribe_button(language: Language = EN) -> Marked:
    return say(language, "Unsubscribe")


def unsubscribed(language: Language = EN) -> Marked:
    return say(language, "No more letters go to this address.")
