"""`motetrace run` and `motetrace leave`: a shim in a process of its own, until a signal or until it has left."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from motetrace_host.core.errors import OperatorError, StoreError
from motetrace_host.core.mqtt import sys_topics
from motetrace_host.core.mqtt.connection import Broker, Receivers, Session, Subscription
from motetrace_host.network import bulk_reader, paho_reader, tls
from motetrace_host.network.subscriber import Subscriber
from motetrace_host.shim import logging
from motetrace_host.shim.build import build
from motetrace_host.shim.config import Config, ConfigError
from motetrace_host.shim.own_ledger import OwnLedger
from motetrace_host.shim.ports import Membership, Ports
from motetrace_host.shim.service import Shim
from motetrace_host.storage import secret_files, state_folder

_FORCED_EXIT = 130
# Messages make next to no cycles, and the devices that are remembered make a large heap: by Python's own thresholds
# (700, 10, 10) the collector goes through it so often that a message costs a fifth more.
_GC_THRESHOLDS = (50_000, 20, 20)
# Reading, storing and sending on take turns on one processor; each turn begins with what the others left in its caches.
# With Python's own 5 ms a message that is sent on costs 7 % more.
_SWITCH_S = 0.02
_RECEIVE = {"bulk": bulk_reader.receive, "paho": paho_reader.receive}


def run(config: Config, *, leaving: bool = False) -> int:
    """Run until SIGTERM or SIGINT, or until it has left its group; gives the exit code.

    A second signal ends the process at once: what was not acknowledged comes again at the next start.

    Raises:
        ConfigError: something that the settings name cannot be used.
        StoreError: the disk cannot be used now, and perhaps later.
    """
    if leaving and not config.cluster.share:
        raise ConfigError(["--share is missing: only a shim of a group can leave it; one that is alone is stopped"])
    # Whatever the umask was: a folder above the state folder that others may write to is one they may swap.
    os.umask(os.umask(0o077) | 0o077)
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_S)
    stop = threading.Event()

    def on_signal(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(_FORCED_EXIT)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        lock = state_folder.take(config.storage.state)
        shim = _built(config, stop, leaving)
    except StoreError as error:
        if error.retry:
            raise
        raise ConfigError([str(error)]) from error
    except (OperatorError, OSError) as error:
        raise ConfigError([str(error)]) from error
    with lock:
        return shim.run()


def _built(config: Config, stop: threading.Event, leaving: bool) -> Shim:
    membership: type[Membership] = Membership
    if leaving:
        from motetrace_host.cluster.departure import Departure

        membership = Departure
    ports = Ports(
        log=logging.configure(config.logging.log_level, config.logging.log_format),
        connect=_connect,
        ledger=_ledger(config),
        membership=membership,
        stop=stop,
    )
    return build(config, ports)


def _ledger(config: Config) -> OwnLedger:
    if not config.cluster.ledger:
        return OwnLedger()
    from motetrace_host.cluster.group import SharedLedger
    from motetrace_host.cluster.shared_ledger import LedgerAddress

    address = LedgerAddress(
        config.cluster.ledger,
        config.storage.tenant,
        config.cluster.ledger_username,
        config.cluster.ledger_password_file,
    )
    return SharedLedger(address)


def _connect(
    config: Config, client_id: str, subscriptions: Sequence[Subscription], receivers: Receivers, leaving: bool
) -> Subscriber:
    """Make the connection to the broker; it connects when it is started."""
    settings = config.connection
    broker = Broker(
        *settings.broker,
        str(settings.ca_file or ""),
        settings.username,
        secret_files.load_password(settings.password_file, "--password-file"),
        str(settings.client_cert or ""),
        str(settings.client_key or ""),
    )
    return Subscriber(
        broker,
        Session(client_id, settings.session_expiry, settings.receive_maximum),
        _RECEIVE[settings.receive],
        subscriptions,
        receivers,
        sys_topics.TOPICS,
        tls.of(broker),
        leaving=leaving,
    )
