"""What to type when a part cannot be fetched here. Every remedy is one command, and says what needs the part."""

import os
import shutil
import sys

# Debian inside a container has every part, the 32-bit interpreter included; the checkout itself stays untouched.
CONTAINER = (
    'docker run --rm -it --platform linux/amd64 -v "$PWD":/src:ro python:3 '
    "sh -c 'cp -r /src /motetrace && cd /motetrace && rm -rf .venv .cache && make demo'"
)
COMMANDS = {
    "brew": {
        "micropython64": "brew install micropython",
        "mosquitto": "brew install mosquitto",
        "influxd": "brew install influxdb@1",
        "valkey": "brew install valkey",
    },
    "apt-get": {
        "micropython64": "apt-get install micropython",
        # Only Debian itself builds it for 32 bits; its mirror can be used from Ubuntu and others.
        "micropython32": "apt-get install debian-archive-keyring && "
        "MOTETRACE_DEBIAN_MIRROR=<URI of a Debian mirror> python .ci/parts.py micropython32",
        "mosquitto": "apt-get install mosquitto",
        "influxd": "apt-get install influxdb",
        "valkey": "apt-get install redis-server",
    },
    "dnf": {"mosquitto": "dnf install mosquitto", "valkey": "dnf install valkey"},
    "pacman": {"mosquitto": "pacman -S mosquitto", "valkey": "pacman -S valkey"},
}


def remedy(name: str) -> str:
    """The command that gets the part on this machine, and what needs it."""
    need = f"Needed by: make demo, make test{', make bench' if name.startswith('micropython') else ''}."
    if name == "simple2":
        return f"Get it with: rm -rf .venv && make demo\n{need}"
    for manager in ("brew",) if sys.platform == "darwin" else ("apt-get", "dnf", "pacman"):
        command = COMMANDS[manager].get(name)
        if command and (shutil.which(manager) or manager == "brew"):
            sudo = "sudo " if manager != "brew" and os.geteuid() != 0 else ""
            return f"Get it with: {sudo}{command}\n{need}"
    return f"Run everything in a container of Debian, which has it: {CONTAINER}\n{need}"
