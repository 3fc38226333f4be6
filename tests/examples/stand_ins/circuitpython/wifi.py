"""CircuitPython's wifi: a PC is connected already."""


class Radio:
    def connect(self, ssid, password):
        assert ssid and password


radio = Radio()
