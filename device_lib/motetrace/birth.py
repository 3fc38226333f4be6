"""The birth message: said once per boot, retained, so that what is the same for a whole boot costs no byte later."""

import json
from binascii import hexlify


def birth(tracer, firmware="", baggage=None):
    """Return the JSON of `motetrace/<device>/birth`, to be published retained at QoS 1 after connecting; allocates.

    Args:
        firmware: version of the application, 1..64 characters, shown as device.firmware.
        baggage: dict of str to str that the host attaches to every trace of this boot.
    Source: docs/wire-format.md, "birth".
    """
    b = {"v": 1, "nonce": hexlify(tracer.block[:5]).decode(), "mode": tracer.mode, "threshold": tracer.threshold}
    if firmware:
        b["fw"] = firmware
    if baggage:
        b["baggage"] = baggage
    return json.dumps(b).encode()
