"""Spans and OTLP requests without a library."""
