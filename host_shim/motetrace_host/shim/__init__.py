"""The shim at work, in the order a message passes: `inbox`, `reader`, `pipeline`, `journal`, `republisher`, `ack_line`.

`reader` asks `bare_seq`, `births`, `nonces` and `clones`, decides with `plans`, and remembers devices in `places`;
`journal` stores a `batch` (`shared_journal`: with a ledger in Redis). Messages of other kinds (`side_topic`) go to
`births`, `hop_reports`, `device_stats`, `broker_events` and `answers`; `broker_watch` follows `$SYS`. `retry` waits
for a disk, `window` says for how much company; `counters` counts.
"""
