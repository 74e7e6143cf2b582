"""What announcements are made of, where each copy of them lies, and by which number people call them."""

DESCRIPTION = "the life of announcements"

STATEMENTS = (
    "ALTER TABLE announcement RENAME COLUMN text TO content",
    "ALTER TABLE announcement ADD COLUMN kind TEXT NOT NULL DEFAULT 'text'",
    "ALTER TABLE announcement ADD COLUMN audience TEXT NOT NULL DEFAULT 'everybody'",
    "ALTER TABLE announcement ADD COLUMN human INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE announcement ADD COLUMN withdrawn_at BIGINT",
    """CREATE TABLE announcement_copy (
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        place TEXT NOT NULL,
        room_id TEXT,
        event_id TEXT,
        others TEXT NOT NULL DEFAULT '',
        devices BIGINT,
        unreached BIGINT,
        sent_at BIGINT,
        failed TEXT,
        PRIMARY KEY (announcement, community, place)
    )""",
    """INSERT INTO announcement_copy
           (announcement, community, place, room_id, event_id, devices, unreached, sent_at, failed)
       SELECT announcement, community, '', room_id, event_id, devices, unreached, sent_at, failed
       FROM announcement_target""",
    "DROP TABLE announcement_target",
    "CREATE INDEX announcement_copy_by_event ON announcement_copy (event_id)",
    """CREATE TABLE announcement_number (
        community TEXT NOT NULL,
        number BIGINT NOT NULL,
        announcement TEXT NOT NULL,
        PRIMARY KEY (community, number)
    )""",
    "CREATE UNIQUE INDEX announcement_number_of ON announcement_number (community, announcement)",
    """INSERT INTO announcement_number (community, number, announcement)
       SELECT copy.community, ROW_NUMBER() OVER (PARTITION BY copy.community ORDER BY one.at, one.id), one.id
       FROM announcement_copy AS copy JOIN announcement AS one ON one.id = copy.announcement""",
)
