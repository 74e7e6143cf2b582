"""Invite links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from bridge.core import moments
from bridge.core.community import Role
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import code, with_list
from bridge.core.texts.standing import role_name


def explain_link_new(language: Language = EN) -> Explained:
    purpose = say(language, "makes an invite link, for a week unless you say otherwise")
    return Explained(purpose, "--expires 12h --uses 30")


def explain_link_list(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the invite links by which somebody can come in"), "")


def explain_link_revoke(language: Language = EN) -> Explained:
    return Explained(say(language, "takes an invite link back"), "k3x9")


def explain_link_reset(language: Language = EN) -> Explained:
    return Explained(say(language, "takes all invite links back, and makes one"), "--uses 30")


def link_made(link: Mapping[str, Any], language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """The one time that a link's address is shown.

    Args:
        link: as `app/links` shows it, with `role` as a Role, and with `url`; with `revoked`, how many were taken back
            for it.
    """
    head = say(language, "This link leads into {community}. I cannot show it again:", community=link["community"])
    lines = [head, literal(link["url"]), link_line(link, language, zone)]
    if link.get("revoked") is not None:
        lines.append(say_many(language, "{count} link was taken back.", "{count} links were taken back.",
                              link["revoked"]))  # fmt: skip
    return joined("\n", lines)


def link_line(link: Mapping[str, Any], language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """What a link is, on one line."""
    parts = [code(link["id"])]
    if link["uses"] is None:
        parts.append(say_many(language, "used by {count} person", "used by {count} people", link["used"]))
    else:
        parts.append(say(language, "used by {used} of {uses}", used=str(link["used"]), uses=str(link["uses"])))
    if link["expires_at"] is not None:
        parts.append(say(language, "until {time}", time=moments.shown(link["expires_at"], zone)))
    if link["needs_approval"]:
        parts.append(say(language, "an admin has to agree"))
    if link["role"] is not Role.MEMBER:
        parts.append(say(language, "makes people {role}", role=role_name(link["role"], language)))
    if link["groups"]:
        parts.append(say(language, "Groups: {groups}", groups=joined(", ", list(link["groups"]))))
    return joined(" – ", parts)


def links(
    community: str,
    shown: Sequence[Mapping[str, Any]],
    usable: int,
    every: int,
    language: Language = EN,
    zone: tzinfo = UTC,
) -> Marked:
    """
    Args:
        usable: how many links somebody can come in by.
        every: how many there are, with those that expired, are used up or were taken back.
    """
    if not usable:
        head = say(language, "Nobody can come into {community} by a link now.", community=community)
    else:
        head = say_many(
            language, "{count} link leads into {community}:", "{count} links lead into {community}:", usable,
            community=community,
        )  # fmt: skip
    text = with_list(head, [link_line(link, language, zone) for link in shown]) if shown else head
    if every > len(shown):
        more = say_many(language, "{count} more is not shown.", "{count} more are not shown.", every - len(shown))
        text = joined("\n", [text, more])
    return text


def link_revoked(link: Mapping[str, Any], language: Language = EN) -> Marked:
    return say_many(
        language, "The link {link} is taken back. {count} person had come by it.",
        "The link {link} is taken back. {count} people had come by it.", link["used"], link=code(link["id"]),
    )  # fmt: skip


def link_reset_caution(community: str, language: Language = EN) -> Marked:
    return say(
        language, "All invite links of {community} stop working, and nobody who holds one comes in any more.",
        community=community,
    )  # fmt: skip
