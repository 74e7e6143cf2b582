"""Who wants a weekly summary of a community's announcements."""

DESCRIPTION = "weekly summaries"

STATEMENTS = (
    """CREATE TABLE digest_wanted (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (community, user_id)
    )""",
)
