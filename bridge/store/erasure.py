"""Everything in the database that is about one person: found, and erased.

One table says of each column that can hold a user id, or a text that names somebody, what becomes of it; a second one
says of every other text or bytes why it holds none. A test compares both with the schema: whoever adds a column has to
say which it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from bridge.core.ids import UserId
from bridge.store import sendings
from bridge.store.database import Transaction

ERASED = "(erased)"
"""Stands where a record has to stay and named the person. It is no user id, so it can be nobody's."""


class Way(StrEnum):
    """What becomes of what is found."""

    DELETE = "deleted"
    """The row is that person's: it goes."""
    REPLACE = "kept without the name"
    """The row is about something else, and says who did it: the id gives way to `ERASED`."""
    MENTION = "kept, the mention taken out"
    """A text of others that may name the person: the mention gives way to `ERASED`."""
    DROP = "dropped"
    """A text that may name the person, and is not needed: the row goes."""
    KEEP = "kept: without it they come back"
    """A ban that is in force."""
    WAIT = "waits to be done, and goes then"
    """A removal or ban of them, or the end of one, and events by or about them: the rooms would not follow."""


@dataclass(frozen=True, slots=True)
class Place:
    """A column that may hold a user id."""

    kind: str
    """What it is to a reader: rows are listed by it."""
    table: str
    column: str
    way: Way = Way.DELETE
    also: str = ""
    """With `REPLACE`: what else is set in these rows, as SQL."""
    ban: bool = False
    """Whether it keeps them out: then it stays, unless bans are erased, too."""


