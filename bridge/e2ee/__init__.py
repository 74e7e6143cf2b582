"""The announcer's keys: one device, who gets a room key, and how it travels."""
