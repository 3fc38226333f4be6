"""A JSON object without nesting, read in one pass: for messages that anybody may have sent."""

from motetrace.json_number import number


def _space(b, i):
    while i < len(b) and b[i] in b" \t\r\n":
        i += 1
    return i


def _string(b, i):
    # The offset after the string that begins at i.
    if b[i] != 34:
        raise ValueError("json")
    i += 1
    while b[i] != 34:
        if b[i] < 32:
            raise ValueError("json")
        if b[i] == 92:
            i += 1
            if b[i] not in b'"\\/bfnrtu':
                raise ValueError("json")
        i += 1
    return i + 1


def members(b):
    """Return {name: value}, both bytes as they stand in b: with escapes, values that are strings in their quotes.

    Raises:
        ValueError: "nested", "repeated" (a name), or "json".  IndexError: it ends too early.
    """
    out = {}
    i = _space(b, 0)
    if b[i] != 123:
        raise ValueError("json")
    i = _space(b, i + 1)
    if b[i] != 125:
        while True:
            j = _string(b, i)
            name = b[i + 1 : j - 1]
            i = _space(b, j)
            if b[i] != 58:
                raise ValueError("json")
            i = _space(b, i + 1)
            if b[i] in b"[{":
                raise ValueError("nested")
            if b[i] == 34:
                j = _string(b, i)
            else:
                j = i
                while b[j] not in b",} \t\r\n":
                    j += 1
                if b[i:j] not in (b"true", b"false", b"null"):
                    number(b[i:j])
            if name in out:
                raise ValueError("repeated")
            out[name] = b[i:j]
            i = _space(b, j)
            if b[i] == 125:
                break
            if b[i] != 44:
                raise ValueError("json")
            i = _space(b, i + 1)
    if _space(b, i + 1) < len(b):
        raise ValueError("json")
    return out
