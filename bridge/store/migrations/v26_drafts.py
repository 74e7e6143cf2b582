"""Announcements that are being written, and wait for their author's word."""

DESCRIPTION = "drafts of announcements"

STATEMENTS = (
    """CREATE TABLE draft (
        id TEXT PRIMARY KEY,
        community TEXT NOT NULL,
        author TEXT NOT NULL,
        room_id TEXT NOT NULL,
        source TEXT NOT NULL,
        origin TEXT,
        content TEXT NOT NULL,
        audience TEXT NOT NULL,
        kind TEXT NOT NULL,
        version BIGINT NOT NULL,
        worded_by TEXT NOT NULL,
        at BIGINT NOT NULL,
        card TEXT,
        asked_at BIGINT,
        state TEXT NOT NULL,
        closed_by TEXT
    )""",
    "CREATE INDEX draft_by_author ON draft (room_id, author)",
    "CREATE INDEX draft_by_card ON draft (card)",
)
