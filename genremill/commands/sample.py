"""`genremill sample`: a small music library to try things on."""

from pathlib import Path
from typing import Annotated

import typer

from genremill import console


def sample(folder: Annotated[Path, typer.Argument(help="where to write it; files that are there stay")]) -> None:
    """Compose a small music library to try things on."""
    from genremill.sample.library import compose_library

    files = compose_library(folder)
    console.out.print(
        f"{len(files)} files, two of them broken on purpose and one a duplicate, in {console.printable(str(folder))}",
        soft_wrap=True,
        markup=False,
    )
