"""Hands: the only callers of the homeserver's client-server API."""
