# ruff: noqa: F821
# Freezes motetrace into a MicroPython firmware:
#     make BOARD=RPI_PICO_W FROZEN_MANIFEST=/path/to/motetrace/boards/manifest.py     (rp2)
#     make BOARD=ESP32_GENERIC FROZEN_MANIFEST=...                                    (esp32)
# FROZEN_MANIFEST replaces the board's own manifest, so include that one first; the page of your board names it.
metadata(description="Trace context for readings that leave a microcontroller", version="0.1.0")
package("motetrace", base_path="../device_lib", opt=3)
