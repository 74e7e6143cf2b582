"""Tags that people were given by hand; since when people are in a community, by whom they came, and what was written
with their request.
"""

DESCRIPTION = "tags, how members came, and what they wrote"

STATEMENTS = (
    """CREATE TABLE tag (
        community TEXT NOT NULL,
        name TEXT NOT NULL,
        user_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (community, name, user_id)
    )""",
    "CREATE INDEX tag_by_person ON tag (community, user_id)",
    """CREATE TABLE belonging (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        how TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        detail TEXT NOT NULL,
        at BIGINT NOT NULL,
        since BIGINT,
        PRIMARY KEY (community, user_id)
    )""",
    "ALTER TABLE join_request ADD COLUMN words TEXT NOT NULL DEFAULT ''",
)
