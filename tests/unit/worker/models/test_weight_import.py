"""Weights from elsewhere: what is taken, what is refused, and that what is refused leaves nothing behind."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genremill.bench.random_weights import seeded_state
from settings import GenremillError
from tests.support.own_model import write_own_model
from worker.models import checkpoints, registry, weight_import
from worker.models.networks import vgg, vit
from worker.models.networks.ccmusic import LABELS


@pytest.fixture(scope="module")
def vgg_state():
    return seeded_state(vgg, "plain")


@pytest.fixture
def tiny(data_dir):
    """A model of the user's own, and weights for it."""
    write_own_model(data_dir)
    return {"out.weight": torch.tensor([[9.0, 0.0], [0.0, 9.0], [-9.0, -9.0]]), "out.bias": torch.zeros(3)}


def saved(path: Path, state) -> Path:
    torch.save(state, path)
    return path


def stored(data_dir) -> list[str]:
    return sorted(path.name for path in data_dir.rglob("*") if path.is_file() and path.suffix != ".py")


def refused(data_dir, source, *arguments, **options) -> str:
    with pytest.raises(GenremillError) as caught:
        weight_import.import_weights(source, *arguments, **options)
    assert stored(data_dir) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_published_checkpoint(data_dir, vgg_state, tmp_path):
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


def test_labels_of_ones_own(data_dir, tmp_path):
    (tmp_path / "labels.txt").write_text("Rock\n\nJazz \nR & B\n", "utf-8")
    source = saved(tmp_path / "a.pt", seeded_state(vgg, "plain", classes=3))
    assert "--labels" in refused(data_dir, source)
    found = weight_import.import_weights(source, labels=tmp_path / "labels.txt")
    labels = checkpoints.load_model(found.checkpoint, "cpu").labels
    assert labels == (("Rock", "genre"), ("Jazz", "genre"), ("R & B", "genre"))


@pytest.mark.parametrize("text", ["Rock\nJazz\n", "Rock\nJazz\nRock\n", "a\nb\nc\nd\n"])
def test_wrong_labels(tiny, data_dir, tmp_path, text):
    (tmp_path / "labels.txt").write_text(text)
    message = refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny", tmp_path / "labels.txt")
    assert "labels.txt" in message


class RunsCode:
    """What a pickle must not be allowed to do."""

    def __init__(self, victim: Path):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: Path(path).write_bytes(pickle.dumps(value))])
def test_code_in_a_pickle_is_not_run(tiny, data_dir, tmp_path, write):
    write({**tiny, "surprise": RunsCode(tmp_path / "victim")}, tmp_path / "a.pt")
    assert "not run" in refused(data_dir, tmp_path / "a.pt", "tiny")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_truncated_file(data_dir, vgg_state, tmp_path, kind, part):
    source = tmp_path / "a"
    torch.save(vgg_state, source) if kind == "torch" else save_file(vgg_state, source)
    os.truncate(source, int(source.stat().st_size * part))
    assert str(source) in refused(data_dir, source, "vgg19_bn_cqt")


def test_another_architecture_names_the_first_parameter(data_dir, vgg_state, tmp_path):
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


def test_weights_that_are_no_numbers(tiny, data_dir, tmp_path):
    tiny["out.bias"][1] = torch.nan
    assert "out.bias" in refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")


@pytest.mark.parametrize("content", [None, {}, [torch.zeros(1)], {"out.weight": 3}, torch.zeros(3)])
def test_what_is_no_state_dict(tiny, data_dir, tmp_path, content):
    source = saved(tmp_path / "a.pt", content) if content is not None else tmp_path / "none.pt"
    assert str(source) in refused(data_dir, source, "tiny")


def test_a_stored_file_that_rots_is_noticed(tiny, data_dir, tmp_path):
    checkpoint = weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny").checkpoint
    content = bytearray(checkpoint.path.read_bytes())
    content[-1] ^= 1
    checkpoint.path.write_bytes(content)
    with pytest.raises(GenremillError, match="damaged"):
        checkpoints.load_model(checkpoint, "cpu")


def test_a_model_of_ones_own_changes_its_version_with_its_code(tiny, data_dir, tmp_path):
    weight_import.import_weights(saved(tmp_path / "a.pt", tiny), "tiny")
    before = checkpoints.find_checkpoint("tiny")
    file = data_dir / "models" / "tiny.py"
    file.write_text(file.read_text() + "\n# another formula\n")
    assert checkpoints.find_checkpoint("tiny").version != before.version
    assert [entry.name for entry in registry.list_models()] == [*registry.BUILT_IN, "tiny"]


@pytest.mark.parametrize("code", ["import", "raise RuntimeError('no')", "SAMPLE_RATE = 1", "build = WINDOW = 1"])
def test_a_model_of_ones_own_that_cannot_be_used(tiny, data_dir, tmp_path, code):
    (data_dir / "models" / "broken.py").write_text(code)
    assert "broken.py cannot be used as a model" in refused(data_dir, saved(tmp_path / "a.pt", tiny), "broken")


def test_a_network_that_gives_no_probabilities(tiny, data_dir, tmp_path):
    file = data_dir / "models" / "tiny.py"
    file.write_text(file.read_text().replace(".softmax(1)", ""))
    assert "no probabilities" in refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")


def test_without_weights_it_says_how_to_get_them(data_dir):
    with pytest.raises(GenremillError, match="genremill models fetch vit_b_16_mel"):
        checkpoints.find_checkpoint("vit_b_16_mel")
    assert vit.build({}) is not None
