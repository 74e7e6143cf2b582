"""What a community is, and its rules. Pure: no I/O, no clock, no randomness."""
