"""Weekly summaries by e-mail: in which communities they are allowed, and who has shown which address to be theirs."""

DESCRIPTION = "summaries by e-mail"

STATEMENTS = (
    """CREATE TABLE mail_allowed (
        community TEXT PRIMARY KEY,
        by_whom TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    """CREATE TABLE digest_mail (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        address TEXT NOT NULL,
        code_sha256 TEXT NOT NULL,
        source TEXT NOT NULL,
        asked_at BIGINT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        confirmed_at BIGINT,
        ticket_sha256 TEXT NOT NULL,
        PRIMARY KEY (community, user_id)
    )""",
    "CREATE UNIQUE INDEX digest_mail_by_ticket ON digest_mail (ticket_sha256)",
)
