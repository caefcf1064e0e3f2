"""`genremill sample`: a small music library to try genremill on."""

from pathlib import Path
from typing import Annotated

import typer

from genremill import console


def sample(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="folder to write it into; files that are there stay")
    ],
) -> None:
    """Compose a small music library to try genremill on.

    Two of its files are broken on purpose, and one is a duplicate of another.
    """
    from genremill.sample.library import library_paths, write_library

    written, files = write_library(folder), library_paths(folder)
    console.out.print(
        f"{len(files)} files, two of them broken on purpose and one a duplicate, in {console.printable(str(folder))}: "
        f"{len(written)} written now, {len(files) - len(written)} there already",
        soft_wrap=True,
        markup=False,
    )
