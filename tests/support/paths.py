"""Where the project is, and where the data of its tests is."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[2]
