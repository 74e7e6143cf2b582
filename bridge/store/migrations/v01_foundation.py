"""The first schema: communities, inbox, jobs, announcements, audit, and the announcer's keys."""

DESCRIPTION = "foundation"

STATEMENTS = (
    # --- communities -----------------------------------------------------------------------------------------------
    """CREATE TABLE community (
        id TEXT PRIMARY KEY,
        in_force TEXT,
        held_digest TEXT,
        last_reconcile BIGINT
    )""",
    """CREATE TABLE room (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        alias TEXT NOT NULL,
        room_id TEXT,
        created_at BIGINT,
        PRIMARY KEY (community, key)
    )""",
    "CREATE UNIQUE INDEX room_by_id ON room (room_id)",
    """CREATE TABLE role (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        role INTEGER NOT NULL,
        previous INTEGER NOT NULL DEFAULT 0,
        changed_at BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (community, user_id)
    )""",
    """CREATE TABLE moderator (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (community, key, user_id)
    )""",
    """CREATE TABLE profile (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        type TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (community, key, type)
    )""",
    """CREATE TABLE named (
        community TEXT NOT NULL,
        user_id TEXT NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (community, user_id, place)
    )""",
    """CREATE TABLE invited (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        user_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (community, key, user_id)
    )""",
    """CREATE TABLE settled (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        type TEXT NOT NULL,
        state_key TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (community, key, type, state_key)
    )""",
    """CREATE TABLE heal (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        aspect TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    "CREATE INDEX heal_by_room ON heal (community, key, aspect, at)",
    """CREATE TABLE frozen (
        community TEXT NOT NULL,
        key TEXT NOT NULL,
        aspect TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (community, key, aspect)
    )""",
    """CREATE TABLE report (
        community TEXT NOT NULL,
        digest TEXT NOT NULL,
        text TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (community, digest)
    )""",
    """CREATE TABLE audit (
        seq {serial},
        at BIGINT NOT NULL,
        community TEXT NOT NULL,
        room_id TEXT NOT NULL,
        actor TEXT NOT NULL,
        what TEXT NOT NULL,
        detail TEXT NOT NULL
    )""",
    """CREATE TABLE chat (
        room_id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    # --- inbox and jobs --------------------------------------------------------------------------------------------
    """CREATE TABLE inbox (
        seq INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL,
        room_id TEXT NOT NULL,
        body {blob} NOT NULL,
        at BIGINT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        parked TEXT
    )""",
    """CREATE TABLE inbox_seen (
        seq BIGINT NOT NULL,
        event_id TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    """CREATE TABLE job (
        seq {serial},
        id TEXT NOT NULL,
        lane TEXT NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        due_at BIGINT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        parked TEXT
    )""",
    "CREATE INDEX job_by_due ON job (due_at)",
    "CREATE UNIQUE INDEX job_by_id ON job (id)",
    "CREATE INDEX job_by_lane ON job (lane, seq)",
    # --- announcements ---------------------------------------------------------------------------------------------
    """CREATE TABLE announcement (
        id TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        author TEXT NOT NULL,
        text TEXT NOT NULL,
        reply_room TEXT,
        at BIGINT NOT NULL
    )""",
    "CREATE UNIQUE INDEX announcement_by_source ON announcement (source)",
    """CREATE TABLE announcement_target (
        announcement TEXT NOT NULL,
        community TEXT NOT NULL,
        room_id TEXT NOT NULL,
        event_id TEXT,
        devices BIGINT,
        sent_at BIGINT,
        failed TEXT,
        PRIMARY KEY (announcement, community)
    )""",
    # --- the announcer's keys --------------------------------------------------------------------------------------
    """CREATE TABLE crypto_account (
        user_id TEXT PRIMARY KEY,
        device_id TEXT NOT NULL,
        pickle {blob} NOT NULL,
        published INTEGER NOT NULL DEFAULT 0,
        fallback_at BIGINT,
        generation BIGINT NOT NULL DEFAULT 0,
        next_batch TEXT
    )""",
    """CREATE TABLE crypto_olm_session (
        session_id TEXT PRIMARY KEY,
        curve25519 TEXT NOT NULL,
        ed25519 TEXT NOT NULL,
        pickle {blob} NOT NULL,
        created_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL
    )""",
    "CREATE INDEX crypto_olm_session_by_peer ON crypto_olm_session (curve25519, used_at)",
    """CREATE TABLE crypto_user (
        user_id TEXT PRIMARY KEY,
        outdated BIGINT NOT NULL DEFAULT 0,
        failed_at BIGINT,
        master_key TEXT,
        self_signing_key TEXT
    )""",
    """CREATE TABLE crypto_device (
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        curve25519 TEXT NOT NULL,
        ed25519 TEXT NOT NULL,
        cross_signed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (user_id, device_id)
    )""",
    """CREATE TABLE crypto_audience (
        room_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        member_event TEXT NOT NULL,
        PRIMARY KEY (room_id, user_id)
    )""",
    """CREATE TABLE crypto_outbound (
        room_id TEXT PRIMARY KEY,
        session_id TEXT NOT NULL,
        pickle {blob} NOT NULL,
        created_at BIGINT NOT NULL,
        messages BIGINT NOT NULL DEFAULT 0,
        audience_digest TEXT NOT NULL
    )""",
    """CREATE TABLE crypto_share (
        session_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        curve25519 TEXT NOT NULL,
        ed25519 TEXT NOT NULL,
        member_event TEXT NOT NULL,
        first_index BIGINT NOT NULL,
        state TEXT NOT NULL,
        txn_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (session_id, user_id, device_id)
    )""",
    "CREATE INDEX crypto_share_by_txn ON crypto_share (session_id, txn_id)",
    """CREATE TABLE crypto_inbound (
        room_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        curve25519 TEXT NOT NULL,
        ed25519 TEXT NOT NULL,
        verified INTEGER NOT NULL DEFAULT 0,
        shared_history INTEGER NOT NULL DEFAULT 0,
        first_index BIGINT NOT NULL,
        pickle {blob} NOT NULL,
        original {blob},
        at BIGINT NOT NULL,
        PRIMARY KEY (room_id, session_id, owner)
    )""",
    "CREATE INDEX crypto_inbound_by_owner ON crypto_inbound (owner, at)",
    """CREATE TABLE crypto_message_index (
        room_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        message_index BIGINT NOT NULL,
        event_id TEXT NOT NULL,
        PRIMARY KEY (room_id, session_id, owner, message_index)
    )""",
    """CREATE TABLE crypto_unwedged (
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (user_id, device_id)
    )""",
)
