"""The models, by name. Importing this loads no torch: the producer names models too.

A model is a module that has

    SAMPLE_RATE   Hz
    WINDOW        samples in a window, context included
    LABELS        ((name, kind), ...): kind is genre, mood, era, instrument or voice
    FEATURES      a dict that says how its input is made
    build(state)  the torch module that a state dict is for: from (windows, WINDOW) float32 in [-1, 1] to
                  probabilities (windows, labels)
    HOP           only where a track is cut as the published systems do: samples between two frames
    BAND_HZ       only where nothing matters above this frequency: MP3 is then decoded in less time

Those that come with genremill are listed here; `<data folder>/models/NAME.py` adds one (docs/models.md).
"""

import importlib
import importlib.util
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import settings
from settings import GenremillError

SHIPPED = Path(__file__).with_name("weights")
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class ModelEntry:
    """Where a model's code and weights are."""

    name: str
    module: str | Path  # a module of genremill's, or a file of the user's
    version: str  # of the code: a change of it makes earlier predictions stale
    shipped: Path | None = None  # weights that come with genremill
    published: tuple[str, str] | None = None  # weights on Hugging Face: repository and file


CCMUSIC = "ccmusic-database/music_genre"
BUILT_IN = {
    entry.name: entry
    for entry in (
        ModelEntry("musicnn", "worker.models.networks.musicnn", "1", shipped=SHIPPED / "musicnn.safetensors"),
        ModelEntry("vit_b_16_mel", "worker.models.networks.vit", "1", published=(CCMUSIC, "vit_b_16_mel/save.pt")),
        ModelEntry("vgg19_bn_cqt", "worker.models.networks.vgg", "1", published=(CCMUSIC, "vgg19_bn_cqt/save.pt")),
    )
}


def folder() -> Path:
    """Where imported weights and the user's own models are."""
    return settings.load().data_dir / "models"


def list_models() -> list[ModelEntry]:
    """All models, those of the user last."""
    own = (path for path in sorted(folder().glob("*.py")) if NAME.fullmatch(path.stem))
    return [*BUILT_IN.values(), *(_own(path) for path in own if path.stem not in BUILT_IN)]


def find_model(name: str) -> ModelEntry:
    """The model of this name. Raises GenremillError that lists the names there are."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if NAME.fullmatch(name) and (path := folder() / f"{name}.py").is_file():
        return _own(path)
    names = ", ".join(entry.name for entry in list_models())
    raise GenremillError(f"there is no model {name!r}; choose from: {names}")


def _own(path: Path) -> ModelEntry:
    """The user's model in this file. Its version is what is in the file."""
    return ModelEntry(path.stem, path, sha256(path.read_bytes()).hexdigest()[:12])


def import_model_module(entry: ModelEntry) -> ModuleType:
    """The model's code. Raises GenremillError when the user's file cannot be used."""
    if isinstance(entry.module, str):
        return importlib.import_module(entry.module)
    spec = importlib.util.spec_from_file_location(f"genremill_model_{entry.name}", entry.module)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise GenremillError(f"{entry.module} cannot be used as a model: {type(error).__name__}: {error}") from error
    needed = ("SAMPLE_RATE", "WINDOW", "LABELS", "FEATURES", "build")
    missing = next((need for need in needed if not hasattr(module, need)), None)
    if missing:
        raise GenremillError(f"{entry.module} cannot be used as a model: it has no {missing} (see docs/models.md)")
    return module