_KEYS, _PAST = "encryption: devices and keys", "encryption: the past of announcement rooms"
PLACES = (
    Place("roles", "role", "user_id"),
    Place("groups that they moderate", "moderator", "user_id"),
    Place("places in the configuration as remembered", "named", "user_id"),
    Place("invitations", "invited", "user_id"),
    Place("invitations", "bidden", "user_id"),
    Place("arrival and rules", "arrival", "user_id"),
    Place("arrival and rules", "must_agree", "user_id"),
    Place("tags", "tag", "user_id"),
    Place("how they came", "belonging", "user_id"),
    Place("how others came", "belonging", "by_whom", Way.REPLACE),
    Place("join requests of others", "join_request", "words", Way.MENTION),
    Place("links used", "entry", "user_id"),
    Place("links made or taken back", "link", "maker", Way.REPLACE),
    Place("links made or taken back", "link", "revoked_by", Way.REPLACE),
    Place("join requests", "join_request", "user_id"),
    Place("join requests of others", "join_request", "decided_by", Way.REPLACE),
    Place("join requests of others", "join_request", "detail", Way.MENTION),
    Place("join requests of others", "join_request", "reason", Way.MENTION),
    Place("groups made", "own_group", "made_by", Way.REPLACE),
    Place("sub-communities made", "own_community", "made_by", Way.REPLACE),
    Place("settings of communities", "own_setting", "value", Way.MENTION),
    Place("communities deactivated", "deactivation", "by_whom", Way.REPLACE),
    Place("bans", "shut_out", "user_id", ban=True),
    Place("chats", "chat_alias", "user_id"),
    Place("chats", "pending_command", "user_id"),
    Place("chats", "pending_command", "command", Way.DROP),
    Place("chats", "stranger", "user_id"),
    Place("weekly summaries", "digest_wanted", "user_id"),
    Place("receipts and reactions", "receipt", "user_id"),
    Place("receipts and reactions", "reaction", "user_id"),
    Place("reactions of others", "reaction", "key", Way.MENTION),
    Place("confirmations asked of them", "acknowledger", "user_id"),
    Place("votes in polls that are not counted yet", "poll_vote", "user_id"),
    Place("ballots of secret polls", "poll_ballot", "user_id"),
    Place("answers to events", "happening_answer", "user_id"),
    Place("answers to events", "happening_seat", "user_id"),
    Place("weekly summaries", "digest_mail", "user_id"),
    Place("e-mail allowed", "mail_allowed", "by_whom", Way.REPLACE),
    Place("feeds opened", "feed", "by_whom", Way.REPLACE),
    Place("calendars opened", "calendar", "by_whom", Way.REPLACE),
    Place("addresses of calendars", "calendar_reader", "user_id"),
    Place("announcements sent to them alone", "happening_beside", "place"),
    Place("announcements", "announcement", "author", Way.REPLACE, also="reply_room = NULL"),
    Place("scheduled announcements", "schedule", "author", Way.REPLACE, also="reply_room = NULL"),
    Place("scheduled announcements", "schedule", "content", Way.MENTION),
    Place("announcements that they are writing", "draft", "author"),
    Place("announcements being written", "draft", "content", Way.MENTION),
    Place("announcements sent to them alone", "announcement_copy", "place"),
    Place("announcements", "announcement_copy", "failed", Way.MENTION),
    Place("announcements edited or withdrawn", "announcement_change", "author", Way.REPLACE, also="reply_room = NULL"),
    Place("announcements edited or withdrawn", "announcement_change_copy", "place"),
    Place("announcements edited or withdrawn", "announcement_change_copy", "failed", Way.MENTION),
    Place("announcements pinned", "announcement_pin", "author", Way.REPLACE, also="reply_room = NULL"),
    Place("reports", "report", "text", Way.DROP),
    Place("audit trail", "audit", "actor", Way.REPLACE),
    Place("audit trail", "audit", "detail", Way.MENTION),
    Place("jobs", "job", "failure", Way.MENTION),
    Place("jobs", "job", "parked", Way.MENTION),
    Place("events", "inbox", "parked", Way.MENTION),
    Place(_KEYS, "crypto_user", "user_id"),
    Place(_KEYS, "crypto_device", "user_id"),
    Place(_KEYS, "crypto_unwedged", "user_id"),
    Place(_KEYS, "crypto_audience", "user_id"),
    Place(_KEYS, "crypto_share", "user_id"),
    Place(_KEYS, "crypto_inbound", "owner"),
    Place(_KEYS, "crypto_message_index", "owner"),
    Place(_PAST, "crypto_spoken", "owner"),
    Place(_PAST, "crypto_moved", "user_id"),
    Place(_PAST, "crypto_moved", "sender", Way.REPLACE),
    Place(_PAST, "crypto_present", "user_id"),
    Place(_PAST, "crypto_present", "inviter", Way.REPLACE),
    Place(_PAST, "crypto_served", "user_id"),
    Place(_PAST, "crypto_given", "user_id"),
    Place("chats", "chat", "user_id"),
)
"""In the order in which they are listed. What needs more than one column stands in `_SPECIAL`."""

_SPECIAL = {
    ("job", "body"): "jobs: those about the person or for their chats go, in others the mention is taken out",
    ("inbox", "body"): "events: those given up go, if they mention the person; the others are worked off",
    ("community", "in_force"): "the declaration in force: they are taken out of its lists, but for `removed`",
    ("crypto_olm_session", "session_id"): "encryption: sessions with their devices go, found by the devices' keys",
    ("crypto_outbound", "session_id"): "encryption: a session whose key they hold ends, so that they cannot read on",
}
"""What is found and erased by functions of their own, below."""

