"""A rule engine as anybody writes it with paho-mqtt. Nothing here knows of tracing.

    python rule_engine.py [HOST] [PORT]

Readings that are too warm go on to `rules/alarm`, readings that make no sense raise.
"""

import json
import sys

import paho.mqtt.client as mqtt

TOO_WARM_C = 30.0


def on_connect(client, userdata, flags, reason_code, properties):
    client.subscribe("devices/+/telemetry", qos=1)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    print("ready", flush=True)


def on_message(client, userdata, message):
    temp = json.loads(message.payload)["temp"]
    if temp > TOO_WARM_C:
        client.publish("rules/alarm", message.payload, qos=1)


def main():
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1883
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "plain-rule-engine", protocol=mqtt.MQTTv5)
    client.suppress_exceptions = True  # a broken reading is logged and does not end the engine
    client.enable_logger()
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect(host, port)
    try:
        client.loop_forever()
    except KeyboardInterrupt:
        client.disconnect()


if __name__ == "__main__":
    main()
