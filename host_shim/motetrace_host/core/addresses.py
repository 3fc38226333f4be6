"""Addresses as people write them: of a broker, a ledger, a trace backend, and one to listen on.

A parser raises ValueError with what is allowed and what to do.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit


class BrokerUrl(NamedTuple):
    """Where the broker is."""

    host: str
    port: int
    tls: bool


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


def _split(value: object, remedy: str, credentials: str) -> tuple[SplitResult, int | None]:
    """An address and its port; one with credentials in it is refused, with the options that take them."""
    try:
        url = urlsplit(str(value))
        port = url.port
    except ValueError:
        raise ValueError(f"the port is outside 1..65535; {remedy}") from None
    if url.username is not None or url.password is not None:
        raise ValueError(
            "user name and password do not belong in the address (others see it in the process list); "
            f"use {credentials}"
        )
    if port == 0:
        raise ValueError(f"the port is outside 1..65535; {remedy}")
    return url, port


def parse_broker(value: object) -> BrokerUrl:
    """`mqtt://host:1883`, `mqtts://host:8883`."""
    remedy = "write mqtt://HOST[:1883], or mqtts://HOST[:8883] for TLS"
    url, port = _split(value, remedy, "--username and --password-file")
    if (
        url.scheme not in ("mqtt", "mqtts")
        or not url.hostname
        or url.path not in ("", "/")
        or url.query
        or url.fragment
    ):
        raise ValueError(remedy)
    tls = url.scheme == "mqtts"
    return BrokerUrl(url.hostname, port or (8883 if tls else 1883), tls)


def parse_ledger(value: object) -> str:
    """`redis://host:6379/0`, `rediss://...`, written out; "" for "sqlite"."""
    if value == "sqlite":
        return ""
    remedy = "write sqlite, redis://HOST[:6379][/0], or rediss:// for TLS"
    url, port = _split(value, remedy, "--ledger-username and --ledger-password-file")
    number = url.path.strip("/") or "0"
    is_redis = url.scheme in ("redis", "rediss") and url.hostname
    if not is_redis or not re.fullmatch(r"[0-9]{1,5}", number) or url.query or url.fragment:
        raise ValueError(remedy)
    host = f"[{url.hostname}]" if url.hostname and ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}:{port or 6379}/{int(number)}"


def parse_endpoint(value: object) -> str:
    """An OTLP/HTTP base URL, or "off"."""
    if value == "off":
        return ""
    url = urlsplit(str(value))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("write http://HOST:4318, https://HOST[:PORT][/PATH], or off")
    return str(value)


def parse_address(value: object) -> Address | None:
    """`host:port`, or "off"."""
    if value == "off":
        return None
    host, separator, port = str(value).rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("write HOST:PORT with a port of 0..65535 (0: any free one), or off")
    return Address(host, int(port))
