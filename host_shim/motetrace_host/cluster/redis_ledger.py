"""The ledger states that several shims share, in Redis (7.0 or later) or Valkey.

On a round-robin shared subscription every shim sees some of the numbers of every device, so none can add to a state
that it holds: a Lua script (`redis_ledger.lua`) adds where the state is, one round trip for a batch. It keeps its reply
together with the change, so that a batch whose reply was lost is sent again under its batch id and counts once.

Batch ids rise for each shim id and never go back: a batch below the last one is refused. Who writes each batch with its
id to its own disk before it calls `merge` (cluster/shared_journal.py) can call it again after a restart, and nothing
counts twice; who draws a new id at each start learns from the reply which messages had been added before.

Keys, with the prefix `motetrace:{TENANT}:`; every one has a TTL, renewed at most once an hour, so that what no shim
cares for any more goes away by itself:

| key | type | content |
|---|---|---|
| `boot:NONCE` | hash | hop, NUL, device id: state (core/ledger/seen_numbers.py) |
| `device:DEVICE` | sorted set | the nonces of its boots by time last renewed; the 1000 latest |
| `boots` | sorted set | all nonces by time last renewed |
| `shim:SHIM` | hash | `batch`: its last batch id; 0, 1, ...: checksum and reply of each chunk of it |
| `key:MESSAGE` | string | shim and batch that took this message without a number; for an hour |
| `bare:DEVICE` | string | the shim that last inferred boots of this device; for two hours |
| `fingerprint` | string | of the key that the shims derive ids with |

Cluster: by the braces all keys of a tenant are on one node. `redis.Redis` is tested here, not `RedisCluster`.

Durability is Redis's: an acknowledged message is as safe as its last write.

| Redis runs with | lost at a power cut or a failover |
|---|---|
| `appendonly yes`, `appendfsync always` | nothing |
| `appendonly yes`, `appendfsync everysec` | up to 2 s of counts at a power cut, nothing at a crash of Redis alone |
| snapshots only, or nothing | everything since the last snapshot; never run a ledger so |
| a replica that is promoted | what had not reached it: set `min-replicas-to-write 1` |

Counts lost so look like losses at the shim. `maxmemory-policy` must be `noeviction`: the others delete ledger states.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.exceptions import ClusterDownError, NoScriptError, TryAgainError

from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger.runs import Runs
from motetrace_host.core.ledger.seen_numbers import MAX_GAPS, REORDER_WINDOW_MS, SeenNumbers, check_run
from motetrace_host.core.ledger.store import SeenRow, SeenRuns

TTL_MS: Final = 30 * 24 * 3600 * 1000
REFRESH_MS: Final = 3600 * 1000
CLAIM_MS: Final = 3600 * 1000  # about 150 bytes each; what is repeated later than this counts again
ATTENDED_MS: Final = 2 * 3600 * 1000
MAX_BOOTS_PER_DEVICE: Final = 1000
ENTRIES_PER_SCRIPT: Final = 1000  # 5 ms of the server's time, in which it serves no other client
TIMEOUT_S: Final = 5.0
_MERGE: Final = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
_MERGE_SHA1: Final = hashlib.sha1(_MERGE.encode(), usedforsecurity=False).hexdigest()  # Redis's name for it
_FORGET: Final = Path(__file__).with_name("redis_forget.lua").read_text(encoding="utf-8")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RUN: Final = struct.Struct(">II")
_AGAIN: Final = struct.Struct(">III")
_BOOTS_PER_READ: Final = 500
# Answers of a server that does not take writes now and may do so later: by class, or by a word where there is none.
_TRANSIENT: Final = (redis.ReadOnlyError, redis.OutOfMemoryError, ClusterDownError, TryAgainError)
_TRANSIENT_WORDS: Final = re.compile(r"\b(BUSY|CLUSTERDOWN|EARLIER|LOADING|MISCONF|NOREPLICAS|OOM|READONLY)\b")


def connect(url: str, timeout_s: float = TIMEOUT_S, username: str = "", password: str = "") -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://`; nothing is sent yet.

    Raises:
        ValueError: not such a URL.
    """
    # Its own retries are off: the caller retries whole batches, and wants to know of each failure.
    return redis.Redis.from_url(
        url, username=username or None, password=password or None,
        socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None,
    )  # fmt: skip


