"""When an announcement that is being written is to go out, where that is not at once."""

DESCRIPTION = "drafts for later"

STATEMENTS = (
    "ALTER TABLE draft ADD COLUMN words TEXT",
    "ALTER TABLE draft ADD COLUMN zone TEXT",
    "ALTER TABLE draft ADD COLUMN first_at BIGINT",
    "ALTER TABLE draft ADD COLUMN rule TEXT",
    "ALTER TABLE draft ADD COLUMN begins TEXT",
)
