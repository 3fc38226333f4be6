"""Why this board booted, in one vocabulary for MicroPython and CircuitPython."""

NAMES = ("unknown", "power_on", "hard", "watchdog", "deep_sleep", "soft", "brownout", "debug")
_MACHINE = ("", "PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
_CIRCUIT = ("", "POWER_ON", "RESET_PIN", "WATCHDOG", "DEEP_SLEEP_ALARM", "SOFTWARE", "BROWNOUT", "RESCUE_DEBUG")


def reset_cause():
    """Return an index of NAMES; 0 where the board does not tell. rp2 calls its own machine.reset() "watchdog"."""
    try:
        import machine as m

        cause = m.reset_cause()
        names = _MACHINE
    except (ImportError, AttributeError):
        try:
            import microcontroller as m

            cause = m.cpu.reset_reason
            m = m.ResetReason
            names = _CIRCUIT
        except (ImportError, AttributeError):
            return 0
    for i in range(1, len(names)):
        if getattr(m, names[i], None) == cause:
            return i
    return 0
