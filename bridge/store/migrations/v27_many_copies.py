"""What is left to do of an announcement with many copies is found without reading those that are done."""

DESCRIPTION = "announcements with many copies"

STATEMENTS = (
    """CREATE INDEX announcement_copy_unsent ON announcement_copy (announcement, room_id)
        WHERE event_id IS NULL AND closed = 0""",
    """CREATE INDEX announcement_copy_in_room ON announcement_copy (announcement, community, place)
        WHERE substr(place, 1, 1) <> '@'""",
    "CREATE INDEX announcement_change_copy_undone ON announcement_change_copy (change) WHERE done = 0",
)
