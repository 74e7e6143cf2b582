"""What the join page asks of the house, and the shapes in which it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.core.links import Obstacle, Stage


@dataclass(frozen=True, slots=True)
class Welcome:
    """What whoever has a link may know of the community that it is for."""

    name: str
    description: str
    members: int | None
    """How many there are; None where that is nobody's business."""
    groups: tuple[str, ...]
    """Names of the groups that the link is for, too."""
    needs_approval: bool
    has_picture: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far somebody has come."""

    welcome: Welcome
    user: str
    stage: Stage
    ahead: int
    """How many are invited before them, while they wait."""
    space: str
    """The id of the space that they are invited to."""
    via: str
    """A server that knows it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that browsers may show: never one that can carry a script."""

    kind: str
    """Its media type."""
    data: bytes


class Entrance(Protocol):
    """The house, as far as the page is concerned. A token or ticket may be any text of a visitor's."""

    async def welcome(self, token: str) -> Welcome | Obstacle:
        """The community of a link, or why the link is no good."""
        ...

    async def enter(self, token: str, typed: str, words: str = "") -> str | Obstacle:
        """Let somebody in by what they typed as their Matrix ID; gives their ticket, or why not.

        Args:
            words: what they wrote for the admins, where those are asked.
        """
        ...

    async def progress(self, token: str, ticket: str) -> Progress | Obstacle:
        """How far the person of that ticket has come."""
        ...

    async def picture(self, token: str) -> Picture | None:
        """The community's picture."""
        ...
