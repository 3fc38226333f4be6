"""The device's end of a session: Python in, one line of JSON out. session.py is the other end.

Each line of stdin is a JSON object: {"run": code} executes, {"ask": expression} answers with its value. An answer is
{"value": ...} or {"error": [type, args, text]}; bytes travel as {"hex": ...}. Whatever else is printed is passed over.
"""

import json
import sys
from binascii import hexlify

space = {}


def plain(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"hex": hexlify(bytes(value)).decode()}
    if isinstance(value, dict):
        return {k if isinstance(k, str) else repr(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


def answer(line):
    try:
        request = json.loads(line)
        if "run" in request:
            exec(request["run"], space)
            return {"value": None}
        return {"value": plain(eval(request["ask"], space))}
    except Exception as error:
        return {"error": [type(error).__name__, plain(list(error.args)), repr(error)]}


while True:
    line = sys.stdin.readline()
    if not line:
        break
    print("\x01" + json.dumps(answer(line)))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()
