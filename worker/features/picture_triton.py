"""The pictures of worker.features.picture in three Triton kernels, which take a tenth of the time on a GPU.

The arithmetic is that of worker.features.picture and worker.features.jpeg, where it is explained. Tests on a GPU hold
both to be the same. The kernels run one after the other:

1. _encode draws the picture in the palette's colours, and codes it as JPEG does: brightness, and half as many colours.
2. _shrink_rows makes RGB of it, and resizes its rows.
3. _shrink_columns resizes its columns.

In the kernels, values, light, colours, shrunk and pictures are addresses of the first element of a tensor.
"""

# Triton compiles the functions marked with triton.jit, and gives their arguments types of its own.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# ruff: noqa: ANN001, ANN202

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from worker.features.jpeg import BLOCK, JpegPalette

TILE = 32  # Pixels on each side of what one program of _encode codes: two by two of JPEG's blocks of colours.
WARPS = 2  # Groups of 32 threads that work on a tile: fastest on an H200.
LINE = 256  # A power of two, as Triton wants, that holds a row of the resized picture.
TAPS = 5  # A resized pixel is made of no more than so many pixels in a row, or in a column.


@triton.jit
def _rounded(values):
    return tl.floor(values + 0.5)


@triton.jit
def _coded(plane, cosines, transposed, steps, PRECISION: tl.constexpr):
    """JpegPalette._code() of a tile. In `cosines`, the matrix of one block stands along the diagonal for each block."""
    across = _rounded(tl.dot(plane, transposed, input_precision=PRECISION) * 4)
    both = _rounded(tl.dot(cosines, across, input_precision=PRECISION) / 4)
    size = tl.abs(both).to(tl.int32)
    kept = (size + 4 * steps) // (8 * steps) * steps
    kept = tl.where(both < 0, -kept, kept).to(tl.float32)
    down = _rounded(tl.dot(transposed, kept, input_precision=PRECISION) * 4)
    again = _rounded(tl.dot(down, cosines, input_precision=PRECISION) / 32)
    return tl.minimum(tl.maximum(again, -128.0), 127.0)


@triton.jit
def _colour(values, rows, low, scale, length, y, x, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, FRAMES: tl.constexpr):
    """The colours, 0 to 255, of the pixels in rows y and columns x; beyond the picture, of those at its border."""
    y, x = tl.minimum(y, HEIGHT - 1), tl.minimum(x, WIDTH - 1)
    frame = ((x.to(tl.float32) + 0.5) * length / WIDTH).to(tl.int32)
    value = tl.load(values + tl.load(rows + y)[:, None] * FRAMES + frame[None, :])
    return tl.minimum(tl.div_rn(value - low, scale) * 256, 255.0).to(tl.int32)


