"""`genremill sample`: what it says, and how it fails."""

import shutil

import pytest
from typer.testing import CliRunner

from genremill import console
from genremill.cli import app
from genremill.sample.library import BROKEN_FLAC, BROKEN_MP3


def test_it_says_what_it_wrote_and_where(library):
    result = CliRunner().invoke(app, ["sample", str(library)])
    assert result.exit_code == 0
    assert f"30 files, two of them broken on purpose and one a duplicate, in {library}" in result.output


def test_it_says_how_many_files_were_missing(library, tmp_path):
    folder = shutil.copytree(library, tmp_path / "sample")
    for name in (BROKEN_MP3, BROKEN_FLAC):
        (folder / name).unlink()
    assert "2 written now, 28 there already" in CliRunner().invoke(app, ["sample", str(folder)]).output


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path, capsys, below):
    file = tmp_path / "file"
    file.touch()
    assert console.guarded(lambda: app(["sample", str(file / below)], prog_name="genremill")) == 2
    error = capsys.readouterr().err
    assert error == f"genremill: the sample library cannot be written to {file / below}: Not a directory\n"
