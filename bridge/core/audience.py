"""How people say whom an announcement is for, and where else those in a room hear of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from bridge.core.announcements import Audience, Target, person_of
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName

MOST_SHOWN = 12
"""Of names that there are, so many are shown where one is not understood."""
_EVERYBODY = frozenset({"everybody", "everyone", "all", "alle"})
_BELOW = frozenset({"below", "darunter"})
_KINDS = {
    "group": "group",
    "gruppe": "group",
    "community": "community",
    "gemeinschaft": "community",
    "tag": "tag",
    "markierung": "tag",
}


@dataclass(frozen=True, slots=True)
class Nameable:
    """What can be named: as far as whoever asks may know of it."""

    groups: Sequence[RoomKeyName] = ()
    communities: Sequence[CommunityId] = ()
    """Those within the community, on whatever level."""
    tags: Collection[str] = ()

    @property
    def words(self) -> list[str]:
        return [
            *(f"group:{key}" for key in self.groups),
            *(f"community:{name}" for name in self.communities),
            *(f"tag:{name}" for name in self.tags),
        ]


def read_audience(words: Iterable[str], known: Nameable) -> Audience:
    """Whom words mean: `everybody`, `group:chess`, `community:year-5`, `tag:team`, `below` for all communities within;
    several with commas between them. A name alone does where there is one thing of that name. No word at all is
    everybody. German words mean the same.

    Raises:
        Refused: a word that means nothing or several things, with what was probably meant.
    """
    found: dict[str, None] = {}
    for word in (one.strip().casefold() for each in words for one in each.split(",")):
        if not word:
            continue
        for meant in _meant(word, known):
            found[meant] = None
    return Audience.of_words(found) if found else Audience(everybody=True)


def _meant(word: str, known: Nameable) -> list[str]:
    if word in _EVERYBODY:
        return ["everybody"]
    if word in _BELOW or word in ("community:*", "gemeinschaft:*"):
        if not known.communities:
            raise Refused("there is no community within this one", where=word, remedy="leave that word out")
        return [f"community:{name}" for name in known.communities]
    kind, colon, name = word.partition(":")
    bare = (name if colon else word).removeprefix("#")
    fits = [one for one in known.words if one.partition(":")[2] == bare]
    if colon:
        fits = [one for one in fits if one.startswith(f"{_KINDS.get(kind, '?')}:")]
    if len(fits) == 1:
        return fits
    if fits:
        raise Refused(f"{word[:60]!r} means several things", remedy=f"say which: {', '.join(fits)}")
    raise Refused(f"{word[:60]!r} is nobody to announce to", remedy=_suggestion(word, bare, known))


def _suggestion(word: str, bare: str, known: Nameable) -> str:
    choices = ["everybody", *(["below"] if known.communities else []), *known.words]
    names = {one.partition(":")[2] or one: one for one in choices}
    close = get_close_matches(word[:60], choices, n=1, cutoff=0.6)
    close = close or [names[one] for one in get_close_matches(bare[:60], names, n=1, cutoff=0.6)]
    if close:
        return f"did you mean `{close[0]}`?"
    more = f" and {len(choices) - MOST_SHOWN} more" if len(choices) > MOST_SHOWN else ""
    return f"there are: {', '.join(choices[:MOST_SHOWN])}{more}"


def heard_in(target: Target, others: Iterable[Target], above: Collection[CommunityId]) -> Target | None:
    """The announcement room in which everybody in a room has another copy, which rings, so that this one shall not.
    Whoever is in a group is in the announcement room of its community, and whoever is in a community is in those of the
    communities above it. None where there is no such copy.

    Args:
        others: where else the announcement goes.
        above: the communities above the target's, the nearest first.
    """
    if person_of(target.place) is not None:
        return None
    rooms = {one.community: one for one in others if not one.place}
    wider = [*([target.community] if target.place else []), *above]
    return next((rooms[community] for community in reversed(wider) if community in rooms), None)