_RANDOM, _ROOM, _EVENT = "made at random or a digest", "a room's id or alias", "an event's id"
_OURS, _NAME, _CRYPTO = "about the announcer", "a key or word of ours", "key material without a name"
EXEMPT: Mapping[tuple[str, str], str] = {
    ("database_owner", "owner"): "says whose the database is",
    **{
        (table, "community"): "a community's id"
        for table in (
            "room", "role", "moderator", "profile", "named", "invited", "bidden", "settled", "heal", "frozen", "report",
            "audit", "announcement_copy", "announcement_number", "link", "entry", "join_request", "arrival",
            "must_agree", "own_group", "shut_out", "tag", "belonging", "digest_wanted", "poll", "happening",
            "must_agree", "own_group", "shut_out", "tag", "belonging", "digest_wanted", "feed",
            "calendar", "calendar_reader", "happening_beside", "discussion_thread",
            "digest_mail", "mail_allowed", "admitting", "schedule", "draft",
        )
    },
    ("tag", "name"): "a word of an admin's for several people",
    ("belonging", "how"): _NAME,
    ("belonging", "detail"): "a link's id, or the way of a request",
    **{
        (table, "room_id"): _ROOM
        for table in (
            "room", "audit", "chat", "inbox", "announcement_copy", "draft", "pending_command", "crypto_audience",
            "crypto_outbound", "crypto_inbound", "crypto_message_index", "crypto_moved", "crypto_present",
            "crypto_served", "crypto_given", "crypto_spoken", "sending",
            "crypto_served", "crypto_given", "crypto_spoken", "poll_vote", "poll_ballot",
            "happening_answer",
        )
    },
    **{
        (table, "key"): "a room's key within its community"
        for table in (
            "room", "moderator", "profile", "invited", "bidden", "settled", "heal", "frozen", "own_group",
            "admitting",
        )
    },
    **{
        (table, "event_id"): _EVENT
        for table in (
            "inbox", "inbox_seen", "announcement_copy", "stranger", "crypto_message_index", "crypto_moved",
            "crypto_spoken", "poll_vote", "poll_ballot", "happening_answer", "happening_beside",
        )
    },
    **{
        (table, "session_id"): _CRYPTO
        for table in ("crypto_share", "crypto_inbound", "crypto_message_index", "crypto_given", "crypto_spoken")
    },
    **{
        (table, column): _CRYPTO
        for table in ("crypto_olm_session", "crypto_device", "crypto_share", "crypto_inbound", "crypto_served")
        for column in ("curve25519", "ed25519")
    },
    **{
        (table, "device_id"): "a device's name; goes with its row"
        for table in ("crypto_device", "crypto_share", "crypto_unwedged", "crypto_served", "crypto_given")
    },
    **{(table, "member_event"): _EVENT for table in ("crypto_audience", "crypto_share", "crypto_present")},
    **{(table, "txn_id"): _RANDOM for table in ("crypto_share", "crypto_given")},
    ("sending", "txn_id"): "begins with the id of a job, and goes with that",
    ("sending", "device_id"): _OURS,
    ("sending", "seals"): _RANDOM,
    **{(table, "state"): _NAME for table in ("crypto_share", "crypto_given", "join_request")},
    **{
        ("crypto_account", column): _OURS
        for column in ("user_id", "device_id", "pickle", "next_batch", "former", "strange")
    },
    ("crypto_given", "ed25519"): _CRYPTO,
    ("community", "id"): "a community's id",
    ("own_community", "id"): "a community's id",
    ("own_community", "parent"): "a community's id",
    ("own_community", "source"): _EVENT,
    ("community", "held_digest"): _RANDOM,
    ("own_setting", "community"): "a community's id",
    ("own_setting", "name"): _NAME,
    ("deactivation", "community"): "a community's id",
    ("deactivation", "name"): "what the community was called",
    ("room", "kind"): _NAME,
    ("room", "alias"): _ROOM,
    ("profile", "type"): _NAME,
    ("profile", "content"): "a room's name, topic or picture as it is shown there; rooms are not touched",
    ("named", "place"): _NAME,
    ("settled", "type"): _NAME,
    ("settled", "state_key"): "of a link to a room: its id",
    ("settled", "digest"): _RANDOM,
    ("heal", "aspect"): _NAME,
    ("frozen", "aspect"): _NAME,
    ("report", "digest"): _RANDOM,
    ("audit", "what"): _NAME,
    ("job", "id"): "made of a room's id, an event's id or a digest",
    ("job", "lane"): "a room's id, a community, a group or a server's name",
    ("job", "kind"): _NAME,
    ("announcement", "id"): _RANDOM,
    ("announcement", "source"): _EVENT,
    ("announcement", "content"): "was said by the community to everybody in it, and stands in its rooms",
    ("announcement", "reply_room"): "the author's chat: emptied with their name",
    ("announcement", "kind"): _NAME,
    ("announcement", "audience"): "keys of rooms, communities and tags",
    ("draft", "id"): _RANDOM,
    ("draft", "source"): _EVENT,
    ("draft", "origin"): _EVENT,
    ("draft", "worded_by"): _EVENT,
    ("draft", "card"): _EVENT,
    ("draft", "closed_by"): _EVENT,
    ("draft", "audience"): "keys of rooms, communities and tags",
    ("draft", "kind"): _NAME,
    ("draft", "state"): _NAME,
    ("draft", "words"): "words for a time: what is none is refused",
    ("draft", "zone"): _NAME,
    ("draft", "rule"): _NAME,
    ("draft", "begins"): "a time",
    ("schedule", "id"): _RANDOM,
    ("schedule", "reply_room"): "the author's chat: emptied with their name",
    ("schedule", "kind"): _NAME,
    ("schedule", "audience"): "keys of rooms, communities and tags",
    ("schedule", "words"): "words for a time: what is none is refused",
    ("schedule", "zone"): _NAME,
    ("schedule", "rule"): _NAME,
    ("schedule", "begins"): "a time",
    ("schedule_word", "source"): _EVENT,
    ("schedule_word", "schedule"): _RANDOM,
    **{(table, "announcement"): _RANDOM for table in ("announcement_copy", "acknowledgement", "acknowledger")},
    **{(table, "community"): "a community's id" for table in ("acknowledgement", "acknowledger")},
    **{(table, "room_id"): _ROOM for table in ("receipt", "reaction", "spoken_position", "acknowledgement")},
    **{(table, "event_id"): _EVENT for table in ("reaction", "spoken_position", "acknowledgement")},
    ("receipt", "pending"): _EVENT,
    ("reaction", "to_event"): _EVENT,
    ("announcement_copy", "others"): _EVENT,
    ("announcement_copy", "edits"): _EVENT,
    ("announcement_number", "announcement"): _RANDOM,
    ("announcement_change", "id"): _RANDOM,
    ("announcement_change", "announcement"): _RANDOM,
    ("announcement_change", "community"): "a community's id",
    ("announcement_change", "what"): _NAME,
    ("announcement_change", "content"): "is said by the community to everybody in it, and stands in its rooms",
    ("announcement_change", "reply_room"): "the chat of whoever asked: emptied with their name",
    ("announcement_change_copy", "change"): _RANDOM,
    ("announcement_change_copy", "community"): "a community's id",
    ("announcement_pin", "room_id"): _ROOM,
    ("announcement_pin", "event_id"): _EVENT,
    ("announcement_pin", "announcement"): _RANDOM,
    ("announcement_pin", "reply_room"): "the chat of whoever asked: emptied with their name",
    ("announcement_pin", "stage"): _NAME,
    ("announcement_answer", "room_id"): _ROOM,
    ("announcement_answer", "event_id"): _EVENT,
    ("announcement_answer", "announcement"): _RANDOM,
    ("poll", "announcement"): _RANDOM,
    ("discussion_thread", "announcement"): _RANDOM,
    ("discussion_thread", "room_id"): _ROOM,
    ("discussion_thread", "words"): _RANDOM,
    ("discussion_thread", "sending"): _NAME,
    **{("discussion_thread", piece): _EVENT for piece in ("root", "opening", "pointer")},
    ("happening", "announcement"): _RANDOM,
    ("happening_answer", "target"): _EVENT,
    ("happening_answer", "answer"): _NAME,
    ("happening_seat", "announcement"): _RANDOM,
    ("poll", "place"): "a room's key within its community",
    ("poll", "counted"): "numbers",
    ("poll", "shown"): "numbers",
    ("poll_vote", "target"): _EVENT,
    ("poll_ballot", "announcement"): _RANDOM,
    ("poll_ballot", "state"): _NAME,
    ("link", "id"): _RANDOM,
    ("feed", "token_sha256"): _RANDOM,
    ("calendar_reader", "token_sha256"): _RANDOM,
    ("calendar_reader", "source"): _EVENT,
    ("happening_beside", "announcement"): _RANDOM,
    ("happening_beside", "txn_id"): "begins with the id of a job",
    ("digest_mail", "address"): "goes with its row",
    ("digest_mail", "code_sha256"): _RANDOM,
    ("digest_mail", "source"): _EVENT,
    ("digest_mail", "ticket_sha256"): _RANDOM,
    ("link", "token_sha256"): _RANDOM,
    ("link", "group_keys"): "keys of rooms",
    ("entry", "ticket"): _RANDOM,
    ("entry", "link"): _RANDOM,
    ("entry", "lane"): "a community and a server's name",
    ("entry", "stage"): _NAME,
    ("pending_command", "asked_by"): _EVENT,
    ("pending_command", "answered_by"): _EVENT,
    ("pending_command", "answer"): _NAME,
    ("join_request", "id"): _RANDOM,
    ("join_request", "name"): "what the asker calls themselves; goes with their row",
    ("join_request", "how"): _NAME,
    ("join_request", "keys"): "keys of rooms",
    ("join_request", "card"): _EVENT,
    ("join_request", "wish"): "the group that the asker suggests; goes with their row",
    ("chat_alias", "alias"): _RANDOM,
    ("arrival", "message"): _EVENT,
    ("own_group", "kind"): _NAME,
    ("own_group", "posting"): _NAME,
    ("own_group", "stage"): _NAME,
    ("own_group", "source"): _EVENT,
    ("own_group", "history"): _NAME,
    ("crypto_olm_session", "pickle"): _CRYPTO,
    ("crypto_user", "master_key"): _CRYPTO,
    ("crypto_user", "self_signing_key"): _CRYPTO,
    ("crypto_outbound", "pickle"): _CRYPTO,
    ("crypto_outbound", "audience_digest"): _RANDOM,
    ("crypto_inbound", "pickle"): _CRYPTO,
    ("crypto_inbound", "original"): _CRYPTO,
    ("crypto_moved", "membership"): _NAME,
    ("crypto_present", "bundle"): _NAME,
}  # fmt: skip
"""Columns of texts and bytes that hold no user id, and why; columns of numbers cannot."""

