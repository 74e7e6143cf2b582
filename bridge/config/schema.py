"""The one table of keys: what may stand in the file, and how each value is read.

Which keys must be given, and the defaults of the others, are those of the classes that the sections make.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.nodes import Node

from bridge.config import readers, sections
from bridge.core.community import Community, Group, GroupsBy, Join, Posting, RoomKind
from bridge.core.languages import LANGUAGES
from bridge.core.schedule import Late

ID = "<id>"
"""Stands for a stable id in the path of a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """One value."""

    read: Callable[[Node], Any]
    put_in: bool = False
    """Whether it is carried out before anything is read, and no field takes it."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One secret `x`, given as `x`, in the file that `x_file` names, or in the variable that `x_env` names."""

    read: Callable[[str], str] = readers.secret_text


@dataclass(frozen=True, slots=True)
class Users:
    """A list of user ids."""

    refuse_empty: str = ""
    """Why an empty list is refused; empty where it is fine."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section with known keys, made into a `make`."""

    make: type[Any]
    keys: Mapping[str, Entry]

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of the keys that may be left out."""
        found: dict[str, Any] = {}
        for entry in dataclasses.fields(self.make):
            if entry.default is not dataclasses.MISSING:
                found[entry.name] = entry.default
            elif entry.default_factory is not dataclasses.MISSING:
                found[entry.name] = entry.default_factory()
        return found


@dataclass(frozen=True, slots=True)
class Named:
    """A section whose keys are stable ids chosen by the operator, each with a section of its own."""

    section: Section
    id_field: str
    """The field of the section's class that takes the id."""
    reserved: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Ids that may not be chosen, and why."""


@dataclass(frozen=True, slots=True)
class Again:
    """Communities below stable ids once more: within a community, or as templates of some."""

    id_field = "id"

    @property
    def named(self) -> Named:
        """What stands below the key."""
        return Named(COMMUNITY, self.id_field)


Entry = Key | SecretKey | Users | Section | Named | Again

_RESERVED_GROUPS = {
    **dict.fromkeys(
        ("announcements", "general", "control", "space"), "is a reserved name: every community has a room of that name"
    ),
    "discussion": "is a reserved name: a community with `discussion: true` has a room of that name",
}
_ROOM_VERSION = Key(readers.choice({"11": "11", "12": "12"}))
_TRUST = Key(readers.choice({trust.value: trust for trust in sections.Trust}))


def _account(make: type[sections.Account]) -> Section:
    keys = {"localpart": Key(readers.localpart), "displayname": Key(readers.name), "avatar": Key(readers.mxc)}
    return Section(make, keys)


GROUP = Section(
    Group,
    {
        "name": Key(readers.name),
        "description": Key(readers.description),
        "avatar": Key(readers.mxc),
        "kind": Key(readers.choice({kind: RoomKind(kind) for kind in ("open", "request", "hidden")})),
        "posting": Key(readers.choice({posting.value: posting for posting in Posting})),
        "members_may_invite": Key(readers.boolean),
        "announcements": Key(readers.boolean),
        "moderators": Users(),
        "members": Users(),
    },
)

COMMUNITY = Section(
    Community,
    {
        "use": Key(readers.name, put_in=True),
        "name": Key(readers.name),
        "description": Key(readers.description),
        "avatar": Key(readers.mxc),
        "owners": Users(refuse_empty="a community needs an owner; leave the key out if the people choose them"),
        "admins": Users(),
        "members": Users(),
        "removed": Users(),
        "fallback_owner": Key(readers.user_id),
        "welcome": Key(readers.description),
        "rules": Key(readers.description),
        "rules_required": Key(readers.boolean),
        "auto_join": Key(readers.boolean),
        "tags": Key(readers.tags),
        "preview": Key(readers.boolean),
        "announcement_templates": Key(readers.announcement_templates),
        "groups_by": Key(readers.choice({who.value: who for who in GroupsBy})),
        "join": Key(readers.choice({join.value: join for join in Join})),
        "members_may_invite": Key(readers.boolean),
        "listed": Key(readers.boolean),
        "general": Key(readers.boolean),
        "discussion": Key(readers.boolean),
        "history": Key(readers.boolean),
        "history_while_away": Key(readers.boolean),
        "reach_names": Key(readers.boolean),
        "show_member_count": Key(readers.boolean),
        "max_members": Key(readers.whole(0, 1_000_000)),
        "language": Key(readers.choice({str(language): language for language in LANGUAGES})),
        "timezone": Key(readers.time_zone),
        "room_version": _ROOM_VERSION,
        "groups": Named(GROUP, "key", _RESERVED_GROUPS),
        "subcommunities": Again(),
    },
)

SCHEMA = Section(
    sections.Config,
    {
        "homeserver": Section(sections.Homeserver, {"url": Key(readers.http_url), "domain": Key(readers.server_name)}),
        "listen": Section(
            sections.Listen,
            {"host": Key(readers.host), "port": Key(readers.whole(1, 65535)), "url": Key(readers.http_url)},
        ),
        "registration": Section(
            sections.Registration,
            {"id": Key(readers.registration_id), "as_token": SecretKey(), "hs_token": SecretKey()},
        ),
        "accounts": Section(
            sections.Accounts,
            {"steward": _account(sections.Steward), "announcer": _account(sections.Announcer)},
        ),
        "database": Section(sections.Database, {"url": SecretKey(readers.database_url)}),
        "encryption": Section(
            sections.Encryption,
            {
                "identity_secret": SecretKey(),
                "pickle_key": SecretKey(),
                "next_pickle_key": SecretKey(),
                "trust": _TRUST,
            },
        ),
        "control": Section(sections.Control, {"secret": SecretKey()}),
        "join": Section(
            sections.JoinPage,
            {
                "enabled": Key(readers.boolean),
                "url": Key(readers.http_url),
                "account_url": Key(readers.http_url),
                "account_text": Key(readers.name),
                "element_url": Key(readers.http_url),
                "trusted_proxies": Key(readers.networks),
            },
        ),
        "email": Section(
            sections.Email,
            {
                "host": Key(readers.host),
                "port": Key(readers.whole(1, 65535)),
                "security": Key(readers.choice({one.value: one for one in sections.MailSecurity})),
                "username": Key(readers.text),
                "password": SecretKey(readers.given_secret),
                "sender": Key(readers.mail_sender),
            },
        ),
        "reconcile": Section(
            sections.Reconcile,
            {
                "every_minutes": Key(readers.whole(1, 1440)),
                "parallel_rooms": Key(readers.whole(1, 64)),
                "max_removed_share": Key(readers.share),
                "max_removed_at_least": Key(readers.whole(0, 1_000_000)),
                "freeze_after_changes": Key(readers.whole(1, 1000)),
                "freeze_within_seconds": Key(readers.whole(1, 86400)),
            },
        ),
        "history": Section(
            sections.History,
            {"announcements": Key(readers.whole(0, 10_000)), "days": Key(readers.whole(1, 3650))},
        ),
        "limits": Section(
            sections.Limits,
            {
                "groups_per_community": Key(readers.whole(0, 10_000)),
                "pins_per_room": Key(readers.whole(1, 50)),
                "scheduled_per_community": Key(readers.whole(0, 10_000)),
            },
        ),
        "requests": Section(
            sections.Requests,
            {
                "remind_hours": Key(readers.whole(1, 720)),
                "expire_days": Key(readers.whole(1, 365)),
                "again_hours": Key(readers.whole(0, 8760)),
            },
        ),
        "acknowledgement": Section(
            sections.Acknowledgement,
            {"remind_hours": Key(readers.hours), "until_hours": Key(readers.whole(1, 8760))},
        ),
        "announcements": Section(
            sections.Announcements,
            {
                "draft_hours": Key(readers.whole(1, 720)),
                "late": Key(readers.choice({late.value: late for late in Late})),
                "grace_minutes": Key(readers.whole(0, 10_080)),
            },
        ),
        "logging": Section(
            sections.Logging,
            {
                "level": Key(readers.choice({level: level for level in ("debug", "info", "warning", "error")})),
                "json": Key(readers.boolean),
            },
        ),
        "timezone": Key(readers.time_zone),
        "room_version": _ROOM_VERSION,
        "templates": Again(),
        "communities": Named(COMMUNITY, "id"),
    },
)


def keys(entry: Entry = SCHEMA, path: str = "") -> Iterator[tuple[str, Key | SecretKey | Users | Again]]:
    """Every key that takes a value, with its path; stable ids are shown as `<id>`. What is the same again is one."""
    if isinstance(entry, Section):
        for name, inner in entry.keys.items():
            yield from keys(inner, f"{path}.{name}" if path else name)
    elif isinstance(entry, Named):
        yield from keys(entry.section, f"{path}.{ID}")
    else:
        yield path, entry
