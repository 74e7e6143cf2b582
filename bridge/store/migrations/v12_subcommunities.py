"""Communities within communities: those that people made, and whom a ban from one above keeps out of one below."""

DESCRIPTION = "communities within communities"

STATEMENTS = (
    """CREATE TABLE own_community (
        id TEXT PRIMARY KEY,
        parent TEXT NOT NULL,
        made_by TEXT NOT NULL,
        source TEXT NOT NULL
    )""",
    """CREATE TABLE shut_out (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (community, user_id)
    )""",
)