class RedisSeen:
    """The ledger states of one tenant; one thread at a time.

    Args:
        client: As `connect` makes it; it must not decode responses.
        tenant: 1..64 of A-Z a-z 0-9 . _ -
        shim_id: The same alphabet; of this shim alone, see above.
        reorder_window_ms: The same at every shim of the tenant.
        ttl_ms: What was not written for so long goes away; longer than retention, and more than two hours.
    Raises:
        ValueError: tenant or shim_id has other characters.
        StoreError: (by every method) Redis is out of reach or refused; `retry`: whether the same call may succeed
            later, with the same batch id.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        tenant: str,
        shim_id: str,
        reorder_window_ms: int = REORDER_WINDOW_MS,
        ttl_ms: int = TTL_MS,
    ) -> None:
        for what, name in (("tenant", tenant), ("shim id", shim_id)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{what} {name!r}; it has 1..64 of A-Z a-z 0-9 . _ -")
        self._client: Any = client  # its types are those of its asyncio twin too
        self._prefix = f"motetrace:{{{tenant}}}:"
        self._shim_id = shim_id
        self._shim_key = f"{self._prefix}shim:{shim_id}"
        self._settings = (reorder_window_ms, ttl_ms, REFRESH_MS, MAX_GAPS, MAX_BOOTS_PER_DEVICE)

    def merge(self, batch_id: int, seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        """Add the runs of a batch; see `SeenStore.merge`. Counts once under one batch id, however often it is sent."""
        chunks = [
            b"".join([_packed(seen) for seen in seen_runs[begin : begin + ENTRIES_PER_SCRIPT]])
            for begin in range(0, len(seen_runs), ENTRIES_PER_SCRIPT)
        ]
        results: list[Runs] = [()] * len(seen_runs)
        for number, reply in enumerate(self._add(batch_id, chunks)):
            for index, start, end in _AGAIN.iter_unpack(reply):
                results[number * ENTRIES_PER_SCRIPT + index] += ((start, end),)
        return results

    def read(self, device_id: str | None = None, boot_nonce: bytes | None = None) -> list[SeenRow]:
        """The states; see `SeenStore.read`. Each boot is read at a moment of its own."""
        with _translated():
            found = [
                row
                for nonces in self._nonces(device_id, boot_nonce)
                for row in self._read_boots(nonces)
                if device_id is None or row.device_id == device_id
            ]
        return sorted(found, key=lambda row: row[:3])

    def forget_before(self, last_unix_ms: int, limit: int = 2_000) -> int:
        """Delete boots last seen before a time; see `SeenStore.forget_before`. Oldest first to within an hour."""
        gone = 0
        with _translated():
            while gone < limit:
                deleted, looked_at = self._client.eval(_FORGET, 0, self._prefix, last_unix_ms, limit - gone)
                gone += deleted
                if looked_at == 0:
                    break
        return gone

    def forget_cache(self) -> None:
        """Nothing is held here."""

    def claim(self, batch_id: int, keys: Iterable[bytes]) -> set[bytes]:
        """Take the keys of messages without a number for a batch; give those that another batch took in the last hour.

        Asked again under the same batch id, it replies the same.
        """
        mine, wanted = f"{self._shim_id} {batch_id}".encode(), list(dict.fromkeys(keys))
        pipeline = self._client.pipeline(transaction=False)
        for key in wanted:
            pipeline.set(self._prefix.encode() + b"key:" + key, mine, nx=True, get=True, px=CLAIM_MS)
        with _translated():
            holders = pipeline.execute()
        return {key for key, holder in zip(wanted, holders, strict=True) if holder not in (None, mine)}

    def attend(self, devices: Iterable[str]) -> set[str]:
        """Note that this shim infers the boots of devices; give those that another shim noted in the last two hours."""
        wanted = list(devices)
        pipeline = self._client.pipeline(transaction=False)
        for device_id in wanted:
            pipeline.set(f"{self._prefix}bare:{device_id}", self._shim_id, get=True, px=ATTENDED_MS)
        with _translated():
            shims = pipeline.execute()
        return {one for one, shim in zip(wanted, shims, strict=True) if shim not in (None, self._shim_id.encode())}

    def enter(self, fingerprint: bytes) -> int:
        """Make sure that this server is a ledger, and that all its shims have one key; gives this shim's last batch id.

        Args:
            fingerprint: the same for the same key, and telling nothing of it.
        Raises:
            StoreError: as every method; and the shims before had another key.
        """
        name = f"{self._prefix}fingerprint"
        with _translated():
            other = self._client.set(name, fingerprint, nx=True, get=True, px=self._settings[1])
            if other not in (None, fingerprint):
                raise StoreError(
                    "the other shims on this ledger derive trace-ids with another key: give all of them the same "
                    "--key-file; to change the key of all, stop them, delete the Redis key "
                    f"{name}, start them with the new one",
                    retry=False,
                )
            self._client.pexpire(name, self._settings[1])
        return self.last_batch()

    def last_batch(self) -> int:
        """The batch that this shim merged last; 0 when there was none."""
        with _translated():
            return int(self._client.hget(self._shim_key, "batch") or 0)

    def cautions(self) -> list[str]:
        """What of this server's settings endangers the ledger, a sentence each, for the log at start-up."""
        with _translated():
            server = {**self._client.info("persistence"), **self._client.info("memory")}
        found = []
        if not server.get("aof_enabled", 1):
            found.append("Redis keeps no append-only file: a crash loses counts that were answered; set appendonly yes")
        policy = server.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            found.append(f"Redis may delete ledger states (maxmemory-policy {policy}); set maxmemory-policy noeviction")
        return found

    def _add(self, batch_id: int, chunks: list[bytes]) -> list[bytes]:
        """Send the chunks in one round trip; the server runs them one after the other and skips those it has done."""
        with _translated():
            try:
                return self._add_once(batch_id, chunks)
            except NoScriptError:  # a new server, or one that was restarted
                self._client.script_load(_MERGE)
                return self._add_once(batch_id, chunks)

    def _add_once(self, batch_id: int, chunks: list[bytes]) -> list[bytes]:
        pipeline = self._client.pipeline(transaction=False)
        for number, chunk in enumerate(chunks):
            checksum = zlib.crc32(chunk).to_bytes(4, "big")
            arguments = (self._prefix, batch_id, number, checksum, *self._settings, chunk)
            pipeline.evalsha(_MERGE_SHA1, 1, self._shim_key, *arguments)
        replies: list[bytes] = []
        for reply in pipeline.execute(raise_on_error=False):  # raising by itself, it would quote the whole chunk
            if isinstance(reply, Exception):
                raise reply
            replies.append(reply)
        return replies

    def _nonces(self, device_id: str | None, boot_nonce: bytes | None) -> Iterator[list[bytes]]:
        if boot_nonce is not None:
            yield [boot_nonce]
        elif device_id is not None:
            yield self._client.zrange(f"{self._prefix}device:{device_id}", 0, -1)
        else:
            found = self._client.zscan_iter(f"{self._prefix}boots", count=1000)
            nonces = list({nonce for nonce, _ in found})  # a scan may bring one twice
            for begin in range(0, len(nonces), _BOOTS_PER_READ):
                yield nonces[begin : begin + _BOOTS_PER_READ]

    def _read_boots(self, nonces: list[bytes]) -> Iterator[SeenRow]:
        pipeline = self._client.pipeline(transaction=False)
        for nonce in nonces:
            pipeline.hgetall(self._prefix.encode() + b"boot:" + nonce)
        for nonce, states in zip(nonces, pipeline.execute(), strict=True):
            for field, state in states.items():
                hop, _, device_id = field.decode().partition("\0")
                yield SeenRow(device_id, nonce, hop, _unpacked(state, device_id, hop))


