"""The help of every command, as it looks in a terminal of 80 columns."""

import pytest
import typer
from typer.testing import CliRunner

from genremill.cli import app

COLUMNS = 80
MAIN = typer.main.get_command(app)
GROUPS = ("libraries", "models", "db")
COMMANDS = [
    (),
    *((name,) for name in MAIN.commands),
    *((group, name) for group in GROUPS for name in MAIN.commands[group].commands),
]  # fmt: skip


def find_command(words):
    """The command that these words name."""
    command = MAIN
    for word in words:
        command = command.commands[word]
    return command


def print_help(words) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(COLUMNS)})
    assert result.exit_code == 0
    return result.output


def test_the_commands_are_those_of_the_readme():
    assert set(MAIN.commands) == {
        *("run", "enqueue", "worker", "status", "results", "genres", "errors"),
        *("gpu", "doctor", "bench", "sample", *GROUPS),
    }
    assert set(MAIN.commands["libraries"].commands) == {"list", "move", "forget", "prune"}
    assert set(MAIN.commands["models"].commands) == {"list", "import", "fetch"}
    assert set(MAIN.commands["db"].commands) == {"upgrade", "check", "vacuum"}


@pytest.mark.parametrize("words", [(), *((group,) for group in GROUPS)])
def test_no_command_is_cut_off_in_the_list_of_commands(words):
    _, commands = print_help(words).split("Commands:\n")
    lines = commands.splitlines()
    assert len(lines) == len(find_command(words).commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_fits_into_the_columns(words):
    assert max(map(len, print_help(words).splitlines())) <= COLUMNS


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_begins_with_a_sentence_that_is_a_paragraph_of_its_own(words):
    first_paragraph = find_command(words).help.split("\n\n")[0]
    assert first_paragraph.endswith(".")
    assert "\n" not in first_paragraph
    assert ". " not in first_paragraph


@pytest.mark.parametrize("words", COMMANDS[1:], ids=" ".join)
def test_every_option_says_what_it_does_and_what_it_is_by_default(words):
    text = " ".join(print_help(words).split())
    for parameter in find_command(words).params:
        help_text = getattr(parameter, "help", None)
        assert help_text, parameter.name
        assert help_text in text
        is_flag = getattr(parameter, "is_flag", False)
        if parameter.default is not None and not parameter.required and not is_flag:
            begin = text.index(help_text)
            assert "[default: " in text[begin : begin + len(help_text) + 20], parameter.name
