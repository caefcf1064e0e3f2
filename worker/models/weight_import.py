"""Weights from elsewhere: checked against a model's network, then stored in the data folder."""

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
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from settings import GenremillError
from worker.models import checkpoints, registry
from worker.models.checkpoints import LABELS_KEY, Checkpoint, WeightsMismatchError
from worker.models.interface import EmbeddingNetwork, Labels, ModelModule
from worker.models.registry import ModelEntry

WRAPPER_KEYS = ("state_dict", "model_state_dict", "model")  # Under one of them training scripts save the state dict.
DATA_PARALLEL_PREFIX = "module."  # torch.nn.DataParallel puts it before the name of every parameter.
SHA256 = re.compile(r"[0-9a-f]{64}")
SHA256_DIGITS_SHOWN = 12  # In messages.
NOISE_AMPLITUDE = 0.5  # Of the waveform that shows whether the network gives probabilities.
SAME_WITHIN = 1e-4  # By which probabilities of the same noise may differ between two forward passes.
STORED_FILE_MODE = 0o644  # All users may read stored weights. (Temporary files are for their owner alone.)


@dataclass(frozen=True)
class ImportResult:
    """What an import did."""

    checkpoint: Checkpoint
    classes: int  # That the network tells apart.
    left_out: int  # Parameters in the file that the network does not have.


def import_weights(source: Path, name: str = "", labels: Path | None = None) -> ImportResult:
    """Store the weights of a file for a model. Nothing is stored unless everything is right.

    source: a state dict, written by torch.save or as safetensors. name: the model; without it, the first one that the
    weights fit. labels: a file with a label on each line; without it, the model's own labels count.
    Raises GenremillError, whose message says what is wrong.
    """
    state = read_state(source)
    entry, module, network = _find_fitting_model(source, state, name)
    weights = {key: _to_stored_form(value) for key, value in network.state_dict().items()}
    broken_name = next((key for key, value in weights.items() if not value.isfinite().all()), None)
    if broken_name:
        raise GenremillError(f"{source}: its parameter {broken_name} holds values that are no numbers; train it again")
    classes = _count_outputs(source, network, module.WINDOW)
    _check_embeddings(source, entry.name, network, module.WINDOW)
    named_classes = _read_labels(labels) if labels else module.LABELS
    if len(named_classes) != classes:
        where = labels or f"the model {entry.name}"
        hint = "correct it" if labels else "name them with --labels FILE, one on each line"
        raise GenremillError(
            f"{source} tells {classes} classes apart, and {where} has {len(named_classes)} labels: {hint}"
        )
    return ImportResult(_store(entry, weights, named_classes), classes, left_out=len(state.keys() - weights.keys()))


