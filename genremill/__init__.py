"""The `genremill` command, and what only the command needs.

Importing this package takes the working directory off Python's search path for modules, before any other module of
genremill is imported. That folder belongs to somebody else: a Django project, for example, has a `settings.py` there.
"""

import os
import site
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]  # The folder that holds genremill/, worker/ and settings.py.
STANDARD_LIBRARY = str(Path(os.__file__).parent)


def without_working_directory(search_path: Sequence[str]) -> list[str]:
    """The entries of a module search path without those that mean the working directory.

    `python -m` and `python -c` put such an entry first. An empty entry of PYTHONPATH means the working directory, too.
    Entries behind the standard library always stay, because only installed packages put them there.
    All entries stay when genremill itself, or the packages that it needs, are installed in the working directory.
    """
    installed: list[str | Path] = [PROJECT_ROOT, *site.getsitepackages(), site.getusersitepackages()]
    if any(_is_working_directory(folder) for folder in installed):
        return list(search_path)
    own_entries = search_path.index(STANDARD_LIBRARY) if STANDARD_LIBRARY in search_path else len(search_path)
    removable, kept = search_path[:own_entries], search_path[own_entries:]
    return [*(entry for entry in removable if not _is_working_directory(entry)), *kept]


def _is_working_directory(folder: str | Path) -> bool:
    try:
        return Path(folder).samefile(os.curdir)
    except OSError:  # The entry does not exist, for example Python's own python311.zip, or it cannot be looked at.
        return False


sys.path[:] = without_working_directory(sys.path)
os.environ["PYTHONSAFEPATH"] = "1"  # Every Python process that is started from here leaves it out, too.
