"""Groups that people made by command, and what they decided about groups."""

DESCRIPTION = "groups made by people"

STATEMENTS = (
    """CREATE TABLE own_group (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        posting TEXT NOT NULL,
        stage TEXT NOT NULL,
        made_by TEXT NOT NULL,
        source TEXT NOT NULL,
        PRIMARY KEY (community, key)
    )""",
)
