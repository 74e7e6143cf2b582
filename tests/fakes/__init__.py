"""Stand-ins that behave like the real thing, as far as `tests/contract` holds them to it."""
