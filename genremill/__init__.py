"""The `genremill` command, and what only the command needs.

Nothing is imported from the working directory, which is somebody else's: the `settings.py` of a Django project is not
ours. An empty entry of PYTHONPATH, too, means the working directory.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path.cwd() or Path.cwd() == ROOT]
os.environ["PYTHONSAFEPATH"] = "1"  # for every process that is started from here
