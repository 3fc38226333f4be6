"""Which device a message is of, where the broker names it in a user property and not the topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.topics import MAX_DEVICE_ID_BYTES

_FORBIDDEN: Final = frozenset("/+#")  # a device id is a level of the topics we publish to


def device_of(user_properties: Iterable[tuple[str, str]], name: str) -> str:
    """Read the device id out of the user property that the broker sets.

    Why one that is there twice is refused: a broker that adds its own behind the sender's would leave the choice to
    the reader, and the sender's comes first.

    Args:
        user_properties: as received.
        name: of the property, exactly as the broker writes it.
    Returns:
        1..255 bytes in UTF-8, printable, without '/', '+' and '#'.
    Raises:
        WireError: `device_property_missing`; `device_property_invalid`: there twice, or no device id.
    Source: docs/trust.md, "Who a device is".
    """
    found = [value for key, value in user_properties if key == name]
    if not found:
        raise WireError("device_property_missing", f"no user property {name!r}; have the broker set it (docs/trust.md)")
    if len(found) > 1:
        raise WireError(
            "device_property_invalid",
            f"{len(found)} user properties {name!r}; have the broker remove what the device sends under this name",
        )
    device_id = found[0]
    size = len(device_id.encode("utf-8", "replace"))
    if not 1 <= size <= MAX_DEVICE_ID_BYTES or not device_id.isprintable() or _FORBIDDEN & set(device_id):
        raise WireError(
            "device_property_invalid",
            f"user property {name!r} is {device_id[:40]!r}; a device id is 1..{MAX_DEVICE_ID_BYTES} bytes in UTF-8, "
            "printable, without '/', '+' and '#'",
        )
    return device_id
