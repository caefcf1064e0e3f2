"""The models that there are, by name.

Those that come with genremill are listed here. A file `models/NAME.py` in the data folder adds a model of the user's
own (see docs/models.md). Importing this loads no torch, because the producer names models too.
"""

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import cast

import settings
from settings import GenremillError
from worker.models.interface import REQUIRED_NAMES, ModelModule

SHIPPED_WEIGHTS_DIR = Path(__file__).with_name("weights")
MODEL_NAME = re.compile(r"[a-z][a-z0-9_]*")  # A file of another name in the folder of models is no model.
VERSION_DIGITS = 12  # Of the SHA-256 of a user's file: enough to tell its versions apart.
CCMUSIC = "ccmusic-database/music_genre"  # A repository of Hugging Face.

# What docs/models.md once named to users, and where it is now. Their models may go on to import the old names.
MOVED_MODULES = {"worker.cqt": "worker.features.constant_q", "worker.image": "worker.features.picture"}


@dataclass(frozen=True)
class ModelEntry:
    """Where a model's code and weights are."""

    name: str
    module: str | Path  # The dotted name of a module of genremill, or the file of a user's model.
    version: str  # Of the code. When it changes, earlier predictions count as stale.
    shipped: Path | None = None  # Weights that come with genremill.
    published: tuple[str, str] | None = None  # Weights on Hugging Face: the repository, and the file in it.
    embeds_by_default: bool = False  # Whether its embeddings are stored where GENREMILL_EMBEDDINGS is "auto".


BUILT_IN = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "musicnn",
            "worker.models.networks.musicnn",
            "1",
            shipped=SHIPPED_WEIGHTS_DIR / "musicnn.safetensors",
            embeds_by_default=True,
        ),
        ModelEntry("vit_b_16_mel", "worker.models.networks.vit", "1", published=(CCMUSIC, "vit_b_16_mel/save.pt")),
        ModelEntry("vgg19_bn_cqt", "worker.models.networks.vgg", "1", published=(CCMUSIC, "vgg19_bn_cqt/save.pt")),
    )
}


def models_dir() -> Path:
    """The folder of imported weights and of the user's own models."""
    return settings.load().data_dir / "models"


def list_models() -> list[ModelEntry]:
    """All models: those of genremill, then those of the user by name."""
    paths = [path for path in sorted(models_dir().glob("*.py")) if MODEL_NAME.fullmatch(path.stem)]
    return [*BUILT_IN.values(), *(_describe_own_model(path) for path in paths if path.stem not in BUILT_IN)]


def find_model(name: str) -> ModelEntry:
    """The model of this name. Raises GenremillError, which lists the names that there are."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if MODEL_NAME.fullmatch(name) and (path := models_dir() / f"{name}.py").is_file():
        return _describe_own_model(path)
    names = ", ".join(entry.name for entry in list_models())
    raise GenremillError(f"there is no model {name!r}; choose from: {names}")


def _describe_own_model(path: Path) -> ModelEntry:
    """The user's model in this file. Its version changes with the content of the file."""
    return ModelEntry(path.stem, path, sha256(path.read_bytes()).hexdigest()[:VERSION_DIGITS])


def import_model_module(entry: ModelEntry) -> ModelModule:
    """The module that describes a model. Raises GenremillError when a user's file cannot be used as one."""
    if isinstance(entry.module, str):
        return cast(ModelModule, importlib.import_module(entry.module))
    try:
        module = _execute_file(f"genremill_model_{entry.name}", entry.module)
    except Exception as error:
        raise GenremillError(f"{entry.module} cannot be used as a model: {type(error).__name__}: {error}") from error
    missing_name = next((name for name in REQUIRED_NAMES if not hasattr(module, name)), None)
    if missing_name:
        raise GenremillError(f"{entry.module} cannot be used as a model: it has no {missing_name} (see docs/models.md)")
    return cast(ModelModule, module)


def _execute_file(module_name: str, path: Path) -> ModuleType:
    """A user's file as a module of this name. Raises whatever the file raises."""
    for old_name, new_name in MOVED_MODULES.items():
        sys.modules.setdefault(old_name, importlib.import_module(new_name))
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None  # It is None only for files whose names do not end in .py.
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
