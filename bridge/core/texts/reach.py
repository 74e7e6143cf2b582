"""How far announcements came, and who has confirmed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any
from urllib.parse import quote

from bridge.core import moments
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked, mention
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom, with_list

MOST_NAMES = 50
"""So many names stand in an answer; the rest is in the file."""


def explain_stats(language: Language = EN) -> Explained:
    return Explained(say(language, "shows how many people announcements reached"), "12")


def explain_ack(language: Language = EN) -> Explained:
    return Explained(say(language, "shows who has not confirmed an announcement yet"), "12")


def reach_shown(one: Mapping[str, Any], language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """
    Args:
        one: as `core/reach.Figures.as_json` gives it.
    """
    head = say(
        language, "#{number}, {date}, by {author}:", number=one["number"], date=moments.shown(one["at"], zone),
        author=by_whom(one["author"]),
    )  # fmt: skip
    lines = [
        say(language, "invited and not come yet: {count}", count=one["invited"]),
        say(language, "in the room: {count}", count=one["joined"]),
        say(language, "given the key when it was sent: {count}", count=_of(one["delivered"], one["people"], language)),
        say(language, "read: {count}", count=_of(one["read"], one["joined"], language)),
        say(language, "reacted: {count}", count=_of(one["reacted"], one["joined"], language)),
    ]
    if one["reactions"]:
        counts = " ".join(f"{key} {count}" for key, count in one["reactions"].items())
        lines.append(say(language, "reactions: {reactions}", reactions=counts))
    if one.get("read_by"):
        lines.append(joined(" ", [say(language, "read by:"), _names(one["read_by"], language)]))
    for key, people in (one.get("reacted_by") or {}).items():
        lines.append(joined(" ", [say(language, "{reaction} by:", reaction=key), _names(people, language)]))
    return with_list(head, lines)


def reach_listed(
    found: Sequence[Mapping[str, Any]], community: str, language: Language = EN, zone: tzinfo = UTC
) -> Marked:
    """
    Args:
        found: as `core/reach.Figures.as_json` gives them, the newest first.
    """
    if not found:
        return say(language, "Nothing was announced in {community} yet.", community=community)
    lines = [
        say(
            language,
            "#{number}, {date}: given the key {delivered}, read {read}, reacted {reacted}",
            number=one["number"],
            date=moments.shown(one["at"], zone),
            delivered=_of(one["delivered"], one["people"], language),
            read=_of(one["read"], one["joined"], language),
            reacted=_of(one["reacted"], one["joined"], language),
        )
        for one in found
    ]
    return with_list(say(language, "How far announcements came in {community}:", community=community), lines)


def reach_limits(language: Language = EN) -> Marked:
    return say(
        language,
        "Read is who let it be known: whoever sends no read receipts is not counted, and nobody was asked for more.",
    )


def members_are_told(names: bool, language: Language = EN) -> Marked:
    """What members are told of what is known about them."""
    if names:
        return say(
            language,
            "Admins can see who has read an announcement, by read receipts, and who reacted. You can turn off read "
            "receipts in your app.",
        )
    return say(
        language,
        "Admins can see how many people have read an announcement and reacted, without names; who confirms an "
        "announcement that asks for it, they see by name.",
    )


def please_acknowledge(language: Language = EN) -> Marked:
    return say(
        language,
        "Please confirm by reacting with ✅ to this message. The admins see by name who has not confirmed yet.",
    )


def confirm_reminder(community: str, number: int, room_id: str, event_id: str, language: Language = EN) -> Marked:
    link = f"https://matrix.to/#/{quote(room_id)}/{quote(event_id)}"
    return say(
        language,
        "An announcement in {community} (#{number}) waits for your confirmation. Please open it and react with ✅: "
        "{link}",
        community=one_line(community),
        number=number,
        link=link,
    )


def acknowledgement_over(number: int, confirmed: int, waiting: int, language: Language = EN) -> Marked:
    return say(
        language,
        "The time for confirming announcement #{number} is over. Confirmed: {confirmed}, not confirmed: {waiting}.",
        number=number,
        confirmed=confirmed,
        waiting=waiting,
    )


def acknowledgement_shown(one: Mapping[str, Any], language: Language = EN) -> Marked:
    """
    Args:
        one: as `core/reach.Standing.as_json` gives it.
    """
    head = say(
        language,
        "#{number}: {confirmed} of {asked} have confirmed.",
        number=one["number"],
        confirmed=len(one["confirmed"]),
        asked=len(one["confirmed"]) + len(one["waiting"]),
    )
    parts = [head]
    if one["left"]:
        parts.append(
            say_many(
                language,
                "{count} who was asked is not in the room any more.",
                "{count} who were asked are not in the room any more.",
                one["left"],
            )
        )
    if one["closed"]:
        parts.append(say(language, "The time for it is over."))
    if one["waiting"]:
        parts.append(joined(" ", [say(language, "Not confirmed:"), _names(one["waiting"], language)]))
    if one["withdrawn"]:
        parts.append(joined(" ", [say(language, "Took it back:"), _names(one["withdrawn"], language)]))
    return joined("\n", parts)


def file_follows(language: Language = EN) -> Marked:
    return say(language, "The file follows.")


def reach_legend(language: Language = EN) -> Marked:
    """What the bars of the picture are, from the palest."""
    return joined(", ", [say(language, "in the room"), say(language, "given the key"), say(language, "read")])


def reach_picture(language: Language = EN) -> Marked:
    return joined(" ", [say(language, "From pale to dark, the oldest first:"), reach_legend(language)])


def _of(count: int | None, whole: int | None, language: Language) -> Marked:
    if count is None:
        return say(language, "unknown")
    return say(language, "{count} of {whole}", count=count, whole=whole) if whole is not None else Marked(str(count))


def _names(people: Sequence[str], language: Language) -> Marked:
    names: list[Marked] = [mention(user) for user in people[:MOST_NAMES]]
    if (more := len(people) - MOST_NAMES) > 0:
        names.append(say_many(language, "and {count} more", "and {count} more", more))
    return joined(", ", names)
