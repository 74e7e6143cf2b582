"""The browser's and the command line's door."""
