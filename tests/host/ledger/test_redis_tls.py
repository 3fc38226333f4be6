"""A ledger behind TLS: a certificate is checked against the system's, and others are named as OpenSSL has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Valkey, free_port

from motetrace_host.cluster import shared_ledger
from motetrace_host.cluster.shared_ledger import LedgerAddress
from motetrace_host.core.errors import StoreError


class TlsValkey(Valkey):
    """Valkey with a second port, for TLS, and a certificate that it signed itself."""

    tls_port = 0

    def _command(self) -> list[str]:
        self.tls_port = free_port()
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
        files = ["-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "ca.pem")]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, timeout=60)
        certificate = self.folder / "ca.pem"
        return [
            *super()._command(), "--tls-port", str(self.tls_port), "--tls-auth-clients", "no",
            "--tls-cert-file", str(certificate), "--tls-key-file", str(self.folder / "key.pem"),
            "--tls-ca-cert-file", str(certificate),
        ]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsValkey]:
    with TlsValkey(tmp_path / "valkey") as server:
        yield server


def test_a_certificate_is_checked_and_its_authority_can_be_named(
    server: TlsValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = LedgerAddress(f"rediss://127.0.0.1:{server.tls_port}/0", "")
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        shared_ledger.connected(where, "s").enter(bytes(16))
    monkeypatch.setenv("SSL_CERT_FILE", str(server.folder / "ca.pem"))
    assert shared_ledger.connected(where, "s").enter(bytes(16)) == 0
