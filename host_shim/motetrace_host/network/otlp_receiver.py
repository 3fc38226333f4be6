"""An OTLP/HTTP trace receiver: starlette and uvicorn in one thread.

Bounded bodies go to an `Intake`, whose answer goes back. Spans are on disk before the 200 is sent, because the intake
answers after its commit.
Memory: at most MAX_IN_FLIGHT bodies of MAX_BODY_BYTES, and one of MAX_INFLATED_BYTES, since one worker thread inflates,
decodes and stores.
Source: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP".
"""

from __future__ import annotations

import asyncio
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from motetrace_host.core.errors import OperatorError

MAX_BODY_BYTES = 4 * 2**20
MAX_INFLATED_BYTES = 8 * 2**20
MAX_IN_FLIGHT = 32
BODY_SECONDS = 30.0
HEAD_SECONDS = 30.0
# A stop waits so long for bodies that are under way, then refuses them: their senders keep the spans and try again.
_STOP_BODY_SECONDS = 0.3
# A body over the limit is still read up to here, so that the client gets to see the 413 and not a broken connection.
_MAX_DISCARDED_BYTES = 4 * MAX_BODY_BYTES
_MAX_CONNECTIONS = 256
_COMPRESSED = ("gzip", "deflate")
_CONTENT_TYPES = ("application/x-protobuf", "application/json")
_ABOUT = "motetrace: OTLP/HTTP trace receiver. POST ExportTraceServiceRequest, protobuf or JSON, to /v1/traces.\n"


class HttpReply(NamedTuple):
    """The answer to a request: status, body in its content type, seconds until the sender should try again."""

    status: int
    body: bytes
    retry_after_seconds: int | None = None


class Intake(Protocol):
    """Where request bodies go. Both methods are called from one worker thread, never at the same time."""

    def accept(self, body: bytes, content_type: str) -> HttpReply:
        """Decode, store, commit, and answer. Must not raise for anything in the body."""

    def refuse(self, status: int, reason: str, message: str, content_type: str) -> HttpReply:
        """Count and word a refusal that came before decoding: 400, 408, 413, 415 or 503."""

    def close(self) -> None:
        """Give up the database connection."""


