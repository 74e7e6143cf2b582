"""What was sent and may not have arrived: how it is found in its room when the homeserver has forgotten it."""

DESCRIPTION = "messages that were sent and are not settled"

STATEMENTS = (
    """CREATE TABLE sending (
        txn_id TEXT NOT NULL,
        room_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        begun_at BIGINT NOT NULL,
        seals TEXT NOT NULL,
        devices BIGINT NOT NULL,
        PRIMARY KEY (txn_id, room_id)
    )""",
)
