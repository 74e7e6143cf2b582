"""What people set about their community by command, beside what is declared. Pure.

What is declared wins: a key that the file states is changed there alone. Name, description and picture are state of the
space, and remembered as such; everything else here is a value of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from bridge.core.community import DISCUSSION, Community, GroupsBy, Join
from bridge.core.errors import Refused
from bridge.core.languages import LANGUAGES
from bridge.core.lines import one_line
from bridge.core.schedule import checked_zone

LONGEST_NAME = 120
"""In characters; no more of it is carried into the names of rooms."""
LONGEST_TEXT = 10_000
"""Of welcome, rules and description, in bytes; the configuration file allows no more either."""
_MXC = re.compile(r"mxc://[A-Za-z0-9.\-\[\]:]+/[A-Za-z0-9_-]+\Z")
_YES = frozenset({"yes", "on", "true", "ja", "an"})
_NO = frozenset({"no", "off", "false", "nein", "aus"})


class Aspect(StrEnum):
    """What can be set, by the name of its key in the configuration."""

    NAME = "name"
    DESCRIPTION = "description"
    PICTURE = "avatar"
    WELCOME = "welcome"
    RULES = "rules"
    RULES_REQUIRED = "rules_required"
    LANGUAGE = "language"
    TIMEZONE = "timezone"
    JOIN = "join"
    GROUPS_BY = "groups_by"
    MEMBERS_MAY_INVITE = "members_may_invite"
    REACH_NAMES = "reach_names"
    DISCUSSION = "discussion"

    @property
    def is_state(self) -> bool:
        """Whether it is a piece of the space's state, and not a value of ours."""
        return self in _STATE

    @property
    def event(self) -> tuple[str, str]:
        """The event type of a piece of state, and the field of its content."""
        return _STATE[self]


_STATE = {
    Aspect.NAME: ("m.room.name", "name"),
    Aspect.DESCRIPTION: ("m.room.topic", "topic"),
    Aspect.PICTURE: ("m.room.avatar", "url"),
}
_CHOICES: dict[Aspect, dict[str, Any]] = {
    Aspect.LANGUAGE: {str(language): language for language in LANGUAGES},
    Aspect.JOIN: {join.value: join for join in Join},
    Aspect.GROUPS_BY: {who.value: who for who in GroupsBy},
}
_SWITCHES = frozenset({Aspect.RULES_REQUIRED, Aspect.MEMBERS_MAY_INVITE, Aspect.REACH_NAMES, Aspect.DISCUSSION})


def with_own(declared: Community, own: Mapping[Aspect, str]) -> Community:
    """The community that is to be: what is declared, with what people set of the rest.

    Args:
        own: stored values, as `stored` gives them.
    """
    values = {
        aspect.value: _value(aspect, text)
        for aspect, text in own.items()
        if not aspect.is_state and not declared.declares(aspect.value)
    }
    return replace(declared, **values, set_by_people=frozenset(values)) if values else declared


def stored(community: Community, aspect: Aspect, text: str) -> str:
    """A value that somebody wrote, as it is stored.

    Raises:
        Refused: it is none, or contradicts what else holds in the community.
    """
    text = one_line(text, LONGEST_NAME).strip() if aspect is Aspect.NAME else text.strip()
    where = f"{community.id}.{aspect.value}"
    if aspect in _CHOICES:
        return _choice(where, text.casefold(), list(_CHOICES[aspect]))
    if aspect in _SWITCHES:
        word = text.casefold()
        value = "yes" if word in _YES else "no" if word in _NO else ""
        value = value or _choice(where, word, ["yes", "no"])
        if aspect is Aspect.RULES_REQUIRED and value == "yes" and not community.rules:
            raise Refused("there are no rules to agree to", where=where, remedy="first: `community set rules …`")
        if aspect is Aspect.DISCUSSION and value == "yes" and community.group(DISCUSSION) is not None:
            raise Refused(
                f"there is a group of the key {str(DISCUSSION)!r}, which the discussion room would have",
                where=where,
                remedy=f"release it with `group release {DISCUSSION}`, or do without",
            )
        return value
    if not text:
        raise Refused("is empty", where=where, remedy="write it behind the command; `community reset` takes it away")
    if aspect is Aspect.TIMEZONE:
        try:
            return checked_zone(text)
        except ValueError as error:
            raise Refused(str(error), where=where, remedy="give the name that the IANA has for it") from error
    if len(text.encode()) > LONGEST_TEXT:
        raise Refused(f"is longer than {LONGEST_TEXT} bytes", where=where, remedy="write less")
    if aspect is Aspect.PICTURE and not _MXC.match(text):
        raise Refused(
            "is not the address of an uploaded picture",
            where=where,
            remedy="it looks like mxc://example.org/abc123; or write `community picture` under a picture",
        )
    return text


def check_reset(community: Community, aspect: Aspect) -> None:
    """Whether something can go back to what it is without anybody's word.

    Raises:
        Refused: it cannot be without.
    """
    where = f"{community.id}.{aspect.value}"
    if aspect is Aspect.NAME:
        raise Refused("a community needs a name", where=where, remedy="give it another: `community set name …`")
    if aspect is Aspect.RULES and community.rules_required:
        raise Refused(
            "newcomers have to agree to the rules",
            where=where,
            remedy="first: `community set rules-required no`",
        )


def check_not_declared(community: Community, aspect: Aspect) -> None:
    """Whether something is people's own.

    Raises:
        Refused: the declaration decides, and which key of it.
    """
    if community.declares(aspect.value):
        raise Refused(
            f"communities.{community.id}.{aspect.value} in the configuration decides that",
            remedy="change it there, or ask whoever runs the service",
        )


def _choice(where: str, word: str, words: list[str]) -> str:
    if word not in words:
        raise Refused(f"{word[:40]!r} is nothing that it can be", where=where, remedy=f"it is {' or '.join(words)}")
    return word


def _value(aspect: Aspect, text: str) -> Any:
    if aspect in _CHOICES:
        return _CHOICES[aspect][text]
    return text == "yes" if aspect in _SWITCHES else text
