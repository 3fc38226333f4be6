"""All devices, in one thread."""

from __future__ import annotations

import random
import selectors
import threading
import time

from tests.soak import carriage
from tests.soak.boot import Boot
from tests.soak.device import Device

WINDOWS = (1, 5, 20)  # 20: mosquitto's receive maximum for a publisher
_TICK_S = 0.005
_MAX_BEHIND_S = 1.0
_CALM_S = (8.0, 40.0)  # from one mishap of a device to its next
_REBOOTS = 0.4  # share of mishaps that are power cuts; the others are lost connections


class Fleet:
    """Publishes until told to stop, and knows what was acknowledged.

    A bare seq cannot bear everything that a seqref can (shim/bare_seq.py, "What cannot be told apart"): such devices
    keep their power here, and the broker is not killed where they are.

    Args:
        per_second: messages of all devices together, when nothing is in their way.
        bare: with devices that send nothing but a `seq`.
        began: `time.monotonic` at the soak's second 0.
    """

    def __init__(self, port: int, seed: int, devices: int, per_second: float, *, bare: bool, began: float) -> None:
        chance = random.Random(f"{seed}/fleet")
        kinds = (*carriage.KINDS, carriage.BARE) if bare else carriage.KINDS
        self.devices = [
            Device(f"{kinds[n % len(kinds)]}-{n:03d}", kinds[n % len(kinds)], WINDOWS[n // len(kinds) % 3], chance)
            for n in range(devices)
        ]
        self._port = port
        self._chance = chance
        self._interval_s = devices / per_second
        self._began = began
        self._mishap_at = {device: self._later(0.0) for device in self.devices}
        self._held = False
        self._grounded = False
        self._ending = False
        self._closing = threading.Event()
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def hold(self) -> None:
        """Begin no new message; what is on the way is still seen through."""
        self._held = True

    def release(self) -> None:
        """Go on."""
        self._held = False

    def ground(self) -> None:
        """Let no device connect; see `Faults`."""
        self._grounded = True

    def launch(self) -> None:
        """Let them connect again."""
        self._grounded = False

    def finish(self, limit_s: float) -> int:
        """Begin nothing new for good, and wait; gives how many messages are still on the way."""
        self._ending = True
        deadline = time.monotonic() + limit_s
        while self.waiting and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.waiting

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join(10)

    @property
    def waiting(self) -> int:
        """Messages on the way."""
        if self._failure:
            raise RuntimeError(self._failure)
        return sum(device.waiting for device in self.devices)

    @property
    def boots(self) -> list[Boot]:
        """All power-ups so far."""
        return [boot for device in self.devices for boot in list(device.boots)]

    @property
    def acked(self) -> int:
        """Messages that the broker acknowledged."""
        return sum(boot.acked for boot in self.boots)

    @property
    def complaints(self) -> list[str]:
        """What the broker must not have answered."""
        return [complaint for device in self.devices for complaint in device.complaints]

    @property
    def republished(self) -> int:
        """How often a message went out again with DUP."""
        return sum(device.republished for device in self.devices)

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                while not self._closing.is_set():
                    self._turn(selector)
        except Exception as error:
            self._failure = f"the fleet broke: {type(error).__name__}: {error}"
            raise
        finally:
            for device in self.devices:
                device.lose(0.0)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        for device in self.devices:
            self._attend(device, selector, now)
        for key, events in selector.select(_TICK_S):
            device = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    device.write()
                if events & selectors.EVENT_READ:
                    device.read(time.monotonic(), time.monotonic() - self._began)
            except OSError:
                self._part(device, selector, now)

    def _attend(self, device: Device, selector: selectors.BaseSelector, now: float) -> None:
        """What a device does by itself."""
        if now >= self._mishap_at[device]:
            self._mishap(device, selector, now)
        if device.socket is None:
            if now < device.connect_at or self._grounded or self._closing.is_set():
                return
            selector.register(device.connect(self._port, now), selectors.EVENT_READ | selectors.EVENT_WRITE, device)
        if device.impatient(now):
            self._part(device, selector, now)
            return
        self._publish(device, now)
        self._flush(device, selector, now)

    def _publish(self, device: Device, now: float) -> None:
        if self._held or self._ending or now < device.due_at:
            return
        if device.publish():
            device.due_at = max(device.due_at, now - _MAX_BEHIND_S) + self._interval_s

    def _flush(self, device: Device, selector: selectors.BaseSelector, now: float) -> None:
        try:
            device.write()
        except OSError:
            self._part(device, selector, now)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if device.wants_to_write else 0)
        assert device.socket is not None
        if selector.get_key(device.socket).events != wanted:
            selector.modify(device.socket, wanted, device)

    def _mishap(self, device: Device, selector: selectors.BaseSelector, now: float) -> None:
        self._mishap_at[device] = self._later(now)
        if self._ending:
            return
        reboots = self._chance.random() < _REBOOTS and device.kind != carriage.BARE
        if reboots and not self._held:
            device.blurt()
        self._part(device, selector, now)
        if reboots:
            device.reboot(now)

    def _part(self, device: Device, selector: selectors.BaseSelector, now: float) -> None:
        """End the connection of a device."""
        if device.socket is not None:
            selector.unregister(device.socket)
        device.lose(now, reset=self._chance.random() < 0.3)

    def _later(self, now: float) -> float:
        return (now or time.monotonic()) + self._chance.uniform(*_CALM_S)