@triton.jit
def _encode(
    values, rows, lows, scales, lengths, palette, cosines, luminance, chrominance, light, colours,
    BINS: tl.constexpr, FRAMES: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Draw and code one tile of one window: the brightness of all pixels, the two colours of every second one."""
    window = tl.program_id(2)
    values += window.to(tl.int64) * BINS * FRAMES
    low, scale, length = tl.load(lows + window), tl.load(scales + window), tl.load(lengths + window).to(tl.float32)
    side = tl.arange(0, TILE)
    y, x = tl.program_id(0) * TILE + side, tl.program_id(1) * TILE + side
    colour = _colour(values, rows, low, scale, length, y, x, HEIGHT, WIDTH, FRAMES)
    whole = side[:, None] * TILE + side[None, :]
    table = tl.load(cosines + whole)
    steps = tl.load(luminance + (side % 8)[:, None] * 8 + (side % 8)[None, :])
    plane = _coded(tl.load(palette + colour), table, tl.trans(table), steps, PRECISION)
    inside = (y < HEIGHT)[:, None] & (x < WIDTH)[None, :]
    at = window.to(tl.int64) * HEIGHT * WIDTH + y[:, None] * WIDTH + x[None, :]
    tl.store(light + at, (plane + 128).to(tl.uint8), mask=inside)

    half = tl.arange(0, TILE // 2)
    table = tl.load(cosines + half[:, None] * TILE + half[None, :])
    steps = tl.load(chrominance + (half % 8)[:, None] * 8 + (half % 8)[None, :])
    tie = tl.where(half % 2 == 0, 0.25, 0.5)[None, :]
    y, x = tl.program_id(0) * TILE + 2 * half, tl.program_id(1) * TILE + 2 * half
    one = _colour(values, rows, low, scale, length, y, x, HEIGHT, WIDTH, FRAMES)
    two = _colour(values, rows, low, scale, length, y, x + 1, HEIGHT, WIDTH, FRAMES)
    three = _colour(values, rows, low, scale, length, y + 1, x, HEIGHT, WIDTH, FRAMES)
    four = _colour(values, rows, low, scale, length, y + 1, x + 1, HEIGHT, WIDTH, FRAMES)
    half_height: tl.constexpr = (HEIGHT + 1) // 2
    half_width: tl.constexpr = (WIDTH + 1) // 2
    y, x = y // 2, x // 2
    inside = (y < half_height)[:, None] & (x < half_width)[None, :]
    for kind in tl.static_range(2):
        ycc = palette + 256 * (kind + 1)
        total = tl.load(ycc + one) + tl.load(ycc + two) + tl.load(ycc + three) + tl.load(ycc + four)
        plane = _coded(tl.floor(total * 0.25 + tie), table, tl.trans(table), steps, PRECISION)
        at = (window.to(tl.int64) * 2 + kind) * half_height * half_width + y[:, None] * half_width + x[None, :]
        tl.store(colours + at, (plane + 128).to(tl.uint8), mask=inside)


@triton.jit
def _near(colours, near_y, far_y, near_x, far_x, x, WIDTH: tl.constexpr):
    """JpegPalette._double() at the pixels x of a row: from their near and far neighbours, around 0."""
    near = 3 * tl.load(colours + near_y * WIDTH + near_x).to(tl.int32) + tl.load(colours + far_y * WIDTH + near_x)
    far = 3 * tl.load(colours + near_y * WIDTH + far_x).to(tl.int32) + tl.load(colours + far_y * WIDTH + far_x)
    return (((3 * near + far + 8 - x % 2) >> 4) - 128).to(tl.float32)


@triton.jit
def _shrink_rows(
    light, colours, begins, weights, shrunk,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, SIDE: tl.constexpr, LINE: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """One row of one window's picture: to RGB, and resized to SIDE pixels."""
    y, window = tl.program_id(0), tl.program_id(1).to(tl.int64)
    half_height: tl.constexpr = (HEIGHT + 1) // 2
    half_width: tl.constexpr = (WIDTH + 1) // 2
    light += window * HEIGHT * WIDTH + y * WIDTH
    blue, red = colours + 2 * window * half_height * half_width, colours + (2 * window + 1) * half_height * half_width
    near_y = y // 2
    far_y = tl.minimum(tl.maximum(near_y + y % 2 * 2 - 1, 0), half_height - 1)
    column = tl.arange(0, LINE)
    inside = column < SIDE
    begin = tl.load(begins + column, mask=inside, other=0)
    r, g, b = tl.zeros([LINE], tl.float32), tl.zeros([LINE], tl.float32), tl.zeros([LINE], tl.float32)
    for tap in tl.static_range(TAPS):
        weight = tl.load(weights + column * TAPS + tap, mask=inside, other=0.0)
        x = tl.minimum(begin + tap, WIDTH - 1)
        near_x = x // 2
        far_x = tl.minimum(tl.maximum(near_x + x % 2 * 2 - 1, 0), half_width - 1)
        cb = _near(blue, near_y, far_y, near_x, far_x, x, half_width)
        cr = _near(red, near_y, far_y, near_x, far_x, x, half_width)
        bright = tl.load(light + x).to(tl.float32)
        r += weight * tl.minimum(tl.maximum(bright + _rounded(1.402 * cr), 0.0), 255.0)
        g += weight * tl.minimum(tl.maximum(bright + _rounded(-0.344136286 * cb - 0.714136286 * cr), 0.0), 255.0)
        b += weight * tl.minimum(tl.maximum(bright + _rounded(1.772 * cb), 0.0), 255.0)
    at = shrunk + (3 * window * HEIGHT + y) * SIDE + column
    tl.store(at, _rounded(r).to(tl.uint8), mask=inside)
    tl.store(at + HEIGHT * SIDE, _rounded(g).to(tl.uint8), mask=inside)
    tl.store(at + 2 * HEIGHT * SIDE, _rounded(b).to(tl.uint8), mask=inside)


@triton.jit
def _shrink_columns(
    shrunk, begins, weights, pictures, HEIGHT: tl.constexpr, SIDE: tl.constexpr, LINE: tl.constexpr, TAPS: tl.constexpr
):
    """One row of the result, for one colour of one window: it resizes the columns."""
    y, plane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    column = tl.arange(0, LINE)
    inside = column < SIDE
    begin = tl.load(begins + y)
    total = tl.zeros([LINE], tl.float32)
    for tap in tl.static_range(TAPS):
        row = tl.minimum(begin + tap, HEIGHT - 1)
        pixel = tl.load(shrunk + (plane * HEIGHT + row) * SIDE + column, mask=inside, other=0).to(tl.float32)
        total += tl.load(weights + y * TAPS + tap) * pixel
    tl.store(pictures + (plane * SIDE + y) * SIDE + column, _rounded(total) * (1 / 255), mask=inside)


class PictureKernels(nn.Module):
    """The same as SpectrogramImage, on a GPU: decibels (batch, bins, frames), lengths (batch,) -> pictures.

    jpeg, bins, rows, across and down are those of the SpectrogramImage; min_contrast is in decibels.
    """

    cosines: Tensor
    ycc: Tensor
    bins: Tensor
    luminance: Tensor
    chrominance: Tensor
    across_begins: Tensor
    across_weights: Tensor
    down_begins: Tensor
    down_weights: Tensor

    def __init__(
        self, jpeg: JpegPalette, bins: int, rows: Tensor, across: Tensor, down: Tensor, min_contrast: float
    ) -> None:
        super().__init__()
        self._min_contrast = min_contrast
        self._shape = len(rows), len(across), len(down)
        tables = {
            "bins": (bins - 1 - rows).int(),  # Which bin each row of the picture shows.
            "ycc": jpeg.ycc,
            "cosines": torch.block_diag(*[jpeg.cosines] * (TILE // BLOCK)),  # type: ignore[no-untyped-call]  # torch's
            "luminance": jpeg.luminance.int(),
            "chrominance": jpeg.chrominance.int(),
        }
        for name, matrix in (("across", across.T), ("down", down)):
            tables[f"{name}_begins"], tables[f"{name}_weights"] = find_taps(matrix)
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        (batch, bins, frames), (height, width, side), device = values.shape, self._shape, values.device
        low, high = values.amin((1, 2)), values.amax((1, 2))
        contrast = (high - low).clamp(min=self._min_contrast)
        light = torch.empty(batch, height, width, dtype=torch.uint8, device=device)
        colours = torch.empty(batch, 2, (height + 1) // 2, (width + 1) // 2, dtype=torch.uint8, device=device)
        shrunk = torch.empty(batch, 3, height, side, dtype=torch.uint8, device=device)
        pictures = torch.empty(batch, 3, side, side, device=device)
        tiles = triton.cdiv(height, TILE), triton.cdiv(width, TILE), batch
        _encode[tiles](
            values.contiguous(), self.bins, low, contrast, lengths, self.ycc, self.cosines,
            self.luminance, self.chrominance, light, colours, bins, frames, height, width, TILE,
            choose_precision(device), num_warps=WARPS,
        )  # fmt: skip
        across, down = (self.across_begins, self.across_weights), (self.down_begins, self.down_weights)
        _shrink_rows[(height, batch)](light, colours, *across, shrunk, height, width, side, LINE, TAPS)
        _shrink_columns[(side, 3 * batch)](shrunk, *down, pictures, height, side, LINE, TAPS)
        return pictures


def choose_precision(device: torch.device) -> str:
    """How Triton multiplies matrices of float32 on this GPU.

    Three products of tf32 are as exact as one of float32, and run on the matrix units of GPUs that have tf32.
    """
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "tf32x3" if has_tf32 else "ieee"


def find_taps(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of a resizing matrix (result, pixels), of which each row has at most TAPS, side by side.

    Returns the pixel of each row's first weight, int32 (result,), and the weights from there on, (result, TAPS).
    """
    begins = (matrix != 0).int().argmax(1)
    indices = begins[:, None] + torch.arange(TAPS, device=matrix.device)
    weights = matrix.gather(1, indices.clamp(max=matrix.shape[1] - 1)) * (indices < matrix.shape[1])
    return begins.int(), weights.contiguous()
