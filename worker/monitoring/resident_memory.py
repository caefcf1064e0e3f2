"""How much RAM this process uses."""

import os
from pathlib import Path

STATM = Path("/proc/self/statm")  # Linux writes the process's memory there, in pages: size, resident, shared, ...


def resident_bytes() -> int:
    """Bytes of this process's memory that are in RAM now (its resident set size); 0 on systems that have no /proc."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
