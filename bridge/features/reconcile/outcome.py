"""What came of carrying out a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.plan.actions import Blocked

Progress = Callable[[int, int, str], None]
"""Told after each action: how many are done, of how many, and what it was."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that could not be done; the others went on."""

    room: str
    summary: str
    why: str
    passes: bool = False
    """Whether the same may work soon: the homeserver was away, or busy."""
    not_before: int = 0
    """When the homeserver wants to be asked again (milliseconds since 1970), 0 where it does not say."""
    elsewhere: bool = False
    """Whether it is another homeserver that is away: ours may be asked for all else."""

    @property
    def line(self) -> str:
        return f"{self.room}: {self.summary}: {self.why}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one community."""

    community: str
    done: int = 0
    failures: tuple[Failure, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    unsafe: tuple[str, ...] = ()
    """Why the plan was not carried out; empty where it was."""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.failures and not self.unsafe

    def as_json(self) -> dict[str, Any]:
        return {
            "community": self.community,
            "done": self.done,
            "failures": [
                {"room": failure.room, "summary": failure.summary, "why": failure.why} for failure in self.failures
            ],
            "blocked": [{"room": item.room, "reason": item.reason} for item in self.blocked],
            "unsafe": list(self.unsafe),
            "notes": list(self.notes),
        }
