"""matrix-communities: communities of encrypted Matrix rooms, declared in a file and held there."""

__version__ = "0.1.0"
