"""motetrace's host side: turns what devices send into traces that end in the database.

Bytes are the contract; the core does no I/O; every loss is counted. Reading order:

1. What a message carries, as bytes (no sockets, clocks, threads or randomness; all in `core/`):
   `traceparent`, `tracestate`, `seqref` (the compact context), `payload` (members in JSON), and `context`, which
   searches them in order and says what it found and what was broken; `birth`, what a device says once per boot.
2. Which trace that is: `derive` (keyed ids for a seqref), `boots` (boots inferred from a bare `seq`),
   `topic` and `identity` (which device it was), `trust` (what of it is believed), `sampling/` (whether it is kept);
   `message`, and `record`, the same in 57 bytes; `plain_publish`, the short way there; `baggage`, what applications
   attach to it. What was seen: `seen` (runs of numbers at one hop), `delta` (what a hop adds), `seen_store` (where
   they are kept), `hop_report` (what other hops tell), `clones`, `sight` and `whereabouts` (where one was lost).
3. What is made of it: `span`, `hops` (the spans the host makes), `otlp_span` and `otlp_envelope` (parts of them, and
   requests, as bytes), `span_tree` and `waterfall` (a trace as text).
4. What it touches, one third-party library per file: `edges/` (MQTT, SQLite, OTLP over HTTP, logging); the MQTT
   bytes themselves are `core/mqtt_frame` and `core/publish_packet`; edge and pipeline talk in `core/link`'s words.
   How bytes come in is `edges/mqtt_bulk_reader` (docs/receive-path.md).
5. The way of a message: `shim/`, from `inbox` to `ack_line` (`shared_journal`: with a ledger in Redis); `span_intake`
   and `span_outbox`, spans in and out; `tail_judge`, which of them go.
6. For the stages after the shim: `stages/`, on the OpenTelemetry API; `functions/`, the same for AWS Lambda and Azure
   Functions; `otel/`, what OpenTelemetry loads by entry point: a propagator, and the instrumentation of paho-mqtt.
7. Getting the device library onto a board: `board/`, which nothing else here needs.
8. Composition: `settings`, `config`, `assembly`, `app`; `shared_ledger` and `departure`, for several shims in one
   group; `reports/`, `sampling/` and `cli`, what an operator asks (`core/sight`, `core/whereabouts`: where a message
   was lost); `upkeep/`, what keeps the database in order.

`core/wire_error.py` is how a device's fault is named; `core/printable.py` is how its bytes are shown.
"""

__version__ = "0.1.0"
