"""Two closed unions: Event (what happened on Matrix) and Job (what is to be done)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge.core import markup
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId


@dataclass(frozen=True, slots=True)
class Invited:
    """One of our two accounts was invited to a room."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    user: UserId
    encrypted: bool
    """Whether the invite says that the room is encrypted (`invite_room_state`)."""


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Somebody's membership changed in a room that we know."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    user: UserId
    membership: str
    name: str = ""
    """Of a knock: what they call themselves there."""
    reason: str = ""
    """Of a knock: what they wrote."""
    before: str | None = None
    """What they were before, where the homeserver says it: who was joined already has changed their name or picture."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Another piece of state of a room that we know changed."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    type: str
    state_key: str
    content: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Redacted:
    """Somebody redacted an event in a room that we know. If it was live state, no state event tells of it."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    redacts: EventId
    wordy: bool = False
    """Whether it carries more than a short reason: a text of its own."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A timeline event in an announcement room, as it stands on the wire (not decrypted)."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    type: str
    short_reaction: bool
    """Whether it is a reaction with a short key, and nothing else."""
    session_id: str = ""
    """The Megolm session of an encrypted one."""
    message_index: int = 0
    """Its place in that session, as its sender says."""
    relation: str = ""
    """How it relates to another event (`rel_type`: `m.annotation`, `m.replace`, `m.thread`, …); empty if not."""
    to: EventId = EventId("")
    """The event to which it relates."""
    key: str = ""
    """Of a short reaction: its key."""


@dataclass(frozen=True, slots=True)
class Pill:
    """A mention of somebody as clients show it: their name in the body, who they are in the formatted one."""

    text: str
    user: UserId


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that somebody sent into a chat."""

    url: str
    """Where its file is, `mxc://…`."""
    file: Mapping[str, Any] | None = None
    """How it is opened, where it is encrypted: the `EncryptedFile` of the specification, as its sender wrote it."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message in a chat with the announcer, or in a control room; decrypted where it was encrypted."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    text: str
    encrypted: bool
    pills: tuple[Pill, ...] = ()
    """The people whom it mentions, in their order."""
    picture: Picture | None = field(default=None, compare=False, repr=False)
    """Of a picture with words under it: the picture."""
    reply_to: EventId | None = None
    """The message that it answers."""
    file: bool = False
    """Whether it stands under a file of any kind, a picture among them."""
    edits: EventId | None = None
    """The message of the same person that it is to replace; the text is the new one."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message in a chat or control room whose key did not come in time."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int


@dataclass(frozen=True, slots=True)
class Verifying:
    """A step of a verification by emoji in a chat with the announcer or in a control room; clients send them in the
    clear or encrypted."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    type: str
    content: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Reacted:
    """Somebody reacted to a message in a chat with the announcer or in a control room."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    to: EventId
    key: str


class Receipt(NamedTuple):
    """Somebody has read a room up to an event. It comes by itself, in no order with events, and may come again."""

    room_id: RoomId
    user: UserId
    event_id: EventId


Event = Invited | MembershipChanged | StateChanged | Redacted | Posted | Said | Unreadable | Verifying | Reacted


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that nobody needs, or that is malformed; `why` is for the log."""

    why: str


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send a message as the announcer. The job's id is the transaction id."""

    room_id: RoomId
    content: Mapping[str, Any]


def notice(text: str) -> dict[str, Any]:
    """The content of a message that asks nothing of anybody: clients show it, and let no phone ring.

    Args:
        text: in the markup of `core/markup`.
    """
    return {"msgtype": "m.notice", **_shown(text), "m.mentions": {}}


def _shown(text: str) -> dict[str, str]:
    """Body and formatted body (client-server API, section "m.room.message msgtypes")."""
    formatted = markup.html(text)
    shown = {"body": markup.plain(text)}
    return shown if formatted is None else {**shown, "format": "org.matrix.custom.html", "formatted_body": formatted}


def call(text: str, people: Iterable[str]) -> dict[str, Any]:
    """The content of a message that waits for somebody: their clients notify them (client-server API, `m.mentions`).

    A notice would not do: the push rule `.m.rule.suppress_notices` mutes it.
    """
    names = sorted(people)
    return {"msgtype": "m.text", **_shown(text), "m.mentions": {"user_ids": names} if names else {}}


