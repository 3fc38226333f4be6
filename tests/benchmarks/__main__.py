"""`make bench`: motetrace beside the obvious way of doing the same, as ratios within one run."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ci"))

from tests.benchmarks import device_encoder, shim_parts, shim_throughput
from tests.device import ram, sizes

BENCHMARKS = {
    "sizes": lambda: print(sizes.table(sizes.measure())),
    "ram": ram.main,
    "encoder": device_encoder.main,
    "shim": shim_throughput.main,
    "parts": shim_parts.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all when none is named")
    names = parser.parse_args().names or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        BENCHMARKS[name]()
        print()


if __name__ == "__main__":
    main()
