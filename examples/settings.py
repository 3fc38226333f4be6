"""What differs from node to node; every MicroPython example reads it. Edit it, then copy it to the board."""

WIFI = ("my network", "its password")
BROKER = "192.168.1.10"
PORT = 1883
DEVICE = "sensor-0042"
SENSOR_PIN = 26  # an analogue input: 26 on a Pico W, 34 on an ESP32, 1 on an ESP32-S3 or -C3
RELAY_PIN = 15
INTERVAL_S = 10
