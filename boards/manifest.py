# ruff: noqa: F821
# Freezes motetrace into a MicroPython firmware:
#     make BOARD=RPI_PICO_W FROZEN_MANIFEST=/path/to/motetrace/boards/manifest.py     (rp2)
#     make BOARD=ESP32_GENERIC FROZEN_MANIFEST=...                                    (esp32)
# FROZEN_MANIFEST replaces the board's own manifest, so include that one first; the page of your board names it.
metadata(description="Trace context for readings that leave a microcontroller", version="0.1.0")
# Every module, and not the folder `testing`, which is for PCs.
MODULES = (
    "__init__.py",
    "_json.py",
    "_port.py",
    "_port_other.py",
    "boot.py",
    "incoming.py",
    "messages.py",
    "minimqtt.py",
    "mqtt5.py",
    "mqtt_as.py",
    "payload.py",
    "publish.py",
    "robust.py",
    "robust2.py",
    "sampling.py",
    "simple.py",
    "simple2.py",
    "tracer.py",
)
package("motetrace", files=MODULES, base_path="../device_lib", opt=3)
