"""The two published networks: torchvision's parameters and outputs, and the heads that are told apart."""

import json

import pytest
import torch

from genremill.bench.random_weights import HEADS, seeded_state
from tests.support.paths import DATA
from worker.models import checkpoints
from worker.models.networks import vgg, vit

PARAMETERS = DATA / "torchvision_parameters.json"  # of torchvision 0.26
NETWORKS = {"vit_b_16": vit, "vgg19_bn": vgg}
PUBLISHED = {  # the four linear layers of facts about the published heads, for 16 classes
    "vit_b_16": ("heads.head", [(289, 768), (110, 289), (42, 110), (16, 42)]),
    "vgg19_bn": ("classifier", [(3958, 25_088), (629, 3958), (100, 629), (16, 100)]),
}


def shapes(state) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_torchvisions(name):
    expected = json.loads(PARAMETERS.read_text())[name]
    network = NETWORKS[name].build({parameter: torch.empty(1000, 1) for parameter in HEADS["torchvision"]})
    assert shapes(network.state_dict()) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_head(name):
    prefix, layers = PUBLISHED[name]
    state = NETWORKS[name].build({f"{prefix}.9.weight": torch.empty(16, 1)}).state_dict()
    assert [tuple(state[f"{prefix}.{index}.weight"].shape) for index in (1, 4, 7, 9)] == layers


@pytest.mark.parametrize("classes", [2, 16, 101])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_state_dict_tells_the_head_and_the_classes(name, head, classes):
    state = seeded_state(NETWORKS[name], head, classes)
    network = checkpoints.build_with_weights(NETWORKS[name], state)
    assert shapes(network.state_dict()) == shapes(state)
    with torch.inference_mode():
        assert network.logits(torch.zeros(1, 3, 224, 224)).shape == (1, classes)


@pytest.mark.parametrize("head", ["published", "torchvision"])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_outputs_are_torchvisions(name, head):
    torchvision = pytest.importorskip("torchvision")
    state = seeded_state(NETWORKS[name], head)
    ours = checkpoints.build_with_weights(NETWORKS[name], state)
    theirs = getattr(torchvision.models, name)(num_classes=16)
    if head == "published" and name == "vit_b_16":
        theirs.heads.head = ours.heads.head
    elif head == "published":
        theirs.classifier = ours.classifier
    theirs.load_state_dict(state)
    pictures = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected, found = theirs.eval()(pictures), ours.logits(pictures)
    assert (found.softmax(1) - expected.softmax(1)).abs().max() < 1e-5
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)
