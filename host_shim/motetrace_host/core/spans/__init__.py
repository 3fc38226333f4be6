"""Spans and OTLP requests without a library. Reading order:

`span`, `protobuf` (the wire format), `attributes` (encoding), `envelope` (requests apart and together), `tree` and
`waterfall` (a trace as text).
"""