def _packed(seen: SeenRuns) -> bytes:
    device, hop = seen.device_id.encode(), seen.hop.encode()
    for start, end in seen.runs:
        check_run(start, end, seen.at_unix_ms)
    expected = seen.expected_first
    head = struct.pack(
        f">5sH{len(device)}sB{len(hop)}sQ?II",
        seen.boot_nonce, len(device), device, len(hop), hop, seen.at_unix_ms,
        expected is not None, expected or 0, len(seen.runs),
    )  # fmt: skip
    return head + b"".join([_RUN.pack(*run) for run in seen.runs])


def _unpacked(state: bytes, device_id: str, hop: str) -> SeenNumbers:
    try:
        return SeenNumbers.unpack(state)
    except ValueError as exc:
        raise StoreError(f"the state of device {device_id!r} at hop {hop!r} is damaged: {exc}", retry=False) from exc


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the client's errors into StoreError; their class, or their first word, shows which may succeed later."""
    try:
        yield
    except redis.AuthenticationError as exc:
        raise StoreError(f"Redis refused the login; check user and password: {exc}", retry=False) from exc
    except (redis.ConnectionError, redis.TimeoutError) as exc:
        raise StoreError(f"Redis is out of reach; the work is retried: {exc}", retry=True) from exc
    except redis.RedisError as exc:
        if str(exc).startswith(("STALE ", "OTHER ")):
            remedy = (
                "two shims count under one name, or the state folder came from a backup: each needs its own --state;"
            )
            raise StoreError(f"{exc}; {remedy} start this one again, and it takes another name", retry=False) from exc
        retry = isinstance(exc, _TRANSIENT) or _TRANSIENT_WORDS.search(str(exc)) is not None
        remedy = "the work is retried, check its log" if retry else "the work cannot be done as asked"
        raise StoreError(f"Redis refused; {remedy}: {exc}", retry=retry) from exc
