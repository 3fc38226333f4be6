"""The trace backend: OTLP over HTTP on loopback, answering as it is told."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.soak.book import SpanBook

_SLOW_S = 1.5
_NO_ANSWER_S = 10.8  # the forwarder gives up after 10


class _Server(ThreadingHTTPServer):
    """Remembers its connections, to end them when it goes."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed is no error here; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Backend:
    """What it takes goes into the book; `mode` says how it answers.

    | mode | taken | answer |
    |---|---|---|
    | `ok` | yes | 200 |
    | `slow` | yes | 200 after 1.5 s |
    | `no answer` | yes | 200 when the sender has long given up |
    | `answer lost` | yes | none, the connection ends |
    | `503`, `429` | no | that, with Retry-After (`retry_after_s`; 0: without) |
    | `500` | as refused | that: OTLP forbids to send such a request again |

    Args:
        second: the second of the soak.
    """

    def __init__(self, second: Callable[[], float]) -> None:
        self.story: list[str] = []
        self.book = SpanBook()
        self._second = second
        self.mode = "ok"
        self.retry_after_s = 0
        self.port = 0
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._handler = self._make_handler()

    @property
    def url(self) -> str:
        """For `--otlp`."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Server(self.port, self._handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: the port refuses, and open connections end."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in list(server.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def answer(self, body: bytes) -> int | None:
        """Take a request; gives the status to answer with, None for no answer at all."""
        mode = self.mode
        self.story.append(f"{self._second():7.2f} s  backend, {mode}: a request of {len(body)} bytes")
        if mode in ("503", "429"):
            return int(mode)
        self._enter(body, refused=mode == "500")
        if mode in ("slow", "no answer"):
            time.sleep(_SLOW_S if mode == "slow" else _NO_ANSWER_S)
        return {"500": 500, "answer lost": None}.get(mode, 200)

    def _enter(self, body: bytes, *, refused: bool) -> None:
        spans = [
            (span.trace_id, span.span_id, span.name)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            before = self.book.spans
            for span in spans:
                self.book.enter(*span)
            if refused:
                self.book.refused += len(spans)
            self.story[-1] += f", {len(spans)} spans, {self.book.spans - before} of them new"

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = backend.answer(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                if status in (429, 503) and backend.retry_after_s:
                    self.send_header("Retry-After", str(backend.retry_after_s))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Keep quiet."""

        return Handler
