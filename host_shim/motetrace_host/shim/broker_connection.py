"""The connection to a real broker, as the settings describe it."""

from __future__ import annotations

from collections.abc import Sequence

from motetrace_host.core.mqtt import broker_queue
from motetrace_host.core.mqtt.connection import Broker, Session, Subscription
from motetrace_host.network import bulk_reader, paho_reader, tls
from motetrace_host.network.subscriber import Subscriber
from motetrace_host.shim.config import Config
from motetrace_host.shim.ports import Receivers
from motetrace_host.storage import password_file

_RECEIVE = {"bulk": bulk_reader.receive, "paho": paho_reader.receive}


def connect(
    config: Config, client_id: str, subscriptions: Sequence[Subscription], receivers: Receivers, leaving: bool
) -> Subscriber:
    """Make it; `start` connects.

    Raises:
        TlsFilesError, PasswordFileError: a file that the settings name cannot be used.
    """
    broker = Broker(
        config.broker.host,
        config.broker.port,
        config.broker.tls,
        str(config.ca_file or ""),
        config.username,
        password_file.first_line(config.password_file, "--password-file"),
        str(config.client_cert or ""),
        str(config.client_key or ""),
    )
    return Subscriber(
        broker,
        Session(client_id, config.session_expiry, config.receive_maximum),
        _RECEIVE[config.receive],
        subscriptions,
        receivers.messages,
        receivers.published,
        receivers.events,
        broker_queue.TOPICS,
        receivers.broker_queue,
        tls.of(broker),
        leaving=leaving,
    )
