"""Whether an invocation had to wait for the process to start."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Final

_PREPARED: Final = "provisioned-concurrency"
_first = threading.Lock()  # taken by the process's first invocation, and never given back


def cold_start(environment: Mapping[str, str] = os.environ) -> bool:
    """Return True for the first call in this process, False from then on, whatever the number of threads.

    Never True where AWS keeps processes prepared (AWS_LAMBDA_INITIALIZATION_TYPE is `provisioned-concurrency`): nobody
    waited. A start from a snapshot (`snap-start`) counts as one.
    """
    first = _first.acquire(blocking=False)
    return first and environment.get("AWS_LAMBDA_INITIALIZATION_TYPE") != _PREPARED
