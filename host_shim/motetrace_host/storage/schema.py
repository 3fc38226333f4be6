"""The tables of the database, and what brings an older database to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

SCHEMA_VERSION: Final = 2
_SCHEMA_2: Final = """
-- Messages (storage/message_log.py): compact records, a block per batch; core/messages/record.py says what is in one.
CREATE TABLE message_block(
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    first_unix_ns INTEGER NOT NULL,
    last_unix_ns  INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    records       BLOB NOT NULL,
    extras        BLOB NOT NULL
);
CREATE TABLE verdict(                              -- of the tail (storage/tail_decisions.py)
    block_id INTEGER PRIMARY KEY,
    reasons  BLOB NOT NULL                         -- one byte per message of the block
);
CREATE TABLE revival(                              -- messages to be sent after the tail had let them go
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    block_id INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    reason   INTEGER NOT NULL
);
CREATE TABLE place(
    id        INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL,
    topic     TEXT NOT NULL,
    template  TEXT NOT NULL,
    UNIQUE(topic, device_id, template)             -- how a topic is read may change with the settings
);
CREATE INDEX place_by_device ON place(device_id);
CREATE TABLE threshold(                            -- what a record's last byte names
    id    INTEGER PRIMARY KEY,                     -- 1..255
    value INTEGER NOT NULL UNIQUE                  -- 0..2**56-1
);
CREATE TABLE delivery(                             -- messages that came again, or have no number
    message_key BLOB PRIMARY KEY,                  -- 16 bytes
    deliveries  INTEGER NOT NULL,
    block_id    INTEGER NOT NULL                   -- retention: goes with this block
) WITHOUT ROWID;
CREATE INDEX delivery_by_block ON delivery(block_id);

