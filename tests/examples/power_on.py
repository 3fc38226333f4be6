"""Start an example as a board does: ticks begin at 0, the program is __main__.

micropython power_on.py FOLDER EXAMPLE      FOLDER: the example, its settings.py, wifi.py; also where it runs
"""

# ruff: noqa: E402, PTH123
import os
import sys
import time

sys.path.append(".frozen")  # MICROPYPATH replaces the default path, and with it what is frozen in, such as asyncio
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[1])

from motetrace import _port

began = time.ticks_ms()
_port.ticks_ms = lambda: time.ticks_diff(time.ticks_ms(), began)
with open(sys.argv[2]) as file:
    program = file.read()
exec(compile(program, sys.argv[2], "exec"), {"__name__": "__main__"})