_SECRET = frozenset({"pickle", "original", "token_sha256"})
"""What is shown to nobody, the operator included: it opens what others wrote."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row about somebody: of what kind, where, what becomes of it, and its columns (secrets left out)."""

    kind: str
    table: str
    way: Way
    row: Mapping[str, Any]


def places() -> frozenset[tuple[str, str]]:
    """Every column that is looked at, as table and column."""
    return frozenset((place.table, place.column) for place in PLACES) | _SPECIAL.keys()


class Mentions:
    """Finds one user id in texts: the whole id, and not the beginning of a longer one."""

    def __init__(self, user: UserId) -> None:
        self.user = user
        spelt = {user, quote(user), quote(user, safe=""), quote(user, safe="@:")}
        one_of = "|".join(re.escape(one) for one in sorted(spelt, key=len, reverse=True))
        # a server name goes on with letters, digits, hyphens, a dot before one of these, or a port
        self._pattern = re.compile(rf"(?<![A-Za-z0-9@])(?:{one_of})(?![A-Za-z0-9-]|\.[A-Za-z0-9]|:[0-9])")

    def within(self, value: Any) -> bool:
        """Whether a text, or any text in a JSON value, names the person."""
        if isinstance(value, str):
            return self._pattern.search(value) is not None
        if isinstance(value, Mapping):
            return any(self.within(one) for pair in value.items() for one in pair)
        return isinstance(value, list) and any(self.within(one) for one in value)

    def without(self, value: Any) -> Any:
        """The same text or JSON value without them: taken out of lists, and `ERASED` in texts."""
        if isinstance(value, str):
            return self._pattern.sub(ERASED, value)
        if isinstance(value, Mapping):
            return {key: self.without(one) for key, one in value.items() if key != self.user}
        if isinstance(value, list):
            return [self.without(one) for one in value if one != self.user]
        return value


