"""Whose devices are trusted: identities that we have verified, when an identity was last another one; and how many
people an announcement did not reach.
"""

DESCRIPTION = "trust"

STATEMENTS = (
    "ALTER TABLE crypto_device ADD COLUMN verified INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE crypto_user ADD COLUMN identity_changed_at BIGINT",
    "CREATE INDEX crypto_audience_by_user ON crypto_audience (user_id)",
    "ALTER TABLE announcement_target ADD COLUMN unreached BIGINT",
    # what the lists say of identities is read anew
    "UPDATE crypto_user SET outdated = outdated + 1",
)
