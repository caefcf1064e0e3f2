"""What the tests of models share."""

import pytest
import torch

from genremill.bench.random_weights import seeded_state
from tests.support.own_model import write_own_model
from worker.models.networks import vgg


@pytest.fixture
def tiny(data_dir):
    """Weights for the user's own model `tiny`, which is in the data folder. It tells three classes apart."""
    write_own_model(data_dir)
    return {"out.weight": torch.tensor([[9.0, 0.0], [0.0, 9.0], [-9.0, -9.0]]), "out.bias": torch.zeros(3)}


@pytest.fixture(scope="module")
def vgg_state():
    """Seeded weights for vgg19_bn_cqt, with a head of one linear layer and 16 classes."""
    return seeded_state(vgg, "plain")
