"""What newcomers are given of the past: who was in a room when, what was said when, and who was given what."""

DESCRIPTION = "history"

STATEMENTS = (
    """CREATE TABLE crypto_moved (
        room_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        membership TEXT NOT NULL,
        sender TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (room_id, user_id, event_id)
    )""",
    """CREATE TABLE crypto_present (
        room_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        member_event TEXT NOT NULL,
        first_at BIGINT NOT NULL,
        came_at BIGINT NOT NULL,
        seen_at BIGINT NOT NULL,
        inviter TEXT,
        looked INTEGER NOT NULL DEFAULT 0,
        bundle TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (room_id, user_id)
    )""",
    "CREATE INDEX crypto_present_by_user ON crypto_present (user_id)",
    """CREATE TABLE crypto_served (
        room_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        curve25519 TEXT NOT NULL,
        ed25519 TEXT NOT NULL,
        PRIMARY KEY (room_id, user_id, device_id)
    )""",
    """CREATE TABLE crypto_given (
        room_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        ed25519 TEXT NOT NULL,
        state TEXT NOT NULL,
        txn_id TEXT NOT NULL,
        PRIMARY KEY (room_id, session_id, user_id, device_id)
    )""",
    "CREATE INDEX crypto_given_by_user ON crypto_given (room_id, user_id)",
    """CREATE TABLE crypto_spoken (
        room_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        message_index BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (room_id, event_id)
    )""",
    "CREATE INDEX crypto_spoken_by_time ON crypto_spoken (room_id, at)",
)
