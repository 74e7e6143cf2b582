"""One event, one owner: which handler gets which event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, assert_never

from bridge.core.messages import (
    Event,
    Invited,
    MembershipChanged,
    Posted,
    Reacted,
    Redacted,
    Said,
    StateChanged,
    Unreadable,
    Verifying,
)

E = TypeVar("E")
Handler = Callable[[E], Awaitable[None]]
"""Must be idempotent: after a crash the same event comes again, and older ones may come after newer ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """The table, filled in where everything is wired."""

    invited: Handler[Invited]
    membership_changed: Handler[MembershipChanged]
    state_changed: Handler[StateChanged]
    redacted: Handler[Redacted]
    posted: Handler[Posted]
    said: Handler[Said]
    unreadable: Handler[Unreadable]
    verifying: Handler[Verifying]
    reacted: Handler[Reacted]

    async def route(self, event: Event) -> None:
        """Hand an event to its owner."""
        match event:
            case Invited():
                await self.invited(event)
            case MembershipChanged():
                await self.membership_changed(event)
            case StateChanged():
                await self.state_changed(event)
            case Redacted():
                await self.redacted(event)
            case Posted():
                await self.posted(event)
            case Said():
                await self.said(event)
            case Unreadable():
                await self.unreadable(event)
            case Verifying():
                await self.verifying(event)
            case Reacted():
                await self.reacted(event)
            case _:
                assert_never(event)
