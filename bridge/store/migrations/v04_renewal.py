"""Until when room keys are renewed every hour, and which devices the announcer had that were not ours."""

DESCRIPTION = "renewal"

STATEMENTS = (
    "ALTER TABLE crypto_account ADD COLUMN renew_until BIGINT",
    "ALTER TABLE crypto_account ADD COLUMN former TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE crypto_account ADD COLUMN strange TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE crypto_account ADD COLUMN strange_at BIGINT",
)
