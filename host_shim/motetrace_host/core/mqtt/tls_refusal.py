"""Why a TLS connection to the broker does not come about, in words for the operator."""

from __future__ import annotations

from typing import Final

_ENDED: Final = "if it never lasts: is there TLS on that port, and does it want to see a certificate (--client-cert)?"
# What OpenSSL says, in the order to look for it. Source: OpenSSL's X509_verify_cert_error_string and TLS alerts
# (RFC 8446, 6.2).
_REMEDIES: Final = (
    ("Hostname mismatch", "its certificate is for another name: write that name in --broker, or give it one for this"),
    ("IP address mismatch", "its certificate is for another address: write the name that is in it in --broker"),
    ("certificate has expired", "its certificate has expired: renew it, or check this machine's clock"),
    ("certificate is not yet valid", "its certificate is not valid yet: check this machine's clock"),
    ("self-signed certificate", "nobody we believe vouches for it: name its CA's certificate with --ca-file"),
    ("self signed certificate", "nobody we believe vouches for it: name its CA's certificate with --ca-file"),
    ("unable to get local issuer", "nobody we believe vouches for it: name its CA's certificate with --ca-file"),
    ("CERTIFICATE_REQUIRED", "it wants to see a certificate of ours: name one with --client-cert and --client-key"),
    ("UNKNOWN_CA", "it does not believe who signed our certificate: check --client-cert, and the broker's CA file"),
    ("BAD_CERTIFICATE", "it refuses our certificate, or wants one: check --client-cert"),
    ("CERTIFICATE_EXPIRED", "our certificate has expired: renew --client-cert"),
    ("CERTIFICATE_REVOKED", "our certificate is revoked: renew --client-cert"),
    ("HANDSHAKE_FAILURE", "it wants a certificate of ours (--client-cert), or speaks no cipher that we do"),
    ("WRONG_VERSION_NUMBER", "there is no TLS on that port: TLS is usually on 8883, plain MQTT is mqtt://"),
    ("UNEXPECTED_EOF", _ENDED),
    ("ConnectionReset", _ENDED),
    ("BrokenPipe", _ENDED),
)


def remedy(reason: str) -> str:
    """What to do about a TLS connection that ended with this reason; "" where nothing can be said."""
    folded = reason.upper().replace(" ", "_")
    return next((told for sign, told in _REMEDIES if sign.upper().replace(" ", "_") in folded), "")
