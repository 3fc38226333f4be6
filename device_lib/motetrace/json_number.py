"""A number out of a JSON text, in ints only: a float on a board has 24 bits."""


def number(b):
    """Return (n, e) for a JSON number in bytes: n * 10**e, n of at most 9 digits, further ones cut off.

    Raises:
        ValueError, IndexError: it is none.
    """
    i = 1 if b[0] == 45 else 0
    zero = b[i] == 48
    n = e = 0
    point = -1
    start = i
    while i < len(b) and (48 <= b[i] <= 57 or b[i] == 46 and point < 0):
        if b[i] == 46:
            point = i
        elif n < 100000000:
            n = n * 10 + b[i] - 48
            e -= point >= 0
        else:
            e += point < 0
        i += 1
    # A digit before the point and one after it, and no 0 before others.
    if (i if point < 0 else point) == start or i == point + 1 or zero and (i if point < 0 else point) > start + 1:
        raise ValueError("json")
    if i < len(b):
        if b[i] not in b"eE":
            raise ValueError("json")
        i += 1
        down = b[i] == 45
        if down or b[i] == 43:
            i += 1
        if not 0 < len(b) - i < 5:
            raise ValueError("json")
        x = 0
        while i < len(b):
            if not 48 <= b[i] <= 57:
                raise ValueError("json")
            x = x * 10 + b[i] - 48
            i += 1
        e += -x if down else x
    return -n if b[0] == 45 else n, e
