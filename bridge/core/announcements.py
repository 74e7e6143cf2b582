"""What an announcement is: its parts, whom it is meant for, and how people name one that was sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import Any

from bridge.core import markup
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId

Part = Mapping[str, Any]
"""The content of one message (see `type_of`). The first part of an announcement is the one that is reacted to, edited
and pinned; others are files that go with it."""


POLL_START = "org.matrix.msc3381.poll.start"
"""The type of a poll of the clients, and the field in which it stands (MSC3381, first version: what clients send and
understand in today's room versions; `m.poll.start` waits for one with extensible events)."""


def type_of(part: Part) -> str:
    """The type of the event that a part is sent as."""
    return POLL_START if POLL_START in part else "m.room.message"


class Kind(StrEnum):
    """What an announcement is besides a text."""

    TEXT = "text"
    ACKNOWLEDGE = "acknowledge"
    """A text that everybody is asked to confirm."""
    POLL = "poll"
    EVENT = "event"


class Missed(StrEnum):
    """Why somebody does not get an announcement in a direct chat: nothing that anybody has to do something about."""

    LEFT = "is in the community no longer"
    DECLINED = "declined or left the chat"
    LET_LIE = "let the invitation to a chat lie"
    UNREACHABLE = "cannot be invited to a chat"


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom an announcement is meant for: the union of what is named. It is resolved when the announcement goes out."""

    everybody: bool = False
    """The community's announcement room."""
    groups: tuple[RoomKeyName, ...] = ()
    """Groups of the community that let the announcer in."""
    communities: tuple[CommunityId, ...] = ()
    """The announcement rooms of these communities within it."""
    tags: tuple[str, ...] = ()
    """Whoever carries one of these, each in a direct chat."""

    @property
    def empty(self) -> bool:
        return not (self.everybody or self.groups or self.communities or self.tags)

    def as_words(self) -> tuple[str, ...]:
        """As it is stored and given by command: `everybody`, `group:chess`, `community:year-5`, `tag:team`."""
        return (
            *(["everybody"] if self.everybody else []),
            *(f"group:{key}" for key in self.groups),
            *(f"community:{name}" for name in self.communities),
            *(f"tag:{name}" for name in self.tags),
        )

    @classmethod
    def of_words(cls, words: Iterable[str]) -> Audience:
        """The way back.

        Raises:
            ValueError: a word that means nobody.
        """
        everybody = False
        groups: dict[RoomKeyName, None] = {}
        communities: dict[CommunityId, None] = {}
        tags: dict[str, None] = {}
        for word in words:
            what, _, name = word.partition(":")
            if word == "everybody":
                everybody = True
            elif what == "group" and name:
                groups[RoomKeyName(name)] = None
            elif what == "community" and name:
                communities[CommunityId(name)] = None
            elif what == "tag" and name:
                tags[name] = None
            else:
                raise ValueError(f"{word[:60]!r} is no audience: everybody, group:…, community:… or tag:…")
        return cls(everybody, tuple(groups), tuple(communities), tuple(tags))


EVERYBODY = Audience(everybody=True)


@dataclass(frozen=True, slots=True)
class Target:
    """One room to announce into, or one person."""

    community: CommunityId
    room_id: RoomId | None
    """None while a person has no chat yet."""
    place: str = ""
    """Which room of the community's: empty is its announcement room, else a group's key or a person's user id."""

    def job_of(self, announcement: str) -> str:
        """The id of the job that delivers an announcement there: the transaction id of its first part."""
        job = f"announce-{announcement}-{self.community}"
        return f"{job}~{self.place}" if self.place else job  # no dash: a community may be called school-chess


def part_of(job: str, number: int) -> str:
    """The transaction id of a further part that a delivery's job sends; the first part has the job's id."""
    return f"{job}~part~{number}"


@dataclass(frozen=True, slots=True)
class Named:
    """How somebody named an announcement: by its number, by a message, or not at all."""

    number: int | None = None
    room_id: RoomId | None = None
    event_id: EventId | None = None


_NUMBER = re.compile(r"#?([1-9][0-9]{0,8})\Z")
_LINK = re.compile(
    r"(?:https://matrix\.to/#/|matrix:roomid/)(?P<room>(?:!|%21)?[^/?\s]+)/(?:e/)?(?P<event>(?:\$|%24)?[^/?\s]+)(?:\?\S*)?\Z"
)


def named(word: str) -> Named | None:
    """What a word names: `12`, `#12`, or the link of a message (`matrix.to`, `matrix:`, as Element's *Share* and
    *Copy link* make them; Matrix specification, appendices, "Matrix URI scheme"). None for anything else.
    """
    if found := _NUMBER.match(word):
        return Named(number=int(found[1]))
    if found := _LINK.match(word):
        room, event = found["room"].replace("%21", "!"), found["event"].replace("%24", "$")
        room, event = room.replace("%3A", ":").replace("%3a", ":"), event.replace("%3A", ":").replace("%3a", ":")
        return Named(
            room_id=RoomId(room if room.startswith("!") else f"!{room}"),
            event_id=EventId(event if event.startswith("$") else f"${event}"),
        )
    return None


def first_words(parts: Sequence[Part], most: int = 60) -> str:
    """The beginning of an announcement, on one line, for lists."""
    body = " ".join(str(parts[0].get("body", "")).split()) if parts else ""
    return body if len(body) <= most else f"{body[: most - 1].rstrip()}…"


def with_line(part: Part, line: str) -> Part:
    """A message with one more paragraph below it, in its plain and in its formatted body.

    Args:
        line: in the markup of `core/markup`.
    """
    shown = markup.plain(line)
    longer = {**part, "body": f"{part.get('body', '')}\n\n{shown}"}
    formatted = part.get("formatted_body")
    if isinstance(formatted, str):
        longer["formatted_body"] = f"{formatted}\n<p>{escape(shown)}</p>"
    return longer


def person_of(place: str) -> UserId | None:
    """Whom a target's place names; None for a room's key."""
    return UserId(place) if place.startswith("@") else None
