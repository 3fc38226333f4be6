"""motetrace's host side: turns what devices send into traces that end in the database.

Bytes are the contract; the core does no I/O; every loss is counted. An order to read in:

1. `core/`: `wire` (what a message says), `mqtt`, `messages` (which reading that is, and its spans), `ledger` (which
   numbers were seen), `sampling` (which traces are kept), `spans` (OTLP), `verdict` (where a reading was lost).
2. `storage/` (SQLite and files), `network/` (MQTT and OTLP over HTTP), `cluster/` (several shims on one ledger).
3. `shim/`: the process `motetrace run`, from `inbox` to `ack_line`; `build` puts it together, `service` runs it.
4. `commands/`: what people type; `cli` has their groups, `settings` their table of settings.
5. `stages/`, `functions/`, `otel/`: what runs in the users' own services. `board/`: the device library onto a board.
"""

__version__ = "0.1.0"
