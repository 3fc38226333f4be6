"""What a stage must know: the key and tenant that make ids of a seqref, where the topic names the device, and which
baggage may pass."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from motetrace_host.core.baggage import DEFAULT_MAX_BYTES, Policy
from motetrace_host.core.derive import MAX_KEY_BYTES, MAX_NAME_BYTES, MIN_KEY_BYTES
from motetrace_host.core.topic import TopicTemplate
from motetrace_host.edges import key_file as key_files

DEFAULT_TOPICS = ("devices/{device_id}/telemetry",)
ALL_BAGGAGE = Policy()

_log = logging.getLogger("motetrace")


@dataclass(frozen=True, slots=True)
class Settings:
    """One consistent set of settings; replaced as a whole, never changed."""

    key: bytes | None
    tenant: str
    topics: tuple[TopicTemplate, ...]
    baggage: Policy = ALL_BAGGAGE

    def device_of(self, topic: str) -> tuple[str | None, str | None]:
        """Return (device id, template) of the first template that matches the topic, else (None, None)."""
        for template in self.topics:
            device_id = template.match(topic)
            if device_id is not None:
                return device_id, template.template
        return None, None


_settings: Settings | None = None


def configure(
    *,
    key: bytes | None = None,
    key_file: str | os.PathLike[str] | None = None,
    tenant: str | None = None,
    topics: Iterable[str] = DEFAULT_TOPICS,
    baggage_allow: Iterable[str] | None = None,
    baggage_max_bytes: int | None = None,
) -> None:
    """Set the key, tenant and topics by which seqrefs are derived, and which baggage may pass, for this process.

    Not needed where every message carries a traceparent and every hop is yours.

    Args:
        key: 16..64 bytes, the same as the shim's. Not together with key_file.
        key_file: file that holds it; without both, the file named by MOTETRACE_KEY_FILE, if that is set.
        tenant: 0..255 bytes of UTF-8; default MOTETRACE_TENANT, else "".
        topics: templates with one `{device_id}`, tried in order.
        baggage_allow: names of the baggage members that are read and sent; `*` alone for all, an empty list for none.
            Default MOTETRACE_BAGGAGE_ALLOW, joined by commas (a lone comma for none), else `*`.
        baggage_max_bytes: 1..65,535, whole members beyond it are left out; default MOTETRACE_BAGGAGE_MAX_BYTES, else
            8192.
    Raises:
        ValueError: a value is out of range, or the key file is unusable; names value, range and remedy.
    """
    global _settings
    _settings = _load(key, key_file, tenant, topics, _policy(baggage_allow, baggage_max_bytes))


def current() -> Settings:
    """Return the settings in force; the environment's when `configure` was never called.

    A broken environment degrades to "no key" and to "no baggage", with one log line each, because this runs inside
    message callbacks; call `configure()` at start to be told with an exception.
    """
    global _settings
    if _settings is None:
        try:
            policy = _policy(None, None)
        except ValueError as error:
            _log.warning("motetrace: no baggage will pass: %s", error)
            policy = Policy(frozenset())
        try:
            _settings = _load(None, None, None, DEFAULT_TOPICS, policy)
        except (ValueError, OSError) as error:
            _log.warning("motetrace: seqrefs will not be derived: %s", error)
            _settings = Settings(None, "", tuple(TopicTemplate(topic) for topic in DEFAULT_TOPICS), policy)
    return _settings


def _policy(allow: Iterable[str] | None, max_bytes: int | None) -> Policy:
    if allow is None:
        listed = os.environ.get("MOTETRACE_BAGGAGE_ALLOW", "").strip() or "*"
        allow = [name.strip() for name in listed.split(",") if name.strip()]
    names = frozenset(allow)
    if max_bytes is None:
        text = os.environ.get("MOTETRACE_BAGGAGE_MAX_BYTES", "").strip() or str(DEFAULT_MAX_BYTES)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"MOTETRACE_BAGGAGE_MAX_BYTES is {text[:40]!r}; it must be digits, 1..65535")
        max_bytes = int(text)
    return Policy(None if names == {"*"} else names, max_bytes)


def _load(
    key: bytes | None,
    key_file: str | os.PathLike[str] | None,
    tenant: str | None,
    topics: Iterable[str],
    policy: Policy,
) -> Settings:
    if key is not None and key_file is not None:
        raise ValueError("key and key_file are both given; give one of them")
    if key is None:
        named = os.environ.get("MOTETRACE_KEY_FILE", "") if key_file is None else os.fspath(key_file)
        key = _read(Path(named)) if named else None
    if key is not None and not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"key is {len(key)} bytes; it must be {MIN_KEY_BYTES}..{MAX_KEY_BYTES}, as the shim's")
    tenant = os.environ.get("MOTETRACE_TENANT", "") if tenant is None else tenant
    if len(tenant.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"tenant is {len(tenant.encode())} bytes; it must be 0..{MAX_NAME_BYTES} bytes of UTF-8")
    return Settings(key, tenant, tuple(TopicTemplate(topic) for topic in topics), policy)


def _read(path: Path) -> bytes:
    """Read a key that must be there: one made here would not be the shim's, and every trace would break in two."""
    if not path.is_file():
        raise ValueError(f"key file {path} does not exist; name the one in the shim's state folder")
    return key_files.load(path)