async def find(tx: Transaction, user: UserId, *, bans: bool = False) -> list[Found]:
    """Everything that is stored about somebody.

    Args:
        bans: whether what keeps them out goes, too: bans from a community above, and their name under `removed` in the
            declaration in force.
    """
    mentions = Mentions(user)
    found = []
    for place in PLACES:
        for row in await _rows(tx, place, mentions):
            way = Way.KEEP if place.ban and not bans else place.way
            found.append(Found(place.kind, place.table, way, _shown(row)))
    for row, way, _ in await _jobs(tx, mentions):
        found.append(Found("jobs", "job", way, _shown(row)))
    for row, way in await _events(tx, mentions):
        found.append(Found("events", "inbox", way, _shown(row)))
    for community, _ in await _declarations(tx, mentions, bans=bans):
        found.append(Found("declarations in force", "community", Way.MENTION, {"community": community}))
    for table, where in ((_OLM, _OLM_WHERE), (_OUTBOUND, _OUTBOUND_WHERE)):
        for row in await tx.fetch(f"SELECT * FROM {table} WHERE {where}", user):  # noqa: S608 - names of ours
            found.append(Found(_KEYS, table, Way.DELETE, _shown(row)))
    return found


async def erase(tx: Transaction, user: UserId, *, bans: bool = False) -> None:
    """Erase everything that `find` finds. Safe to run twice.

    Nobody may be encrypting meanwhile: the room's session that they hold the key of ends here.
    """
    mentions = Mentions(user)
    # first what is found by rows that go below
    for row, way, changed in await _jobs(tx, mentions):
        if way is Way.DELETE:
            await tx.execute("DELETE FROM job WHERE seq = $1", row["seq"])
        elif way is Way.MENTION:
            await tx.execute("UPDATE job SET body = $2 WHERE seq = $1", row["seq"], changed)
    await sendings.sweep(tx)
    for row in [row for row, way in await _events(tx, mentions) if way is Way.DELETE]:
        # its id stays known: the homeserver may send it again
        await tx.execute(
            "INSERT INTO inbox_seen (seq, event_id, at) SELECT seq, event_id, at FROM inbox WHERE seq = $1", row["seq"]
        )
        await tx.execute("DELETE FROM inbox WHERE seq = $1", row["seq"])
    for community, changed in await _declarations(tx, mentions, bans=bans):
        await tx.execute("UPDATE community SET in_force = $2 WHERE id = $1", community, changed)
    for table, where in ((_OLM, _OLM_WHERE), (_OUTBOUND, _OUTBOUND_WHERE)):
        await tx.execute(f"DELETE FROM {table} WHERE {where}", user)  # noqa: S608 - names of ours
    for place in PLACES:
        if bans or not place.ban:
            await _erase_at(tx, place, mentions)


