"""The tables of the landing, built step by step: every version of the store is brought to the newest one when opened.

Each step runs in one transaction together with the number that says that it is done, so a process that is killed in
the middle leaves the version before it.
"""

from __future__ import annotations

import secrets
import sqlite3

_POLLS = """
-- What is said of the landing itself: its identity, by which sensors know that it was replaced by another.
CREATE TABLE landing (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE points (id INTEGER PRIMARY KEY, source INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (source, name));
-- Points that are told together; points: zlib of JSON, ids ascending, each as the difference to the one before.
CREATE TABLE point_sets (id INTEGER PRIMARY KEY, source INTEGER NOT NULL, points BLOB NOT NULL);
-- One row for every attempt, also those that failed. Times are microseconds since 1970 (UTC).
CREATE TABLE polls (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, also after rows were deleted
    source INTEGER NOT NULL,
    due INTEGER,                                 -- when it was to happen; null where a source speaks by itself
    started INTEGER NOT NULL,
    took INTEGER NOT NULL,                       -- microseconds
    time INTEGER NOT NULL,                       -- of those readings that have none of their own
    outcome TEXT NOT NULL,
    what TEXT,                                   -- what was wrong
    points INTEGER NOT NULL DEFAULT 0,           -- how many readings it told
    changed INTEGER NOT NULL DEFAULT 0,          -- how many of them are in the body
    whole INTEGER NOT NULL DEFAULT 0,            -- 1: nothing later relies on earlier ones; 2: and first of its day
    told INTEGER,                                -- the set of points that it told; null: just those of the body
    oldest INTEGER,                              -- of the readings that have their own time
    newest INTEGER,
    drift INTEGER,                               -- the device's clock minus ours, milliseconds
    body BLOB
);
CREATE INDEX whole_polls ON polls (source, sequence) WHERE whole > 0;
CREATE TABLE documents (sequence INTEGER NOT NULL, kind TEXT NOT NULL, content BLOB NOT NULL);
CREATE INDEX documents_of_polls ON documents (sequence);
CREATE TABLE state (
    source TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, changed INTEGER NOT NULL, PRIMARY KEY (source, key)
) WITHOUT ROWID;
CREATE TABLE drained (source TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
"""

_CALLS_AND_MESSAGES = """
CREATE TABLE calls (id INTEGER PRIMARY KEY, account TEXT NOT NULL, time INTEGER NOT NULL, what TEXT NOT NULL);
CREATE INDEX calls_by_account ON calls (account, time);
CREATE TABLE call_blocks (account TEXT PRIMARY KEY, until INTEGER NOT NULL, why TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, source TEXT, kind TEXT NOT NULL, text TEXT NOT NULL
);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, created INTEGER NOT NULL, body BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL, problem TEXT
);
"""

_REPAIRS = """
-- Stretches without a good poll for which a source that remembers was asked again.
CREATE TABLE repairs (
    source TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, outcome TEXT NOT NULL,
    readings INTEGER NOT NULL, attempts INTEGER NOT NULL, tried INTEGER NOT NULL, PRIMARY KEY (source, start)
) WITHOUT ROWID;
"""

_NUMBERS = """
-- `Landing.record` numbers the polls: AUTOINCREMENT writes a page of its own at every poll, half of what a poll writes.
-- The highest number so far stays known although all polls may be gone.
INSERT OR REPLACE INTO landing SELECT 'numbered', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'polls';
CREATE TABLE numbered_polls (
    sequence INTEGER PRIMARY KEY,                -- never used again, also after rows were deleted
    source INTEGER NOT NULL,
    due INTEGER,                                 -- when it was to happen; null where a source speaks by itself
    started INTEGER NOT NULL,
    took INTEGER NOT NULL,                       -- microseconds
    time INTEGER NOT NULL,                       -- of those readings that have none of their own
    outcome TEXT NOT NULL,
    what TEXT,                                   -- what was wrong
    points INTEGER NOT NULL DEFAULT 0,           -- how many readings it told
    changed INTEGER NOT NULL DEFAULT 0,          -- how many of them are in the body
    whole INTEGER NOT NULL DEFAULT 0,            -- 1: nothing later relies on earlier ones; 2: and first of its day
    told INTEGER,                                -- the set of points that it told; null: just those of the body
    oldest INTEGER,                              -- of the readings that have their own time
    newest INTEGER,
    drift INTEGER,                               -- the device's clock minus ours, milliseconds
    body BLOB
);
INSERT INTO numbered_polls SELECT * FROM polls;
DROP TABLE polls;
ALTER TABLE numbered_polls RENAME TO polls;
CREATE INDEX whole_polls ON polls (source, sequence) WHERE whole > 0;
"""

MIGRATIONS: tuple[str, ...] = (_POLLS, _CALLS_AND_MESSAGES, _REPAIRS, _NUMBERS)
"""What makes each version from the one before it."""

NEWEST = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of an opened store; 0 is an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, to: int = NEWEST) -> None:
    """Bring an opened store to a version, one transaction a step. Several processes may do so at once."""
    while version_of(connection) < to:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(connection)  # another process may have been faster
            if version < to:
                for statement in MIGRATIONS[version].split(";\n"):
                    if statement.strip():
                        connection.execute(statement)
                if version == 0:
                    connection.execute("INSERT INTO landing VALUES ('identity', ?)", (secrets.token_hex(8),))
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