-- Ledger (storage/boot_table.py, storage/sqlite_ledger.py): which numbers of which boot were seen at which hop.
CREATE TABLE device_boot(
    device_id          TEXT NOT NULL,
    boot_nonce         BLOB NOT NULL,              -- 5 bytes
    inferred           INTEGER NOT NULL DEFAULT 0, -- 1: the host drew the nonce for firmware that sends a bare seq
    first_seen_unix_ns INTEGER NOT NULL,
    firmware           TEXT,
    birth              TEXT,                       -- JSON of the birth message
    why                TEXT,                       -- of an inferred one: the rule (core/ledger/inferred_boots.py) of it
    PRIMARY KEY(device_id, boot_nonce)
) WITHOUT ROWID;
CREATE TABLE unnumbered(
    device_id    TEXT PRIMARY KEY,
    messages     INTEGER NOT NULL,                 -- without a number: no context, or a foreign one
    duplicates   INTEGER NOT NULL,
    last_unix_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE seen(                                 -- a state is this row and what the log has behind log_id
    id         INTEGER PRIMARY KEY,
    device_id  TEXT NOT NULL,                      -- '' at hops that know only the boot
    boot_nonce BLOB NOT NULL,
    hop        TEXT NOT NULL,
    log_id     INTEGER NOT NULL,                   -- seen_log.id up to which this row has everything
    last_hour  INTEGER NOT NULL,                   -- of the state's last_unix_ms: an index that changes once an hour
    state      BLOB NOT NULL,                      -- core/ledger/seen_numbers.py
    UNIQUE(device_id, boot_nonce, hop)
);
CREATE INDEX seen_by_boot ON seen(boot_nonce);
CREATE INDEX seen_by_age ON seen(last_hour);
CREATE TABLE seen_log(
    id   INTEGER PRIMARY KEY,                      -- one for each batch
    runs BLOB NOT NULL                             -- core/ledger/run_log.py
);
CREATE TABLE hop_report(
    reporter      TEXT NOT NULL,
    process       BLOB NOT NULL,                   -- 8 bytes
    number        INTEGER NOT NULL,                -- the highest that was counted
    below         INTEGER NOT NULL,                -- bit i: number - 1 - i was counted too
    heard_unix_ms INTEGER NOT NULL,
    PRIMARY KEY(reporter, process)
) WITHOUT ROWID;
CREATE TABLE hop_service(                          -- who reports for which hop
    reporter      TEXT NOT NULL,
    hop           TEXT NOT NULL,
    since_unix_ms INTEGER NOT NULL,                -- its first report
    heard_unix_ms INTEGER NOT NULL,                -- its last
    unnumbered    INTEGER NOT NULL,                -- messages that carried no number of ours
    shed          INTEGER NOT NULL,                -- numbers that found no room in the process's memory
    PRIMARY KEY(reporter, hop)
) WITHOUT ROWID;
CREATE TABLE device_stats(
    device_id     TEXT NOT NULL,
    boot_nonce    BLOB NOT NULL,                   -- 5 bytes
    last_seq      INTEGER NOT NULL,                -- the last number that was assigned
    more          INTEGER NOT NULL,                -- failed publishes that no range names, added up
    acked         INTEGER NOT NULL,
    lost          INTEGER NOT NULL,
    pending       INTEGER NOT NULL,
    rtt_ms        INTEGER,                         -- the smallest
    ticks_ms      INTEGER,
    free_bytes    INTEGER,
    counters      TEXT NOT NULL,                   -- JSON object
    heard_unix_ms INTEGER NOT NULL,
    PRIMARY KEY(device_id, boot_nonce)
) WITHOUT ROWID;
CREATE INDEX device_stats_by_age ON device_stats(heard_unix_ms);
CREATE TABLE broker_drop(
    device_id TEXT NOT NULL,                       -- '' where no topic template matched, and beyond the cap
    receiver  TEXT NOT NULL,                       -- client id of whose copy was dropped; '' for none
    event     TEXT NOT NULL,
    reason    TEXT NOT NULL,
    dropped   INTEGER NOT NULL,
    unnamed   INTEGER NOT NULL,                    -- of these, the ones whose number was not visible: not in the ledger
    PRIMARY KEY(device_id, receiver, event, reason)
) WITHOUT ROWID;
CREATE TABLE pending_batch(                        -- where the ledger is shared (pending_batches.py): one or none
    id      INTEGER PRIMARY KEY AUTOINCREMENT,     -- never again the same: the shared ledger names the batch by it
    content BLOB NOT NULL                          -- cluster/pending_batch.py
);
CREATE TABLE shared_ledger(                        -- one row or none
    shim_id TEXT NOT NULL                          -- under which it counts its batches there
);
CREATE TABLE inferred_boot(
    device_id TEXT PRIMARY KEY,
    state     BLOB NOT NULL                        -- of a device that sends a bare seq (core/ledger/inferred_boots.py)
) WITHOUT ROWID;
CREATE TABLE clone(                                -- two devices under one id (core/messages/clones.py)
    device_id     TEXT PRIMARY KEY,
    older         BLOB NOT NULL,                   -- boot nonces, of the pair noticed last
    newer         BLOB NOT NULL,
    times         INTEGER NOT NULL,                -- how often it was noticed
    first_unix_ms INTEGER NOT NULL,
    last_unix_ms  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE rejection(
    device_id TEXT NOT NULL,                       -- '' for devices beyond the cap
    reason    TEXT NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY(device_id, reason)
) WITHOUT ROWID;

-- Spans (storage/span_store.py): OTLP bytes as received or made; also the queue that the forwarder walks by id.
CREATE TABLE resource(
    id       INTEGER PRIMARY KEY,
    digest   BLOB NOT NULL UNIQUE,                 -- blake2b, 16 bytes, of the next column
    resource BLOB NOT NULL                         -- OTLP Resource protobuf
);
CREATE TABLE span(
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id      BLOB NOT NULL,                   -- 16 bytes
    span_id       BLOB NOT NULL,                   -- 8 bytes
    name          TEXT NOT NULL,
    start_unix_ns INTEGER NOT NULL,
    end_unix_ns   INTEGER NOT NULL,
    status        INTEGER NOT NULL,                -- OTLP StatusCode: 0 unset, 1 ok, 2 error
    resource_id   INTEGER NOT NULL,
    scope         BLOB NOT NULL,                   -- OTLP InstrumentationScope protobuf
    span          BLOB NOT NULL,                   -- OTLP Span protobuf
    UNIQUE(trace_id, span_id)
);
CREATE INDEX span_by_resource ON span(resource_id); -- retention asks it which resources nothing names any more
CREATE TABLE span_mark(                            -- how old spans are by our clock: retention goes by it
    at_unix_ms INTEGER PRIMARY KEY,
    span_id    INTEGER NOT NULL                    -- the last one stored by then
);
CREATE TABLE forward_cursor(
    target       TEXT PRIMARY KEY,                 -- URL the spans go to
    span_id_upto INTEGER NOT NULL DEFAULT 0,       -- span.id up to which everything was settled
    block_upto   INTEGER NOT NULL DEFAULT 0,       -- message_block.id likewise
    block_offset INTEGER NOT NULL DEFAULT 0,       -- messages of the next block that were settled
    sent         INTEGER NOT NULL DEFAULT 0,
    refused      INTEGER NOT NULL DEFAULT 0,
    shed         INTEGER NOT NULL DEFAULT 0        -- deleted by retention before they were sent
) WITHOUT ROWID;
CREATE TABLE running(                              -- settings in force, for reports: of the shim that ran last
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter(
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""
# What brings a database from one version to another. Version 1 was before the first release, and no way leads from it.
MIGRATIONS: Final = {0: (_SCHEMA_2, 2)}


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript()` would commit the open transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
