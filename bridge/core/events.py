"""An event that people are invited to, who comes, and who waits for a seat. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bridge.core import texts
from bridge.core.errors import Refused
from bridge.core.ids import UserId
from bridge.core.lines import one_line
from bridge.core.roster import cell
from bridge.core.times import read_time

FIELD = "org.matrix-communities.event"
"""Where an event's words stand in the content of its message, so that they can be read back."""
LONGEST_TITLE, LONGEST_PLACE, LONGEST_DESCRIPTION = 200, 300, 4_000
MOST_SEATS = 100_000
MOST_GUESTS = 20
REMIND_BEFORE_MS = (24 * 3_600_000, 3_600_000)
"""When whoever is going is reminded."""
_PARTS = re.compile(r"[;\n]")
_WRITTEN = "write it like this: `Summer party; 2026-07-04 18:30; School yard; Bring a cake; 80`"
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


def happening_of(text: str, now: int, zone: str) -> Happening:
    """The event of a text: title, when, place, description and seats, with `;` between them or below each other. What
    stands behind the time may be left away; a number that stands last is the seats.

    Args:
        now: milliseconds since 1970.
        zone: the IANA name of the time zone in which the time is meant.

    Raises:
        Refused: the title or the time is missing or not understood, or something is too long.
    """
    title, when, *rest = [*(piece.strip() for piece in _PARTS.split(text.strip())), ""]
    rest = [piece for piece in rest if piece]
    seats = rest.pop() if rest and rest[-1].isdigit() and len(rest[-1]) < 7 else None
    place, description = rest[0] if rest else "", "\n".join(rest[1:])
    return happening(title, when, now, zone, place=place, description=description, seats=seats)


def happening(
    title: str, when: str, now: int, zone: str, *, place: str = "", description: str = "", seats: str | None = None
) -> Happening:
    """The event of its parts, as `happening_of`.

    Raises:
        Refused: as `happening_of`.
    """
    title, place = one_line(title), one_line(place)
    if not title or not when:
        raise Refused("an event has a title and a time", remedy=_WRITTEN)
    begins_at, ends_at = read_time(when, now, zone)
    for words, longest in ((title, LONGEST_TITLE), (place, LONGEST_PLACE), (description, LONGEST_DESCRIPTION)):
        if len(words) > longest:
            raise Refused(f"{words[:20]!r}… has more than {longest:,} characters", remedy="shorten it")
    return Happening(title, begins_at, ends_at, place, description, None if seats is None else seats_of(seats))


def seats_of(text: str) -> int:
    """How many seats there are.

    Raises:
        Refused: it is no number of seats.
    """
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_SEATS:
        raise Refused(f"an event has 1 to {MOST_SEATS:,} seats", remedy="write a whole number, such as 80")
    return int(text)


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


def guest_list(found: Standing) -> str:
    """Who comes as CSV (RFC 4180), in the order of seats, and then who waits for one. No cell is a formula to a
    spreadsheet.
    """
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(("user", "state", "guests", "since"))
    for state, those in (("coming", found.going), ("waiting", found.waiting)):
        for reply in those:
            table.writerow((cell(reply.user), state, reply.guests, texts.utc(reply.taken)))
    return out.getvalue()
