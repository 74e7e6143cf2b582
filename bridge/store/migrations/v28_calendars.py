"""Calendars that programs subscribe to, when events were changed, and what lies beside their messages."""

DESCRIPTION = "calendars"

STATEMENTS = (
    """CREATE TABLE calendar (
        community TEXT PRIMARY KEY,
        by_whom TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    """CREATE TABLE calendar_reader (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        source TEXT NOT NULL,
        token_sha256 TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (community, user_id)
    )""",
    "CREATE UNIQUE INDEX calendar_reader_by_token ON calendar_reader (token_sha256)",
    "ALTER TABLE happening ADD COLUMN changed_at BIGINT",
    "CREATE INDEX happening_by_community ON happening (community, begins_at)",
    """CREATE TABLE happening_beside (
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        place TEXT NOT NULL,
        txn_id TEXT NOT NULL,
        event_id TEXT,
        PRIMARY KEY (announcement, txn_id)
    )""",
)
