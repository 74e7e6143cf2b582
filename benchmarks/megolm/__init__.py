"""A room key for thousands of devices: ours, stock mautrix and raw Olm calls, upon one stub homeserver."""
