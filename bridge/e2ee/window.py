"""What of a room's past somebody is given: pure rules, no I/O, no clock, no randomness, no logging.

A Megolm key that is given from an index on opens that message of its session and all later ones. So a session is given
from behind the last message that is not for the person: one that lies before the window, or that was said while they
were outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DAY_MS = 24 * 3600 * 1000

Session = tuple[str, str]
"""A session's id, and whose it is."""

Absence = tuple[int, int]
"""When somebody left, and when they came back; milliseconds since 1970, both belong to it."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much of the past is given: the smaller of both bounds holds."""

    announcements: int
    days: int
    while_away: bool = False
    """Whether somebody who comes back is given what was said while they were outside, too."""

    def begins_at(self, now_ms: int) -> int:
        return now_ms - self.days * DAY_MS


@dataclass(frozen=True, slots=True)
class Spoken:
    """A message, as the homeserver has told it: its place in its session, and when it was said."""

    session: Session
    index: int
    at: int


@dataclass(frozen=True, slots=True)
class Move:
    """A change of somebody's membership: `join`, or `leave` for every way of being outside."""

    at: int
    membership: str
    event_id: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Stay:
    """How somebody has been in a room up to now."""

    member_event: str
    first_at: int
    """When they joined for the first time."""
    came_at: int
    """When they joined last: since then they have been in the room without a break."""
    inviter: str | None
    """Who sent the invitation that they accepted, where that is known."""


def _in_order(moves: Iterable[Move]) -> list[Move]:
    # Of a leave and a return within one millisecond the leave came first, of an invitation and a join the invitation.
    order = {"leave": 0, "ban": 0, "invite": 1, "join": 2}
    return sorted((move for move in moves if move.membership in order), key=lambda m: (m.at, order[m.membership]))


def dated(move: Move, known: Iterable[Move], *, told_at: int) -> int:
    """When somebody moved, as it is believed: the time in an event is chosen by the homeserver of whoever sent it.

    The order is that in which it was told. Nothing lies in the future; an absence may begin earlier than it was told
    of, and ends when the return is told: too long an absence keeps something back, too short a one gives it away.

    Args:
        known: what was told before of the same person in the same room.
        told_at: our own clock now.
    """
    before = _in_order(known)
    was_outside = next((one.membership != "join" for one in reversed(before) if one.membership != "invite"), False)
    at = told_at if move.membership == "join" and was_outside else min(move.at, told_at)
    return max(at, before[-1].at + 1) if before else at


def stay(moves: Iterable[Move]) -> Stay | None:
    """The present stay of somebody whose memberships were these, in any order; None where they are outside."""
    first: int | None = None
    came: Move | None = None
    last: Move | None = None
    invite: Move | None = None
    inviter: str | None = None
    for move in _in_order(moves):
        if move.membership == "join":
            if came is None:
                came, inviter = move, None if invite is None else invite.sender
            first = move.at if first is None else first
            last = move
        elif move.membership == "invite":
            invite = move
        else:
            came = last = invite = None
    if came is None or last is None or first is None:
        return None
    return Stay(last.event_id, first, came.at, inviter)


def absences(moves: Iterable[Move]) -> tuple[Absence, ...]:
    """When somebody was outside between two stays; not the time before the first, which is what newcomers are given."""
    found: list[Absence] = []
    inside = False
    left: int | None = None
    for move in _in_order(moves):
        if move.membership == "join":
            if not inside and left is not None:
                found.append((left, move.at))
            inside, left = True, None
        elif inside and move.membership != "invite":
            inside, left = False, move.at
    return tuple(found)


def window_of(spoken: Iterable[Spoken], window: Window, now_ms: int) -> frozenset[Spoken]:
    """The messages that lie in the window."""
    begins = window.begins_at(now_ms)
    recent = sorted((one for one in spoken if one.at >= begins), key=lambda one: (one.at, one.index), reverse=True)
    return frozenset(recent[: window.announcements])


def openings(spoken: Sequence[Spoken], window: Window, away: Sequence[Absence], *, now_ms: int) -> dict[Session, int]:
    """The index from which on each session may be given; sessions that hold nothing for the person are left out.

    Args:
        spoken: every message that is known of the room.
        away: when the person was outside.
    """
    shown = window_of(spoken, window, now_ms)
    refused: dict[Session, int] = {}
    wanted: dict[Session, int] = {}
    for one in spoken:
        allowed = one in shown and (window.while_away or not any(left <= one.at <= back for left, back in away))
        highest = wanted if allowed else refused
        highest[one.session] = max(one.index, highest.get(one.session, -1))
    return {
        session: refused.get(session, -1) + 1
        for session, last in sorted(wanted.items())
        if last > refused.get(session, -1)
    }
