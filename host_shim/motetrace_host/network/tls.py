"""TLS to the broker by Python's ssl: which certificates are trusted, and which one is shown."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from motetrace_host.core.errors import OperatorError
from motetrace_host.core.mqtt.connection import Broker

_MAX_PEM_BYTES = 1 << 20


def of(broker: Broker) -> ssl.SSLContext | None:
    """What a connection to this broker needs; None without TLS. Raises as `context` does, also for half a pair."""
    certificate, key = broker.client_cert, broker.client_key
    if bool(certificate) != bool(key):
        given, other = ("certificate", "key") if certificate else ("key", "certificate")
        raise OperatorError(f"client {given} {certificate or key} needs its client {other}; name both")
    if not broker.tls:
        return None
    return context(*(Path(file) if file else None for file in (broker.ca_file, certificate, key)))


def context(ca_file: Path | None, client_cert: Path | None, client_key: Path | None) -> ssl.SSLContext:
    """Make what a TLS connection to the broker needs: TLS 1.2 or later, certificate and host name checked, always.

    Args:
        ca_file: certificates (PEM) that the broker's is checked against; None: the system's.
        client_cert, client_key: PEM files, both or neither; the key for its owner alone and without passphrase.
    Raises:
        OperatorError: one of them cannot be used; the message holds nothing of its content.
    """
    if ca_file is not None and not _read(ca_file, "CA file", "the broker's CA certificates").strip():
        raise OperatorError(f"CA file {ca_file} is empty; name a file of PEM certificates")
    try:
        made = ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        raise OperatorError(
            f"CA file {ca_file} holds no certificate that can be read; name a file of PEM certificates"
        ) from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert is not None and client_key is not None:
        _show(made, client_cert, client_key)
    return made


def _show(made: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let the context show a certificate."""
    _read(certificate, "client certificate", "a PEM certificate")
    if b"ENCRYPTED" in _read(key, "client key", "its private key", secret=True):
        raise OperatorError(
            f"client key {key} is locked with a passphrase, which cannot be typed here; write it out without one: "
            "openssl pkey -in LOCKED -out KEY && chmod 600 KEY"
        )
    try:
        # A password of our own, or OpenSSL asks for one on the terminal where a shim has none.
        made.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        why = "the key is not this certificate's" if "KEY_VALUES_MISMATCH" in str(error) else "one of them is not PEM"
        raise OperatorError(
            f"client certificate {certificate} and client key {key} do not go together: {why}; name a certificate "
            "(with its chain behind it) and its private key"
        ) from error


def _read(path: Path, role: str, what: str, *, secret: bool = False) -> bytes:
    """Read a file, to say what is wrong with it by name: OpenSSL's own errors do not."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise OperatorError(f"{role} {path}: {error.strerror}; name a file that holds {what}") from error
    if secret and mode & 0o077:
        raise OperatorError(f"{role} {path} has mode {mode:04o}, others may read it; allowed is 0600: chmod 600 {path}")
    return content
