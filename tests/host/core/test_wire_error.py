"""Promises of core/errors.py."""

from motetrace_host.core.errors import WireError


def test_a_wire_error_has_a_reason_to_count_and_a_message_to_read() -> None:
    error = WireError("seqref_length", "seqref has 3 characters; 22, or 24 to 31 with an age")
    assert error.reason == "seqref_length"
    assert str(error) == "seqref has 3 characters; 22, or 24 to 31 with an age"
    assert isinstance(error, ValueError)
