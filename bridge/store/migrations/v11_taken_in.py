"""Rooms that others made and that were taken in as groups, and groups that members suggest."""

DESCRIPTION = "adopted rooms and suggested groups"

STATEMENTS = (
    "ALTER TABLE room ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE own_group ADD COLUMN history TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE join_request ADD COLUMN wish TEXT NOT NULL DEFAULT ''",
    "DROP INDEX join_request_open",
    "CREATE UNIQUE INDEX join_request_open ON join_request (community, user_id, (wish = '')) WHERE state = 'open'",
)