async def _erase_at(tx: Transaction, place: Place, mentions: Mentions) -> None:
    table, column, user = place.table, place.column, mentions.user
    if place.way is Way.DELETE:
        await tx.execute(f"DELETE FROM {table} WHERE {column} = $1", user)  # noqa: S608 - names of ours
        return
    if place.way is Way.REPLACE:
        also = f", {place.also}" if place.also else ""
        await tx.execute(f"UPDATE {table} SET {column} = $2{also} WHERE {column} = $1", user, ERASED)  # noqa: S608 - names of ours
        return
    for text in {row[column] for row in await _rows(tx, place, mentions)}:
        if place.way is Way.DROP:
            await tx.execute(f"DELETE FROM {table} WHERE {column} = $1", text)  # noqa: S608 - names of ours
        else:
            query = f"UPDATE {table} SET {column} = $2 WHERE {column} = $1"  # noqa: S608 - names of ours
            await tx.execute(query, text, mentions.without(text))


async def _rows(tx: Transaction, place: Place, mentions: Mentions) -> list[Any]:
    if place.way in (Way.DELETE, Way.REPLACE):
        query = f"SELECT * FROM {place.table} WHERE {place.column} = $1"  # noqa: S608 - names of ours
        return list(await tx.fetch(query, mentions.user))
    # the part that every spelling has in common; what it finds beside that is left out below
    server = mentions.user.partition(":")[2].partition(":")[0]
    query = f"SELECT * FROM {place.table} WHERE {tx.holds(place.column, '$1')}"  # noqa: S608 - names of ours
    return [row for row in await tx.fetch(query, server) if mentions.within(row[place.column])]


