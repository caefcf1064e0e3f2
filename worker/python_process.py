"""How genremill starts Python processes of its own: they import nothing from the working directory.

The working directory is somebody else's, and may hold a settings.py or a db/ that is not ours. Python looks there
first for `python -m`, and Celery does for `celery -A`.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # The folder that holds the packages of genremill.
# Environment variables that keep numeric libraries from starting threads of their own.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of genremill with these arguments."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment(**changes: str) -> dict[str, str]:
    """The environment for such a command: that of this process, with changes.

    PYTHONPATH makes the new process find genremill where this process found it.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(ROOT), *(path for path in given if not _is_working_directory(path))]
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths), **changes}


def _is_working_directory(path: str) -> bool:
    """Whether an entry of PYTHONPATH means the working directory, as an empty one does."""
    try:
        return not path or Path(path).samefile(os.curdir)
    except OSError:  # The entry, or the working directory, does not exist.
        return False
