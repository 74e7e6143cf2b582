"""A row of the table of commands: how it is written, who may, what is done, and what has to be confirmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bridge.commands.deeds import Deeds
from bridge.commands.grammar import Asked, Command
from bridge.core.access import Deed, may
from bridge.core.community import Role
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import Picture, Pill
from bridge.core.texts import Explained


@dataclass(frozen=True, slots=True)
class Request:
    """A command that was understood, and permitted: who asks, where, and what."""

    asked: Asked
    person: UserId
    room_id: RoomId
    event_id: EventId
    language: Language
    """That of the control room's community; in a direct chat, of the person's first community."""
    roles: Mapping[CommunityId, Role]
    """What the person is in the communities that they are in."""
    where: tuple[CommunityId, ...]
    """Where they may do this."""
    picture: Picture | None = None
    """The picture under which it was written."""
    reply_to: EventId | None = None
    """The message that it answers."""
    mark: str = ""
    """What stands before commands in this room: `!` in a control room."""
    pills: tuple[Pill, ...] = ()
    """The people whom the message mentions."""
    file: bool = False
    """Whether it was written under a file."""
    edits: EventId | None = None
    """The command that this one replaces."""

    @property
    def community(self) -> CommunityId:
        """The community that a command about one is about."""
        assert self.asked.community is not None
        return self.asked.community


@dataclass(frozen=True, slots=True)
class Caution:
    """What would happen, for the person to confirm."""

    what: str
    asked: Asked
    """The command as it shall be done then: with everything named that may change until then."""


Run = Callable[[Deeds, Request], Awaitable[str | None]]
"""Gives the answer; None where the answer comes later by itself. Errors of the house are told by the door."""
Confirm = Callable[[Deeds, Request], Awaitable[Caution | None]]
"""Gives what has to be confirmed; None where this one needs no word more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Command):
    """One command, whole."""

    deed: Deed
    """Who may: see `core/access`."""
    explain: Callable[[Language], Explained]
    """What it is for and an example: a function of `core/texts`."""
    run: Run
    confirm: Confirm | None = None
    for_members: Callable[[Deeds, CommunityId], bool] | None = None
    """Where members see it in the help, of those who may: what only some communities allow them is not held out to
    all. None is everywhere."""

    def where(self, roles: Mapping[CommunityId, Role]) -> tuple[CommunityId, ...]:
        """The communities in which somebody of these roles may do it."""
        return tuple(community for community, role in roles.items() if may(role, self.deed))

    def is_shown(self, deeds: Deeds, roles: Mapping[CommunityId, Role]) -> bool:
        """Whether somebody of these roles sees it in the help."""
        return any(
            roles[place] >= Role.ADMIN or self.for_members is None or self.for_members(deeds, place)
            for place in self.where(roles)
        )

    def example(self, language: Language, community: CommunityId | None) -> str:
        """The example as it is written.

        Args:
            community: the one to name; None where it goes without saying.
        """
        colon = ":" if self.begins_with_text else ""
        place = [] if community is None else [f"{community}{colon}"]
        return " ".join(filter(None, [self.called(language), *place, self.explain(language).example]))
