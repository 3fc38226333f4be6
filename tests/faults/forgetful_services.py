"""A rule engine that republishes by its client alone, and the function behind it: with NAME PORT LOG as arguments.

Both run in this process, as NAME, and report over MQTT.
"""

import sys

import paho.mqtt.client as paho

from motetrace_host import stages

name, port = sys.argv[1], int(sys.argv[2])
stages.configure(report=f"mqtt://127.0.0.1:{port}", reporter=name, report_every_s=0.2)
client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)


def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
    if message.topic == "rules/store":
        with stages.transform_store(message, name="store"), stages.db_write("nowhere", "write"):
            pass
    elif message.payload != b"end":
        with stages.rule_evaluate(message, name="all", action="republish"):
            client.publish("rules/store", message.payload, 1)


client.on_message = on_message
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", port)
client.subscribe([("devices/+/telemetry", 1), ("rules/store", 1)])
client.loop_forever()
