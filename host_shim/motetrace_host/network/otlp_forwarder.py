"""Sends stored spans to an OTLP/HTTP backend: urllib3 in one thread.

What is stored is the queue and a cursor in it the only state, so a backend that is down for hours costs no memory, and
a kill -9 sends at most one batch again, byte for byte. `OtlpForwarder.step` makes one attempt and returns how long to
wait before the next; `start` runs it in a thread.

| answer | what happens |
|---|---|
| 2xx | cursor moves on; partial_success is counted as refused |
| 429, 502, 503, 504, no answer | same batch again after a growing pause with jitter, or after Retry-After |
| 30x, 401, 403, 404, 405, 407 | the same: endpoint or credentials are wrong, not the spans, so they wait |
| 413 | half the batch; one message's spans are refused |
| any other | refused: counted, logged once per status, cursor moves on |
Source: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP Response", "Failures"; RFC 9110 10.2.3 (Retry-After).
"""

from __future__ import annotations

import gzip
import ipaddress
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
import urllib3

from motetrace_host.core.errors import OperatorError, StoreError
from motetrace_host.core.printable import printable

MAX_BATCH_SPANS = 4_096
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1.0, 60.0
MAX_RETRY_AFTER_SECONDS = 600.0
IDLE_SECONDS = 1.0
GATHER_SECONDS = 0.2  # after a notice, so that spans of one trace tend to travel together
_RETRIED = frozenset((429, 502, 503, 504))
# OTLP calls these final. For a sender with a disk they are not: the next deployment mends them, and no span is lost.
_OPERATORS_FAULT = frozenset((301, 302, 307, 308, 401, 403, 404, 405, 407))
_MAX_ANSWER_BYTES = 65_536
_SECRET_CHARS = 8  # shorter words of a header are taken for no secret
_PATH = "/v1/traces"


class Outbox(Protocol):
    """The stored spans of one target that were not settled yet. Used by one thread at a time."""

    def batch(self, max_spans: int) -> tuple[int, Any, bytes]:
        """The next spans: how many (0: none), the position behind them, and an ExportTraceServiceRequest of them.

        A message's spans are not parted: at `max_spans` 1 there may be 2.
        """

    def rejected(self, body: bytes, content_type: str) -> tuple[int, str]:
        """Read an answer's partial_success: spans the backend did not take, and its message."""

    def settle(self, upto: Any, *, sent: int, refused: int) -> None:
        """Move the cursor to a position that `batch` gave, and count. Raises StoreError."""

    def close(self) -> None:
        """Give up the database connection."""


def traces_url(endpoint: str) -> str:
    """Complete an OTLP base URL: `http://host:4318` becomes `http://host:4318/v1/traces`, which stays as it is.

    Raises:
        OperatorError: not http or https, no host, a bad port, a query, or credentials in it.
    """
    try:
        parts = urlsplit(endpoint.strip())
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if parts.username is not None:
        raise OperatorError("the OTLP endpoint holds a user name; pass credentials as a header: --otlp-headers-file")
    is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and port_is_valid
    if not is_http or parts.query or parts.fragment:
        raise OperatorError(
            f"OTLP endpoint {printable(endpoint)}: expected http://host:4318 or https://host[:port][/path]"
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith(_PATH) else path + _PATH}"


