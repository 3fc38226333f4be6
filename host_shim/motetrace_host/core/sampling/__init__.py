"""Which traces are kept: OpenTelemetry's consistent probability, and the rules around it. Reading order:

1. `threshold` (what a rate becomes), `ot_member` (the threshold in a tracestate), `reason` (why a trace is kept).
2. Head, when a message arrives: `token_bucket`, `head`; what operators request and devices report: `request`,
   `report`, `device_rate`.
3. Tail, when the stages have reported: `tail`.
"""
