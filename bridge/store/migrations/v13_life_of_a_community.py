"""What people set about their communities by command, and communities that were deactivated."""

DESCRIPTION = "settings of people and deactivated communities"

STATEMENTS = (
    """CREATE TABLE own_setting (
        community TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (community, name)
    )""",
    """CREATE TABLE deactivation (
        community TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        at BIGINT NOT NULL,
        done_at BIGINT
    )""",
)
