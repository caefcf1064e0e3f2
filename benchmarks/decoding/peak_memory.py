"""Peak memory of a process that reads one file: python -m benchmarks.decoding.peak_memory FILE RATE WINDOW

The part `codecs --long` starts it. RATE is the model's sample rate in Hz, WINDOW a window's length in samples.
"""

import os
import sys
from pathlib import Path

from worker.decode.windows import read_windows
from worker.windowing import REGIONS, Windowing


def peak_mib() -> int:
    """The most RAM in MiB that this process has had so far. Linux calls it the high water mark."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10  # The file has KiB.


def main(path: str, rate: str, window: str) -> None:
    """Read the windows and print the peak before and after."""
    before = peak_mib()
    for _ in read_windows(os.fsencode(path), Windowing(int(rate), int(window)), REGIONS):
        pass
    print(f"{peak_mib()} MiB, of which {before} before the file is opened")


if __name__ == "__main__":
    main(*sys.argv[1:])
