"""Carries the schedule out: one thread for each target, so that faults overlap as they may."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.soak.backend import Backend
from tests.soak.broker import SoakBroker
from tests.soak.fleet import Fleet
from tests.soak.ledger_server import SoakValkey
from tests.soak.schedule import Fault
from tests.soak.shim import SoakShim
from tests.waiting import until

_QUIET_LIMIT_S = 30.0
_RETURN_LIMIT_S = 60.0
_INTO_THE_VOID_S = 0.2


class Faults:
    """The injectors.

    Attributes:
        done: how often each (target, kind) befell. now: what each target suffers at this moment.
        story: a line for each, with its second.
    """

    def __init__(
        self, broker: SoakBroker, backend: Backend, valkey: SoakValkey | None, shims: Sequence[SoakShim], fleet: Fleet,
        began: float,
    ) -> None:  # fmt: skip
        self._broker = broker
        self._backend = backend
        self._valkey = valkey
        self._shims = shims
        self._fleet = fleet
        self._began = began
        self.done: Counter[str] = Counter()
        self.now: dict[str, str] = {}
        self.story: list[str] = []
        self.errors: list[str] = []
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acts: dict[str, Callable[[Fault, int], None]] = {
            "shim": self._on_shim,
            "broker": self._on_broker,
            "redis": self._on_valkey,
            "backend": self._on_backend,
            "disk": self._on_disk,
            "clock": self._on_clock,
        }

    def start(self, plan: Sequence[Fault]) -> None:
        """Begin."""
        for target in dict.fromkeys(fault.target for fault in plan):
            own = [fault for fault in plan if fault.target == target]
            self._threads.append(threading.Thread(target=self._carry_out, args=(own,), name=target, daemon=True))
            self._threads[-1].start()

    def running(self) -> bool:
        """Some are still to come, or not over."""
        return any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Begin no other; wait for those that are on."""
        self._closing.set()
        for thread in self._threads:
            thread.join(60)

    def _pause(self, seconds: float) -> None:
        self._closing.wait(max(0.0, seconds))

    def _carry_out(self, plan: Sequence[Fault]) -> None:
        try:
            for fault in plan:
                # One that took longer than planned (a slow SIGTERM) moves the next.
                self._pause(self._began + fault.at_s - time.monotonic())
                if self._closing.is_set():
                    return
                self._befall(fault)
        except Exception as error:  # noqa: BLE001 (told at the end: the soak is then void)
            self.errors.append(f"{fault}: {type(error).__name__}: {error}")

    def _befall(self, fault: Fault) -> None:
        sort, _, number = fault.target.partition(" ")
        begin = time.monotonic() - self._began
        self.now[fault.target] = fault.kind
        try:
            self._acts[sort](fault, int(number or 0))
        finally:
            self.now.pop(fault.target, None)
        self.done[f"{sort} {fault.kind}"] += 1
        amount = f" {fault.amount}" if fault.amount else ""
        end = time.monotonic() - self._began
        self.story.append(f"{begin:7.1f} .. {end:7.1f} s  {fault.target}: {fault.kind}{amount}")

    def _on_shim(self, fault: Fault, number: int) -> None:
        shim = self._shims[number]
        if fault.kind == "stall":
            shim.stall(fault.length_s)
            return
        if fault.kind == "SIGTERM":
            shim.terminate()
        elif fault.kind == "kill -9 in a rush":
            # Batches are small while it keeps up; behind a stall they are large, and one is in work at any moment.
            shim.stall(fault.length_s)
            time.sleep(fault.amount / 1000)
            shim.kill()
        elif fault.kind == "kill -9 without room":
            self._kill_without_room(shim, fault.length_s)
        else:
            shim.kill()
        self._pause(fault.length_s)
        shim.start()

    def _kill_without_room(self, shim: SoakShim, seconds: float) -> None:
        """With messages in its hands that it could not write."""
        shim.fill_disk(0, whole=True)
        try:
            self._pause(seconds)
            shim.kill()
        finally:
            shim.free_disk()

    def _on_broker(self, fault: Fault, _: int) -> None:
        if fault.kind == "restart":
            self._broker.stop()
        else:
            self._kill_broker()
        self._pause(fault.length_s)
        if len(self._shims) == 1:
            self._broker.start()
        else:
            self._start_shared_broker()

    def _start_shared_broker(self) -> None:
        """Let devices in once a shim has subscribed anew.

        mosquitto writes shared subscriptions into no file: until then it acknowledges and throws away, and says so to
        MQTT 5 devices (10 hex, no matching subscribers). That is the broker's loss, and in docs/scaling.md.
        """
        self._fleet.ground()
        try:
            before = self._subscribed()
            self._broker.start()
            until(lambda: self._subscribed() > before or self._closing.is_set(), "a shim subscribes", _RETURN_LIMIT_S)
        finally:
            self._fleet.launch()

    def _subscribed(self) -> int:
        return sum(shim.log().count('"subscribed"') for shim in self._shims)

    def _kill_broker(self) -> None:
        """Once everything acknowledged is on its disk; what devices send into its last moment nobody ever reads."""
        self._fleet.hold()
        try:
            until(lambda: not self._fleet.waiting, "everything is acknowledged", _QUIET_LIMIT_S)
            self._broker.save()
            self._broker.freeze()
        finally:
            self._fleet.release()
        self._pause(_INTO_THE_VOID_S)
        self._broker.kill()

    def _on_valkey(self, fault: Fault, _: int) -> None:
        assert self._valkey is not None
        if fault.kind == "stall":
            self._valkey.stall(fault.length_s)
            return
        if fault.kind == "restart":
            self._valkey.stop()
        else:
            self._valkey.kill()
        self._pause(fault.length_s)
        self._valkey.start()

    def _on_backend(self, fault: Fault, _: int) -> None:
        if fault.kind == "gone":
            self._backend.stop()
            self._pause(fault.length_s)
            self._backend.start()
            return
        self._backend.retry_after_s = fault.amount
        self._backend.mode = fault.kind
        self._pause(fault.length_s)
        self._backend.mode = "ok"

    def _on_disk(self, fault: Fault, number: int) -> None:
        shim = self._shims[number]
        shim.fill_disk(fault.amount, whole=fault.kind == "no room")
        try:
            self._pause(fault.length_s)
        finally:
            shim.free_disk()

    def _on_clock(self, fault: Fault, number: int) -> None:
        self._shims[number].step_clock(fault.amount if fault.kind == "forward" else -fault.amount)
