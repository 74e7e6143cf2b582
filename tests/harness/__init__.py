"""What the tests stand on: a homeserver, people with encrypting clients, databases, and waiting without luck."""
