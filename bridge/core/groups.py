"""Groups that people make by command, beside those that are declared. Pure.

What is declared wins: a group of the same key is the declaration's, and nothing of it changes by command.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from bridge.core.community import RESERVED_KEYS, Community, Group, Posting, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import RoomKeyName, parse_stable_id

LONGEST_KEY = 30
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


class Stage(StrEnum):
    """How a group that people made stands."""

    OPEN = "open"
    ARCHIVED = "archived"
    LEAVING = "leaving"
    """It is being released: the community wants nothing of it any more."""


@dataclass(frozen=True, slots=True)
class OwnGroup:
    """A group that people made. Its name, description and moderators are remembered as people's own, as everywhere."""

    key: RoomKeyName
    kind: RoomKind = RoomKind.OPEN
    posting: Posting = Posting.MEMBERS
    stage: Stage = Stage.OPEN
    made_by: str = ""
    source: str = ""
    """What asked for it: the same source is the same group."""
    history: str = ""
    """Of an adopted room: the history visibility that it keeps; empty where it has the policy's."""

    @property
    def group(self) -> Group:
        """As the room policy sees it."""
        archived = self.stage is Stage.ARCHIVED
        return Group(
            key=self.key,
            kind=self.kind,
            posting=self.posting,
            archived=archived,
            own=True,
            history_visibility=self.history or None,
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """A group that a member suggests."""

    name: str
    kind: RoomKind = RoomKind.OPEN
    key: str = ""
    """The key that they wish for; empty is one made of the name."""


def effective(declared: Community, own: Iterable[OwnGroup]) -> Community:
    """The community that is to be: what is declared, with the groups that people made, in the order of their keys."""
    taken = {group.key for group in declared.groups}
    more = {one.key: one.group for one in own if one.key not in taken and one.stage is not Stage.LEAVING}
    return replace(declared, groups=(*declared.groups, *(more[key] for key in sorted(more))))


def groups_to_ask_for(community: Community) -> list[Group]:
    """The groups that members see and ask to be let into."""
    return [group for group in community.groups if group.kind is RoomKind.REQUEST and not group.archived]


def find_to_ask_for(community: Community, named: str, names: Mapping[RoomKeyName, str]) -> Group:
    """The group that a member means, by its key or its name.

    Args:
        names: what people call the groups.

    Raises:
        Refused: there is none, or it needs no asking. A group that members cannot see is as one that is not there.
    """
    word, where = _folded(named), str(community.id)
    for group in community.groups:
        if word not in (str(group.key), _folded(names.get(group.key, ""))):
            continue
        if group.kind is RoomKind.REQUEST and not group.archived:
            return group
        if group.kind is RoomKind.OPEN and not group.archived:
            raise Refused(
                "nobody has to ask for that group: it is open", where=where, remedy="join it in the space, in your app"
            )
    known = ", ".join(str(group.key) for group in groups_to_ask_for(community)) or "none"
    raise Refused(
        f"there is no group {named[:60]!r} that one asks for", where=where, remedy=f"one can ask for: {known}"
    )


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def with_one_more(community: Community, group: OwnGroup) -> Community:
    """A community as it would be with one more group that people made."""
    return replace(community, groups=(*community.groups, group.group))


def key_of(name: str, taken: Collection[str]) -> RoomKeyName:
    """The key of a new group, made of its name, that is not taken yet: `Chess Club` is `chess-club`, or `chess-club-2`.

    Always a stable id, however the name is written; `group` where nothing of it can stand in one.
    """
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_SPELLED)).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_KEY].rstrip("-") or "group"
    key, number = slug, 1
    while key in taken or key in RESERVED_KEYS:
        number += 1
        key = f"{slug}-{number}"
    return RoomKeyName(parse_stable_id(key))


def check_key(community: Community, key: str, taken: Collection[str]) -> RoomKeyName:
    """A key that somebody chose for a new group.

    Raises:
        Refused: it is reserved, taken, or no key.
    """
    where = str(community.id)
    try:
        parse_stable_id(key)
    except ValueError as error:
        raise Refused(
            f"the key {error}", where=where, remedy="leave the key out, and it is made of the name"
        ) from error
    if key in RESERVED_KEYS:
        raise Refused(f"{key!r} is a reserved name", where=where, remedy="choose another key")
    if key in taken:
        raise Refused(f"there is a room of the key {key!r} already", where=where, remedy="choose another key")
    return RoomKeyName(key)


def check_room_for_one_more(community: Community, limit: int) -> None:
    """Declared groups and those that people made count together.

    Raises:
        Refused: there are as many as the operator allows.
    """
    if len(community.groups) >= limit:
        raise Refused(
            f"has {len(community.groups)} groups; limits.groups_per_community in the configuration allows {limit}",
            where=str(community.id),
            remedy="release a group, or have the operator raise the limit",
        )


def check_not_declared(community: Community, key: RoomKeyName, what: str = "") -> None:
    """Whether a group, or one key of it (`name`, `description`), is people's own.

    Raises:
        Refused: the declaration decides, and which key of it.
    """
    group = community.group(key)
    if group is None or group.own or (what and getattr(group, what) is None):
        return
    place = f"communities.{community.id}.groups.{key}{'.' if what else ''}{what}"
    raise Refused(
        f"{place} in the configuration decides that", remedy="change it there, or ask whoever runs the service"
    )
