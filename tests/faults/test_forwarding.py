"""Where spans go on to: a backend named in two ways is one, and one that wants credentials gets them."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from services import Mosquitto

from tests.faults.fleet import NONCE, Connection, topic
from tests.faults.shim_process import ShimProcess
from tests.host.spans.scripted_backend import Received, Reply, ScriptedBackend
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]
SECRET = "Bearer 5f2c-secret"


def publish(port: int, shim: ShimProcess, count: int) -> None:
    with contextlib.closing(Connection(port)) as device:
        for seq in range(1, count + 1):
            device.publish(("ref", seq), topic("ref"), b"{}", ("seqref", f"{NONCE['ref']}-{seq:08x}-03"))
        until(lambda: shim.count("message") == count, "all are stored")


def test_a_slash_more_in_the_url_sends_nothing_twice_and_another_backend_is_told_of(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    with ScriptedBackend() as backend, ScriptedBackend() as second:
        for url in (backend.url, backend.url + "/", backend.url + "/v1/traces"):
            shim = make_shim(mosquitto.port, "--otlp", url).start()
            publish(mosquitto.port, shim, 5)
            assert shim.terminate() == 0
            assert shim.logged("stopped")[0]["forwarded"]["pending_messages"] == 0
        assert len(backend.span_ids) == len(set(backend.span_ids)) == 10
        assert shim.query("SELECT target FROM forward_cursor") == [(backend.url + "/v1/traces",)]
        assert not shim.logged("otlp_former_target")

        shim = make_shim(mosquitto.port).start()  # to nowhere
        publish(mosquitto.port, shim, 7)
        assert shim.terminate() == 0
        shim = make_shim(mosquitto.port, "--otlp", second.url).start()
        assert shim.terminate() == 0
        (line,) = shim.logged("otlp_former_target")
        assert (line["target"], line["unsent"]) == (backend.url + "/v1/traces", 4)
        assert "name it with --otlp again" in line["remedy"]
        assert len(second.span_ids) == 14


def test_a_backend_that_wants_authorization_gets_it_and_the_log_does_not(
    mosquitto: Mosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    def script(request: Received) -> Reply:
        return Reply() if request.headers.get("Authorization") == SECRET else Reply(401)

    headers = tmp_path / "headers"
    headers.write_text(f"Authorization: {SECRET}\n")
    headers.chmod(0o600)
    with ScriptedBackend(script) as backend:
        shim = make_shim(mosquitto.port, "--otlp", backend.url, "--log-level", "debug").start()
        publish(mosquitto.port, shim, 3)
        until(lambda: shim.logged("otlp_forward_misconfigured"), "the backend refuses")
        assert "--otlp-headers-file" in shim.logged("otlp_forward_misconfigured")[0]["error"]
        assert shim.terminate() == 0
        forwarded = shim.logged("stopped")[0]["forwarded"]
        assert forwarded == {"sent": 0, "pending_spans": 0, "pending_messages": 3, "refused": 0, "shed": 0}

        options = ["--otlp", backend.url, "--otlp-headers-file", str(headers), "--log-level", "debug"]
        shim = make_shim(mosquitto.port, *options).start()
        until(lambda: shim.query("SELECT sent FROM forward_cursor") == [(6,)], "the spans are taken")
        assert shim.terminate() == 0
        assert "secret" not in shim.log_path.read_text()

    headers.chmod(0o644)
    shim.launch()
    assert shim.wait() == 2
    assert "chmod 600" in shim.log_path.read_text()
    assert "secret" not in shim.log_path.read_text()
