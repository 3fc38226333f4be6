"""The process `motetrace run`, put together by `build` of its settings (`config`) and its `ports`; `service` runs it.

The order a message passes: `inbox` (from the network thread), `pipeline` (the one thread that works), `fast_path` or
`slow_path` with `identifier` (bytes to records, in a `batch`), `batch_store` and `journal` (one transaction),
`republisher`, `ack_queue`. What is remembered of devices: `device_topics`, `boot_runs`, `sampling_plans`,
`command_replies`, `bare_seq`; what is looked at beside: `nonces`, `clones`. Other kinds of messages (`side_topic`):
`births`, `hop_reports`, `device_stats`, `broker_events`, `sampling_topics`. What is written with a batch has one shape,
`batch_participant`. Spans come in by `span_intake`, go out by `span_outbox`, and wait for `tail_sampler`.
"""