def replacing(event_id: str, new: Mapping[str, Any]) -> dict[str, Any]:
    """The content that puts another message in the place of one of ours (client-server API, `m.replace`)."""
    return {
        **new,
        "body": f"* {new['body']}",
        "m.new_content": dict(new),
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


@dataclass(frozen=True, slots=True)
class DeliverAnnouncement:
    """Send an announcement into one room, or to one person."""

    announcement: str
    community: CommunityId
    room_id: RoomId | None
    """None for a person who has no chat yet."""
    place: str
    """Which room of the community's, as `core/announcements.Target` has it."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Announce what was prepared: take it now, resolve whom it is meant for, and have it delivered.

    The way in which one feature asks for an announcement of another: a draft that was agreed to, a schedule.
    """

    community: CommunityId
    source: str
    """What it comes from; the same source again is the same announcement."""
    author: str
    """A user id, or `operator`."""
    parts: tuple[Mapping[str, Any], ...]
    """The contents of its messages."""
    audience: tuple[str, ...]
    """As `core/announcements.Audience.as_words` gives it."""
    kind: str
    reply_room: RoomId | None
    """The chat in which the author is told; None tells nobody."""


@dataclass(frozen=True, slots=True)
class ShowDraft:
    """Show a draft to whoever writes it: as members will see it, with what there is to decide."""

    draft: str
    version: int
    """Which of its wordings; where there is a newer one, nothing is shown."""


@dataclass(frozen=True, slots=True)
class ExpireDraft:
    """Close a draft that nobody has decided in time, and forget what it says."""

    draft: str


@dataclass(frozen=True, slots=True)
class ShutAnnouncerOut:
    """Have the announcer say farewell in a group that lets it in no longer, and go."""

    community: CommunityId
    key: RoomKeyName
    by: str
    """Who asked for it, as it is told."""


@dataclass(frozen=True, slots=True)
class CloseCopies:
    """Give up the copies of an announcement that wait for people who let their invitation to a chat lie."""

    announcement: str


@dataclass(frozen=True, slots=True)
class TellAuthor:
    """Tell whoever wrote an announcement what became of it; a reply to that names the announcement."""

    room_id: RoomId
    content: Mapping[str, Any]
    announcement: str


@dataclass(frozen=True, slots=True)
class EditCopy:
    """Put other words in the place of one copy of an announcement."""

    change: str
    """Which edit, as `store/afterwards` has it."""
    announcement: str
    community: CommunityId
    place: str
    """Which room of the community's, as `core/announcements.Target` has it."""


@dataclass(frozen=True, slots=True)
class WithdrawCopy:
    """Redact one copy of an announcement, with its edits and further parts; or see that it never arrives."""

    announcement: str
    community: CommunityId
    place: str
    """Which room of the community's, as `core/announcements.Target` has it."""


@dataclass(frozen=True, slots=True)
class KeepPins:
    """Bring a room's pinned messages to what is to be pinned there at this moment."""

    community: CommunityId
    room_id: RoomId


@dataclass(frozen=True, slots=True)
class PostAgain:
    """Read an announcement back from a room, and announce it anew."""

    announcement: str
    number: int
    """What it is called in the community that it is taken from."""
    community: CommunityId
    """Where it is announced."""
    audience: tuple[str, ...]
    """As `core/announcements.Audience.as_words` gives it."""
    source: str
    """What asked for it; the same source again is the same announcement."""
    author: str
    """A user id, or `operator`."""
    reply_room: RoomId | None
    """The chat in which the author is told; None tells nobody."""


@dataclass(frozen=True, slots=True)
class AskToAcknowledge:
    """Have an announcement that was delivered acknowledged by whoever is in its room now."""

    announcement: str
    community: CommunityId
    room_id: RoomId
    event_id: EventId
    at: int
    """When it was delivered, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class RemindToAcknowledge:
    """Remind those who have not acknowledged an announcement yet."""

    announcement: str
    community: CommunityId
    step: int
    """Which of its reminders, from 1."""


@dataclass(frozen=True, slots=True)
class RemindOne:
    """Remind one person that an announcement waits for them, in their chat with the announcer."""

    announcement: str
    community: CommunityId
    user: UserId
    step: int


@dataclass(frozen=True, slots=True)
class CloseAcknowledgement:
    """Ask nobody any more, and tell the author who confirmed."""

    announcement: str
    community: CommunityId


@dataclass(frozen=True, slots=True)
class SendFigures:
    """Send what is known of announcements as a file to whoever asked for it, as it is then."""

    room_id: RoomId
    community: CommunityId
    by: UserId
    what: str
    """`picture` or `table` of the last announcements, or `acknowledgement` of one."""
    announcement: str
    """The one that it is about; empty for those that are about several."""


@dataclass(frozen=True, slots=True)
class RedactEvent:
    """Redact an event as the steward."""

    room_id: RoomId
    event_id: EventId
    reason: str


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Bring a room's key to everybody in it, ahead of the next message."""

    room_id: RoomId


@dataclass(frozen=True, slots=True)
class TakeBackState:
    """Put back what a state event (with an empty state key) replaced, and redact the event, as the steward."""

    room_id: RoomId
    event_id: EventId
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class GiveHistory:
    """Give what was said before to whoever in an announcement room has not got it."""

    room_id: RoomId


@dataclass(frozen=True, slots=True)
class LetIn:
    """Invite somebody who came by a link."""

    ticket: str
    """Of their entry, which says by which link they came."""
    community: CommunityId
    user: UserId


@dataclass(frozen=True, slots=True)
class ChangeMembership:
    """Remove or ban somebody from a community's space, or lift a ban; what follows in other rooms follows by itself."""

    community: CommunityId
    user: UserId
    what: str
    """`remove`, `ban` or `unban`."""
    reason: str
    by: str
    """Who asked for it, as it is told."""
    revoke_links: bool = False
    """Whether invite links that they made are taken back with it."""


@dataclass(frozen=True, slots=True)
class AskToJoin:
    """Somebody asks to come into a community by a way that needs an admin's word."""

    community: CommunityId
    user: UserId
    how: str
    """The way: `knock` or `link`."""
    detail: str
    """What the way says of itself: what they wrote, the link's name."""
    groups: tuple[RoomKeyName, ...] = ()
    """Groups that they are invited to as well, if they are let in."""
    words: str = ""
    """What was written with it by somebody of whom nobody knows that they are the person, as on the join page."""


@dataclass(frozen=True, slots=True)
class PostCard:
    """Show a join request in the control room."""

    request: str


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Carry out what was decided about a join request: let in or turn away, tell them, and show it on the card."""

    request: str


@dataclass(frozen=True, slots=True)
class RemindOfRequest:
    """Remind the admins of a join request that nobody has decided."""

    request: str


@dataclass(frozen=True, slots=True)
class ExpireRequest:
    """Close a join request that nobody has decided in time."""

    request: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """Welcome somebody who joined a community, in a direct chat that is made for it if there is none."""

    community: CommunityId
    user: UserId


@dataclass(frozen=True, slots=True)
class SayWelcome:
    """Say the welcome in a chat in which the person is."""

    community: CommunityId
    user: UserId
    room_id: RoomId


@dataclass(frozen=True, slots=True)
class ReleaseGroup:
    """Take a group out of its community, and leave its room to those in charge there."""

    community: CommunityId
    key: RoomKeyName
    by: str
    """Who asked for it, as it is told."""


@dataclass(frozen=True, slots=True)
class Deactivate:
    """Close a community's announcement room, and have its space say that the community has ended."""

    community: CommunityId
    by: str
    """Who asked for it, as it is told."""


@dataclass(frozen=True, slots=True)
class ShowLink:
    """Show a new invite link to whoever asked for it, with its QR code. Its secret stands nowhere."""

    room_id: RoomId
    source: EventId
    """The message that asked for it."""
    by: UserId
    language: str
    revoked: int | None
    """How many links were taken back for it; None where it takes the place of none."""


@dataclass(frozen=True, slots=True)
class SendMembers:
    """Send the table of a community's members as a file to whoever asked for it, as it is then."""

    room_id: RoomId
    community: CommunityId
    by: UserId
    word: str
    """Whom it is about; empty for everybody who has joined."""


@dataclass(frozen=True, slots=True)
class MakeGroup:
    """Make the group that a member suggested, since an admin agreed."""

    community: CommunityId
    user: UserId
    """Who suggested it, and moderates it."""
    name: str
    kind: str
    key: str
    """The key that they wished for; empty is one made of the name."""
    request: str
    chat: str
    """The room in which they are told; empty where there is none."""


@dataclass(frozen=True, slots=True)
class RunSchedule:
    """Have a scheduled announcement announced, since a run of it is due."""

    schedule: str
    due: int
    """The run, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class SendDigest:
    """Send the summary of a week to whoever wants one of this community."""

    community: CommunityId
    due: int
    """The end of the week, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class TendThread:
    """Bring the thread of an announcement in a discussion room up to what the announcement is now."""

    announcement: str
    community: CommunityId


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """React to a poll with what can be chosen, so that people need but press it."""

    announcement: str
    room_id: RoomId
    event_id: EventId


@dataclass(frozen=True, slots=True)
class ShowPoll:
    """Edit how people voted into the announcement of a poll."""

    announcement: str


@dataclass(frozen=True, slots=True)
class CountPoll:
    """Count a poll that has ended, and announce the result."""

    announcement: str


@dataclass(frozen=True, slots=True)
class EndPoll:
    """Say in a group that a poll of the clients has ended, by which they stop taking votes and show the result."""

    announcement: str
    community: CommunityId
    room_id: RoomId
    event_id: EventId


@dataclass(frozen=True, slots=True)
class SendBallots:
    """Give everybody in a room a ballot of a secret poll."""

    announcement: str
    room_id: RoomId


@dataclass(frozen=True, slots=True)
class SendBallot:
    """Give one person a ballot of a secret poll, in their chat with the announcer."""

    announcement: str
    user: UserId


@dataclass(frozen=True, slots=True)
class EndBallots:
    """See to all ballots of a secret poll that was counted or withdrawn."""

    announcement: str


@dataclass(frozen=True, slots=True)
class EndBallot:
    """Say on one person's ballot how the poll ended; take it away if the poll was withdrawn, or they have left."""

    announcement: str
    user: UserId


@dataclass(frozen=True, slots=True)
class PrepareEvent:
    """React to an event with what can be answered, and send its calendar file."""

    announcement: str
    room_id: RoomId
    event_id: EventId


@dataclass(frozen=True, slots=True)
class SeatPeople:
    """Give the seats of an event to whoever comes, and tell who waits for one, or has one now."""

    announcement: str


@dataclass(frozen=True, slots=True)
class ShowEvent:
    """Edit an event as it is now into its announcement."""

    announcement: str
    words: Mapping[str, str]
    """What was changed of `title`, `place` and `description`; empty where they stay as they are in the room."""
    attach: bool
    """Whether its calendar file is sent again."""


@dataclass(frozen=True, slots=True)
class LookAfterEvent:
    """Remind whoever is going to an event; or after it forget who answered what."""

    announcement: str
    sequence: int
    """How often it had been changed when this was planned: after another change this is void."""
    lead_ms: int
    """How long before the begin; 0 is after the end."""


@dataclass(frozen=True, slots=True)
class SendLetter:
    """Send one e-mail, to an address that somebody named as theirs."""

    community: CommunityId
    user: UserId
    address: str
    subject: str
    text: str
    unsubscribe: str
    """As of `core/mail.Letter`."""


Job = (
    SendMessage
    | DeliverAnnouncement
    | Announce
    | ShutAnnouncerOut
    | CloseCopies
    | TellAuthor
    | EditCopy
    | WithdrawCopy
    | KeepPins
    | PostAgain
    | AskToAcknowledge
    | RemindToAcknowledge
    | RemindOne
    | CloseAcknowledgement
    | SendFigures
    | ShowDraft
    | ExpireDraft
    | RedactEvent
    | ShareKeys
    | TakeBackState
    | GiveHistory
    | LetIn
    | ChangeMembership
    | AskToJoin
    | PostCard
    | AnswerRequest
    | RemindOfRequest
    | ExpireRequest
    | Welcome
    | SayWelcome
    | ReleaseGroup
    | Deactivate
    | ShowLink
    | SendMembers
    | MakeGroup
    | SendDigest
    | RunSchedule
    | TendThread
    | PlaceOptions
    | ShowPoll
    | CountPoll
    | EndPoll
    | SendBallots
    | SendBallot
    | EndBallots
    | EndBallot
    | PrepareEvent
    | SeatPeople
    | ShowEvent
    | LookAfterEvent
    | SendLetter
)
