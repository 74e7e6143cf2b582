"""Communities whose announcements can be read outside, by a feed."""

DESCRIPTION = "feeds"

STATEMENTS = (
    """CREATE TABLE feed (
        community TEXT PRIMARY KEY,
        token_sha256 TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    "CREATE UNIQUE INDEX feed_by_token ON feed (token_sha256)",
)
