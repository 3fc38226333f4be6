"""Sockets: MQTT and OTLP over HTTP, one third-party library a file."""
