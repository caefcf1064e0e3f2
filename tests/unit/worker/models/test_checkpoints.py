"""Weights are found, verified and put into networks."""

import json
import os
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from settings import GenremillError
from worker.models import checkpoints, registry
from worker.models.checkpoints import Checkpoint, WeightsMismatchError
from worker.models.registry import ModelEntry
from worker.windowing import Windowing

CHECKPOINT = Checkpoint("mine", "1", path=None, sha256="")
LABELS = (("loud", "genre"), ("calm", "mood"))


class Linear(nn.Module):
    """A network of one layer and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.norm(self.out(waveform))


class Framed(Linear):
    """A network whose windows are cut by frames."""

    def peak(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        return waveform.amax(1)


class Module:
    """A model's module, with this network and further names."""

    SAMPLE_RATE, WINDOW, LABELS = 8_000, 96_000, LABELS
    FEATURES = {"kind": "loudness", "a": 1}  # noqa: RUF012

    def __init__(self, network=Linear, **names):
        self.build = lambda state: network()
        vars(self).update(names)


def stored_file(data_dir, digit: str, seconds: int):
    """An imported file of weights for musicnn whose SHA-256 is one digit, written so many seconds after the epoch."""
    path = data_dir / "models" / f"musicnn.{digit * 64}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (seconds, seconds))
    return path


def test_the_weights_that_come_with_genremill_are_found(data_dir):
    path = registry.BUILT_IN["musicnn"].shipped
    digest = sha256(path.read_bytes()).hexdigest()
    assert checkpoints.find_checkpoint("musicnn") == Checkpoint("musicnn", "1", path, digest)


def test_imported_weights_come_before_shipped_ones_and_the_newest_first(data_dir):
    stored_file(data_dir, "a", seconds=10)
    newest = stored_file(data_dir, "b", seconds=30)
    stored_file(data_dir, "c", seconds=20)
    assert checkpoints.find_checkpoint("musicnn") == Checkpoint("musicnn", "1", newest, "b" * 64)
    assert checkpoints.stored_weights("musicnn") == newest


def test_only_files_that_are_named_by_a_sha256_are_imported_weights(data_dir):
    expected = stored_file(data_dir, "f", seconds=10)
    for name in (f"musicnn.{'f' * 63}.safetensors", f"musicnn.{'g' * 64}.safetensors", f"other.{'f' * 64}.safetensors"):
        (data_dir / "models" / name).touch()
    assert checkpoints.stored_files("musicnn") == [expected]
    assert checkpoints.stored_weights("vit_b_16_mel") is None


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        (ModelEntry("mine", "m", "1", shipped=registry.SHIPPED_WEIGHTS_DIR / "none"), "reinstall genremill"),
        (
            ModelEntry("mine", "m", "1", published=("repository", "file")),
            "`genremill models fetch mine`, or `genremill models import FILE --model mine`",
        ),
        (ModelEntry("mine", "m", "1"), "`genremill models import FILE --model mine`"),
    ],
)
def test_without_weights_it_says_how_to_get_them(data_dir, monkeypatch, entry, advice):
    monkeypatch.setitem(registry.BUILT_IN, "mine", entry)
    with pytest.raises(GenremillError) as raised:
        checkpoints.find_checkpoint("mine")
    assert str(raised.value) == f"there are no weights for the model mine: {advice}"


def test_a_loaded_model_is_what_its_module_says():
    checkpoint = checkpoints.find_checkpoint("musicnn")
    model = checkpoints.load_model(checkpoint, "cpu")
    module = registry.import_model_module(registry.find_model("musicnn"))
    assert model.checkpoint == checkpoint
    assert (model.sample_rate, model.window, model.labels) == (16_000, 47_872, module.LABELS)
    assert json.loads(model.features) == module.FEATURES
    assert (model.hop, model.band_hz, model.dtype) == (0, 0, "float32")
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert not model.network.training
    assert model.windowing() == Windowing(16_000, 47_872, "regions")


def test_weights_that_have_changed_since_they_were_found_are_refused():
    checkpoint = replace(checkpoints.find_checkpoint("musicnn"), sha256="0" * 64)
    with pytest.raises(GenremillError, match=r"musicnn\.safetensors is damaged: import the weights again"):
        checkpoints.load_model(checkpoint, "cpu")


@pytest.mark.parametrize(
    ("module", "hop", "band_hz"),
    [
        (Module(), 0, 0),
        (Module(HOP=512), 0, 0),  # a network that does not take frames is not cut by frames
        (Module(Framed), 0, 0),
        (Module(Framed, HOP=512, BAND_HZ=3_000), 512, 3_000),
        (Module(BAND_HZ=3_000), 0, 3_000),
    ],
)
def test_a_hop_counts_for_networks_that_take_frames_alone(module, hop, band_hz):
    model = checkpoints.assemble(CHECKPOINT, module, module.build({}), LABELS, "cpu")
    assert (model.hop, model.band_hz) == (hop, band_hz)
    assert model.windowing("full") == Windowing(8_000, 96_000, "full", hop, band_hz)
    assert (model.checkpoint, model.labels, model.features) == (CHECKPOINT, LABELS, '{"a": 1, "kind": "loudness"}')


def test_labels_are_read_from_a_file_that_has_some(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "none")
    save_file({"a": torch.zeros(1)}, tmp_path / "some", {checkpoints.LABELS_KEY: json.dumps(LABELS)})
    assert checkpoints.stored_labels(tmp_path / "none") is None
    assert checkpoints.stored_labels(tmp_path / "some") == LABELS


def test_a_network_gets_the_weights_of_a_state_dict_and_leaves_the_rest_out():
    state = Linear().state_dict() | {"optimiser": torch.ones(1)}
    network = checkpoints.build_with_weights(Module(), state)
    assert not network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_counters_of_training_may_be_missing_and_count_as_zero():
    state = {name: value for name, value in Linear().state_dict().items() if name != "norm.num_batches_tracked"}
    counter = checkpoints.build_with_weights(Module(), state).norm.num_batches_tracked
    assert (counter, counter.shape, counter.device.type) == (0, (), "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out.weight": None}, "it has no parameter out.weight"),
        ({"out.weight": torch.zeros(3, 4)}, "its parameter out.weight is 3 x 4, not 3 x 2"),
        ({"norm.bias": torch.tensor(0.0)}, "its parameter norm.bias is a single number, not 3"),
        ({"out.bias": None, "norm.bias": None}, "it has no parameter out.bias"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_first_parameter_that_is_wrong(change, message):
    state = {name: value for name, value in (Linear().state_dict() | change).items() if value is not None}
    with pytest.raises(WeightsMismatchError) as raised:
        checkpoints.build_with_weights(Module(), state)
    assert str(raised.value) == message
