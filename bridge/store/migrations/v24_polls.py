"""Polls: what can be chosen, until when, and the choices that stand."""

DESCRIPTION = "polls"

STATEMENTS = (
    """CREATE TABLE poll (
        announcement TEXT PRIMARY KEY,
        community TEXT NOT NULL,
        options INTEGER NOT NULL,
        multiple INTEGER NOT NULL,
        hidden INTEGER NOT NULL,
        closes_at BIGINT,
        counted TEXT NOT NULL DEFAULT '',
        shown TEXT NOT NULL DEFAULT ''
    )""",
    """CREATE TABLE poll_vote (
        event_id TEXT PRIMARY KEY,
        room_id TEXT NOT NULL,
        target TEXT NOT NULL,
        user_id TEXT NOT NULL,
        choice INTEGER NOT NULL,
        at BIGINT NOT NULL
    )""",
    "CREATE INDEX poll_vote_by_target ON poll_vote (target)",
)
