"""CircuitPython's microcontroller: one board, with its number and its temperature."""


class _Processor:
    uid = b"\xe6\x61\x64\x08"
    reset_reason = "POWER_ON"
    temperature = 21.5


cpu = _Processor()
