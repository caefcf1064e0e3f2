"""The summary of `genremill run`: the command that asks the database."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from genremill.commands.run import QUERY, query_command


@dataclass
class FakeDatabase:
    """What query_command() asks of a database."""

    address: str
    file: Path | None = None


@pytest.fixture
def type_into_shell(tmp_path):
    """What a shell makes of a command line: the words that sqlite3 or psql get."""
    for program in ("sqlite3", "psql"):
        script = tmp_path / program
        script.write_text('#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@"\n')
        script.chmod(0o755)

    def type_line(line: str) -> list[str]:
        environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.check_output(["sh", "-c", line], env=environment, text=True).splitlines()

    return type_line


@pytest.mark.parametrize(
    "name", ["plain", "two words", "it's", 'say "so"', "$HOME `pwd` \\n", "-dash", "semi;colon & more", "*?[x]"]
)
def test_a_shell_hands_sqlite3_the_file_and_the_query(type_into_shell, name):
    file = Path("/data") / name / "genremill.db"
    assert type_into_shell(query_command(FakeDatabase(f"sqlite:///{file}", file))) == ["sqlite3", str(file), QUERY]


def test_a_shell_hands_psql_the_address_and_the_query(type_into_shell):
    address = "postgresql://someone@host/genremill?application_name=two words&sslmode=disable"
    assert type_into_shell(query_command(FakeDatabase(address))) == ["psql", address, "-c", QUERY]


def test_a_path_that_needs_no_quotes_has_none():
    file = Path("/data/genremill.db")
    assert query_command(FakeDatabase(f"sqlite:///{file}", file)).startswith(f"sqlite3 {file} 'SELECT path")
