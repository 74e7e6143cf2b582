"""The operator's door: the command `matrix-communities`."""
