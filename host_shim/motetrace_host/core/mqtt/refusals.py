"""Why a broker refuses or ends a connection, as texts for the operator; why we end one, as a code for the broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NO_MQTT_5 = "it does not speak MQTT 5: use one that does (mosquitto 1.6 or later, EMQX, HiveMQ, RabbitMQ 3.13 or later)"
SAME_CLIENT_ID = "perhaps another client uses the same client id: give each shim its own --client-id"
# Source: MQTT 5.0, 3.2.2.2.
HOPELESS = {
    0x84: NO_MQTT_5,
    0x85: "it refuses this client id: choose another with --client-id",
    0x86: "user name or password is wrong: check --username and --password-file",
    0x87: "this user may not connect: check --username, --password-file and the broker's access list",
    0x8A: "this client is banned there: ask the broker's operator",
    0x8C: "it wants another way of authentication: only user name and password are spoken here",
}

NO_SHARE = (
    "it has no shared subscriptions ($share), as RabbitMQ 4.0 has none, so --share would get nothing: follow with one "
    "shim without --share, or use a broker that has them (mosquitto 1.6 or later, EMQX, HiveMQ)"
)
NO_WILDCARDS = "it has no subscriptions with wildcards, so no fleet can be followed there: ask the broker's operator"

# What our DISCONNECT says when the stream cannot be read on, by the reason of a WireError. Source: MQTT 5.0, 3.14.2.1.
_GOODBYES = {"frame_too_large": 0x95, "frame_length": 0x81, "frame_malformed": 0x81, "publish_qos": 0x81}
_PROTOCOL_ERROR = 0x82

_ENDED: Final = "if it never lasts: is there TLS on that port, and does it want to see a certificate (--client-cert)?"
# What OpenSSL reports, in the order to look for it. Source: OpenSSL's X509_verify_cert_error_string and TLS alerts
# (RFC 8446, 6.2).
_REMEDIES: Final = (
    ("Hostname mismatch", "its certificate is for another name: write that name in --broker, or give it one for this"),
    ("IP address mismatch", "its certificate is for another address: write the name that is in it in --broker"),
    ("certificate has expired", "its certificate has expired: renew it, or check this machine's clock"),
    ("certificate is not yet valid", "its certificate is not valid yet: check this machine's clock"),
    ("self-signed certificate", "its CA is not trusted here: name its CA's certificate with --ca-file"),
    ("self signed certificate", "its CA is not trusted here: name its CA's certificate with --ca-file"),
    ("unable to get local issuer", "its CA is not trusted here: name its CA's certificate with --ca-file"),
    ("CERTIFICATE_REQUIRED", "it wants to see a certificate of ours: name one with --client-cert and --client-key"),
    ("UNKNOWN_CA", "it does not trust the CA of our certificate: check --client-cert, and the broker's CA file"),
    ("BAD_CERTIFICATE", "it refuses our certificate, or wants one: check --client-cert"),
    ("CERTIFICATE_EXPIRED", "our certificate has expired: renew --client-cert"),
    ("CERTIFICATE_REVOKED", "our certificate is revoked: renew --client-cert"),
    ("HANDSHAKE_FAILURE", "it wants a certificate of ours (--client-cert), or speaks no cipher that we do"),
    ("WRONG_VERSION_NUMBER", "there is no TLS on that port: TLS is usually on 8883, plain MQTT is mqtt://"),
    ("UNEXPECTED_EOF", _ENDED),
    ("ConnectionReset", _ENDED),
    ("BrokenPipe", _ENDED),
)


def lacks(
    topic_filters: Iterable[str], *, shared_subscription_available: int = 1, wildcard_subscription_available: int = 1
) -> str:
    """What a broker announces in CONNACK to lack and these subscriptions need, "" for nothing.

    A broker may grant such a subscription all the same, and then never send anything (RabbitMQ 4.0 does).
    Source: MQTT 5.0, 3.2.2.3.11 and 3.2.2.3.13.
    """
    for topic_filter in topic_filters:
        if topic_filter.startswith("$share/") and not shared_subscription_available:
            return NO_SHARE
        if ("+" in topic_filter or "#" in topic_filter) and not wildcard_subscription_available:
            return NO_WILDCARDS
    return ""


def goodbye(reason: str) -> int:
    """The code to disconnect with."""
    return _GOODBYES.get(reason, _PROTOCOL_ERROR)


def remedy(reason: str) -> str:
    """What to do about a TLS connection that ended with this reason; "" where nothing is known."""
    folded = reason.upper().replace(" ", "_")
    return next((remedy for sign, remedy in _REMEDIES if sign.upper().replace(" ", "_") in folded), "")
