"""The weekly summary of announcements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from bridge.core import moments
from bridge.core.languages import EN, Language, joined, say
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import with_list


def explain_digest(language: Language = EN) -> Explained:
    return Explained(say(language, "sends you the week's announcements on Mondays, or no more"), "on")


def digest_on(community: str, due: int, language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """
    Args:
        due: when the first comes, in milliseconds since 1970.
    """
    return say(
        language,
        "You get a summary of what was announced in {community} every Monday, the first on {due}. "
        "`digest off` ends it.",
        community=community,
        due=moments.shown(due, zone),
    )


def digest_off(community: str, language: Language = EN) -> Marked:
    return say(
        language, "You get no summaries of {community} any more, neither here nor by e-mail.", community=community
    )


def digest(
    community: str, found: Sequence[tuple[int, int, str, str]], language: Language = EN, zone: tzinfo = UTC
) -> Marked:
    """
    Args:
        found: of each announcement its number, when it was sent (milliseconds since 1970), its first words, and its
            link.
    """
    lines = []
    for number, at, words, link in found:
        shown = literal(words) if words else say(language, "(cannot be read any more)")
        lines.append(
            joined(
                " – ",
                [say(language, "#{number}, {date}", number=number, date=moments.shown(at, zone)), shown, Marked(link)],
            )
        )
    head = say(language, "This week in {community}:", community=community)
    return with_list(head, lines)
