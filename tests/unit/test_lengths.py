"""Files, functions, lines and sentences that stay short enough to be read."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_MARKDOWN_COLUMNS = 100  # Rows of tables and lines with an address may be longer.
MAX_SENTENCE_WORDS = 30


def list_files(suffix: str) -> list[str]:
    """The project's files of this kind, those that are new too, without what tools made of it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", f"*{suffix}"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file() and "migrations/versions" not in name]


PYTHON = list_files(".py")
MARKDOWN = [name for name in list_files(".md") if "/raw/" not in name and Path(name).name != "LICENSE.md"]


@pytest.mark.parametrize("name", PYTHON)
def test_a_file_and_its_functions_are_short(name):
    source = (ROOT / name).read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [node.name for node in functions if node.end_lineno - node.lineno >= MAX_FUNCTION_LINES] == []


@pytest.mark.parametrize("name", MARKDOWN)
def test_a_document_has_short_lines(name):
    lines = (ROOT / name).read_text().splitlines()
    long = [line for line in lines if len(line) > MAX_MARKDOWN_COLUMNS]
    assert [line for line in long if not line.startswith("|") and "://" not in line] == []


@pytest.mark.parametrize("name", MARKDOWN)
def test_a_document_has_short_sentences(name):
    assert [sentence for sentence in read_sentences(name) if len(sentence.split()) > MAX_SENTENCE_WORDS] == []


def read_sentences(name: str) -> list[str]:
    """The sentences of a document: of paragraphs and of the items of lists, without code and tables."""
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = ["" if line.startswith(("|", "#", "    ")) else line for line in text.splitlines()]
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines))
    return [sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.!?])[)\"*]*\s+", paragraph.strip())]
