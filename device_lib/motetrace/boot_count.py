"""How often this board has booted: read, raised by one and written, once per boot and never per message."""


class BootCount:
    """The number of this boot, or None when it cannot be kept; never raises.

    Args:
        store: with load() -> (number, cause) and save(number, cause), or a function or class that returns one:
            `nvs.Nvs`, `words.scratch`, `file_slots.FileSlots`, `nvm.Nvm`, or `slots.Slots` over a `memory`.
        cause: reset_cause(), kept with the number.
    Attributes:
        count: 1.., never a number that an earlier boot was given, while the store lives.
        before: the cause kept by the boot before; None when there was none.
        fault: why count is None: what the store raised.
    """

    def __init__(self, store, cause=0):
        self.count = self.before = self.fault = None
        try:
            if callable(store):
                store = store()
            n, before = store.load()
            if n:
                self.before = before
            store.save(n + 1, cause)
            self.count = n + 1
        except Exception as e:  # ImportError, OSError, ValueError, whatever a port has: the application goes on
            self.fault = e
