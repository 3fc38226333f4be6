"""What OpenTelemetry loads by entry point, so that a user's own services need no code of ours.

Reading order: `propagator` (context in any text carrier) with `user_properties` (MQTT 5's carrier). Then what traces a
plain paho program: `paho_instrumentor` (what is patched, and how it comes off), `paho_dispatch` (how callbacks are
reached), `paho_tracing` (the spans), `paho_attributes` (what they say), `paho_carriage` (context in and out of a
message), `paho_options` and `destination` (what can be set). Besides: `log_correlation`, for the program's own logs,
and `samplers`.

Importing this package loads nothing: the instrumentation needs `motetrace[instrumentation]`, the samplers need the SDK
(`motetrace[sdk]`), the propagator neither.
"""
