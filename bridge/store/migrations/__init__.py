"""Numbered steps of the schema. A step is frozen once released; it knows nothing of today's code.

Each module is called `vNN_<what>`, and defines `DESCRIPTION` and `STATEMENTS`: SQL that SQLite and PostgreSQL both
take. `{blob}` stands for the type of bytes (BLOB, BYTEA) and `{serial}` for an ever-growing primary key.
"""

from bridge.store.migrations import (
    v01_foundation,
    v02_trust,
    v03_history,
    v04_renewal,
    v05_bidden,
    v06_shares,
    v07_links,
    v08_conversations,
    v09_requests,
    v10_groups,
    v11_taken_in,
    v12_subcommunities,
    v13_life_of_a_community,
    v14_belonging,
    v15_announcements,
    v16_digests,
    v17_feeds,
    v18_mail,
    v19_polls,
    v20_events,
)

STEPS = (
    v01_foundation,
    v02_trust,
    v03_history,
    v04_renewal,
    v05_bidden,
    v06_shares,
    v07_links,
    v08_conversations,
    v09_requests,
    v10_groups,
    v11_taken_in,
    v12_subcommunities,
    v13_life_of_a_community,
    v14_belonging,
    v15_announcements,
    v16_digests,
    v17_feeds,
    v18_mail,
    v19_polls,
    v20_events,
)
