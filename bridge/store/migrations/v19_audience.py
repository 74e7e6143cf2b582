"""Groups that let the announcer in; copies that go to one person each, and the chats that are made for them."""

DESCRIPTION = "whom announcements are for"

STATEMENTS = (
    """CREATE TABLE admitting (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (community, key)
    )""",
    "ALTER TABLE announcement_copy ADD COLUMN closed INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX announcement_copy_by_room ON announcement_copy (room_id)",
    """CREATE TABLE chat_alias (
        user_id TEXT NOT NULL PRIMARY KEY,
        alias TEXT NOT NULL
    )""",
    """INSERT INTO chat_alias (user_id, alias)
       SELECT user_id, MIN(alias) FROM arrival WHERE alias <> '' GROUP BY user_id""",
    "ALTER TABLE arrival DROP COLUMN alias",
)
