"""How genremill starts Python processes of its own: they import nothing from the working directory.

The working directory is somebody else's, and may hold a settings.py or a db/ that is not ours. Python looks there
first for `python -m`, and Celery does for `celery -A`.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}  # for numeric libraries


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of genremill."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment(**changes: str) -> dict[str, str]:
    """The environment for it: what this process has, with changes, and genremill found where this process found it."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]  # an empty one is here
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *paths]), **changes}
