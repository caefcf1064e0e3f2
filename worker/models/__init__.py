"""The models, by name. Importing this loads no torch: the producer names models too."""

from dataclasses import dataclass
from pathlib import Path

from settings import GenremillError

SHIPPED = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class Entry:
    """Where a model's code and weights are.

    The module has SAMPLE_RATE (Hz), WINDOW (samples), LABELS ((name, kind), ...), FEATURES (a dict that says how its
    input is made) and load(path) -> a torch module from (windows, WINDOW) float32 in [-1, 1] to probabilities,
    (windows, labels).
    """

    module: str
    version: str  # of the code: a change of it makes earlier predictions stale
    shipped: Path | None = None  # weights that come with genremill


MODELS = {"musicnn": Entry("worker.models.musicnn", "1", SHIPPED / "musicnn.safetensors")}


def find(name: str) -> Entry:
    """The model of this name. Raises GenremillError that lists the names there are."""
    if name not in MODELS:
        raise GenremillError(f"there is no model {name!r}; choose from: {', '.join(sorted(MODELS))}")
    return MODELS[name]
