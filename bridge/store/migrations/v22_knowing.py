"""Who has read and who reacted to announcements, and who is asked to acknowledge one."""

DESCRIPTION = "reach and acknowledgement"

STATEMENTS = (
    """CREATE TABLE receipt (
        room_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        position BIGINT NOT NULL,
        pending TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (room_id, user_id)
    )""",
    """CREATE TABLE spoken_position (
        event_id TEXT PRIMARY KEY,
        room_id TEXT NOT NULL,
        position BIGINT NOT NULL,
        at BIGINT NOT NULL
    )""",
    """CREATE TABLE reaction (
        event_id TEXT PRIMARY KEY,
        room_id TEXT NOT NULL,
        to_event TEXT NOT NULL,
        user_id TEXT NOT NULL,
        key TEXT NOT NULL,
        at BIGINT NOT NULL,
        withdrawn_at BIGINT
    )""",
    "CREATE INDEX reaction_to ON reaction (to_event)",
    "ALTER TABLE announcement_copy ADD COLUMN people BIGINT",
    """CREATE TABLE acknowledgement (
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        room_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        asked_at BIGINT NOT NULL,
        closed_at BIGINT,
        PRIMARY KEY (announcement, community)
    )""",
    """CREATE TABLE acknowledger (
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        reminded BIGINT NOT NULL,
        PRIMARY KEY (announcement, community, user_id)
    )""",
)
