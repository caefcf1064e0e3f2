"""Weights from elsewhere: what is taken, what is refused, and that what is refused leaves nothing behind."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from genremill.bench.random_weights import seeded_state
from settings import GenremillError
from tests.unit.worker.models.importing import refused, saved, stored
from worker.models import checkpoints, registry, weight_import
from worker.models.networks import vgg
from worker.models.networks.ccmusic import LABELS


def test_a_published_checkpoint_is_taken_as_it_is(data_dir, vgg_state, tmp_path):
    found = weight_import.import_weights(saved(tmp_path / "save.pt", vgg_state))
    assert (found.checkpoint.name, found.classes, found.left_out) == ("vgg19_bn_cqt", 16, 0)
    assert checkpoints.find_checkpoint("vgg19_bn_cqt") == found.checkpoint
    model = checkpoints.load_model(found.checkpoint, "cpu")
    assert (model.labels, model.sample_rate, model.hop) == (LABELS, 22_050, 512)
    assert all(torch.equal(value, vgg_state[name]) for name, value in model.network.state_dict().items())


def test_the_same_weights_make_the_same_file_whatever_they_came_in(tiny, data_dir, tmp_path):
    save_file({name: value.double() for name, value in tiny.items()}, tmp_path / "a.safetensors")
    sources = [
        saved(tmp_path / "a.pt", tiny),
        tmp_path / "a.safetensors",
        saved(tmp_path / "b.pt", {"state_dict": {f"module.{name}": value for name, value in tiny.items()}, "epoch": 3}),
        saved(tmp_path / "c.pt", {**tiny, "optimiser.step": torch.zeros(1)}),
    ]
    found = [weight_import.import_weights(source, "tiny") for source in sources]
    assert len({one.checkpoint.sha256 for one in found}) == 1
    assert [one.left_out for one in found] == [0, 0, 0, 1]
    assert stored(data_dir) == [f"tiny.{found[0].checkpoint.sha256}.safetensors"]


def test_a_later_import_takes_the_place_of_an_earlier_one(tiny, data_dir, tmp_path):
    first = weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny").checkpoint
    second = weight_import.import_weights(
        saved(tmp_path / "b.pt", {**tiny, "out.bias": torch.ones(3)}), "tiny"
    ).checkpoint
    assert first.sha256 != second.sha256
    assert checkpoints.find_checkpoint("tiny") == second
    assert len(stored(data_dir)) == 1


def test_a_file_of_labels_names_the_classes(data_dir, tmp_path):
    (tmp_path / "labels.txt").write_text("Rock\n\nJazz \nR & B\n", "utf-8")
    source = saved(tmp_path / "a.pt", seeded_state(vgg, "plain", classes=3))
    assert "--labels" in refused(data_dir, source)
    found = weight_import.import_weights(source, labels=tmp_path / "labels.txt")
    labels = checkpoints.load_model(found.checkpoint, "cpu").labels
    assert labels == (("Rock", "genre"), ("Jazz", "genre"), ("R & B", "genre"))


@pytest.mark.parametrize("text", ["Rock\nJazz\n", "Rock\nJazz\nRock\n", "a\nb\nc\nd\n"])
def test_wrong_labels_are_refused(tiny, data_dir, tmp_path, text):
    (tmp_path / "labels.txt").write_text(text)
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny", tmp_path / "labels.txt")
    assert "labels.txt" in message


def test_weights_of_another_architecture_are_refused_with_the_first_parameter(data_dir, vgg_state, tmp_path):
    source = saved(tmp_path / "a.pt", vgg_state)
    assert refused(data_dir, source, "vit_b_16_mel").endswith(
        "does not fit vit_b_16_mel: it has no parameter class_token"
    )
    bent = {**vgg_state, "features.3.weight": torch.zeros(64, 3, 3, 3)}
    message = refused(data_dir, saved(tmp_path / "b.pt", bent), "vgg19_bn_cqt")
    assert "features.3.weight is 64 x 3 x 3 x 3, not 64 x 64 x 3 x 3" in message
    less = {name: value for name, value in vgg_state.items() if name != "features.7.weight"}
    assert "vgg19_bn_cqt: it has no parameter features.7.weight" in refused(data_dir, saved(tmp_path / "c.pt", less))


def test_what_training_alone_needs_may_be_missing(data_dir, vgg_state, tmp_path):
    state = {name: value for name, value in vgg_state.items() if not name.endswith("num_batches_tracked")}
    assert weight_import.import_weights(saved(tmp_path / "a.pt", state)).checkpoint.name == "vgg19_bn_cqt"


def test_weights_that_are_no_numbers_are_refused(tiny, data_dir, tmp_path):
    tiny["out.bias"][1] = torch.nan
    assert "out.bias" in refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")


def test_a_stored_file_that_rots_is_noticed(tiny, data_dir, tmp_path):
    checkpoint = weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny").checkpoint
    content = bytearray(checkpoint.path.read_bytes())
    content[-1] ^= 1
    checkpoint.path.write_bytes(content)
    with pytest.raises(GenremillError, match="damaged"):
        checkpoints.load_model(checkpoint, "cpu")


@pytest.mark.parametrize("code", ["import", "raise RuntimeError('no')", "SAMPLE_RATE = 1", "build = WINDOW = 1"])
def test_weights_for_a_users_model_that_cannot_be_used_are_refused(tiny, data_dir, tmp_path, code):
    (data_dir / "models" / "broken.py").write_text(code)
    assert "broken.py cannot be used as a model" in refused(data_dir, saved(tmp_path / "a.pt", tiny), "broken")


def test_a_network_that_gives_no_probabilities_is_refused(tiny, data_dir, tmp_path):
    file = data_dir / "models" / "tiny.py"
    file.write_text(file.read_text().replace(".softmax(1)", ""))
    assert "no probabilities" in refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")


def test_what_is_stored_can_be_read_by_all_and_has_the_labels(tiny, data_dir, tmp_path):
    checkpoint = weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny").checkpoint
    assert checkpoint.path == data_dir / "models" / f"tiny.{checkpoint.sha256}.safetensors"
    assert checkpoint.path.stat().st_mode & 0o777 == 0o644
    assert checkpoints.stored_labels(checkpoint.path) == (("loud", "genre"), ("bright", "genre"), ("calm", "mood"))
    assert sorted(path.name for path in checkpoint.path.parent.iterdir()) == [checkpoint.path.name, "tiny.py"]


def test_weights_are_stored_as_float32_and_counters_as_whole_numbers(data_dir, vgg_state, tmp_path):
    state = {name: value.double() if value.is_floating_point() else value for name, value in vgg_state.items()}
    checkpoint = weight_import.import_weights(saved(tmp_path / "a.pt", state), "vgg19_bn_cqt").checkpoint
    with safe_open(checkpoint.path, "pt") as file:
        dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (it is no dict)
    assert {dtypes[name] for name in dtypes if not name.endswith("num_batches_tracked")} == {"F32"}
    assert {dtypes[name] for name in dtypes if name.endswith("num_batches_tracked")} == {"I64"}


def test_without_a_name_every_model_that_does_not_fit_is_told(tiny, data_dir, tmp_path):
    message = refused(data_dir, saved(tmp_path / "a.pt", {"other": torch.zeros(1)}))
    assert message.count("it has no parameter") == len(registry.BUILT_IN) + 1
    assert message.endswith("; tiny: it has no parameter out.weight")


def test_without_a_name_the_model_that_the_weights_fit_is_found(tiny, tmp_path):
    assert weight_import.import_weights(saved(tmp_path / "a.pt", tiny)).checkpoint.name == "tiny"


@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_infinite_weights_are_refused(tiny, data_dir, tmp_path, value):
    tiny["out.weight"][2, 1] = value
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")
    assert message.endswith("its parameter out.weight holds values that are no numbers; train it again")


def write_forward(data_dir, code: str) -> None:
    """Let the network of `tiny` return this in the place of its probabilities."""
    file = data_dir / "models" / "tiny.py"
    lines = file.read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines) if line.strip().startswith("return self.out("))
    lines[number] = f"        {code}"
    file.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("code", "shape"),
    [
        ("return torch.full((1, 3), 1.0001)", "(1, 3)"),
        ("return torch.full((1, 3), -0.0001)", "(1, 3)"),
        ("return torch.full((1, 3), torch.nan)", "(1, 3)"),
        ("return torch.zeros(3)", "(3,)"),
        ("return torch.zeros(2, 3)", "(2, 3)"),
        ("return torch.zeros(1, 3, 1)", "(1, 3, 1)"),
    ],
)
def test_outputs_that_are_no_probabilities_of_one_window_are_refused(tiny, data_dir, tmp_path, code, shape):
    write_forward(data_dir, code)
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")
    assert message.endswith(f"the network gives no probabilities, but {shape} other values")


@pytest.mark.parametrize("code", ["return torch.zeros(1, 3)", "return torch.ones(1, 3)"])
def test_zero_and_one_are_probabilities(tiny, data_dir, tmp_path, code):
    write_forward(data_dir, code)
    assert weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny").classes == 3


def test_a_network_that_fails_is_refused_with_its_error(tiny, data_dir, tmp_path):
    write_forward(data_dir, "raise ValueError('too short')")
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")
    assert message.endswith("the network fails on noise: ValueError: too short")


def test_the_network_is_tried_on_a_window_of_noise_between_minus_a_half_and_a_half(tiny, data_dir, tmp_path):
    write_forward(
        data_dir,
        "assert waveform.shape == (1, WINDOW) and -0.5 <= waveform.min() < -0.4 and 0.4 < waveform.max() <= 0.5;"
        " return torch.zeros(1, 3)",
    )
    assert weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny").classes == 3


def test_labels_that_are_too_few_or_many_are_told_from_a_model_without_enough(tiny, data_dir, tmp_path):
    source, labels = saved(tmp_path / "a.pt", tiny), tmp_path / "labels.txt"
    labels.write_text("Rock\nJazz\n")
    assert refused(data_dir, source, "tiny", labels) == (
        f"{source} tells 3 classes apart, and {labels} has 2 labels: correct it"
    )
    more = saved(tmp_path / "b.pt", {"out.weight": torch.zeros(4, 2), "out.bias": torch.zeros(4)})
    assert refused(data_dir, more, "tiny") == (
        f"{more} tells 4 classes apart, and the model tiny has 3 labels: name them with --labels FILE, one on each line"
    )


def test_a_label_that_stands_twice_is_named(tiny, data_dir, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("Rock\nJazz\n Rock\n")
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny", labels)
    assert message == f"{labels} has the label 'Rock' twice: classes need names of their own"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_labels_that_cannot_be_read_are_told(tiny, data_dir, tmp_path, content):
    labels = tmp_path / "labels.txt"
    if content:
        labels.write_bytes(content)
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny", labels)
    assert message.startswith(f"the labels {labels} cannot be read: ")


def test_a_folder_that_cannot_take_the_weights_is_told(tiny, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")
    assert message == f"{data_dir / 'models'} cannot take the weights: disk full; see GENREMILL_DATA_DIR"
