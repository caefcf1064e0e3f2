"""VGG19 with batch norms on constant-Q spectrograms, `vgg19_bn_cqt`: torchvision's network and parameter names, in
plain torch.

K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015.
"""

import torch
from torch import Tensor, nn

from worker.cqt import BINS, ConstantQPower
from worker.models.ccmusic import (
    HOP,
    LABELS,
    SAMPLE_RATE,
    PictureNetwork,
    count_classes,
    features,
    head_like,
    window_samples,
)

__all__ = ["FEATURES", "HOP", "LABELS", "SAMPLE_RATE", "WINDOW", "build"]

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions; each halves the picture
INPUTS = 512 * 7 * 7  # of the classifier
HIDDEN = 4096  # of torchvision's own
CONTEXT = 24  # frames: the lowest filter and the decimators before it reach so far

WINDOW = window_samples(CONTEXT)
FEATURES = features("picture of constant-Q", CONTEXT) | {"bins": BINS}


class Vgg(PictureNetwork):
    """Windows -> probabilities, see PictureNetwork."""

    skipped = CONTEXT

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.features, inputs = nn.Sequential(), 3
        for channels, convolutions in STAGES:
            for _ in range(convolutions):
                self.features.extend([nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()])
                inputs = channels
            self.features.append(nn.MaxPool2d(2))
        self.classifier = classifier

    def logits(self, pictures: Tensor) -> Tensor:
        return self.classifier(self.features(pictures).flatten(1))


def torchvisions_head(classes: int) -> nn.Sequential:
    """The classifier that torchvision's network comes with."""
    return nn.Sequential(
        nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(HIDDEN, classes),
    )  # fmt: skip


def build(state: dict[str, Tensor]) -> Vgg:
    """The network that a state dict is for, without its weights."""
    classes = count_classes(state, "classifier.6.weight")
    with torch.device("meta"):
        network = Vgg(torchvisions_head(classes) if classes else head_like(state, "classifier", INPUTS))
    return network.look_through(ConstantQPower(), BINS)
