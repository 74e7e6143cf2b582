"""What a poll asks, and how votes are counted. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.core.announcements import POLL_START
from bridge.core.ids import UserId
from bridge.core.lines import one_line
from bridge.core.roster import cell

KEYS = (*(f"{digit}\ufe0f\u20e3" for digit in range(1, 10)), "🔟")
"""The reactions by which people choose: the first option is the first of them."""
FEWEST, MOST = 2, len(KEYS)
LONGEST_QUESTION, LONGEST_OPTION = 500, 200
FIELD = "org.matrix-communities.poll"
"""Where a poll's question and options stand in the content of its message, so that they can be read back."""

_BARE = {key.replace("\ufe0f", ""): number for number, key in enumerate(KEYS, start=1)}
_PLAIN = str.maketrans("", "", "\ufe0e\ufe0f")
"""Clients put a variation selector behind an emoji, or do not."""
_PARTS = re.compile(r"[|\n]")
_BULLET = re.compile(r"(?:[-*•]|[0-9]{1,2}[.)])\s+")


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a poll asks."""

    question: str
    options: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"question": self.question, "options": list(self.options)}

    @classmethod
    def within(cls, content: Mapping[str, Any]) -> Ballot | None:
        """The ballot that stands in the content of a message; None where there is none that is whole."""
        found = content.get(FIELD)
        if not isinstance(found, Mapping):
            return None
        question, options = found.get("question"), found.get("options")
        if not isinstance(question, str) or not isinstance(options, list):
            return None
        if not all(isinstance(option, str) for option in options):
            return None
        return cls(question, tuple(options))


def ballot_of(text: str) -> Ballot:
    """The ballot of a text: question and options with `|` between them, or below each other.

    Raises:
        ValueError: there is no question, there are too few, too many or equal options, or one is too long.
    """
    pieces = [one_line(piece) for piece in _PARTS.split(text)]
    question, *options = [piece for piece in pieces if piece] or [""]
    return ballot_with(question, [_BULLET.sub("", option, count=1) for option in options])


def ballot_with(question: str, options: Sequence[str]) -> Ballot:
    """The ballot of a question and its options, each on one line.

    Raises:
        ValueError: as `ballot_of` says.
    """
    question, options = one_line(question), [one_line(option) for option in options]
    if not FEWEST <= len(options) <= MOST:
        raise ValueError(f"a poll has {FEWEST} to {MOST} options, and this one has {len(options)}")
    if len(question) > LONGEST_QUESTION:
        raise ValueError(f"the question has more than {LONGEST_QUESTION} characters")
    if any(len(option) > LONGEST_OPTION for option in options):
        raise ValueError(f"an option has more than {LONGEST_OPTION} characters")
    if not question or not all(options):
        raise ValueError("the question or an option is empty")
    if len({option.casefold() for option in options}) < len(options):
        raise ValueError("two options are the same")
    return Ballot(question, tuple(options))


POLL_END = "org.matrix.msc3381.poll.end"
_TEXT = "org.matrix.msc1767.text"


def native(ballot: Ballot, *, multiple: bool, hidden: bool) -> dict[str, Any]:
    """The content of a poll that clients show, take votes on and count by themselves (MSC3381, first version, with the
    texts of MSC1767 for clients that do not).

    Args:
        hidden: whether clients show nothing of the count before the end.
    """
    said = "\n".join([ballot.question, *(f"{at}. {words}" for at, words in enumerate(ballot.options, start=1))])
    return {
        POLL_START: {
            "kind": f"org.matrix.msc3381.poll.{'undisclosed' if hidden else 'disclosed'}",
            "max_selections": len(ballot.options) if multiple else 1,
            "question": {_TEXT: ballot.question, "body": ballot.question, "msgtype": "m.text"},
            "answers": [{"id": str(at), _TEXT: words} for at, words in enumerate(ballot.options, start=1)],
        },
        _TEXT: said,
        "body": said,
        "m.mentions": {},
    }


def native_end(event_id: str, text: str) -> dict[str, Any]:
    """The content by which such a poll ends (MSC3381): votes that are later do not count.

    Args:
        event_id: of the poll.
        text: for clients that know no polls.
    """
    relation = {"rel_type": "m.reference", "event_id": event_id}
    return {POLL_END: {}, _TEXT: text, "body": text, "m.mentions": {}, "m.relates_to": relation}


def option_of(key: str) -> int | None:
    """Which option a reaction stands for, from 1; None where it is no vote."""
    return _BARE.get(key.translate(_PLAIN))


@dataclass(frozen=True, slots=True)
class Vote:
    """One choice of one person that stands."""

    user: UserId
    option: int
    """From 1."""
    at: int
    """When it was made, in milliseconds since 1970."""
    event: str
    """The event by which it was made: of two at the same time the greater one is the later."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How people voted."""

    counts: tuple[int, ...]
    """Of each option, how many chose it."""
    people: int
    """How many voted."""

    @property
    def leading(self) -> tuple[int, ...]:
        """The options (from 1) that most people chose; none while nobody voted."""
        most = max(self.counts, default=0)
        return tuple(number for number, count in enumerate(self.counts, start=1) if count == most > 0)


def tally(votes: Iterable[Vote], options: int, *, multiple: bool) -> Tally:
    """Count votes: one person has one vote, in whatever order and however often it comes.

    Args:
        votes: those that stand; what was taken back is not among them.
        options: how many there are.
        multiple: whether a person may choose several; else their latest choice is the one that counts.
    """
    chosen: dict[UserId, set[int]] = {}
    latest: dict[UserId, tuple[int, str]] = {}
    for vote in votes:
        if not 1 <= vote.option <= options:
            continue
        if multiple:
            chosen.setdefault(vote.user, set()).add(vote.option)
        elif (vote.at, vote.event) >= latest.get(vote.user, (-1, "")):
            latest[vote.user] = vote.at, vote.event
            chosen[vote.user] = {vote.option}
    counts = [sum(option in own for own in chosen.values()) for option in range(1, options + 1)]
    return Tally(tuple(counts), len(chosen))


def as_table(ballot: Ballot, found: Tally) -> str:
    """As CSV (RFC 4180): each option with how many chose it. No cell is a formula to a spreadsheet."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(("option", "votes"))
    table.writerows((cell(option), count) for option, count in zip(ballot.options, found.counts, strict=False))
    return out.getvalue()
