"""Hypothesis strategies for communities, people, JSON and what anybody may do to a room."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from bridge.core.community import (
    ANNOUNCEMENTS,
    CONTROL,
    GENERAL,
    SPACE,
    Community,
    Group,
    Join,
    Posting,
    Role,
    RoomKind,
)
from bridge.core.ids import CommunityId, RoomKeyName, UserId

NAMES = ("ann", "bea", "cid", "dan", "eve", "fay")
PEOPLE = tuple(UserId(f"@{name}:example.org") for name in NAMES)
OUTSIDER = UserId("@zoe:elsewhere.net")
GROUP_KEYS = (RoomKeyName("chess"), RoomKeyName("board"), RoomKeyName("notices"))
ROOM_KEYS = (SPACE, ANNOUNCEMENTS, CONTROL, GENERAL, *GROUP_KEYS)

people = st.sampled_from(PEOPLE)
anybody = st.sampled_from((*PEOPLE, OUTSIDER))
room_versions = st.sampled_from(("11", "12"))
room_keys = st.sampled_from(ROOM_KEYS)
memberships = st.sampled_from(("join", "invite", "leave", "ban", "knock"))

_lists = st.none() | st.frozensets(people, max_size=3)
_words = st.none() | st.sampled_from(("News", "Sports club", "  spaced  ", "x" * 5000, "naïve – ☃"))

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53, max_value=2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.just("x" * 5000)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(max_size=10), json_values, max_size=5)

state_types = st.sampled_from(
    (
        "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access",
        "m.room.encryption", "m.room.server_acl", "m.room.tombstone", "m.room.canonical_alias", "m.room.name",
        "m.room.topic", "m.room.avatar", "m.space.child", "m.space.parent", "m.room.create",
        "org.matrix-communities.listed",
    )
)  # fmt: skip

_near_json = {
    "users": json_values | st.dictionaries(anybody.map(str) | st.text(max_size=5), scalars, max_size=4),
    "events": json_values | st.dictionaries(state_types, scalars, max_size=4),
    "notifications": json_values,
    "name": scalars,
    "topic": scalars,
    "url": scalars,
    "via": json_values,
    "allow": json_values,
    "join_rule": scalars,
    "listed": scalars,
    "org.matrix-communities.room": json_values,
    **dict.fromkeys(
        ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"), scalars
    ),
}  # fmt: skip
nonsense: st.SearchStrategy[dict[str, Any]] = json_objects | st.fixed_dictionaries({}, optional=_near_json)
"""Contents that look at the right places and have the wrong things there."""


@st.composite
def groups(draw: st.DrawFn, key: RoomKeyName) -> Group:
    return Group(
        key,
        draw(st.sampled_from((RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN))),
        name=draw(_words),
        description=draw(_words),
        avatar=draw(st.none() | st.just("mxc://example.org/a")),
        posting=draw(st.sampled_from(Posting)),
        members_may_invite=draw(st.booleans()),
        moderators=draw(_lists),
        members=draw(_lists),
    )


@st.composite
def communities(draw: st.DrawFn) -> Community:
    """Any declaration of a community called `school`, in any order of its groups."""
    keys = draw(st.lists(st.sampled_from(GROUP_KEYS), unique=True, max_size=3))
    lists: dict[str, Any] = {"owners": draw(_lists), "admins": draw(_lists), "members": draw(_lists)}
    members = tuple(draw(groups(key)) for key in keys)
    named = frozenset[UserId]().union(*(group.named for group in members), *(who or () for who in lists.values()))
    return Community(
        CommunityId("school"),
        name=draw(_words),
        description=draw(_words),
        removed=draw(st.frozensets(people, max_size=2)) - named,
        join=draw(st.sampled_from(Join)),
        members_may_invite=draw(st.booleans()),
        listed=draw(st.booleans()),
        general=draw(st.booleans()),
        discussion=draw(st.booleans()),
        groups=members,
        **lists,
    )


levels = st.sampled_from((-10, 0, 1, 49, 50, 99, 100, 101, 149, 150, 151, 199, 200, 201, 10**6))
roles = st.sampled_from((Role.ADMIN, Role.OWNER))

level_contents: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "users": st.dictionaries(anybody.map(str), levels, max_size=5),
        "events": st.dictionaries(state_types, levels, max_size=4),
        "notifications": st.dictionaries(st.just("room"), levels),
        **dict.fromkeys(
            ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"), levels
        ),
    },
)  # fmt: skip
"""Contents of `m.room.power_levels` that a homeserver would accept, if their sender had the power."""
