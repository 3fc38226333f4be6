"""Work on the database, repeated while a retry may help: nothing is acknowledged meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from motetrace_host.core.errors import StoreError
from motetrace_host.shim.logging import Log
from motetrace_host.storage import database
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import MessageLog

_BACKOFF_S = (0.1, 15.0)
Result = TypeVar("Result")


class RefusedError(Exception):
    """The database refuses this work, and a retry would not help."""


class AbandonedError(Exception):
    """Stopping: the disk did not come back in time."""


class DatabaseRetry:
    """Does work until it succeeds.

    Args:
        log: gets each failure. waiting: how many messages wait meanwhile, for the log.
    """

    def __init__(self, log: Log, waiting: Callable[[], int]) -> None:
        self._log = log
        self._waiting = waiting
        self._over = threading.Event()

    def end(self) -> None:
        """Give up what is tried: it raises AbandonedError."""
        self._over.set()

    @property
    def ended(self) -> bool:
        """`end` was called."""
        return self._over.is_set()

    def run(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work.

        Raises:
            RefusedError: no retry would help. AbandonedError: `end` was called.
        """
        delay = _BACKOFF_S[0]
        while True:
            try:
                with database.translated():
                    return work()
            except StoreError as error:
                if not error.retry:
                    raise RefusedError(str(error)) from error
                self._log.error("storing_waits", error=str(error), retry_in_s=round(delay, 1), waiting=self._waiting())
                if self._over.wait(delay):
                    raise AbandonedError from error
                delay = min(delay * 2, _BACKOFF_S[1])
            except Exception as error:  # (a value that SQLite cannot take)
                raise RefusedError(f"{type(error).__name__}: {error}") from error


class RetryingReads:
    """What reading a message asks of the database: methods of `BootTable` and `MessageLog`, retried.

    A disk that does not answer must not look like a broken message. A device that is new is asked about several times
    in a row: once its boots were read, a nonce that is none of them is new, without a further question, until something
    is written. (Nonces that the host drew are not among them, and no device sends those.)
    """

    def __init__(self, ledger: BootTable, log: MessageLog, retry: DatabaseRetry) -> None:
        self._ledger = ledger
        self._log = log
        self._retry = retry
        self._boots_of: tuple[str, int] = ("", -1)  # device, as of which change
        self._boots: list[bytes] = []

    def latest_nonces(self, device_id: str, limit: int) -> list[bytes]:
        nonces = self._retry.run(lambda: self._ledger.latest_nonces(device_id, limit))
        if len(nonces) < limit:
            self._boots_of, self._boots = (device_id, self._ledger.changes), nonces
        return nonces

    def boot_state(self, device_id: str) -> bytes | None:
        return self._retry.run(lambda: self._ledger.boot_state(device_id))

    def birth(self, device_id: str, boot_nonce: bytes | None) -> str | None:
        if boot_nonce is not None and self._is_new(device_id, boot_nonce):
            return None
        return self._retry.run(lambda: self._ledger.birth(device_id, boot_nonce))

    def first_seen(self, device_id: str, boot_nonce: bytes) -> int | None:
        if self._is_new(device_id, boot_nonce):
            return None
        return self._retry.run(lambda: self._ledger.first_seen(device_id, boot_nonce))

    def _is_new(self, device_id: str, boot_nonce: bytes) -> bool:
        return self._boots_of == (device_id, self._ledger.changes) and boot_nonce not in self._boots

    def place_id(self, topic: str, device_id: str, template: str) -> int:
        return self._retry.run(lambda: self._log.place_id(topic, device_id, template))

    def last_place(self) -> int:
        return self._retry.run(self._log.last_place)

    def thresholds(self) -> dict[int, int]:
        return self._retry.run(self._log.thresholds)
