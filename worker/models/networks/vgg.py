"""VGG19 with batch norms on constant-Q spectrograms, `vgg19_bn_cqt`: torchvision's network and parameter names, in
plain torch.

K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.constant_q import BAND_HZ, BINS, ConstantQPower
from worker.features.picture import SpectrogramImage
from worker.models.networks.ccmusic import (
    HOP,
    LABELS,
    SAMPLE_RATE,
    PictureNetwork,
    build_head,
    count_classes,
    describe_features,
    window_samples,
)

__all__ = ["BAND_HZ", "FEATURES", "HOP", "LABELS", "SAMPLE_RATE", "WINDOW", "build"]

STAGES = (
    (64, 2),
    (128, 2),
    (256, 4),
    (512, 4),
    (512, 4),
)  # Channels and convolutions; each halves the picture's sides.
CLASSIFIER_INPUTS = 512 * 7 * 7  # Channels, rows and columns of what the last stage leaves of 224 x 224 pixels.
HIDDEN = 4096  # Units of each hidden layer of torchvision's own classifier.
CHANNEL_MULTIPLE = 8  # The matrix units of a GPU want so many channels, or a multiple of them.
CONTEXT_FRAMES = 24  # The lowest filter, and the filters that halve the rate before it, reach so far on each side.

WINDOW = window_samples(CONTEXT_FRAMES)
FEATURES = describe_features("picture of constant-Q", CONTEXT_FRAMES) | {"bins": BINS}


class Vgg(PictureNetwork):
    """Windows -> probabilities, see PictureNetwork. Embeddings: the means of the last stage's channels."""

    embedding_size = STAGES[-1][0]

    def __init__(self, classifier: nn.Module, spectrogram: nn.Module, picture: SpectrogramImage) -> None:
        super().__init__(spectrogram, picture, CONTEXT_FRAMES)
        self.features, inputs = nn.Sequential(), 3
        for channels, convolutions in STAGES:
            for _ in range(convolutions):
                self.features.extend([nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()])
                inputs = channels
            self.features.append(nn.MaxPool2d(2))
        self.classifier = classifier

    def cast_to(self, dtype: torch.dtype) -> torch.dtype:
        """Cast the weights, and replace each convolution, its batch norm and its relu by one faster module."""
        folded: list[nn.Module] = []
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                convolution = layer
            elif isinstance(layer, nn.BatchNorm2d):
                folded.append(ConvolutionRelu(convolution, layer, dtype))
            elif isinstance(layer, nn.MaxPool2d):
                folded.append(HalvingPool())
        self.features = nn.Sequential(*folded)
        return super().cast_to(dtype)

    def encode(self, pictures: Tensor) -> Tensor:
        """What the last stage leaves, (batch, 512, 7, 7), see PictureNetwork."""
        encoded: Tensor = self.features(pictures)
        return encoded

    def apply_head(self, encoded: Tensor) -> Tensor:
        """See PictureNetwork."""
        scores: Tensor = self.classifier(encoded.flatten(1))
        return scores

    def embedding(self, encoded: Tensor) -> Tensor:
        """Each channel's mean over its 7 x 7 places, in float32: it has as many values whatever the head is."""
        return encoded.mean((2, 3), dtype=torch.float32)


class ConvolutionRelu(nn.Module):
    """A convolution, its batch norm and relu in one: (batch, channels, height, width) -> the same, channels last.

    The batch norm is folded into the weights. Where there is cuDNN, the rest is one kernel of it. Channels are filled
    up with zeros to a multiple of CHANNEL_MULTIPLE.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, dtype: torch.dtype) -> None:
        super().__init__()
        mean, variance, bias = norm.running_mean, norm.running_var, convolution.bias
        assert mean is not None  # VGG's batch norms keep statistics, and its convolutions have biases.
        assert variance is not None
        assert bias is not None
        scale = norm.weight / (variance + norm.eps).sqrt()
        self.missing_channels = -convolution.in_channels % CHANNEL_MULTIPLE
        weight = F.pad(convolution.weight * scale[:, None, None, None], (0, 0, 0, 0, 0, self.missing_channels)).to(
            dtype
        )
        folded_bias = (bias - mean) * scale + norm.bias
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(folded_bias.to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.missing_channels:
            x = F.pad(x.contiguous(memory_format=torch.channels_last), (0, 0, 0, 0, 0, self.missing_channels))
        if x.is_cuda and torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]  # torch's
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, (1, 1), (1, 1), (1, 1), 1)
        return F.conv2d(x, self.weight, self.bias, padding=1).relu_()


class HalvingPool(nn.Module):
    """The maximum of every square of 2 x 2 pixels: (..., height, width) -> (..., height / 2, width / 2).

    nn.MaxPool2d is slower, because it finds the places of the maxima too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        return torch.maximum(x[..., ::2], x[..., 1::2])


def torchvision_head(classes: int) -> nn.Sequential:
    """The classifier that torchvision's network comes with."""
    return nn.Sequential(
        nn.Linear(CLASSIFIER_INPUTS, HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(HIDDEN, classes),
    )  # fmt: skip


def build(state: dict[str, Tensor]) -> Vgg:
    """The network that a state dict is for, without its weights: they are on the device "meta"."""
    spectrogram, picture = ConstantQPower(), SpectrogramImage(BINS)
    classes = count_classes(state, "classifier.6.weight")  # The last layer of torchvision's own classifier.
    with torch.device("meta"):
        head = torchvision_head(classes) if classes else build_head(state, "classifier", CLASSIFIER_INPUTS)
        return Vgg(head, spectrogram, picture)