class _Backend:
    """One trace backend: where it is, what goes with each request, and the connection to it."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], compression: str, timeout_seconds: float) -> None:
        self.url = traces_url(endpoint)
        self._gzip = compression == "gzip" or (compression == "auto" and not _is_loopback(self.url))
        self.headers = {**headers, "Content-Type": "application/x-protobuf"}
        if self._gzip:
            self.headers["Content-Encoding"] = "gzip"
        # The values of headers, and the words in them that may be secrets of their own (`Bearer TOKEN`), longest first.
        words = {word for value in headers.values() for word in (value, *value.split()) if len(word) >= _SECRET_CHARS}
        self._secrets = sorted(words, key=len, reverse=True)
        self._pool = urllib3.PoolManager(
            num_pools=1, retries=False, timeout=urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
        )

    def post(self, request: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request; returns status, headers and the beginning of the body. Raises urllib3's HTTPError."""
        answer = self._pool.request(
            "POST",
            self.url,
            body=gzip.compress(request, 1, mtime=0) if self._gzip else request,
            headers=self.headers,
            redirect=False,
            preload_content=False,
        )
        return answer.status, answer.headers, _read(answer)

    def without_secrets(self, text: str) -> str:
        """The text of an answer for the log, without our credentials: some proxies repeat them."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return printable(text)

    def close(self) -> None:
        self._pool.clear()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def retry_after_seconds(value: str, unix_seconds: float) -> float | None:
    """Read a Retry-After at this time, seconds or a date; None when it is neither. At most MAX_RETRY_AFTER_SECONDS."""
    value = value.strip()
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - unix_seconds
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


class OtlpForwarder:
    """Walks an outbox and sends it to one backend.

    Args:
        endpoint: base URL or full traces URL, see `traces_url`.
        headers: sent with each request, for example Authorization.
        compression: gzip, none, or auto: gzip, unless the backend is at a loopback address.
        rng: spreads the retries of many senders; 0.5 to 1.0 of each pause is used.
        unix_seconds: wall clock, only to read a Retry-After that is a date.
        timeout_seconds: for connecting, and for each read.
    """

    def __init__(
        self,
        outbox: Outbox,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        compression: str = "auto",
        rng: random.Random | None = None,
        unix_seconds: Callable[[], float] = time.time,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._outbox = outbox
        self._backend = _Backend(endpoint, headers or {}, compression, timeout_seconds)
        self._rng = rng or random.Random()
        self._unix_seconds = unix_seconds
        self.url = self._backend.url
        self._log = structlog.get_logger().bind(target=self.url)
        self._max_spans = MAX_BATCH_SPANS
        self._failures = 0
        self._logged_statuses: set[int] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._drained = False
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="otlp-forwarder", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def notify(self) -> None:
        """Send soon, as spans were stored; without it they are noticed within IDLE_SECONDS."""
        self._wake.set()

    def stop(self, flush_seconds: float = 5.0) -> bool:
        """Send what is left, for at most `flush_seconds`; True when nothing is left.

        What is left goes out at the next start. A thread that still waits for an answer is left behind: it is a daemon,
        and its batch stays unsettled.
        """
        self._deadline = time.monotonic() + flush_seconds
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is None:
            self._close()
        else:
            self._thread.join(flush_seconds)
        return self._drained

    def step(self) -> float:
        """Make one attempt; returns the seconds to wait before the next: 0 when more may be waiting, else a pause.

        Raises nothing that a backend, a network or a full disk can cause.
        """
        self._drained = False
        try:
            spans, upto, request = self._outbox.batch(self._max_spans)
            if not spans:
                self._drained = True
                return IDLE_SECONDS
            return self._send(spans, upto, request)
        except StoreError as exc:
            return self._failed("otlp_forward_store", str(exc), None)
        except urllib3.exceptions.HTTPError as exc:
            return self._failed("otlp_forward_unreachable", str(exc), None)

    def _send(self, spans: int, upto: Any, request: bytes) -> float:
        status, headers, body = self._backend.post(request)
        if status < 300:
            return self._accepted(spans, upto, body, headers.get("Content-Type", ""))
        if status in _RETRIED:
            retry_after = retry_after_seconds(headers.get("Retry-After", ""), self._unix_seconds())
            return self._failed("otlp_forward_busy", f"HTTP {status}", retry_after)
        if status in _OPERATORS_FAULT:
            remedy = "check endpoint and credentials (--otlp-headers-file); until then spans wait on disk"
            return self._failed("otlp_forward_misconfigured", f"HTTP {status}: {remedy}", None)
        if status == 413 and self._max_spans > 1:
            self._max_spans = max(spans // 2, 1)
            return 0.0
        return self._refused(status, spans, upto, body)

    def _accepted(self, spans: int, upto: Any, body: bytes, content_type: str) -> float:
        rejected, message = self._outbox.rejected(body, content_type)
        rejected = min(rejected, spans)
        self._outbox.settle(upto, sent=spans - rejected, refused=rejected)
        if rejected or message:
            self._log.warning(
                "otlp_forward_partial", spans=spans, rejected=rejected, message=self._backend.without_secrets(message)
            )
        if self._failures:
            self._log.info("otlp_forward_recovered", attempts=self._failures + 1)
        self._failures = 0
        self._max_spans = min(MAX_BATCH_SPANS, self._max_spans + 1 + self._max_spans // 8)  # after a 413, slowly
        return 0.0

    def _refused(self, status: int, spans: int, upto: Any, body: bytes) -> float:
        self._outbox.settle(upto, sent=0, refused=spans)
        self._failures = 0
        if status not in self._logged_statuses:
            self._logged_statuses.add(status)
            self._log.error(
                "otlp_forward_refused",
                status=status,
                spans=spans,
                answer=self._backend.without_secrets(body.decode("utf-8", "replace")),
                remedy="see the backend's answer; refused spans stay in the local store, and are not sent again",
            )
        return 0.0

    def _failed(self, event: str, error: str, retry_after: float | None) -> float:
        backoff = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10))
        pause = backoff * self._rng.uniform(0.5, 1.0) if retry_after is None else retry_after
        # One line per doubling of the attempts: an outage of hours must not fill the log.
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            self._log.warning(event, error=printable(error), attempts=self._failures, pause_seconds=round(pause, 1))
        return pause

    def _run(self) -> None:
        while True:
            try:
                pause = self.step()
            except Exception as exc:  # noqa: BLE001  a defect of ours: later spans must still go out
                self._log.exception("otlp_forward_defect")
                pause = self._failed("otlp_forward_defect", repr(exc), None)
            if self._stopping.is_set():
                left = self._deadline - time.monotonic()
                if self._drained or pause >= left:
                    break
                time.sleep(pause)
            elif self._drained:
                if self._wake.wait(pause):
                    self._wake.clear()
                    self._stopping.wait(GATHER_SECONDS)
            else:
                self._stopping.wait(pause)
        self._close()

    def _close(self) -> None:
        self._outbox.close()
        self._backend.close()


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    # The status decides; a body that breaks off must not turn a success into a second sending.
    try:
        return answer.read(_MAX_ANSWER_BYTES, decode_content=True)
    except urllib3.exceptions.HTTPError:
        return b""
    finally:
        if not answer.closed:
            answer.close()
