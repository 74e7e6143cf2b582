"""What becomes of an announcement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from bridge.core import moments
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom, with_list


def explain_announcements(language: Language = EN) -> Explained:
    return Explained(say(language, "shows what was announced, with numbers"))


def announcements_listed(
    found: Sequence[Mapping[str, Any]], community: str, language: Language = EN, zone: tzinfo = UTC
) -> Marked:
    """
    Args:
        found: of each `number`, `at` (milliseconds since 1970), `author`, `waiting`, `failed`, `withdrawn_at` and
            perhaps `words`, how it begins; the newest first.
    """
    if not found:
        return say(language, "Nothing was announced in {community} yet.", community=community)
    lines = []
    for one in found:
        author = by_whom(one["author"])
        line = say(
            language,
            "#{number}, {date}, by {author}",
            number=one["number"],
            date=moments.shown(one["at"], zone),
            author=author,
        )
        more = [literal(f"“{one_line(one['words'])}”")] if one.get("words") else []
        if one["withdrawn_at"] is not None:
            more.append(say(language, "withdrawn"))
        if one["waiting"]:
            more.append(say(language, "still on its way"))
        if one["failed"]:
            more.append(say(language, "it did not arrive everywhere"))
        lines.append(joined(" – ", [line, *more]))
    return with_list(say(language, "Announcements in {community}:", community=community), lines)


def announced(community: str, devices: int, unreached: int = 0, language: Language = EN) -> Marked:
    can = say_many(
        language,
        "Sent to {community}. {count} device can read it.",
        "Sent to {community}. {count} devices can read it.",
        devices,
        community=community,
    )
    if not unreached:
        return can
    cannot = say_many(
        language,
        "{count} member cannot: none of their devices was given the key. The operator's `status` says why.",
        "{count} members cannot: none of their devices was given the key. The operator's `status` says why.",
        unreached,
    )
    return joined(" ", [can, cannot])


def announcement_failed(community: str, why: str, language: Language = EN) -> Marked:
    return say(language, "Your announcement did not reach {community}: {why}", community=community, why=why)
