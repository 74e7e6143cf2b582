"""How far an announcement came: told of one and of many, as JSON, as a table and as a picture. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.core import texts
from bridge.core.ids import UserId
from bridge.core.roster import cell

_PLAIN = str.maketrans("", "", "\ufe0e\ufe0f")
"""Clients put a variation selector behind an emoji, or do not."""

COLUMNS = ("number", "sent", "by", "invited", "joined", "members then", "delivered", "read", "reacted", "reactions")


def reaction_key(key: str) -> str:
    """A reaction's key as it is counted: one emoji is one key, however a client writes it."""
    return key.translate(_PLAIN) or key


@dataclass(frozen=True, slots=True)
class Figures:
    """How far one announcement came in a community's announcement room. None is what nobody can know (any more)."""

    number: int
    at: int
    """When it was sent, in milliseconds since 1970."""
    by: str
    human: bool
    """Whether an admin posted it with their own client."""
    invited: int
    """Who is invited to the room now, and has not come."""
    joined: int
    """Who is in it now, without the service's own accounts."""
    people: int | None
    """Who was in it when it was sent."""
    delivered: int | None
    """Of these, who had a device then that was given its key."""
    read: int | None
    """Of those who are in it now: whose receipt is at it or at something later."""
    reacted: int | None
    reactions: Mapping[str, int] = field(default_factory=dict)
    """How many people reacted with what, those who took it back left out."""
    readers: tuple[UserId, ...] = ()
    reactors: Mapping[str, tuple[UserId, ...]] = field(default_factory=dict)

    def as_json(self, *, names: bool) -> dict[str, Any]:
        """The documented JSON; with `names` also `read_by` and `reacted_by`."""
        shown: dict[str, Any] = {
            "number": self.number, "at": self.at, "author": self.by, "human": self.human, "invited": self.invited,
            "joined": self.joined, "people": self.people, "delivered": self.delivered, "read": self.read,
            "reacted": self.reacted, "reactions": dict(self.reactions),
        }  # fmt: skip
        if names:
            shown["read_by"] = list(self.readers)
            shown["reacted_by"] = {key: list(people) for key, people in self.reactors.items()}
        return shown


def as_table(figures: Iterable[Figures]) -> str:
    """As CSV (RFC 4180), one announcement a line below the names of the columns. Names of readers are none of it."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for one in figures:
        reactions = " ".join(f"{key} {count}" for key, count in one.reactions.items())
        numbers = (one.invited, one.joined, one.people, one.delivered, one.read, one.reacted)
        table.writerow(
            [one.number, texts.utc(one.at), cell(one.by), *("" if n is None else n for n in numbers), cell(reactions)]
        )
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an acknowledgement stands: of those who were asked and are still there, who has confirmed."""

    number: int
    asked_at: int
    closed: bool
    confirmed: tuple[UserId, ...]
    waiting: tuple[UserId, ...]
    """Who has not, those who took it back among them."""
    withdrawn: frozenset[UserId]
    """Who confirmed, and took it back."""
    left: int
    """How many who were asked are not in the room any more."""

    def as_json(self) -> dict[str, Any]:
        """The documented JSON."""
        return {
            "number": self.number, "asked_at": self.asked_at, "closed": self.closed, "confirmed": list(self.confirmed),
            "waiting": list(self.waiting), "withdrawn": sorted(self.withdrawn), "left": self.left,
        }  # fmt: skip

    def as_table(self) -> str:
        """As CSV: person, and `confirmed`, `waiting` or `withdrawn`."""
        out = io.StringIO()
        table = csv.writer(out)
        table.writerow(("user", "state"))
        for user in self.waiting:
            table.writerow((cell(user), "withdrawn" if user in self.withdrawn else "waiting"))
        for user in self.confirmed:
            table.writerow((cell(user), "confirmed"))
        return out.getvalue()


def bars_of(figures: Sequence[Figures]) -> list[tuple[int, int, int]]:
    """What a picture shows of announcements, the oldest first: members, delivered, read."""
    return [
        (max(one.people or 0, one.joined), one.delivered or 0, one.read or 0)
        for one in sorted(figures, key=lambda one: one.number)
    ]
