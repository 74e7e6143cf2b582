"""Shares are found by session and device alone: a second index cost more than it found, and misled PostgreSQL."""

DESCRIPTION = "shares without a second index"

STATEMENTS = ("DROP INDEX crypto_share_by_txn",)
