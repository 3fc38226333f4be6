"""The context of a command that carries it in its JSON payload, for clients of MQTT 3.1.1."""

_MEMBER = b'\0{\0"traceparent"\0:\0"'  # \0: white space may stand here


def read_member(incoming, msg):
    """Have an Incoming read the traceparent that leads a JSON object, in place; return what its read() returns.

    msg: bytes, bytearray or memoryview. Allocates nothing. Source: docs/wire-format.md, "Carriers".
    """
    i = k = 0
    while k < len(_MEMBER):
        if _MEMBER[k] == 0:
            while i < len(msg) and msg[i] in b" \t\r\n":
                i += 1
        elif i < len(msg) and msg[i] == _MEMBER[k]:
            i += 1
        else:
            return incoming.read(None)
        k += 1
    return incoming.read(msg, i, i + 55)
