"""What the announcer remembers of a conversation: what waits for somebody's yes, and which strangers were answered."""

DESCRIPTION = "commands that wait for a yes, and strangers who were answered"

STATEMENTS = (
    """CREATE TABLE pending_command (
        room_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        command TEXT NOT NULL,
        asked_by TEXT NOT NULL,
        at BIGINT NOT NULL,
        answered_by TEXT,
        answer TEXT,
        PRIMARY KEY (room_id, user_id)
    )""",
    """CREATE TABLE stranger (
        user_id TEXT NOT NULL PRIMARY KEY,
        event_id TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
)
