"""Where the project and the data of its tests are."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[2]
