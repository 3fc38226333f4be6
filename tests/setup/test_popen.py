"""What tests start ends with them, also when they are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import parts
from services import popen

CI = Path(parts.__file__).parent
PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from services import popen
child = popen([sys.executable, "-c", "while True: pass"])
print(child.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Whether a process still runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_ends_when_the_one_that_started_it_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, str(CI)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while alive(child):
        assert time.monotonic() < deadline, f"process {child} goes on"
        time.sleep(0.01)


def test_tests_start_processes_that_stay_by_that_function_only() -> None:
    """`subprocess.run` waits for its child; a Popen may outlive whoever made it."""
    own = Path(__file__).name
    found = [
        str(path.relative_to(parts.ROOT))
        for path in (parts.ROOT / "tests").rglob("*.py")
        if "subprocess.Popen(" in path.read_text() and path.name != own and "benchmarks" not in path.parts
    ]
    assert found == []


def test_a_process_outlives_the_thread_that_started_it() -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: started.append(popen([sys.executable, "-c", "input()"], stdin=-1)))
    thread.start()
    thread.join()
    (process,) = started
    process.communicate(b"\n")
    assert process.returncode == 0
