"""VGG19 with batch norms on constant-Q spectrograms, `vgg19_bn_cqt`: torchvision's network and parameter names, in
plain torch.

K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.constant_q import BAND_HZ, BINS, ConstantQPower
from worker.models.networks.ccmusic import (
    HOP,
    LABELS,
    SAMPLE_RATE,
    PictureNetwork,
    count_classes,
    features,
    head_like,
    window_samples,
)

__all__ = ["BAND_HZ", "FEATURES", "HOP", "LABELS", "SAMPLE_RATE", "WINDOW", "build"]

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

    def lower(self, dtype: torch.dtype) -> torch.dtype:
        layers, folded = list(self.features), []
        for at, layer in enumerate(layers):
            if isinstance(layer, nn.Conv2d):
                folded.append(ConvolutionRelu(layer, layers[at + 1], dtype))
            elif isinstance(layer, nn.MaxPool2d):
                folded.append(Halve())
        self.features = nn.Sequential(*folded)
        return super().lower(dtype)

    def logits(self, pictures: Tensor) -> Tensor:
        return self.classifier(self.features(pictures).flatten(1))


class ConvolutionRelu(nn.Module):
    """A convolution, its batch norm and relu, in one kernel of cuDNN's where there is cuDNN: (batch, channels, height,
    width) -> the same, channels last. Channels are filled up to a multiple of 8, which the matrix units want."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, dtype: torch.dtype):
        super().__init__()
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        self.missing = -convolution.in_channels % 8
        weight = F.pad(convolution.weight * scale[:, None, None, None], (0, 0, 0, 0, 0, self.missing)).to(dtype)
        bias = (convolution.bias - norm.running_mean) * scale + norm.bias
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias.to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.missing:
            x = F.pad(x.contiguous(memory_format=torch.channels_last), (0, 0, 0, 0, 0, self.missing))
        if x.is_cuda and torch.backends.cudnn.is_available():
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, (1, 1), (1, 1), (1, 1), 1)
        return F.conv2d(x, self.weight, self.bias, padding=1).relu_()


class Halve(nn.Module):
    """The maximum of every square of 2 x 2, without the indices that nn.MaxPool2d finds too: (batch, channels, height,
    width) -> (batch, channels, height / 2, width / 2)."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        return torch.maximum(x[..., ::2], x[..., 1::2])


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
