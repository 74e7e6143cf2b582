"""Events that people are invited to: when they are, and the answers that stand."""

DESCRIPTION = "events"

STATEMENTS = (
    """CREATE TABLE happening (
        announcement TEXT PRIMARY KEY,
        community TEXT NOT NULL,
        begins_at BIGINT NOT NULL,
        ends_at BIGINT,
        capacity INTEGER,
        sequence INTEGER NOT NULL DEFAULT 0,
        cancelled_at BIGINT
    )""",
    """CREATE TABLE happening_answer (
        event_id TEXT PRIMARY KEY,
        room_id TEXT NOT NULL,
        target TEXT NOT NULL,
        user_id TEXT NOT NULL,
        answer TEXT NOT NULL,
        guests INTEGER NOT NULL,
        at BIGINT NOT NULL,
        taken BIGINT NOT NULL
    )""",
    "CREATE INDEX happening_answer_by_target ON happening_answer (target)",
    """CREATE TABLE happening_seat (
        announcement TEXT NOT NULL,
        user_id TEXT NOT NULL,
        seated INTEGER,
        turn INTEGER NOT NULL,
        PRIMARY KEY (announcement, user_id)
    )""",
)
