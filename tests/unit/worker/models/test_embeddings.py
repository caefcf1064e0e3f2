"""Which models give embeddings, by the setting; and what is asked of a user's model that offers them."""

import logging
import re

import pytest
import torch

from settings import GenremillError
from tests.support.own_model import GUIDE
from tests.unit.worker.models.importing import refused, saved
from worker.models import checkpoints, precision, registry, weight_import
from worker.models.checkpoints import Checkpoint
from worker.models.interface import EmbeddingNetwork


class Embedding(torch.nn.Linear):
    """A network that gives embeddings."""

    def __init__(self, size=4) -> None:
        super().__init__(2, 2)
        self.embedding_size = size

    def forward_with_embedding(self, waveform):
        return self(waveform), waveform.repeat(1, 2)


class Module:
    """A model's module; its network is not asked for."""

    SAMPLE_RATE, WINDOW, LABELS, FEATURES = 8_000, 2, (("a", "genre"), ("b", "genre")), {}


def assembled_size(name, network, embeddings):
    """The embedding_size of a model of this name."""
    return checkpoints.assemble(
        Checkpoint(name, "1", None, ""), Module, network, Module.LABELS, "cpu", embeddings=embeddings
    ).embedding_size


@pytest.mark.parametrize(
    ("name", "embeddings", "size"),
    [
        ("musicnn", "auto", 4),
        ("musicnn", "on", 4),
        ("musicnn", "off", 0),
        ("vit_b_16_mel", "auto", 0),
        ("vit_b_16_mel", "on", 4),
        ("vgg19_bn_cqt", "auto", 0),
        ("vgg19_bn_cqt", "off", 0),
    ],
)
def test_the_setting_says_which_models_give_embeddings(name, embeddings, size):
    assert assembled_size(name, Embedding(), embeddings) == size


def test_by_default_they_are_off_and_with_auto_musicnn_alone_gives_them(data_dir):
    checkpoint = checkpoints.find_checkpoint("musicnn")
    assert checkpoints.load_model(checkpoint, "cpu").embedding_size == 0
    assert checkpoints.load_model(checkpoint, "cpu", embeddings="auto").embedding_size == 200
    assert [entry.name for entry in registry.list_models() if entry.embeds_by_default] == ["musicnn"]


@pytest.mark.parametrize("network", [torch.nn.Linear(2, 2), Embedding()])
def test_a_model_of_the_users_own_gives_none_by_default(tiny, network, caplog):
    assert assembled_size("tiny", network, "auto") == 0
    assert not caplog.records


def test_a_model_that_has_none_to_give_works_and_the_log_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        assert assembled_size("mine", torch.nn.Linear(2, 2), "on") == 0
    assert "the model mine gives no embeddings" in caplog.text


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", None])
def test_a_size_that_is_none_is_refused_where_embeddings_are_wanted(size):
    with pytest.raises(GenremillError, match=f"the model mine: embedding_size is {size!r}"):
        assembled_size("mine", Embedding(size), "on")
    assert assembled_size("mine", Embedding(size), "off") == 0


def test_autocast_is_put_around_both_ways_to_predict(monkeypatch):
    calls = []

    def autocast(device, dtype):
        return lambda forward: lambda *args: calls.append((device, dtype)) or forward(*args)

    monkeypatch.setattr(torch, "autocast", autocast)
    network = Embedding()
    assert precision.cast_to(network, torch.float16) is torch.float16
    network.forward(torch.ones(1, 2))
    assert calls == [("cuda", torch.float16)]
    calls.clear()
    network.forward_with_embedding(torch.ones(1, 2))
    assert calls[0] == ("cuda", torch.float16)


@pytest.fixture
def embedding_class(tiny, data_dir):
    """Changes the user's model `tiny` into the one with embeddings that the guide shows. Returns the file's path."""
    (block,) = re.findall(r"^(    class Tiny\(nn\.Module\):\n(?:    .*\n|\n)+)", GUIDE.read_text("utf-8"), re.MULTILINE)
    file = data_dir / "models" / "tiny.py"
    code = re.sub("^    ", "", block.rstrip() + "\n", flags=re.MULTILINE)
    file.write_text(re.sub(r"class Tiny.*?\n\n\n", lambda _: code + "\n\n", file.read_text(), flags=re.DOTALL))
    return file


@torch.inference_mode()
def test_the_guides_model_with_embeddings_works_and_says_the_same_as_without(tiny, data_dir, tmp_path, request):
    source, waveform = saved(tmp_path / "a.pt", tiny), torch.rand(2, 16_000) - 0.5
    plain = checkpoints.load_model(weight_import.import_weights(source, "tiny").checkpoint, "cpu", embeddings="on")
    assert plain.embedding_size == 0
    request.getfixturevalue("embedding_class")
    model = checkpoints.load_model(weight_import.import_weights(source, "tiny").checkpoint, "cpu", embeddings="on")
    assert isinstance(model.network, EmbeddingNetwork)
    assert model.embedding_size == 2
    probabilities, embeddings = model.network.forward_with_embedding(waveform)
    assert torch.equal(probabilities, plain.network(waveform))
    assert torch.allclose(embeddings[:, 0], waveform.square().mean(1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", embedding", ", embedding, 1", "forward_with_embedding() fails on noise: ValueError: too many values"),
        (", embedding", ", embedding[0]", "the embedding of a window has the shape (2,), and should have (1, 2)"),
        ("embedding_size = 2", "embedding_size = 3", "has the shape (1, 2), and should have (1, 3)"),
        (", embedding", ", embedding / 0", "the embedding of noise holds values that are no numbers"),
        ("embedding_size = 2", "embedding_size = '2'", "the model tiny: embedding_size is '2'"),
        ("(waveform)[0]", "(waveform)[0].flip(1)", "gives other probabilities than forward()"),
    ],
)
def test_a_users_embeddings_that_are_not_what_they_should_be_are_refused(
    tiny, embedding_class, data_dir, tmp_path, old, new, message
):
    before, separator, after = embedding_class.read_text().rpartition(old)
    assert separator
    embedding_class.write_text(before + new + after)
    assert message in refused(data_dir, saved(tmp_path / "a.pt", tiny), "tiny")
