"""Memory: one database, SQLite or PostgreSQL, reached through typed repositories."""
