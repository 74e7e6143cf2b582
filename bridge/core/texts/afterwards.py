"""What becomes of announcements that were sent: edited, withdrawn, pinned, announced again."""

from __future__ import annotations

from datetime import UTC, tzinfo

from bridge.core import moments
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.markup import Marked
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom


def explain_edit(language: Language = EN) -> Explained:
    example = say(language, "School is closed on Tuesday, not on Monday.")
    purpose = say(
        language,
        "puts another text in the place of an announcement, everywhere. Name it by its number or link, or reply to my "
        "answer to it",
    )
    return Explained(purpose, f"#12 {example}")


def explain_withdraw(language: Language = EN) -> Explained:
    return Explained(say(language, "takes an announcement back, everywhere, after I have asked you"), "#12")


def explain_pin(language: Language = EN) -> Explained:
    return Explained(say(language, "pins an announcement, for 7 days if you do not say for how long"), "#12 24h")


def explain_unpin(language: Language = EN) -> Explained:
    return Explained(say(language, "takes the pin off an announcement"), "#12")


def explain_repost(language: Language = EN) -> Explained:
    return Explained(say(language, "announces an announcement once more, to the same people"), "#12")


def explain_forward(language: Language = EN) -> Explained:
    return Explained(say(language, "announces an announcement in another community, too"), "#12 chess-club")


def explain_retry(language: Language = EN) -> Explained:
    return Explained(say(language, "tries again what did not arrive of an announcement"), "#12")


def withdrawn(language: Language = EN) -> Marked:
    """The reason that a redaction carries, in the clear."""
    return say(language, "withdrawn")


def announcement_edited(number: int, done: int, failed: int, language: Language = EN) -> Marked:
    said = say_many(
        language,
        "#{number} has its new text in {count} room or chat.",
        "#{number} has its new text in {count} rooms and chats.",
        done,
        number=number,
    )
    return _with_failures(said, failed, language)


def announcement_withdrawn(number: int, done: int, failed: int, language: Language = EN) -> Marked:
    said = say_many(
        language,
        "#{number} is withdrawn from {count} room or chat.",
        "#{number} is withdrawn from {count} rooms and chats.",
        done,
        number=number,
    )
    return _with_failures(said, failed, language)


def _with_failures(said: Marked, failed: int, language: Language) -> Marked:
    if not failed:
        return said
    more = say_many(
        language,
        "In {count} it failed. `announcement retry` tries again.",
        "In {count} it failed. `announcement retry` tries again.",
        failed,
    )
    return joined(" ", [said, more])


def edit_failed(number: int, community: str, why: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The new text of #{number} did not reach {community}: {why}",
        number=number,
        community=community,
        why=why,
    )


def withdrawal_failed(number: int, community: str, why: str, language: Language = EN) -> Marked:
    return say(
        language,
        "#{number} could not be withdrawn from {community}, and can still be read there: {why}",
        number=number,
        community=community,
        why=why,
    )


def withdraw_caution(
    number: int, at: int, author: str, copies: int, language: Language = EN, zone: tzinfo = UTC
) -> Marked:
    """
    Args:
        at: when it was given, in milliseconds since 1970.
    """
    return say_many(
        language,
        "#{number}, of {date} by {author}, would be taken back from {count} room or chat. Who has read it has read it.",
        "#{number}, of {date} by {author}, would be taken back from {count} rooms and chats. Who has read it has read "
        "it.",
        copies,
        number=number,
        date=moments.shown(at, zone),
        author=by_whom(author),
    )


def announcement_pinned(number: int, until: int, language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """
    Args:
        until: in milliseconds since 1970.
    """
    return say(language, "#{number} is pinned until {date}.", number=number, date=moments.shown(until, zone))


def announcement_unpinned(number: int, language: Language = EN) -> Marked:
    return say(language, "#{number} is pinned no longer.", number=number)


def pin_failed(community: str, why: str, language: Language = EN) -> Marked:
    return say(language, "The pinned messages of {community} could not be changed: {why}", community=community, why=why)


def still_on_its_way(number: int, language: Language = EN) -> Marked:
    return say(language, "#{number}: not done everywhere yet; the service goes on.", number=number)


def announced_again(number: int, community: str, language: Language = EN) -> Marked:
    return say(language, "#{number} is announced again in {community}.", number=number, community=community)


def tried_again(number: int, count: int, language: Language = EN) -> Marked:
    if not count:
        return say(language, "Nothing of #{number} has failed.", number=number)
    return say_many(
        language,
        "#{number}: {count} thing that had failed is tried again.",
        "#{number}: {count} things that had failed are tried again.",
        count,
        number=number,
    )