class _RefusedError(Exception):
    """A request is refused before it is decoded; `last`: the rest of its body is not read, the connection ends."""

    def __init__(self, status: int, reason: str, message: str, *, last: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.last = last


class OtlpReceiver:
    """Receives spans on `host:port` from `start()` to `stop()`; port 0 lets the system choose one, see `port`.

    The address is bound at construction, so a port in use is known before anything else starts.

    Args:
        body_seconds: a body must have arrived by then, so that stuck senders cannot occupy every place.
        head_seconds: so long may a connection be without a request in hand, then it is closed, for the same reason.
    Raises:
        OperatorError: the address is in use, not this machine's, or needs more rights.
    """

    def __init__(
        self,
        intake: Intake,
        host: str = "127.0.0.1",
        port: int = 4318,
        *,
        body_seconds: float = BODY_SECONDS,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self._intake = intake
        self._body_seconds = body_seconds
        self._socket = _bind(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="otlp-intake")
        self._in_flight = 0
        self._stopping = False
        self._reading: set[asyncio.Timeout] = set()
        routes = [Route("/", _about), Route("/v1/traces", self._traces, methods=["POST"])]
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=routes),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                loop="asyncio",
                http=_connections(head_seconds),
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=5,
            ),
            self._hurry,
        )
        self._thread = threading.Thread(target=self._serve, name="otlp-receiver", daemon=True)

    @property
    def url(self) -> str:
        """Base URL, for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> None:
        """Begin to serve; connections made before this wait in the listen queue."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests in hand (5 s at most), refuse those still on their way (503), close all.

        May be called twice, or before `start`.
        """
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        self._worker.shutdown()
        self._intake.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def _hurry(self) -> None:
        self._stopping = True
        soon = asyncio.get_running_loop().time() + _STOP_BODY_SECONDS
        for deadline in self._reading:
            if not deadline.expired():
                deadline.reschedule(min(soon, deadline.when() or soon))

    async def _traces(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            return _http(await self._reply(request, content_type), content_type)
        except ClientDisconnect:
            return Response(status_code=400)  # its sender does not read it any more
        except _RefusedError as refused:
            words = (refused.status, refused.reason, str(refused), content_type)
            reply = await asyncio.get_running_loop().run_in_executor(self._worker, self._intake.refuse, *words)
            return _http(reply, content_type, last=refused.last)

    async def _reply(self, request: Request, content_type: str) -> HttpReply:
        if self._in_flight >= MAX_IN_FLIGHT:
            raise _RefusedError(503, "overloaded", f"{MAX_IN_FLIGHT} requests in hand; try again")
        self._in_flight += 1
        try:
            body = await self._receive(request, content_type)
            return await asyncio.get_running_loop().run_in_executor(self._worker, self._accept, *body, content_type)
        finally:
            self._in_flight -= 1

    async def _receive(self, request: Request, content_type: str) -> tuple[bytes, bool]:
        """The body of a request, and whether it is compressed."""
        encoding = request.headers.get("content-encoding", "").strip().lower()
        try:
            body = await self._read_in_time(request)
        except TimeoutError:
            if self._stopping:
                message = "motetrace stops and the request body was not complete; try again"
                raise _RefusedError(503, "stopping", message, last=True) from None
            message = f"request body took over {self._body_seconds:g} s to arrive"
            raise _RefusedError(408, "body_too_slow", message, last=True) from None
        if content_type not in _CONTENT_TYPES:
            message = f"content type {content_type[:100]!r}: expected {' or '.join(_CONTENT_TYPES)}"
            raise _RefusedError(415, "content_type", message)
        if encoding not in ("", "identity", *_COMPRESSED):
            message = f"content encoding {encoding[:100]!r}: expected {', '.join(_COMPRESSED)} or none"
            raise _RefusedError(415, "content_encoding", message)
        if body is None:
            message = f"request body over {MAX_BODY_BYTES} bytes; send smaller batches"
            raise _RefusedError(413, "body_too_large", message, last=True)
        return body, encoding in _COMPRESSED

    async def _read_in_time(self, request: Request) -> bytes | None:
        async with asyncio.timeout(_STOP_BODY_SECONDS if self._stopping else self._body_seconds) as deadline:
            self._reading.add(deadline)
            try:
                return await _read(request)
            finally:
                self._reading.discard(deadline)

    def _accept(self, body: bytes, compressed: bool, content_type: str) -> HttpReply:
        body = _inflate(body) if compressed else body
        try:
            return self._intake.accept(body, content_type)
        except Exception as error:
            # A defect of ours must not end the thread, nor make the sender drop its spans: 503 keeps them there.
            structlog.get_logger().exception("otlp_intake_failed", body_bytes=len(body), content_type=content_type)
            raise _RefusedError(503, "internal", "internal error, see motetrace's log; try again") from error


class _Server(uvicorn.Server):
    """uvicorn's server, with a call when it begins to shut down."""

    def __init__(self, config: uvicorn.Config, on_shutdown: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_shutdown = on_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_shutdown()
        await super().shutdown(sockets)


def _connections(head_seconds: float) -> type[asyncio.Protocol]:
    """The class of connections that bring the head of their next request within `head_seconds`, or are closed.

    uvicorn's own keep-alive timer does not begin before the first request, and ends with the first byte of the next:
    _MAX_CONNECTIONS half heads would occupy every place for ever.
    """

    class Connection(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_head()

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:  # a head is complete; its body has a time limit of its own
                self._forget_head()

        def on_response_complete(self) -> None:
            self._await_head()  # first, because a request may be waiting behind this one
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            super().connection_lost(exc)

        def _await_head(self) -> None:
            self._forget_head()
            # abort, not close: close() would wait for a peer that does not read its answer
            self._head_timer = self.loop.call_later(head_seconds, self.transport.abort)

        def _forget_head(self) -> None:
            if self._head_timer:
                self._head_timer.cancel()
                self._head_timer = None

    return Connection


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as exc:
        listener.close()
        reason = getattr(exc, "strerror", None) or str(exc)
        raise OperatorError(
            f"cannot receive OTLP on {host}:{port}: {reason}; stop what listens there (`ss -ltnp`), or choose another "
            "port in 1..65535 or 0 for any free one"
        ) from exc
    return listener


async def _about(request: Request) -> Response:
    return PlainTextResponse(_ABOUT)


async def _read(request: Request) -> bytes | None:
    """The body, or None when it is over the limit."""
    size = 0
    chunks: list[bytes] = []
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_DISCARDED_BYTES:
            break
        if size > MAX_BODY_BYTES:
            chunks.clear()
        else:
            chunks.append(chunk)
    return b"".join(chunks) if size <= MAX_BODY_BYTES else None


def _inflate(body: bytes) -> bytes:
    """Decompress zlib data or all members of gzip data."""
    inflated = bytearray()
    while body:
        member = zlib.decompressobj(zlib.MAX_WBITS | 32)  # reads both headers
        try:
            inflated += member.decompress(body, MAX_INFLATED_BYTES + 1 - len(inflated))
        except zlib.error as error:
            raise _RefusedError(400, "compression", f"body does not decompress: {error}") from error
        if len(inflated) > MAX_INFLATED_BYTES:
            message = f"request body over {MAX_INFLATED_BYTES} bytes when decompressed; send smaller batches"
            raise _RefusedError(413, "body_too_large", message)
        if not member.eof:
            break
        body = member.unused_data
        if not body:
            return bytes(inflated)
    raise _RefusedError(400, "compression", "body does not decompress: the stream ends early")


def _http(reply: HttpReply, content_type: str, *, last: bool = False) -> Response:
    headers = {} if reply.retry_after_seconds is None else {"Retry-After": str(reply.retry_after_seconds)}
    if last:
        headers["Connection"] = "close"
    known = content_type if content_type in _CONTENT_TYPES else "application/json"
    return Response(reply.body, reply.status, headers, media_type=known)
