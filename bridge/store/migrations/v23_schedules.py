"""Announcements that are to go out at a time, or again and again, and which messages have changed something of them."""

DESCRIPTION = "scheduled announcements"

STATEMENTS = (
    """CREATE TABLE schedule (
        id TEXT PRIMARY KEY,
        community TEXT NOT NULL,
        number BIGINT NOT NULL,
        author TEXT NOT NULL,
        reply_room TEXT,
        content TEXT NOT NULL,
        kind TEXT NOT NULL,
        audience TEXT NOT NULL,
        words TEXT NOT NULL,
        zone TEXT NOT NULL,
        first_at BIGINT NOT NULL,
        rule TEXT NOT NULL,
        begins TEXT NOT NULL,
        next_at BIGINT,
        at BIGINT NOT NULL,
        UNIQUE (community, number)
    )""",
    """CREATE TABLE schedule_word (
        source TEXT PRIMARY KEY,
        schedule TEXT NOT NULL,
        run BIGINT NOT NULL
    )""",
)
