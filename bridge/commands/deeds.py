"""What commands ask of the house. The same methods serve every door; `app/operations` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Protocol

from bridge.core.community import Role
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.messages import Said, SendMembers, ShowLink


class Links(Protocol):
    """What is asked about invite links; `by` is who asks. Each gives a link as `app/links` shows it."""

    async def new(
        self,
        community: str,
        *,
        groups: Sequence[str],
        expires: str,
        uses: int | None,
        needs_approval: bool,
        role: str,
        by: UserId,
        show: ShowLink,
    ) -> dict[str, Any]:
        """Make one, and have it shown."""
        ...

    async def reset(
        self,
        community: str,
        *,
        groups: Sequence[str],
        expires: str,
        uses: int | None,
        needs_approval: bool,
        role: str,
        by: UserId,
        show: ShowLink,
    ) -> dict[str, Any]:
        """Take back all of a community, make one, and have it shown."""
        ...

    async def list(self, community: str | None, *, by: UserId) -> Sequence[dict[str, Any]]: ...

    async def revoke(self, link_id: str, *, by: UserId) -> dict[str, Any]: ...


class Deeds(Protocol):
    """Every method may come twice for the same message, and does once what it does."""

    # --- who and where ------------------------------------------------------------------------------------------

    def communities(self) -> Sequence[CommunityId]: ...

    def groups_of(self, community: CommunityId) -> Sequence[RoomKeyName]: ...

    async def name_of(self, community: CommunityId) -> str:
        """What people call a community."""
        ...

    def language_of(self, community: CommunityId) -> Language: ...

    def zone_of(self, community: CommunityId) -> tzinfo:
        """The time zone in which a community lives."""
        ...

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        """What somebody is in a community; who moderates a group there is a moderator. None for who is not in it."""
        ...

    # --- the conversation itself --------------------------------------------------------------------------------

    async def ask_to_confirm(self, room_id: RoomId, user: UserId, command: str, event_id: EventId) -> None:
        """Remember a command until its author says yes or no in that room; it lapses."""
        ...

    async def confirmed(self, room_id: RoomId, user: UserId, event_id: EventId) -> str | None:
        """The command that a yes confirms: for this one message (it may come again), and for no later one."""
        ...

    async def let_be(self, room_id: RoomId, user: UserId, event_id: EventId) -> bool:
        """Drop what waits for somebody's yes; whether anything did."""
        ...

    async def first_today(self, user: UserId, event_id: EventId) -> bool:
        """Whether this message is the first in a day of somebody who is in no community."""
        ...

    async def ended_for(self, user: UserId) -> tuple[str, Language] | None:
        """The community that somebody was in when it was deactivated: its name and language; None for nobody's."""
        ...

    # --- announcements, held plans, locks -----------------------------------------------------------------------

    async def draft_awaits(self, room_id: RoomId, user: UserId, event_id: EventId) -> EventId | None:
        """The command of the draft whose new text this message is: the next after its author asked for that. The same
        message may come again."""
        ...

    async def draft_made_by(self, user: UserId, event_id: EventId) -> EventId | None:
        """The command of the open draft that a message of its author asked for, or that has its words of."""
        ...

    async def reword_draft(self, event: Said, draft: EventId) -> None:
        """Give the draft of that command the text of a message, and have it shown again."""
        ...

    async def leave_draft_words(self, user: UserId, draft: EventId, event_id: EventId) -> None:
        """Keep the text that the draft of that command has, by that message."""
        ...

    async def answer_draft(self, room_id: RoomId, user: UserId, event_id: EventId, *, send: bool) -> bool | None:
        """Send or drop somebody's last draft in a room; False where they have not seen it, None where there is none."""
        ...

    async def announcements(
        self, deed: str, community: str, what: Mapping[str, Any], by: UserId | None = None
    ) -> dict[str, Any]:
        """Have something done about announcements, as `app/announcing` says; gives `said`, what is answered."""
        ...

    async def community_status(self, community: CommunityId) -> dict[str, Any]: ...

    async def held(self, community: CommunityId) -> str | None: ...

    async def held_since(self, community: CommunityId) -> Sequence[str]:
        """Why the plan is held."""
        ...

    async def agree(self, community: CommunityId, digest: str) -> list[str]:
        """Carry out the held plan; gives what could not be done."""
        ...

    async def thaw(self, community: CommunityId) -> None: ...

    # --- people: what is asked about them -----------------------------------------------------------------------

    async def people(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """Have something done about people, as `app/about_people` says; gives `said`, what is answered."""
        ...

    # --- groups -------------------------------------------------------------------------------------------------

    def groups_to_ask_for(self, community: CommunityId) -> Sequence[RoomKeyName]:
        """The groups there that members ask to be let into."""
        ...

    def members_ask_for_groups(self, community: CommunityId) -> bool:
        """Whether members may make groups there, or suggest them."""
        ...

    async def groups(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """Have something done about groups, as `app/groups` says; gives `said`, what is answered."""
        ...

    # --- a community as a whole ---------------------------------------------------------------------------------

    async def community(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """Have something done about a community, as `app/community` says; gives `said`, what is answered."""
        ...

    # --- communities within communities -------------------------------------------------------------------------

    async def subcommunities(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        """Have something done about them, as `app/subcommunities` says; gives `said`, what is answered."""
        ...

    # --- invite links -------------------------------------------------------------------------------------------

    @property
    def links(self) -> Links: ...

    # --- people -------------------------------------------------------------------------------------------------

    async def members(self, community: CommunityId) -> Sequence[Mapping[str, Any]]:
        """Everybody in the community and who is invited to it, as `app/roster` gives them; owners first."""
        ...

    async def person(self, community: CommunityId, user: UserId) -> Mapping[str, Any]:
        """One of them, or somebody else."""
        ...

    async def send_members(self, file: SendMembers, source: EventId) -> None:
        """Have the table of members sent into a chat as a file; the same message is the same file."""
        ...

    async def tags(self, community: CommunityId) -> Sequence[Mapping[str, Any]]:
        """The tags that there are: `name`, `people` (how many carry it), `declared`."""
        ...

    async def tag(
        self, community: CommunityId, by: UserId | None, users: Sequence[UserId], tag: str, *, give: bool
    ) -> str:
        """Give people a tag, or take it from them; gives its name as it is kept."""
        ...
