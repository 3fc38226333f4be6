"""A string of the application's in JSON: whatever is in it, only printable ASCII comes out."""


def _escape(j, c):
    j.byte(92)
    j.byte(117)
    i = 12
    while i >= 0:
        j.byte(b"0123456789abcdef"[c >> i & 15])
        i -= 4


def put_text(j, s):
    """Write a str in quotes; anything but plain printable characters as \\u and 4 digits; allocates."""
    j.byte(34)
    for c in s:
        c = ord(c)
        if c > 0xFFFF:
            c -= 0x10000
            _escape(j, 0xD800 | c >> 10)
            _escape(j, 0xDC00 | c & 0x3FF)
        elif c < 32 or c > 126 or c == 34 or c == 92:
            _escape(j, 0xFFFD if 0xD800 <= c < 0xE000 else c)  # half a pair means nothing to anybody
        else:
            j.byte(c)
    j.byte(34)
