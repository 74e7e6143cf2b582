"""A declaration as JSON: remembered as what was in force, so that it can be held while a new one waits for a word."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bridge.core.announcement_templates import Template
from bridge.core.community import Community, Group, GroupsBy, Join, Posting, RoomKind, Tag
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.languages import EN, Language


def to_json(community: Community) -> str:
    """The declaration as stable JSON, without what people set and the groups that they made: those are stored by
    themselves.
    """
    community = community.as_declared
    return json.dumps(
        {
            "id": community.id,
            "name": community.name,
            "description": community.description,
            "avatar": community.avatar,
            "owners": _people(community.owners),
            "admins": _people(community.admins),
            "members": _people(community.members),
            "removed": _people(community.removed),
            "join": community.join.value,
            "members_may_invite": community.members_may_invite,
            "listed": community.listed,
            "general": community.general,
            "discussion": community.discussion,
            "history": community.history,
            "history_while_away": community.history_while_away,
            "reach_names": community.reach_names,
            "show_member_count": community.show_member_count,
            "max_members": community.max_members,
            "language": community.language,
            "timezone": community.timezone,
            "room_version": community.room_version,
            "fallback_owner": community.fallback_owner,
            "welcome": community.welcome,
            "rules": community.rules,
            "rules_required": community.rules_required,
            "groups_by": community.groups_by.value,
            "stated": sorted(community.stated),
            "auto_join": community.auto_join,
            "tags": [{"name": tag.name, "users": _people(tag.users), "group": tag.group} for tag in community.tags],
            "preview": community.preview,
            "announcement_templates": [[one.name, one.text] for one in community.announcement_templates],
            "parent": community.parent,
            "groups": [_group(group) for group in community.groups if not group.own],
        },
        sort_keys=True,
    )


def from_json(text: str) -> Community:
    """Read a declaration back."""
    value: dict[str, Any] = json.loads(text)
    return Community(
        id=CommunityId(value["id"]),
        name=value["name"],
        description=value["description"],
        avatar=value["avatar"],
        owners=_users(value["owners"]),
        admins=_users(value["admins"]),
        members=_users(value["members"]),
        removed=_users(value["removed"]) or frozenset(),
        join=Join(value["join"]),
        members_may_invite=value["members_may_invite"],
        listed=value["listed"],
        general=value["general"],
        discussion=value.get("discussion", False),
        history=value.get("history", True),
        history_while_away=value.get("history_while_away", False),
        reach_names=value.get("reach_names", False),
        show_member_count=value.get("show_member_count", False),
        max_members=value.get("max_members", 0),
        language=Language(value.get("language", EN)),
        timezone=value.get("timezone", ""),
        room_version=value["room_version"],
        fallback_owner=value.get("fallback_owner"),
        welcome=value.get("welcome"),
        rules=value.get("rules"),
        rules_required=value.get("rules_required", False),
        groups_by=GroupsBy(value.get("groups_by", GroupsBy.ADMINS)),
        stated=frozenset(value.get("stated", ())),
        auto_join=value.get("auto_join", False),
        tags=tuple(
            Tag(tag["name"], _users(tag["users"]) or frozenset(), tag["group"]) for tag in value.get("tags", ())
        ),
        preview=value.get("preview", True),
        announcement_templates=tuple(Template(name, text) for name, text in value.get("announcement_templates", ())),
        parent=value.get("parent"),
        groups=tuple(
            Group(
                key=RoomKeyName(group["key"]),
                kind=RoomKind(group["kind"]),
                name=group["name"],
                description=group["description"],
                avatar=group["avatar"],
                posting=Posting(group["posting"]),
                members_may_invite=group["members_may_invite"],
                moderators=_users(group["moderators"]),
                members=_users(group["members"]),
                announcements=group.get("announcements"),
            )
            for group in value["groups"]
        ),
    )


def _group(group: Group) -> dict[str, Any]:
    return {
        "key": group.key,
        "kind": group.kind.value,
        "name": group.name,
        "description": group.description,
        "avatar": group.avatar,
        "posting": group.posting.value,
        "members_may_invite": group.members_may_invite,
        "moderators": _people(group.moderators),
        "members": _people(group.members),
        "announcements": group.announcements,
    }


def _people(users: frozenset[UserId] | None) -> list[str] | None:
    return None if users is None else sorted(users)


def _users(users: Iterable[str] | None) -> frozenset[UserId] | None:
    return None if users is None else frozenset(UserId(user) for user in users)
