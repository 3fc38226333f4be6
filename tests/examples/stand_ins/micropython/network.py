"""A Wi-Fi that is up at the third look."""

STA_IF = 0


class WLAN:
    def __init__(self, interface):
        self._looks = 0

    def active(self, on):
        pass

    def connect(self, ssid, password):
        self._looks = 3

    def isconnected(self):
        self._looks -= 1
        return self._looks == 0
