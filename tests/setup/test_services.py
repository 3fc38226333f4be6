"""The services start on loopback, each with nothing but its own folder, and leave nothing running."""

import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import redis
from paho.mqtt.enums import CallbackAPIVersion
from services import Influxd, Mosquitto, ServiceError, Valkey


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("where", ["anywhere", "private"])
def test_the_broker_takes_mqtt_5_and_stops(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTETRACE_PARTS", where)
    with Mosquitto(tmp_path / "with a space") as broker:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        assert client.connect(broker.host, broker.port) == mqtt.MQTT_ERR_SUCCESS
        client.disconnect()
        port, pid = broker.port, broker.pid
        assert pid is not None
    assert broker.pid is None
    assert not listens(port)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_broker_comes_back_on_its_port(mosquitto: Mosquitto) -> None:
    port = mosquitto.port
    mosquitto.kill()
    assert not listens(port)
    mosquitto.start()
    mosquitto.restart()
    assert mosquitto.port == port
    assert listens(port)


def test_a_persistent_broker_writes_into_its_folder_as_root_too(start_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = start_mosquitto(persistent=True)
    broker.stop()
    assert (broker.folder / "mosquitto.db").is_file()


def test_a_broker_that_cannot_start_says_why(start_mosquitto: Callable[..., Mosquitto]) -> None:
    with pytest.raises(ServiceError, match=r"ended with exit code [^0].*\n.*no_such_setting"):
        start_mosquitto(settings="no_such_setting true")


@pytest.mark.parametrize("where", ["anywhere", "private"])
def test_the_database_answers_and_stops(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTETRACE_PARTS", where)
    with Influxd(tmp_path / "influxd") as database:
        request = urllib.request.Request(f"{database.url}/query?q=CREATE+DATABASE+readings", method="POST")
        assert urllib.request.urlopen(request).status == 200
        write = urllib.request.Request(f"{database.url}/write?db=readings", data=b"sensor temp=3.82", method="POST")
        assert urllib.request.urlopen(write).status == 204
    assert not listens(database.port)


def test_the_database_fixture_is_empty(influxd: Influxd) -> None:
    assert b"readings" not in urllib.request.urlopen(f"{influxd.url}/query?q=SHOW+DATABASES").read()


@pytest.mark.parametrize("where", ["anywhere", "private"])
def test_the_shared_ledgers_server_keeps_over_a_kill_what_it_answered(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTETRACE_PARTS", where)
    with Valkey(tmp_path / "with a space") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("reading", 3.82)
        server.kill()
        assert not listens(server.port)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("reading") == b"3.82"
            assert client.config_get("append*")["appendonly"] == "yes"
    assert not listens(server.port)
