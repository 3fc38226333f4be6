r"""A function: takes the fields out of a reading and writes them to InfluxDB.

    python function.py --broker 127.0.0.1:1883 --otlp http://127.0.0.1:4318 \
        --influx http://127.0.0.1:8086 --database plant --measurement reading

What motetrace needs of it are the lines with `stages`. One call in `--cold-start-every` is slow, as on platforms that
put idle functions to sleep. A reading is acknowledged when the database has answered, whatever the answer.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import threading
import time
from typing import Any
from urllib.parse import urlencode

import span_export
import urllib3
from opentelemetry.trace import SpanKind, get_current_span
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host import stages

COLD_START_S = 0.8
SESSION_EXPIRY_S = 3600

log = logging.getLogger("store-function")


class StoreFunction:
    """What the function does with one message.

    Args:
        influx_url: of an InfluxDB 1.x.  database: there.  measurement: in which every reading is one point.
        cold_start_every: one call in so many takes 800 ms more; >= 1.
    """

    def __init__(self, influx_url: str, database: str, measurement: str, cold_start_every: int) -> None:
        url = urllib3.util.parse_url(influx_url)
        self._server = (url.host or "127.0.0.1", url.port or 8086)
        self._url = f"{influx_url.rstrip('/')}/write?{urlencode({'db': database})}"
        self._database = database
        self._measurement = measurement
        # POST is retried too: the same line with the same timestamp is the same point.
        retries = urllib3.Retry(total=4, backoff_factor=0.1, status_forcelist=(503,), allowed_methods=None)
        self._http = urllib3.PoolManager(retries=retries, timeout=5)
        self._cold_start_every = cold_start_every
        self._calls = 0

    def __call__(self, message: MQTTMessage) -> dict[str, object]:
        """Transform and store; returns what is worth a line of output."""
        self._calls += 1
        cold = self._calls % self._cold_start_every == 0
        with stages.transform_store(message, name="store-reading", cold_start=cold, kind=SpanKind.SERVER) as transform:
            if cold:
                time.sleep(COLD_START_S)
            reading = json.loads(transform.payload)
            device = reading.pop("device")
            fields = {name: plain(value) for name, value in reading.items() if name in ("temp", "too_warm")}
            transform.fields_extracted = len(fields)
            trace_id = f"{get_current_span().get_span_context().trace_id:032x}"
            # Every hop can read seq out of a structured trace-id, and a row can point back at its trace.
            fields |= {"seq": int(trace_id[10:18], 16), "trace_id": trace_id}
            line = line_protocol(self._measurement, device, fields)
            with stages.db_write(
                "influxdb", "write", namespace=self._database, collection=self._measurement, server=self._server
            ) as write:
                answer = self._http.request("POST", self._url, body=line)
                if answer.status != 204:
                    write.fail(reason(answer), str(answer.status))
        return {"device": device, "stored": answer.status == 204, "cold_start": cold}


def plain(value: object) -> object:
    """Make a float of every number: 4 and 4.0 are one type in JSON and two in InfluxDB."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def line_protocol(measurement: str, device: str, fields: dict[str, object]) -> bytes:
    """Write one point, at this moment.

    Source: InfluxDB 1.x line protocol, "Special characters".
    """
    tag = "".join("\\" + char if char in ", =\\" else char for char in device).replace("\n", "\\n")
    texts = ",".join(f"{name}={field(value)}" for name, value in fields.items())
    return f"{measurement},device={tag} {texts} {time.time_ns()}".encode()


def field(value: object) -> str:
    """Write one field value by its type: the database keeps a field's first type, and refuses another."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    raise TypeError(f"a field is {value!r}; it must be a number, a text, true or false")


def reason(answer: urllib3.BaseHTTPResponse) -> str:
    """The database's own words."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.data.decode(errors="replace") or f"HTTP {answer.status}"


class Consumer:
    """The MQTT side: one message at a time, acknowledged when it is done."""

    def __init__(self, host: str, port: int, function: StoreFunction) -> None:
        self._function = function
        self._client = Client(CallbackAPIVersion.VERSION2, "store-function", protocol=MQTTv5, manual_ack=True)
        self._client.on_connect = lambda client, *_: client.subscribe("rules/store", 1)
        self._client.on_subscribe = lambda *_: print("ready", flush=True)
        self._client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect(host, port, clean_start=False, properties=properties)

    def run_until(self, stop: threading.Event) -> None:
        self._client.loop_start()
        stop.wait()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        try:
            print(json.dumps(self._function(message)), flush=True)
        except Exception:  # paho's thread ends with the first one that escapes; one bad reading must not stop the rest
            log.exception("message on %r cannot be stored; left out", message.topic)
        client.ack(message.mid, message.qos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--otlp", required=True, metavar="URL")
    parser.add_argument("--influx", required=True, metavar="URL")
    parser.add_argument("--database", required=True)
    parser.add_argument("--measurement", required=True)
    parser.add_argument("--cold-start-every", type=int, default=50, metavar="N")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    provider = span_export.start("store-function", options.otlp)
    stages.configure(report=f"mqtt://{options.broker}", reporter="store-function")
    host, _, port = options.broker.rpartition(":")
    function = StoreFunction(options.influx, options.database, options.measurement, options.cold_start_every)
    Consumer(host, int(port), function).run_until(stop)
    stages.flush_reports()
    provider.shutdown()


if __name__ == "__main__":
    main()
