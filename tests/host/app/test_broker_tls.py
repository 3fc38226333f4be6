"""TLS to a real broker: who it is is checked, who we are is shown, and what cannot be used is refused with a remedy."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from services import Mosquitto

from motetrace_host.core.errors import OperatorError
from motetrace_host.core.mqtt import refusals
from motetrace_host.core.mqtt.connection import Broker, Chunk, Receivers, Session, Subscription
from motetrace_host.network import bulk_reader
from motetrace_host.network import tls as broker_tls
from motetrace_host.network.subscriber import Subscriber
from tests.faults.fleet import properties, traceparent
from tests.faults.shim_process import ShimProcess
from tests.host.app.certificates import Certificates
from tests.host.app.conftest import publish_frame
from tests.waiting import until

StartMosquitto = Callable[..., Mosquitto]
MakeShim = Callable[..., ShimProcess]
READINGS = 500


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def make_shim(tmp_path: Path) -> Iterator[MakeShim]:
    with ExitStack() as running:

        def make(port: int, *options: str, host: str = "localhost") -> ShimProcess:
            shim = ShimProcess(port, tmp_path / "state", "--broker", f"mqtts://{host}:{port}", *options)
            running.callback(shim.kill)
            return shim

        yield make


def publish(port: int, certificates: Certificates, *, with_certificate: bool = False) -> None:
    """A device that sends READINGS over TLS."""
    device = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    own = (certificates.client, certificates.client_key) if with_certificate else (None, None)
    device.tls_set_context(broker_tls.context(certificates.ca, *own))
    device.max_inflight_messages_set(READINGS)
    device.connect("localhost", port)
    device.loop_start()
    for seq in range(1, READINGS + 1):
        context = properties(("traceparent", traceparent("0a01020304", seq)))
        last = device.publish("devices/s/telemetry", b"{}", qos=1, properties=context)
    last.wait_for_publish(10)
    device.disconnect()
    device.loop_stop()


def lost(shim: ShimProcess) -> dict[str, str]:
    """What the shim says of a connection that did not come about."""
    shim.launch()
    found: dict[str, str] = until(lambda: shim.logged("disconnected"), "it says why")[0]
    assert not shim.logged("connected")
    return found


def test_readings_come_in_over_tls_with_a_ca_of_ones_own(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, certificates: Certificates
) -> None:
    broker = start_mosquitto(settings=certificates.mosquitto())
    shim = make_shim(broker.port, "--ca-file", str(certificates.ca)).start()
    publish(broker.port, certificates)
    until(lambda: shim.count("message") == READINGS, "all are counted")
    assert shim.terminate() == 0


def test_a_broker_that_wants_a_certificate_is_shown_one(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, certificates: Certificates
) -> None:
    broker = start_mosquitto(settings=certificates.mosquitto(client_certificate=True))
    own = ("--client-cert", str(certificates.client), "--client-key", str(certificates.client_key))
    shim = make_shim(broker.port, "--ca-file", str(certificates.ca), *own).start()
    publish(broker.port, certificates, with_certificate=True)
    until(lambda: shim.count("message") == READINGS, "all are counted")
    assert shim.terminate() == 0


def test_a_broker_that_wants_a_certificate_and_is_shown_none_is_told_with_the_remedy(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, certificates: Certificates
) -> None:
    broker = start_mosquitto(settings=certificates.mosquitto(client_certificate=True))
    told = lost(make_shim(broker.port, "--ca-file", str(certificates.ca)))
    assert "--client-cert" in told["remedy"], told


def test_a_certificate_that_the_brokers_ca_did_not_sign_is_told_with_the_remedy(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, certificates: Certificates, tmp_path: Path
) -> None:
    broker = start_mosquitto(settings=certificates.mosquitto(client_certificate=True))
    strange = Certificates(tmp_path / "strange")
    own = ("--client-cert", str(strange.client), "--client-key", str(strange.client_key))
    told = lost(make_shim(broker.port, "--ca-file", str(certificates.ca), *own))
    assert "--client-cert" in told["remedy"], told


def test_a_certificate_of_another_host_name_is_refused_and_nothing_is_sent(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path / "certificates", "mqtt.example.org")
    broker = start_mosquitto(settings=certificates.mosquitto() + "\nlog_type all")
    told = lost(make_shim(broker.port, "--ca-file", str(certificates.ca)))
    assert "certificate is for another name" in told["remedy"]
    assert "localhost" in told["reason"]
    assert "CONNECT" not in broker.log.read_text(), "user name and password would be in it"


def test_a_certificate_of_another_address_is_refused(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path / "certificates", "localhost")
    broker = start_mosquitto(settings=certificates.mosquitto())
    told = lost(make_shim(broker.port, "--ca-file", str(certificates.ca), host="127.0.0.1"))
    assert "certificate is for another address" in told["remedy"]


def test_a_broker_whose_ca_is_not_believed_is_refused(
    start_mosquitto: StartMosquitto, make_shim: MakeShim, certificates: Certificates, tmp_path: Path
) -> None:
    broker = start_mosquitto(settings=certificates.mosquitto())
    told = lost(make_shim(broker.port, "--ca-file", str(Certificates(tmp_path / "other").ca)))
    assert "--ca-file" in told["remedy"]
    by_the_systems = ShimProcess(broker.port, tmp_path / "system", "--broker", f"mqtts://localhost:{broker.port}")
    assert "--ca-file" in lost(by_the_systems)["remedy"]
    by_the_systems.kill()


def test_a_port_without_tls_is_told(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    assert "is there TLS on that port" in lost(make_shim(mosquitto.port))["remedy"]


def test_files_that_cannot_be_used_are_refused_at_start_with_the_remedy(
    certificates: Certificates, make_shim: MakeShim, tmp_path: Path
) -> None:
    shim = make_shim(8883, "--ca-file", str(tmp_path / "none"))
    shim.launch()
    assert shim.wait() == 2
    assert f"CA file {tmp_path / 'none'}: No such file" in shim.log_path.read_text()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_private_key_that_others_may_read_is_refused(certificates: Certificates, mode: int) -> None:
    certificates.client_key.chmod(mode)
    with pytest.raises(OperatorError, match=f"client key .*{mode:04o}.*chmod 600"):
        broker_tls.context(certificates.ca, certificates.client, certificates.client_key)


def test_a_private_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(certificates: Certificates) -> None:
    key = serialization.load_pem_private_key(certificates.client_key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        certificates.client_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
        with pytest.raises(OperatorError, match=r"passphrase.*openssl pkey"):
            broker_tls.context(certificates.ca, certificates.client, certificates.client_key)


def test_a_certificate_and_a_key_that_are_no_pair_are_refused(certificates: Certificates, tmp_path: Path) -> None:
    _, other = certificates.issue("other", "other.example.org")
    with pytest.raises(OperatorError, match="the key is not this certificate's"):
        broker_tls.context(certificates.ca, certificates.client, other)
    other.write_text("-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----\n")
    with pytest.raises(OperatorError, match="one of them is not PEM") as refused:
        broker_tls.context(certificates.ca, certificates.client, other)
    assert "TOPSECRET" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "\n", "no certificate", "-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_ca_file_without_certificates_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(content)
    with pytest.raises(OperatorError, match=f"CA file {file}.*PEM certificates"):
        broker_tls.context(file, None, None)


def test_old_tls_is_not_spoken(certificates: Certificates) -> None:
    assert broker_tls.context(certificates.ca, None, None).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("read_bytes", [1 << 18, 100])
def test_many_messages_in_one_tls_record_arrive_without_a_stall(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    """The socket is silent once the record is read from it: what TLS still holds has to be asked for."""
    monkeypatch.setattr(bulk_reader, "READ_BYTES", read_bytes)
    frames = [publish_frame("devices/s/telemetry", n, 1, False, False, b"x" * 40, []) for n in range(1, 201)]
    record = b"".join(bytes((first, len(body))) + body for first, body in frames)
    assert len(record) <= 16_384, "one record"
    got: list[int] = []
    complete = threading.Event()

    def deliver(chunk: Chunk) -> None:
        got.extend(struct.unpack(">H", body[21:23])[0] for _, body in chunk.frames)
        if len(got) == len(frames):
            complete.set()

    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificates.broker, certificates.broker_key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        tls = broker_tls.context(certificates.ca, None, None)
        where = Broker("127.0.0.1", server.getsockname()[1], tls=True)
        subscriber = Subscriber(
            where, Session("c", 60, 1_000), bulk_reader.receive, [Subscription("#")],
            Receivers(deliver, lambda _: None, lambda *_: None), tls=tls,
        )  # fmt: skip
        subscriber.start()
        with server_side.wrap_socket(server.accept()[0], server_side=True) as connection:
            connection.recv(1_000)
            connection.sendall(b"\x20\x03\x00\x00\x00")
            connection.recv(1_000)
            connection.sendall(b"\x90\x04\x00\x01\x00\x01")
            connection.sendall(record)
            assert complete.wait(5), f"{len(got)} of {len(frames)} arrived"
            subscriber.stop()
    assert got == list(range(1, 201))


def test_every_remedy_names_what_to_do() -> None:
    assert refusals.remedy("ConnectionRefusedError: [Errno 111] Connection refused") == ""
    assert "clock" in refusals.remedy("certificate verify failed: certificate has expired (_ssl.c:1006)")
