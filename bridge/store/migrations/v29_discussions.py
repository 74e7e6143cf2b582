"""Threads of announcements in discussion rooms."""

DESCRIPTION = "threads of announcements"

STATEMENTS = (
    """CREATE TABLE discussion_thread (
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        room_id TEXT NOT NULL DEFAULT '',
        linked INTEGER,
        root TEXT,
        words TEXT NOT NULL DEFAULT '',
        opening TEXT,
        pointer TEXT,
        sending TEXT NOT NULL DEFAULT '',
        closed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (announcement, community)
    )""",
)
