"""Why a board could not be served, in words for the person at the keyboard."""

from motetrace_host.core.errors import OperatorError


class BoardError(OperatorError):
    """A port, a board, a drive or a tool is not as it must be; the message says what to do about it."""
