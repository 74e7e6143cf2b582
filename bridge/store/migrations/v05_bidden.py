"""Whom somebody who may bid people in wants to have in a room, until the room or the person has answered."""

DESCRIPTION = "people who are bidden in"

STATEMENTS = (
    """CREATE TABLE bidden (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (community, key, user_id)
    )""",
)
