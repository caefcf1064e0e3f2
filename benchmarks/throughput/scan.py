"""How fast is a folder scanned: python -m benchmarks scan [--files N]

6,000 files of five formats (those of the sample library, linked) are scanned twice: when the database does not know
them, so that header, tags and audio hash of each are read, and when it does. A walk with a stat of each file, which is
the least that any scan does, is measured for comparison.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.timing import items_per_s
from db.session import connect
from genremill.sample.library import write_library
from producer.scan import scan_library

FOLDER_FILES = 100  # Files in each folder.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("--files", type=int, default=6000, help="how many (default: 6000)")


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = link_library(Path(folder), options.files)
        database = connect(f"sqlite:///{folder}/scan.db")
        walk = items_per_s(lambda: walk_and_stat(root), options.files)
        new = items_per_s(lambda: scan_library(database, root), options.files)
        known = items_per_s(lambda: scan_library(database, root), options.files)
        database.close()
    print(f"walk and stat {walk:.0f}, known {known:.0f} ({known / walk:.2f} of it), new {new:.0f} files/s")


def link_library(folder: Path, count: int) -> Path:
    """A folder with so many links to the sample library's files."""
    write_library(folder / "sample")
    files = [path for path in (folder / "sample").rglob("*") if path.is_file()]
    for number in range(count):
        file = files[number % len(files)]
        link = folder / "library" / str(number // FOLDER_FILES) / f"{number % FOLDER_FILES}{file.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, link)
    return folder / "library"


def walk_and_stat(root: Path) -> list[os.stat_result]:
    """The status of each file below a folder."""
    return [os.stat(f"{folder}/{name}") for folder, _, names in os.walk(root) for name in names]  # noqa: PTH116
