"""The connection to the broker: what no retry cures ends the shim with a remedy, everything else is retried."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from services import Mosquitto

from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]


@pytest.fixture
def make_shim(tmp_path: Path) -> Iterator[MakeShim]:
    with ExitStack() as running:

        def make(port: int, *options: str, name: str = "state") -> ShimProcess:
            shim = ShimProcess(port, tmp_path / name, *options)
            running.callback(shim.kill)
            return shim

        yield make


def test_a_refused_login_ends_with_1_and_the_remedy(
    start_mosquitto: Callable[..., Mosquitto], make_shim: MakeShim
) -> None:
    broker = start_mosquitto(settings="allow_anonymous false")
    shim = make_shim(broker.port)
    shim.launch()
    assert shim.wait() == 1
    assert "--username" in shim.logged("stopped")[0]["reason"]


def test_a_broker_without_mqtt_5_ends_with_1_and_the_remedy(make_shim: MakeShim) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(1_000)
                connection.sendall(b"\x20\x02\x00\x01")  # CONNACK of MQTT 3.1.1: unacceptable protocol version
                connection.recv(1_000)

        threading.Thread(target=answer, daemon=True).start()
        shim = make_shim(server.getsockname()[1])
        shim.launch()
        assert shim.wait() == 1
        assert "does not speak MQTT 5" in shim.logged("stopped")[0]["reason"]


def test_a_second_client_of_the_same_id_is_named_in_the_log(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    first = make_shim(mosquitto.port, "--client-id", "same", name="first").start()
    make_shim(mosquitto.port, "--client-id", "same", name="second").start()
    until(lambda: any("--client-id" in lost["reason"] for lost in first.logged("disconnected")), "it says why")


def test_a_broker_that_says_why_it_ends_the_session_is_quoted(make_shim: MakeShim) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        shim = make_shim(server.getsockname()[1])
        shim.launch()
        connection, _ = server.accept()
        with connection:
            connection.recv(1_000)
            connection.sendall(b"\x20\x03\x00\x00\x00" + b"\xe0\x01\x8e")
            lost = until(lambda: shim.logged("disconnected"), "it is thrown out")
        assert "Session taken over" in lost[0]["reason"]
        assert "--client-id" in lost[0]["reason"]


def test_a_second_shim_on_a_state_folder_is_refused(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    make_shim(mosquitto.port).start()
    second = make_shim(mosquitto.port)
    second.launch()
    assert second.wait() == 2
    assert "in use by another motetrace" in second.log_path.read_text()


def test_a_port_in_use_is_refused_at_start(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port, "--otlp-listen", f"127.0.0.1:{mosquitto.port}")
    shim.launch()
    assert shim.wait() == 2
    assert str(mosquitto.port) in shim.log_path.read_text()


def test_any_free_port_for_spans_is_printed(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port, "--otlp-listen", "127.0.0.1:0").start()
    url = next(line for line in shim.log_path.read_text().splitlines() if line.startswith("OTLP receiver: "))
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        assert shim.terminate() == 0


def test_a_silent_broker_is_given_up_and_tried_again(make_shim: MakeShim) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        shim = make_shim(server.getsockname()[1])
        shim.launch()
        for garbage in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\x30\x00", b""):
            connection, _ = server.accept()
            connection.recv(1_000)
            connection.sendall(garbage)
            connection.close()
        assert shim.running
        assert shim.terminate() == 0
