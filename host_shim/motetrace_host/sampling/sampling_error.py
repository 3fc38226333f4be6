"""Why sampling could not be asked or told, in words for the person at the keyboard."""


class SamplingError(Exception):
    """The broker, an option or a file is not as it must be; the message says what to do about it."""
