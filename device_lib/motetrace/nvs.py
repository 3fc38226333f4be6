"""The boot count in the NVS of an esp32: flash made for it, 126 updates per page erase, torn writes undone by it."""


class Nvs:
    """A store for BootCount; also machine-wide: every program on the board that uses it counts on.

    Args:
        nvs: esp32.NVS(namespace), by default of the namespace "motetrace".
    """

    def __init__(self, nvs=None):
        if nvs is None:
            from esp32 import NVS

            nvs = NVS("motetrace")
        self._nvs = nvs

    def load(self):
        try:
            v = self._nvs.get_i32("boot")
        except OSError as e:
            if e.args[0] != -0x1102:  # ESP_ERR_NVS_NOT_FOUND; anything else is not a first boot
                raise
            v = 0
        return v & 0x7FFFFFF, v >> 27 & 7

    def save(self, n, cause):
        if n > 0x7FFFFFF:
            raise ValueError("more than 2**27-1 boots")
        self._nvs.set_i32("boot", (cause & 7) << 27 | n)
        self._nvs.commit()
