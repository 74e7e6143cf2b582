"""Who was given a ballot of a secret poll in their direct chat; polls in groups, and whether clients count them."""

DESCRIPTION = "ballots of secret polls, and polls in groups"

STATEMENTS = (
    """CREATE TABLE poll_ballot (
        announcement TEXT NOT NULL,
        user_id TEXT NOT NULL,
        room_id TEXT,
        event_id TEXT,
        state TEXT NOT NULL,
        PRIMARY KEY (announcement, user_id)
    )""",
    "CREATE INDEX poll_ballot_by_room ON poll_ballot (room_id)",
    "CREATE INDEX poll_ballot_by_event ON poll_ballot (event_id)",
    "ALTER TABLE poll ADD COLUMN place TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE poll ADD COLUMN native INTEGER NOT NULL DEFAULT 0",
)
