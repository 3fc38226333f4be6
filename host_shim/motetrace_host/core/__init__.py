"""Bytes and times in, values out: no sockets, clocks, threads, randomness or environment; a test holds this.

`errors`, `printable` and `addresses` serve all rooms. Reading order of these, each of which imports only earlier ones:

1. `mqtt`      MQTT 5 without a socket; `ledger`: which numbers of a boot were seen at each hop
2. `spans`     OTLP spans and requests without a library
3. `wire`      what messages contain: contexts, births, stats, reports
4. `sampling`  which traces are kept
5. `messages`  one reading: identified, recorded in 57 bytes, made into two spans
6. `verdict`   where one reading is
"""
