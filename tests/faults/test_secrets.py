"""Secrets stay where they are: password, credentials for the trace backend and key are in no log, no help, no process
list, no error message and no file but their own."""

import base64
import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from paho.mqtt import publish as paho_publish
from services import Mosquitto

from tests.faults.shim_process import ROOT, TOPIC, ShimProcess
from tests.host.app.certificates import Certificates
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]
StartMosquitto = Callable[..., Mosquitto]

PASSWORD = "pA55w0rd-of-the-shim"
TOKEN = "t0ken-of-the-backend"
KEY = b"k3y-of-the-tenant-k3y-of-the-ten"


def spellings() -> dict[str, bytes]:
    """Each secret as it is, and as somebody might print it."""
    found = {}
    for name, secret in (("password", PASSWORD.encode()), ("token", TOKEN.encode()), ("key", KEY)):
        found |= {name: secret, f"{name} hex": secret.hex().encode(), f"{name} base64": base64.b64encode(secret)}
        found[f"{name} halved"] = secret[: len(secret) // 2 + 2]
    return found


def leaks(text: bytes) -> list[str]:
    return [name for name, spelling in spellings().items() if spelling in text]


def secret_file(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


class Echo(BaseHTTPRequestHandler):
    """A backend, or a proxy before it, that repeats a header of the request, just where its answer is cut."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"{'.' * 185}{self.headers['Authorization']}".encode()
        self.server.asked.append(self.headers["Authorization"])
        self.send_response(400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def broker(start_mosquitto: StartMosquitto, tmp_path: Path) -> Mosquitto:
    """A broker that wants the password."""
    salt = bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 101, 64)
    entry = f"shim:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"
    users = secret_file(tmp_path / "users", entry.encode())
    return start_mosquitto(settings=f"allow_anonymous false\npassword_file {users}")


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """All secrets, in files."""
    return [
        "--username", "shim",
        "--password-file", str(secret_file(tmp_path / "password", PASSWORD.encode() + b"\n")),
        "--otlp-headers-file", str(secret_file(tmp_path / "headers", f"Authorization: Bearer {TOKEN}\n".encode())),
        "--key-file", str(secret_file(tmp_path / "key", KEY)),
        "--log-level", "debug",
    ]  # fmt: skip


def readable(folder: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_shim_at_work_tells_no_secret(
    broker: Mosquitto, backend: HTTPServer, make_shim: MakeShim, options: list[str], log_format: str
) -> None:
    url = f"http://127.0.0.1:{backend.server_port}"
    shim = make_shim(broker.port, *options, "--otlp", url, "--log-format", log_format)
    shim.launch()
    until(lambda: "subscribed" in shim.log_path.read_text(), "the password is right")
    assert leaks(Path(f"/proc/{shim.pid}/cmdline").read_bytes()) == []
    assert leaks(Path(f"/proc/{shim.pid}/environ").read_bytes()) == []
    publish(broker)
    until(lambda: "otlp_forward_refused" in shim.log_path.read_text(), "the backend's answer is logged")
    assert backend.asked[0] == f"Bearer {TOKEN}", "the backend was told"
    broker.kill()
    until(lambda: "disconnected" in shim.log_path.read_text(), "the broker is away")
    assert shim.terminate() == 0
    assert leaks(shim.log_path.read_bytes()) == []
    assert "***" in shim.log_path.read_text()
    for path, content in readable(shim.state):
        assert leaks(content) == [], path


def publish(broker: Mosquitto) -> None:
    auth = {"username": "shim", "password": PASSWORD}
    paho_publish.single("devices/s/telemetry", b"{}", 1, hostname="127.0.0.1", port=broker.port, auth=auth)


def test_a_refused_password_is_not_repeated(broker: Mosquitto, make_shim: MakeShim, options: list[str]) -> None:
    Path(options[3]).write_text(PASSWORD[:-1] + "X\n")
    shim = make_shim(broker.port, *options[:4], "--log-level", "debug")
    shim.launch()
    assert shim.wait() == 1
    log = shim.log_path.read_bytes()
    assert b"--password-file" in log
    assert leaks(log) == []


def run(*words: str, **environment: str) -> bytes:
    """What `motetrace run` prints when it cannot start."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOTETRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "motetrace_host", "run", "--topic", TOPIC, *words],
        capture_output=True,
        env={**inherited, "PYTHONPATH": str(ROOT / "host_shim"), **environment},
        check=False,
    )
    assert done.returncode == 2, done
    return done.stdout + done.stderr


def test_what_cannot_be_used_is_refused_without_repeating_it(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    broken = secret_file(tmp_path / "headers", f"Authorization {TOKEN}\n".encode())
    short = secret_file(tmp_path / "key", KEY[:15] + KEY * 3)
    binary = secret_file(tmp_path / "password", PASSWORD.encode() + b"\xff\n")
    toml = secret_file(tmp_path / "m.toml", f'password = "{PASSWORD}"\n'.encode())
    torn = secret_file(tmp_path / "torn.toml", f"password = {PASSWORD}\n".encode())
    named = Certificates(tmp_path / "certificates")
    named.client_key.write_text(f"-----BEGIN PRIVATE KEY-----\n{TOKEN}\n-----END PRIVATE KEY-----\n")
    client = (
        "--client-cert",
        str(named.client),
        "--client-key",
        str(named.client_key),
        "--broker",
        "mqtts://localhost",
    )
    told = [
        run(*state, "--otlp", "http://127.0.0.1:9", "--otlp-headers-file", str(broken)),
        run(*state, "--key-file", str(short)),
        run(*state, "--username", "shim", "--password-file", str(binary)),
        run(*state, "--broker", f"mqtt://shim:{PASSWORD}@localhost"),
        run(*state, "--otlp", f"http://shim:{TOKEN}@localhost:4318"),
        run(*state, "--config", str(toml)),
        run(*state, "--config", str(torn)),
        run(*state, "--password", PASSWORD),
        run(*state, MOTETRACE_PASSWORD=PASSWORD),
        run(*state, *client),
    ]
    assert [leaks(one) for one in told] == [[]] * len(told)
    assert [b"Traceback" in one for one in told] == [False] * len(told)


def test_help_shows_no_value_of_the_environment() -> None:
    environment = {f"MOTETRACE_{name}": PASSWORD for name in ("USERNAME", "TENANT", "PASSWORD_FILE", "KEY_FILE")}
    for words in (["run", "--help"], ["trace", "--help"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "motetrace_host", *words],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "host_shim"), **environment},
            check=True,
        )
        assert leaks(done.stdout + done.stderr) == []


def test_whatever_the_umask_nothing_of_a_state_folder_is_for_others(
    mosquitto: Mosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        shim = make_shim(mosquitto.port, name="above/state")
        (tmp_path / "above.log").touch()
        shim.log_path = tmp_path / "above.log"
        shim.start()
    finally:
        os.umask(before)
    assert shim.terminate() == 0
    modes = {path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "above").rglob("*")}
    assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o700
    assert modes.pop(Path("above/state")) == 0o700
    assert {Path("above/state/key"), Path("above/state/motetrace.db"), Path("above/state/lock")} <= set(modes)
    assert set(modes.values()) == {0o600}
