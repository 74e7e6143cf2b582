"""Invite links, of whose secret only the SHA-256 is kept, and who came by which."""

DESCRIPTION = "invite links"

STATEMENTS = (
    """CREATE TABLE link (
        id TEXT PRIMARY KEY,
        token_sha256 TEXT NOT NULL UNIQUE,
        community TEXT NOT NULL,
        group_keys TEXT NOT NULL,
        expires_at BIGINT,
        uses BIGINT,
        needs_approval INTEGER NOT NULL,
        role INTEGER NOT NULL,
        maker TEXT NOT NULL,
        made_at BIGINT NOT NULL,
        used BIGINT NOT NULL DEFAULT 0,
        revoked_at BIGINT,
        revoked_by TEXT
    )""",
    "CREATE INDEX link_community ON link (community)",
    """CREATE TABLE entry (
        seq {serial},
        ticket TEXT NOT NULL UNIQUE,
        link TEXT NOT NULL,
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        lane TEXT NOT NULL,
        stage TEXT NOT NULL,
        at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL,
        UNIQUE (link, user_id)
    )""",
    "CREATE INDEX entry_waiting ON entry (lane, stage, seq)",
    "CREATE INDEX entry_community ON entry (community, stage)",
)
