"""MQTT 5 without a socket. Reading order:

`framing` (packets out of a stream), `publish_packet`, `topics` (topics, filters, templates), `connection` (what passes
between connection and pipeline), `reconnect`, `refusals` (why a connection fails, and remedies), `sys_topics`.
"""
