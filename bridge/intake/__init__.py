"""The door for events: from the homeserver's transactions to the features."""