_REMOVAL = "change_membership."
"""How kinds of jobs begin that remove or ban somebody, or lift a ban."""
_OLM, _OUTBOUND = "crypto_olm_session", "crypto_outbound"
_OLM_WHERE = """(curve25519, ed25519) IN (
    SELECT curve25519, ed25519 FROM crypto_device WHERE user_id = $1
    UNION SELECT curve25519, ed25519 FROM crypto_share WHERE user_id = $1
    UNION SELECT curve25519, ed25519 FROM crypto_served WHERE user_id = $1
    UNION SELECT curve25519, ed25519 FROM crypto_inbound WHERE owner = $1)"""
_OUTBOUND_WHERE = "session_id IN (SELECT session_id FROM crypto_share WHERE user_id = $1)"


async def _jobs(tx: Transaction, mentions: Mentions) -> list[tuple[Any, Way, str]]:
    """Jobs that concern somebody, what becomes of each, and its body without them."""
    user = mentions.user
    chats = {row["room_id"] for row in await tx.fetch("SELECT room_id FROM chat WHERE user_id = $1", user)}
    requests = {row["id"] for row in await tx.fetch("SELECT id FROM join_request WHERE user_id = $1", user)}
    found: list[tuple[Any, Way, str]] = []
    for row in await tx.fetch("SELECT * FROM job ORDER BY seq"):
        body = _json(row["body"])
        job = body if isinstance(body, dict) else {}
        if job.get("user") == user and row["kind"].startswith(_REMOVAL):
            found.append((row, Way.WAIT, ""))
        elif (
            user in (job.get("user"), job.get("place")) or job.get("room_id") in chats or job.get("request") in requests
        ):
            found.append((row, Way.DELETE, ""))
        elif mentions.within(body):
            without = mentions.without(body)
            text = without if isinstance(body, str) else json.dumps(without, ensure_ascii=False)
            found.append((row, Way.MENTION, text))
    return found


async def _events(tx: Transaction, mentions: Mentions) -> list[tuple[Any, Way]]:
    """Events by or about somebody, and those given up that mention them; and what becomes of each.

    What is not worked off yet is worked off, and gone a moment later.
    """
    found = []
    for row in await tx.fetch("SELECT * FROM inbox ORDER BY seq"):
        event = _json(bytes(row["body"]).decode("utf-8", "replace"))
        raw = event if isinstance(event, dict) else {}
        if row["parked"] and mentions.within(event):
            found.append((row, Way.DELETE))
        elif mentions.user in (raw.get("sender"), raw.get("state_key")):
            found.append((row, Way.WAIT))
    return found


async def _declarations(tx: Transaction, mentions: Mentions, *, bans: bool) -> list[tuple[str, str]]:
    """The communities in whose declaration in force somebody stands, each with it without them."""
    found = []
    for row in await tx.fetch("SELECT id, in_force FROM community WHERE in_force IS NOT NULL"):
        before = json.loads(row["in_force"])
        after = _undeclared(before, mentions.user, bans=bans)
        if after != before:
            found.append((str(row["id"]), json.dumps(after, sort_keys=True)))
    return found


def _json(text: str) -> Any:
    """A stored JSON value; the text itself where it is none, which nobody could work off either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _undeclared(value: Any, user: UserId, *, bans: bool) -> Any:
    """A declaration without somebody: texts that the operator wrote are left as they are."""
    if isinstance(value, dict):
        return {key: one if key == "removed" and not bans else _undeclared(one, user, bans=bans)
                for key, one in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [_undeclared(one, user, bans=bans) for one in value if one != user]
    return None if value == user else value


def _shown(row: Any) -> dict[str, Any]:
    names: Iterable[str] = row.keys()
    return {name: _plain(row[name]) for name in names if name not in _SECRET}


def _plain(value: Any) -> Any:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else value
