"""Tags of members: how they may be called, and who carries which. Pure.

A tag is declared, and then nothing of it changes by command; or it was given by hand, person by person.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Set

from bridge.core.community import Role, Tag
from bridge.core.ids import RoomKeyName, UserId

LONGEST_NAME = 32
MOST_TAGS = 100
"""Of one community, declared ones and others together."""
RESERVED = frozenset({*(role.word for role in Role), "all", "everybody", "invited"})
"""Words that say by themselves whom they mean."""
_NAME = re.compile(rf"[^\W_](?:[\w-]{{0,{LONGEST_NAME - 2}}}[^\W_])?\Z")


def parse_tag(text: str) -> str:
    """The name of a tag as it is kept: in small letters, so that `Teacher` and `teacher` are the same.

    Raises:
        ValueError: it is none, with a sentence that says what is allowed.
    """
    name = unicodedata.normalize("NFC", text.strip().removeprefix("#")).casefold()
    if not _NAME.match(name):
        raise ValueError(
            f"{text[:40]!r} is not the name of a tag "
            f"(1 to {LONGEST_NAME} letters, digits, - and _, no - or _ at the ends)"
        )
    if name in RESERVED:
        raise ValueError(f"{name!r} says already whom it means, and cannot be a tag")
    return name


def carriers(
    declared: Iterable[Tag],
    given: Mapping[str, Collection[UserId]],
    groups: Mapping[RoomKeyName, Collection[UserId]],
    there: Set[UserId],
) -> dict[str, frozenset[UserId]]:
    """Who carries which tag, by its name. A declared tag is what is declared of it, whatever was given by hand.

    Args:
        given: whom tags were given by hand.
        groups: who is in each group.
        there: who is in the community; nobody else carries anything.
    """
    by_declaration = {
        tag.name: tag.users | frozenset(groups.get(tag.group, ()) if tag.group else ()) for tag in declared
    }
    by_hand = {name: frozenset(users) for name, users in given.items()}
    found = {name: users & there for name, users in {**by_hand, **by_declaration}.items()}
    return {name: found[name] for name in sorted(found) if found[name] or name in by_declaration}


def tags_of(user: UserId, carried: Mapping[str, Collection[UserId]]) -> list[str]:
    """The tags of one person, by `carriers`."""
    return [name for name, users in carried.items() if user in users]
