"""Connects to the Wi-Fi of settings.py; returns when it is up, and raises OSError when it is not after 30 s."""

import time

import network
import settings


def connect():
    station = network.WLAN(network.STA_IF)
    station.active(True)
    station.connect(*settings.WIFI)
    for _ in range(300):
        if station.isconnected():
            return
        time.sleep(0.1)
    raise OSError("no Wi-Fi")
