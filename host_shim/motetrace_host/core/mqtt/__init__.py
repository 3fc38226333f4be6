"""MQTT 5 without a socket: packets, topics, and what becomes of a connection."""
