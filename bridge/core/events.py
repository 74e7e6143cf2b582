"""An event that people are invited to, who comes, and who waits for a seat. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from bridge.core.ids import UserId
from bridge.core.lines import one_line
from bridge.core.moments import found_at, moment

FIELD = "org.matrix-communities.event"
"""Where an event's words stand in the content of its message, so that they can be read back."""
LONGEST_TITLE, LONGEST_PLACE, LONGEST_DESCRIPTION = 200, 300, 4_000
MOST_SEATS = 100_000
MOST_GUESTS = 20
REMIND_BEFORE_MS = (24 * 3_600_000, 3_600_000)
"""When whoever is going is reminded."""
_PARTS = re.compile(r"[;\n]")
_UNTIL = re.compile(r"\s*(?:-|–|—|to|bis|until)\s*(.+)\Z", re.IGNORECASE)
_CLOCK = re.compile(r"([0-9]{1,2})[:.]([0-9]{2})\Z")
_PLAIN = str.maketrans("", "", "\ufe0e\ufe0f")


class Answer(StrEnum):
    """What somebody says to an event."""

    GOING = "going"
    MAYBE = "maybe"
    NO = "no"


SIGNS: Mapping[Answer, str] = {Answer.GOING: "✅", Answer.MAYBE: "❔", Answer.NO: "❌"}
"""The reactions by which people answer."""
_BY_SIGN = {**{sign: answer for answer, sign in SIGNS.items()}, "❓": Answer.MAYBE}


def answer_of(key: str) -> Answer | None:
    """What a reaction says; None where it is no answer."""
    return _BY_SIGN.get(key.translate(_PLAIN))


@dataclass(frozen=True, slots=True)
class Happening:
    """What is known of an event: its words, and when it is (milliseconds since 1970)."""

    title: str
    begins_at: int
    ends_at: int | None = None
    place: str = ""
    description: str = ""
    capacity: int | None = None
    """How many seats there are; None is as many as come."""

    def words(self) -> dict[str, str]:
        """What stands in its message alone."""
        return {"title": self.title, "place": self.place, "description": self.description}

    def with_words(self, content: Mapping[str, Any]) -> Happening:
        """The same with the words that stand in the content of its message; unchanged where there are none."""
        found = content.get(FIELD)
        if not isinstance(found, Mapping):
            return self

        def word(name: str, known: str) -> str:
            value = found.get(name)
            return value if isinstance(value, str) else known

        return replace(
            self,
            title=word("title", self.title),
            place=word("place", self.place),
            description=word("description", self.description),
        )


def happening_of(text: str, zone: tzinfo) -> Happening:
    """The event of a text: title, when, place, description and seats, with `;` between them or below each other. What
    stands behind the time may be left away; a number that stands last is the seats.

    Raises:
        ValueError: the title or the time is missing, or something is too long.
    """
    title, when, *rest = [*(piece.strip() for piece in _PARTS.split(text.strip())), ""]
    title, rest = one_line(title), [piece for piece in rest if piece]
    if not title or not when:
        raise ValueError("an event has a title and a time")
    begins_at, ends_at = span_of(when, zone)
    capacity = None
    if rest and rest[-1].isdigit() and len(rest[-1]) < 7:
        capacity = int(rest.pop())
        if not 1 <= capacity <= MOST_SEATS:
            raise ValueError(f"an event has 1 to {MOST_SEATS:,} seats")
    place, description = one_line(rest[0]) if rest else "", "\n".join(rest[1:])
    for words, longest in ((title, LONGEST_TITLE), (place, LONGEST_PLACE), (description, LONGEST_DESCRIPTION)):
        if len(words) > longest:
            raise ValueError(f"{words[:20]!r}… has more than {longest:,} characters")
    return Happening(title, begins_at, ends_at, place, description, capacity)


def span_of(text: str, zone: tzinfo) -> tuple[int, int | None]:
    """Begin and end of `2026-07-04 18:30`, `2026-07-04 18:30 - 20:00` or `2026-07-04 18:30 - 2026-07-05 1:00`, in
    milliseconds since 1970.

    Raises:
        ValueError: it is no time, or ends before it begins.
    """
    text = text.strip()
    found = found_at(text)
    if found is None:
        raise ValueError(f"{text[:60]!r} is no date with a time")
    begins_at = moment(found[0], zone)
    rest = text[found.end() :].strip()
    if not rest:
        return begins_at, None
    until = _UNTIL.match(rest)
    clock = None if until is None else _CLOCK.match(until[1].strip())
    if until is None:
        raise ValueError(f"{rest[:60]!r} is no end")
    if clock is None:
        ends_at = moment(until[1], zone)
    else:
        day = datetime.fromtimestamp(begins_at / 1000, zone)
        local = day.replace(hour=int(clock[1]), minute=int(clock[2]), fold=0)
        if local.replace(tzinfo=None) <= day.replace(tzinfo=None):
            local += timedelta(days=1)
        ends_at = int(local.astimezone(UTC).timestamp() * 1000)
    if ends_at <= begins_at:
        raise ValueError("it would end before it begins")
    return begins_at, ends_at


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of one person that stands."""

    user: UserId
    answer: Answer
    guests: int
    at: int
    """When it was given, as the event says."""
    taken: int
    """When it came to us: seats are given in this order, which nobody but us can say anything about."""
    event: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Who comes, in the order in which seats were given, and who waits for one."""

    going: tuple[Reply, ...] = ()
    waiting: tuple[Reply, ...] = ()
    maybe: int = 0
    no: int = 0

    @property
    def seats(self) -> int:
        """How many seats are taken, guests included."""
        return sum(1 + reply.guests for reply in self.going)


def standing(replies: Iterable[Reply], capacity: int | None) -> Standing:
    """Of each person the latest answer counts; whoever comes first has a seat, and nobody overtakes who waits.

    Args:
        replies: those that stand, of members alone.
        capacity: how many seats there are; None is as many as come.
    """
    latest: dict[UserId, Reply] = {}
    for reply in replies:
        known = latest.get(reply.user)
        if known is None or (reply.at, reply.event) > (known.at, known.event):
            latest[reply.user] = reply
    coming = [reply for reply in latest.values() if reply.answer is Answer.GOING]
    going: list[Reply] = []
    waiting: list[Reply] = []
    taken = 0
    for reply in sorted(coming, key=lambda one: (one.taken, one.event)):
        seats = 1 + reply.guests
        if not waiting and (capacity is None or taken + seats <= capacity):
            going.append(reply)
            taken += seats
        else:
            waiting.append(reply)
    counts = [sum(reply.answer is answer for reply in latest.values()) for answer in (Answer.MAYBE, Answer.NO)]
    return Standing(tuple(going), tuple(waiting), *counts)
