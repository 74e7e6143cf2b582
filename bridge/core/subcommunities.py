"""Communities within communities that people make by command, beside those that are declared. Pure.

What is declared wins: a community of the same id is the declaration's, and nothing of where it stands changes by
command.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.groups import key_of
from bridge.core.ids import CommunityId, parse_stable_id

DEEPEST = 5
"""How many communities may stand in each other, the outermost one counted."""


@dataclass(frozen=True, slots=True)
class OwnCommunity:
    """A community that people made within another. Its name and its roles are remembered as people's own."""

    id: CommunityId
    parent: CommunityId
    made_by: str = ""
    source: str = ""
    """What asked for it: the same source is the same community."""


def with_own(declared: Mapping[CommunityId, Community], own: Iterable[OwnCommunity]) -> dict[CommunityId, Community]:
    """All communities that there are to be: the declared ones, and below them those that people made.

    One whose parent is not declared any more is none, as a declaration that was taken out of the file.
    """
    every = dict(declared)
    waiting = {one.id: one for one in own if one.id not in declared}
    while found := sorted(name for name, one in waiting.items() if one.parent in every):
        for name in found:
            one = waiting.pop(name)
            every[name] = _within(every[one.parent], one)
    return every


def _within(parent: Community, one: OwnCommunity) -> Community:
    """A community that people made, with the habits of its parent and nobody declared in it."""
    return replace(
        Community(one.id, parent=one.parent),
        general=parent.general,
        discussion=parent.discussion,
        history=parent.history,
        history_while_away=parent.history_while_away,
        reach_names=parent.reach_names,
        groups_by=parent.groups_by,
        language=parent.language,
        timezone=parent.timezone,
        room_version=parent.room_version,
    )


def new_id(name: str, key: str | None, taken: Collection[str]) -> CommunityId:
    """The id of a new community: the one that somebody chose, or one that is made of its name.

    Raises:
        Refused: the chosen one is taken, or is none.
    """
    if not key:
        return CommunityId(key_of(name, taken))
    try:
        parse_stable_id(key)
    except ValueError as error:
        raise Refused(f"the id {error}", remedy="leave it out, and it is made of the name") from error
    if key in taken:
        raise Refused(f"there is a community {key!r} already, or was one", remedy="choose another id")
    return CommunityId(key)


def check_depth(above: int, below: int) -> None:
    """Whether a community may stand where so many are above it, with so many levels below it.

    Raises:
        Refused: it would be too deep.
    """
    if above + 1 + below > DEEPEST:
        raise Refused(f"at most {DEEPEST} communities stand in each other", remedy="choose a parent further up")


def check_not_declared(community: Community, own: Collection[CommunityId], what: str = "") -> None:
    """Whether where a community stands, or one key of it (`name`), is people's own.

    Raises:
        Refused: the declaration decides.
    """
    decides = community.id not in own if not what else getattr(community, what) is not None
    if decides:
        place = f"{what} of {community.id}" if what else f"where {community.id} stands"
        raise Refused(
            f"{place} is decided in the configuration",
            where=str(community.id),
            remedy="change it there, or ask whoever runs the service",
        )
