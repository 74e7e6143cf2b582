"""Join requests: who asks to come in, by which way, and what was decided; and who was welcomed."""

DESCRIPTION = "join requests and arrivals"

STATEMENTS = (
    """CREATE TABLE join_request (
        id TEXT PRIMARY KEY,
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        name TEXT NOT NULL,
        how TEXT NOT NULL,
        detail TEXT NOT NULL,
        keys TEXT NOT NULL,
        asked_at BIGINT NOT NULL,
        state TEXT NOT NULL,
        decided_by TEXT NOT NULL DEFAULT '',
        decided_at BIGINT,
        reason TEXT NOT NULL DEFAULT '',
        card TEXT
    )""",
    "CREATE UNIQUE INDEX join_request_open ON join_request (community, user_id) WHERE state = 'open'",
    "CREATE INDEX join_request_by_card ON join_request (card)",
    """CREATE TABLE arrival (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        alias TEXT NOT NULL DEFAULT '',
        told INTEGER NOT NULL DEFAULT 0,
        message TEXT,
        PRIMARY KEY (community, user_id)
    )""",
    """CREATE TABLE must_agree (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (community, user_id)
    )""",
    "CREATE INDEX arrival_by_person ON arrival (user_id)",
    "CREATE INDEX join_request_by_person ON join_request (community, user_id, asked_at)",
)
