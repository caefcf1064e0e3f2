"""Weights from elsewhere: checked against the model's architecture, then stored under the data folder."""

import json
import os
import pickle
import re
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from settings import GenremillError
from worker.models import checkpoints, registry
from worker.models.checkpoints import LABELS, Checkpoint, WeightsMismatchError

WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the state dict
PARALLEL = "module."  # before every name, by torch.nn.DataParallel
LFS_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ImportResult:
    """What an import did."""

    checkpoint: Checkpoint
    classes: int
    left_out: int  # parameters of the file that the model does not have


def import_weights(source: Path, name: str = "", labels: Path | None = None) -> ImportResult:
    """Store the weights of a file for a model, the one they fit where no name is given. Nothing is stored unless all of
    it is right. Raises GenremillError.

    source: a state dict, of torch.save or safetensors. labels: a file with a label on each line.
    """
    state = read_state(source)
    entry, module, network = _match(source, state, name)
    weights = {key: _plain(value) for key, value in network.state_dict().items()}
    broken = next((key for key, value in weights.items() if not value.isfinite().all()), None)
    if broken:
        raise GenremillError(f"{source}: its parameter {broken} holds values that are no numbers; train it again")
    classes = _count_outputs(source, network, module.WINDOW)
    named = _read_labels(labels) if labels else module.LABELS
    if len(named) != classes:
        where = labels or f"the model {entry.name}"
        hint = "correct it" if labels else "name them with --labels FILE, one on each line"
        raise GenremillError(f"{source} tells {classes} classes apart, and {where} has {len(named)} labels: {hint}")
    return ImportResult(_store(entry, weights, named), classes, len(state.keys() - weights.keys()))


def read_state(source: Path) -> dict[str, Tensor]:
    """The state dict in a file; code in it is not run. Raises GenremillError."""
    try:
        with source.open("rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"
        with warnings.catch_warnings(action="ignore"):  # of old kinds of files, which are read or refused anyway
            loaded = load_file(source) if is_safetensors else torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise GenremillError(f"{source} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise GenremillError(
            f"{source} is not a file of weights alone, and what else is in it is not run: "
            "save it anew with torch.save(model.state_dict(), FILE)"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        raise GenremillError(f"{source} is damaged or no file of weights: copy or save it again") from error
    state = next((loaded[key] for key in WRAPPERS if isinstance(loaded, dict) and key in loaded), loaded)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise GenremillError(f"{source} holds no state dict: save it with torch.save(model.state_dict(), FILE)")
    return {key.removeprefix(PARALLEL): value for key, value in state.items()}


def _match(source: Path, state: dict[str, Tensor], name: str):
    """The model that the weights are for, its module and its network. Raises GenremillError that says, for each model
    that was tried, what is wrong first."""
    wrong = []
    for entry in [registry.find_model(name)] if name else registry.list_models():
        module = registry.import_model_module(entry)
        try:
            return entry, module, checkpoints.build_with_weights(module, state)
        except WeightsMismatchError as misfit:
            wrong.append(f"{entry.name}: {misfit}")
    raise GenremillError(f"{source} does not fit {'; '.join(wrong)}")


def _plain(value: Tensor) -> Tensor:
    return value.float().contiguous() if value.is_floating_point() else value.contiguous()


@torch.inference_mode()
def _count_outputs(source: Path, network: torch.nn.Module, window: int) -> int:
    """How many probabilities the network gives. Raises GenremillError when these are none."""
    noise = torch.rand(1, window, generator=torch.Generator().manual_seed(0)) - 0.5
    try:
        found = network.float()(noise)
    except Exception as error:
        raise GenremillError(f"{source}: the network fails on noise: {type(error).__name__}: {error}") from error
    if found.ndim != 2 or len(found) != 1 or not ((found >= 0) & (found <= 1)).all():
        raise GenremillError(f"{source}: the network gives no probabilities, but {tuple(found.shape)} other values")
    return found.shape[1]


def _read_labels(file: Path) -> tuple[tuple[str, str], ...]:
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise GenremillError(f"the labels {file} cannot be read: {error}") from error
    names = [line for line in lines if line]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise GenremillError(f"{file} has the label {twice!r} twice: classes need names of their own")
    return tuple((name, "genre") for name in names)


def _store(entry: registry.ModelEntry, weights: dict[str, Tensor], labels: tuple[tuple[str, str], ...]) -> Checkpoint:
    """Put the file into the models' folder, in place of earlier ones. Its bytes depend on weights and labels alone."""
    folder = registry.folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as work:
            written = Path(work) / "weights"
            save_file(weights, written, {LABELS: json.dumps(labels)})
            with written.open("rb") as file:
                sha256 = file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            written.chmod(0o644)
            earlier = checkpoints.stored_files(entry.name)
            path = written.rename(folder / f"{entry.name}.{sha256}.safetensors")
    except OSError as error:
        raise GenremillError(f"{folder} cannot take the weights: {error}; see GENREMILL_DATA_DIR") from error
    for file in set(earlier) - {path}:
        file.unlink(missing_ok=True)
    return Checkpoint(entry.name, entry.version, path, sha256)


def fetch_weights(name: str) -> ImportResult:
    """Download the published weights of a model from Hugging Face, or from HF_ENDPOINT, and import them.

    A download that was cut off goes on where it was. Raises GenremillError.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    entry = registry.find_model(name)
    if entry.published is None:
        raise GenremillError(f"the model {name} has no published weights: `genremill models import FILE` takes yours")
    url = hf_hub_url(*entry.published)
    downloads = registry.folder() / "downloads"
    try:
        promised = get_hf_file_metadata(url).etag or ""  # without a server this fails at once, and the next line late
        path = Path(hf_hub_download(*entry.published, local_dir=downloads))
    except Exception as error:  # of the hub, of whatever HTTP library it uses, of the disk
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise GenremillError(f"{url} cannot be fetched: {reason} (run it again, or see HF_ENDPOINT)") from error
    _verify(path, promised)
    imported = import_weights(path, name)
    shutil.rmtree(downloads, ignore_errors=True)
    return imported


def _verify(path: Path, promised: str) -> None:
    """Compare a download with the sha256 that the server names for large files. Raises GenremillError."""
    with path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if LFS_SHA256.fullmatch(promised) and found != promised:
        path.unlink()
        raise GenremillError(f"{path.name} arrived damaged (sha256 {found[:12]}, not {promised[:12]}): fetch it again")
