"""`motetrace sampling` and `motetrace collector-config`: what operators say and ask about sampling. Reading order:

1. What is asked and answered: `duration`, `answer` (is this report the answer to this wish?), `words` (what the broker
   keeps of a device).
2. `shim_view` (what the shim knows of a device), `why` (which stage drops its traces), `collector_config`.
3. `edges/broker`, the connection; `dialogue` says what is done, line by line; `commands` is what people type.

The rules themselves are in `core/sampling`.
"""
