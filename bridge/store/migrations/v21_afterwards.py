"""What happens to an announcement after it was sent: edits, withdrawals, pins; and by which answers people name it."""

DESCRIPTION = "announcements edited, withdrawn and pinned"

STATEMENTS = (
    "ALTER TABLE announcement_copy ADD COLUMN begun INTEGER NOT NULL DEFAULT 0",
    "UPDATE announcement_copy SET begun = 1",
    "ALTER TABLE announcement_copy ADD COLUMN edits TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE announcement_change (
        id TEXT PRIMARY KEY,
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        what TEXT NOT NULL,
        content TEXT NOT NULL,
        author TEXT NOT NULL,
        reply_room TEXT,
        at BIGINT NOT NULL
    )""",
    "CREATE INDEX announcement_change_of ON announcement_change (announcement)",
    """CREATE TABLE announcement_change_copy (
        change TEXT NOT NULL,
        community TEXT NOT NULL,
        place TEXT NOT NULL,
        begun INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        failed TEXT,
        PRIMARY KEY (change, community, place)
    )""",
    """CREATE TABLE announcement_pin (
        room_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        announcement TEXT NOT NULL,
        author TEXT NOT NULL,
        reply_room TEXT,
        until BIGINT NOT NULL,
        at BIGINT NOT NULL,
        stage TEXT NOT NULL,
        PRIMARY KEY (room_id, event_id)
    )""",
    """CREATE TABLE announcement_answer (
        room_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        announcement TEXT NOT NULL,
        PRIMARY KEY (room_id, event_id)
    )""",
)
