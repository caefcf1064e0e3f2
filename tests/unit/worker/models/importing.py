"""Imports of weights, for the tests of them."""

from pathlib import Path

import pytest
import torch

from settings import GenremillError
from worker.models import weight_import


def saved(path: Path, state: object) -> Path:
    """The path, after torch.save has written the state into it."""
    torch.save(state, path)
    return path


def stored(data_dir: Path) -> list[str]:
    """The names of all files in the data folder but models of the user's."""
    return sorted(path.name for path in data_dir.rglob("*") if path.is_file() and path.suffix != ".py")


def refused(data_dir: Path, source: Path, *arguments: object) -> str:
    """The message of an import that is refused; it is one line, and nothing was stored."""
    with pytest.raises(GenremillError) as raised:
        weight_import.import_weights(source, *arguments)
    assert stored(data_dir) == []
    assert "\n" not in str(raised.value)
    return str(raised.value)
