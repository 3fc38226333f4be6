"""Certificates for a broker and its clients, made for one test and signed by a CA of its own."""

from pathlib import Path

import trustme


class Certificates:
    """A CA, a broker's certificate for `localhost` and 127.0.0.1, and a client's, as files.

    Attributes:
        ca, broker, broker_key, client, client_key: PEM files.
    """

    def __init__(self, folder: Path, *broker_names: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.broker, self.broker_key = self.issue("broker", *(broker_names or ("localhost", "127.0.0.1")))
        self.client, self.client_key = self.issue("client", "shim.example.org")

    def issue(self, name: str, *identities: str) -> tuple[Path, Path]:
        """Make a certificate (with its chain) and its key, mode 0600."""
        made = self.authority.issue_cert(*identities, common_name=name)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.touch(mode=0o600)
        made.private_key_pem.write_to_path(key)
        return certificate, key

    def mosquitto(self, *, client_certificate: bool = False) -> str:
        """Lines of mosquitto.conf: TLS on the listener, and whether a client has to show a certificate."""
        lines = [f"cafile {self.ca}", f"certfile {self.broker}", f"keyfile {self.broker_key}"]
        return "\n".join([*lines, f"require_certificate {str(client_certificate).lower()}"])
