"""What a JPEG file of quality 75 keeps of pictures, as tensors: the published systems look at saved pictures.

The arithmetic is libjpeg's, integer for integer: its default transforms ("islow", jfdctint.c and jidctint.c, whose
butterflies are written out as a matrix here), 4:2:0, triangular upsampling of the colours ("fancy", jdsample.c).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUALITY = 75
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66)
CHROMINANCE += (99,) * 38
COSINES = (  # times 2**13: the left half of each row; odd rows go on with their negatives, mirrored
    (8192, 8192, 8192, 8192), (11363, 9633, 6437, 2260), (10703, 4433, -4433, -10703), (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192), (6437, -11362, 2261, 9633), (4433, -10704, 10704, -4433), (2260, -6436, 9633, -11363),
)  # fmt: skip
FRACTION = 2.0**-13, 2.0**2  # of the cosines; between the two passes
GAIN = 8  # of the two transforms together
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1, 0, 1.402), (1, -0.344136286, -0.714136286), (1, 1.772, 0))


def quantisation(table: tuple[int, ...]) -> Tensor:
    """Annex K's table, scaled to the quality: float32 (8, 8)."""
    scaled = (torch.tensor(table) * (200 - 2 * QUALITY) + 50) // 100
    return scaled.clamp(1, 255).float().view(8, 8)


def cosines() -> Tensor:
    """The transform of eight values: float32 (8 frequencies, 8 values), whole numbers times 2**-13."""
    left = torch.tensor(COSINES)
    right = left.flip(1) * torch.tensor([1, -1] * 4)[:, None]
    return torch.cat([left, right], 1) * FRACTION[0]


def rounded(values: Tensor) -> Tensor:
    """Rounded, halves up."""
    return (values + 0.5).floor_()


class JpegPalette(nn.Module):
    """Indexed pictures through a JPEG file: indices (batch, height, width) -> colours 0 to 255, (batch, 3, height,
    width)."""

    def __init__(self, palette: Tensor):
        super().__init__()
        ycc = (palette.double() @ torch.tensor(TO_YCC, dtype=torch.float64).T - 0.5).ceil().float()  # halves go down
        ycc[:, 0] -= 128  # the chrominances lie around 0 already
        constants = {
            "ycc": ycc.T, "cosines": cosines(), "luminance": quantisation(LUMINANCE),
            "chrominance": quantisation(CHROMINANCE), "rgb": torch.tensor(TO_RGB),
        }  # fmt: skip
        for name, value in constants.items():
            self.register_buffer(name, value.contiguous(), persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        height, width = indices.shape[1:]
        indices = F.pad(indices[:, None].float(), (0, -width % 16, 0, -height % 16), mode="replicate")[:, 0].int()
        light = self._coded(self.ycc[0][indices], self.luminance)[:, None, :height, :width]
        colours = self._halved(torch.stack([self.ycc[1][indices], self.ycc[2][indices]], 1))
        colours = self._coded(colours.flatten(0, 1), self.chrominance).unflatten(0, (-1, 2))
        colours = self._doubled(colours[:, :, : (height + 1) // 2, : (width + 1) // 2])[:, :, :height, :width]
        chroma = rounded(torch.einsum("ij,bjhw->bihw", self.rgb[:, 1:], colours))
        return (light + 128 + chroma).clamp_(0, 255)

    def _halved(self, planes: Tensor) -> Tensor:
        """The mean of each square of four; what lies half-way goes down in even columns and up in odd ones."""
        means = F.avg_pool2d(planes, 2)
        ties = torch.tensor([0.25, 0.5], device=planes.device).repeat(means.shape[3] // 2)
        return (means + ties).floor_()

    def _doubled(self, planes: Tensor) -> Tensor:
        """Twice as many rows and columns, between their neighbours at 3 to 1."""
        doubled = F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)
        ties = torch.tensor([8 / 16, 7 / 16], device=planes.device).repeat(planes.shape[3])
        return (doubled + ties).floor_()

    def _coded(self, plane: Tensor, steps: Tensor) -> Tensor:
        """A plane (batch, height, width) around 0, with what quantising its blocks' cosines by `steps` leaves."""
        rows, columns = plane.shape[1] // 8, plane.shape[2] // 8
        across = rounded(plane.unflatten(2, (columns, 8)) @ self.cosines.T * FRACTION[1]).flatten(2)
        both = rounded(self.cosines @ across.unflatten(1, (rows, 8)) / FRACTION[1])  # (batch, rows, 8, width)
        steps = steps.repeat(1, columns)
        kept = both.sign() * rounded(both.abs() / (GAIN * steps)) * steps
        down = rounded(self.cosines.T @ kept * FRACTION[1]).flatten(1, 2)
        again = rounded(down.unflatten(2, (columns, 8)) @ self.cosines / (FRACTION[1] * GAIN))
        return again.flatten(2).clamp_(-128, 127)