def read_state(source: Path) -> dict[str, Tensor]:
    """The state dict in a file. Code in the file is not run. Raises GenremillError when the file has none."""
    try:
        loaded = _load_any_format(source)
    except OSError as error:
        raise GenremillError(f"{source} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise GenremillError(
            f"{source} is not a file of weights alone, and what else is in it is not run: "
            "save it anew with torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # What torch and safetensors raise depends on where a file is damaged.
        raise GenremillError(f"{source} is damaged or no file of weights: copy or save it again") from error
    state = next((loaded[key] for key in WRAPPER_KEYS if isinstance(loaded, dict) and key in loaded), loaded)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise GenremillError(f"{source} holds no state dict: save it with torch.save(model.state_dict(), FILE)")
    return {key.removeprefix(DATA_PARALLEL_PREFIX): value for key, value in state.items()}


def _load_any_format(source: Path) -> object:
    """What torch.save or safetensors wrote into a file."""
    with source.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"  # Eight bytes with the size of a header, and then the header in JSON.
    with warnings.catch_warnings(action="ignore"):  # torch warns of old formats; these are read, or refused below.
        return load_file(source) if is_safetensors else torch.load(source, map_location="cpu", weights_only=True)


def _find_fitting_model(source: Path, state: dict[str, Tensor], name: str) -> tuple[ModelEntry, ModelModule, nn.Module]:
    """The model that the weights are for, its module, and its network with these weights.

    Raises GenremillError, which says for each model that was tried what does not fit.
    """
    mismatches = []
    for entry in [registry.find_model(name)] if name else registry.list_models():
        module = registry.import_model_module(entry)
        try:
            return entry, module, checkpoints.build_with_weights(module, state)
        except WeightsMismatchError as mismatch:
            mismatches.append(f"{entry.name}: {mismatch}")
    raise GenremillError(f"{source} does not fit {'; '.join(mismatches)}")


def _to_stored_form(value: Tensor) -> Tensor:
    """A parameter as it is stored, whatever it came in: float32 where it is no whole number, and contiguous."""
    return value.float().contiguous() if value.is_floating_point() else value.contiguous()


def _make_noise(window: int) -> Tensor:
    """A window of noise, (1, window) float32: the same one each time."""
    return torch.rand(1, window, generator=torch.Generator().manual_seed(0)) - NOISE_AMPLITUDE


@torch.inference_mode()
def _count_outputs(source: Path, network: nn.Module, window: int) -> int:
    """How many probabilities the network gives for a window. Raises GenremillError when they are no probabilities."""
    try:
        outputs: Tensor = network.float()(_make_noise(window))
    except Exception as error:
        raise GenremillError(f"{source}: the network fails on noise: {type(error).__name__}: {error}") from error
    if outputs.ndim != 2 or len(outputs) != 1 or not ((outputs >= 0) & (outputs <= 1)).all():
        raise GenremillError(f"{source}: the network gives no probabilities, but {tuple(outputs.shape)} other values")
    return outputs.shape[1]


@torch.inference_mode()
def _check_embeddings(source: Path, name: str, network: nn.Module, window: int) -> None:
    """Raises GenremillError when the network offers embeddings, but does not give what it promises."""
    size = checkpoints.offered_embedding_size(name, network)
    if not size:
        return
    try:
        probabilities, embeddings = cast(EmbeddingNetwork, network).forward_with_embedding(_make_noise(window))
        are_the_same = torch.allclose(probabilities, network(_make_noise(window)), atol=SAME_WITHIN)
        shape, are_numbers = tuple(embeddings.shape), bool(embeddings.isfinite().all())
    except Exception as error:
        raise GenremillError(
            f"{source}: forward_with_embedding() fails on noise: {type(error).__name__}: {error}"
        ) from error
    if not are_the_same:
        raise GenremillError(f"{source}: forward_with_embedding() gives other probabilities than forward()")
    if shape != (1, size):
        raise GenremillError(f"{source}: the embedding of a window has the shape {shape}, and should have (1, {size})")
    if not are_numbers:
        raise GenremillError(f"{source}: the embedding of noise holds values that are no numbers")


def _read_labels(file: Path) -> Labels:
    """The labels in a file, one on each line, which all are genres. Raises GenremillError."""
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise GenremillError(f"the labels {file} cannot be read: {error}") from error
    names = [line for line in lines if line]
    repeated_name = next((name for name in names if names.count(name) > 1), None)
    if repeated_name:
        raise GenremillError(f"{file} has the label {repeated_name!r} twice: classes need names of their own")
    return tuple((name, "genre") for name in names)


def _store(entry: ModelEntry, weights: dict[str, Tensor], labels: Labels) -> Checkpoint:
    """Write a file of weights into the folder of models, in the place of the model's earlier ones.

    The file's bytes depend on the weights and the labels alone, so that they have the same SHA-256 on every host.
    Raises GenremillError when it cannot be written.
    """
    folder = registry.models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as temporary_dir:
            written = Path(temporary_dir) / "weights"
            save_file(weights, written, {LABELS_KEY: json.dumps(labels)})
            with written.open("rb") as file:
                sha256 = file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            written.chmod(STORED_FILE_MODE)
            earlier_files = checkpoints.stored_files(entry.name)
            path = written.rename(folder / f"{entry.name}.{sha256}.safetensors")
    except OSError as error:
        raise GenremillError(f"{folder} cannot take the weights: {error}; see GENREMILL_DATA_DIR") from error
    for earlier_file in set(earlier_files) - {path}:
        earlier_file.unlink(missing_ok=True)
    return Checkpoint(entry.name, entry.version, path, sha256)


def fetch_weights(name: str) -> ImportResult:
    """Download the published weights of a model from Hugging Face, or from the server HF_ENDPOINT, and import them.

    A download that was cut off goes on where it was. Raises GenremillError.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    entry = registry.find_model(name)
    if entry.published is None:
        raise GenremillError(f"the model {name} has no published weights: `genremill models import FILE` takes yours")
    url = hf_hub_url(*entry.published)
    downloads_dir = registry.models_dir() / "downloads"
    try:
        # Where there is no server, this fails at once, and hf_hub_download() only after minutes.
        promised_sha256 = get_hf_file_metadata(url).etag or ""
        path = Path(hf_hub_download(*entry.published, local_dir=downloads_dir))
    except Exception as error:  # Errors of the hub, of whatever HTTP library it uses, of the disk.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise GenremillError(f"{url} cannot be fetched: {reason} (run it again, or see HF_ENDPOINT)") from error
    _verify_download(path, promised_sha256)
    result = import_weights(path, name)
    shutil.rmtree(downloads_dir, ignore_errors=True)
    return result


def _verify_download(path: Path, promised_sha256: str) -> None:
    """Compare a download with the SHA-256 that the server promised, which it does for large files alone.

    A file that is not as promised is deleted. Raises GenremillError for it.
    """
    with path.open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    if SHA256.fullmatch(promised_sha256) and sha256 != promised_sha256:
        path.unlink()
        actual, promised = sha256[:SHA256_DIGITS_SHOWN], promised_sha256[:SHA256_DIGITS_SHOWN]
        raise GenremillError(f"{path.name} arrived damaged (sha256 {actual}, not {promised}): fetch it again")
