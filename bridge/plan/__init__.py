"""What must change: desired against actual, as data. Pure."""
