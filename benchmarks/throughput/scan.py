"""How fast a library is scanned: python -m benchmarks.throughput.scan

6,000 files of five formats (the sample library's, linked), new to the database (header, tags and audio hash of each are
read) and then known to it; beside them a walk with a stat of each file, which is the least that any scan does.
"""

import os
import tempfile
import time
from pathlib import Path

from db.session import connect
from genremill.sample.library import compose_library
from producer.scan import scan_library

FOLDERS, FILES = 60, 100


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = link_library(Path(folder))
        database = connect(f"sqlite:///{folder}/scan.db")
        least = rate(lambda: walk_and_stat(root))
        new = rate(lambda: scan_library(database, root))
        known = rate(lambda: scan_library(database, root))
        database.close()
    print(f"walk and stat {least:.0f}, known {known:.0f} ({known / least:.2f} of it), new {new:.0f} files/s")


def link_library(folder: Path) -> Path:
    """The sample library's files under many names."""
    compose_library(folder / "sample")
    files = [path for path in (folder / "sample").rglob("*") if path.is_file()]
    for number in range(FOLDERS):
        (folder / "library" / str(number)).mkdir(parents=True)
        for index in range(FILES):
            file = files[(number * FILES + index) % len(files)]
            os.link(file, folder / "library" / str(number) / f"{index}{file.suffix}")
    return folder / "library"


def walk_and_stat(root: Path) -> list[os.stat_result]:
    """The least that any scan does."""
    return [os.stat(f"{folder}/{name}") for folder, _, names in os.walk(root) for name in names]  # noqa: PTH116


def rate(work) -> float:
    """Files a second."""
    began = time.perf_counter()
    work()
    return FOLDERS * FILES / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
