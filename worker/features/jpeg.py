"""What a JPEG file of quality 75 keeps of pictures, as tensors: the published systems look at pictures saved so.

The arithmetic is that of libjpeg, integer for integer:
- its default transforms, "islow" (jfdctint.c and jidctint.c), whose steps are written here as one matrix;
- 4:2:0, which keeps a quarter of the colours' pixels, and "fancy" upsampling of them (jdsample.c).

The tables and the transform are defined by ITU-T T.81 (1992), the conversion of colours by JFIF 1.02.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUALITY = 75  # Of 100, as PIL and matplotlib save by default.
BLOCK = 8  # Pixels on each side of a block that is transformed.

# The steps in which the coefficients of a block are stored at quality 50, row by row (T.81, annex K, tables K.1, K.2).
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    *(99,) * 38,
)  # fmt: skip

# libjpeg's cosine transform of eight values, times 2**13: the left half of each row. The right half of an even row is
# its mirror image; that of an odd row is its mirror image with all signs changed.
COSINES = (
    (8192, 8192, 8192, 8192), (11363, 9633, 6437, 2260), (10703, 4433, -4433, -10703), (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192), (6437, -11362, 2261, 9633), (4433, -10704, 10704, -4433), (2260, -6436, 9633, -11363),
)  # fmt: skip
COSINES_SCALE = 2.0**-13  # Times COSINES, it is the orthonormal transform times the square root of 8.
PASS_SCALE = 2.0**2  # Between the transform of the rows and that of the columns, libjpeg keeps two bits more.
TRANSFORM_GAIN = 8  # Both transforms together make the coefficients of a block so many times as large.

TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1, 0, 1.402), (1, -0.344136286, -0.714136286), (1, 1.772, 0))


def quantisation_steps(table: tuple[int, ...]) -> Tensor:
    """A table of annex K, scaled from quality 50 to QUALITY as libjpeg does: float32 (BLOCK, BLOCK)."""
    scaled = (torch.tensor(table) * (200 - 2 * QUALITY) + 50) // 100
    return scaled.clamp(1, 255).float().view(BLOCK, BLOCK)


def cosine_matrix() -> Tensor:
    """The transform of eight values: float32 (8 frequencies, 8 values), all of them whole multiples of 2**-13."""
    left = torch.tensor(COSINES)
    right = left.flip(1) * torch.tensor([1, -1] * 4)[:, None]
    return torch.cat([left, right], 1) * COSINES_SCALE


def round_half_up(values: Tensor) -> Tensor:
    """The nearest whole numbers; halves are rounded up."""
    return (values + 0.5).floor_()


class JpegPalette(nn.Module):
    """Pictures whose pixels are indices of a palette, saved as JPEG and opened again.

    palette: its colours (256, 3), 0 to 255. Indices (batch, height, width) -> colours 0 to 255, (batch, 3, height,
    width).
    """

    ycc: Tensor  # (3, 256): brightness, blueness and redness of the palette's colours, around 0.
    cosines: Tensor
    luminance: Tensor
    chrominance: Tensor
    rgb: Tensor

    def __init__(self, palette: Tensor) -> None:
        super().__init__()
        ycc = (palette.double() @ torch.tensor(TO_YCC, dtype=torch.float64).T - 0.5).ceil().float()  # Halves go down.
        ycc[:, 0] -= 128  # A brightness is 0 to 255; the other two lie around 0 already.
        constants = {
            "ycc": ycc.T, "cosines": cosine_matrix(), "luminance": quantisation_steps(LUMINANCE),
            "chrominance": quantisation_steps(CHROMINANCE), "rgb": torch.tensor(TO_RGB),
        }  # fmt: skip
        for name, value in constants.items():
            self.register_buffer(name, value.contiguous(), persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        """See the class. The picture is filled up with its last row and column to whole blocks, as libjpeg does."""
        height, width = indices.shape[1:]
        padding = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
        indices = F.pad(indices[:, None].float(), padding, mode="replicate")[:, 0].int()
        brightness = self._code(self.ycc[0][indices], self.luminance)[:, None, :height, :width]
        chroma = self._halve(torch.stack([self.ycc[1][indices], self.ycc[2][indices]], 1))
        chroma = torch.unflatten(self._code(chroma.flatten(0, 1), self.chrominance), 0, (-1, 2))
        chroma = self._double(chroma[:, :, : (height + 1) // 2, : (width + 1) // 2])[:, :, :height, :width]
        colour_parts = round_half_up(torch.einsum("ij,bjhw->bihw", self.rgb[:, 1:], chroma))
        return (brightness + 128 + colour_parts).clamp_(0, 255)

    def _halve(self, planes: Tensor) -> Tensor:
        """The mean of each square of four pixels. A half is rounded down in even columns, and up in odd ones."""
        means = F.avg_pool2d(planes, 2)
        column_offsets = torch.tensor([0.25, 0.5], device=planes.device).repeat(means.shape[3] // 2)
        return (means + column_offsets).floor_()

    def _double(self, planes: Tensor) -> Tensor:
        """Twice as many rows and columns. In each direction a new pixel is 3/4 of the nearest and 1/4 of the next."""
        doubled = F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)
        column_offsets = torch.tensor([8 / 16, 7 / 16], device=planes.device).repeat(planes.shape[3])
        return (doubled + column_offsets).floor_()

    def _code(self, plane: Tensor, steps: Tensor) -> Tensor:
        """What is left of a plane when the coefficients of its blocks are stored in steps.

        plane: (batch, height, width), values around 0. steps: (BLOCK, BLOCK). Returns the same shape as the plane.
        """
        rows, columns = plane.shape[1] // BLOCK, plane.shape[2] // BLOCK
        across = round_half_up(torch.unflatten(plane, 2, (columns, BLOCK)) @ self.cosines.T * PASS_SCALE).flatten(2)
        both = round_half_up(self.cosines @ torch.unflatten(across, 1, (rows, BLOCK)) / PASS_SCALE)
        steps = steps.repeat(1, columns)  # `both` is (batch, rows, BLOCK, width).
        stored = both.sign() * round_half_up(both.abs() / (TRANSFORM_GAIN * steps)) * steps
        down = round_half_up(self.cosines.T @ stored * PASS_SCALE).flatten(1, 2)
        back = round_half_up(torch.unflatten(down, 2, (columns, BLOCK)) @ self.cosines / (PASS_SCALE * TRANSFORM_GAIN))
        return back.flatten(2).clamp_(-128, 127)
