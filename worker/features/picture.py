"""The picture that the published systems draw of a window's spectrogram, without matplotlib, on the device.

They draw it with librosa.display.specshow in a figure of matplotlib's default size, save it as JPEG and resize it.
Each value of the spectrogram is a cell of the picture. Its colour is the place of the value between the lowest and the
highest one of the window, in matplotlib's palette "magma". Low frequencies are at the bottom.
"""

import base64
import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.jpeg import JpegPalette, round_half_up

log = logging.getLogger(__name__)

AMIN = 1e-10  # Power below it counts as this power, as in librosa.power_to_db.
RANGE_DB = 80.0  # What is so many decibels below the reference, or more, counts as so many below it.

# matplotlib's default figure has 640 x 480 pixels, and its axes have 0.775 of the width and 0.77 of the height.
WIDTH = 496  # Pixels in a row of the picture.
AXES_HEIGHT = 369.6  # Pixels that the axes are high.
HEIGHT = 369  # Pixels in a column of the picture: whole ones only.

# How much of the axes is cut off above the picture's first row, in pixels: the 0.6 that HEIGHT leaves over. It is 0.005
# less, so that a pixel whose centre lies between two cells shows the upper one, as matplotlib draws it.
AXES_CUT = 0.595

SIDE = 224  # Pixels on each side of the picture that a network gets.
COLOURS = 256  # In the palette.
MIN_CONTRAST = 1e-12  # Decibels between the lowest and the highest value: avoids dividing by 0.

# The palette "magma" of matplotlib: uint8 (COLOURS, 3).
MAGMA = torch.frombuffer(
    bytearray(base64.b85decode(
        b"000C500jX71_1#G0s#pE0t*5H4FdxY0|OES1QZ1X76t_v1_c@i1{??n9tj5^3J4+#2_y^&CJhQH4ht&~3oQ{0FA@zg6Ad&J4mK4II2I2(7!N"
        b"%e5I-6aLL3l89T7(!5lJ8sOCb?XA`ws|5>q7-RVNZyDG^#K5nL=0Uo8<~FA-xg5oI$FXEYFLHV|t#5NtUQZaWWfJr8j|4{|^cbV3hxL=SdF5"
        b"O+rqcu5d=N)UNW5qeG$druO3Q4)Mo6MR$?eO45GR~3F)6@FS4eq0uRT^D~}7=K_GfMOYdWEy~F8h~dTfM^_nY8-)U9f55ffo>jwa36tkAAxf"
        b"qfpsB)b|HayB7u1#f_o!^d?SK>B!Yk?f`KK0gC>E5CV_@0frux8i70`KDS?bBfsQJHkSc+ZD}j?MfRrqNmMnmnEr6LVfSWFVoGyQ!FMpsff1"
        b"xmbqcDD@F@B~oeW)^hsxy77GkmQye6BQmur+(KHG8u*dbKusw>NpXH+i}^c)U4yy*YQkI(NW2cEUS##5{GyJaorBbI3k(%06<;KXJ`KanC?-"
        b"&_Qp~LT}SUZq-C>)<taCMQqtdYuiU^+(>EONoe0nXy8m|;!S4bPG#gzWaUs~=Tc+nQ)1~<V(M05>sMgxSYYj1U+!C8?_FN-UtaNGUGidG@?>"
        b"1|WnA=UT=Z#N^=n-AY+UwkT=#HX_i|kLbX@p$T={ri`FUOWdtLf{UiyDt`hj2jgJ1iFVEcz*{E1=wiemhXWBiU}{E%h+l4kvsXZ@CF{g`R}n"
        b"ri)<YyO>V{-16Bp>F=8Z~mom{-<*OsdN6SbpEV%{;qfauz3Emdj7O~{<eJnw|@S)fBw6H{=I_!zl8q5h5o{a{=|s>#)|&PjQ+}v{>+d5&5-`"
        b"jlK#<@{?nEI)tCO)nf}<C{o0)U+@Ag3p#9*X{o<qj<E8!Or~T)t{pqUx>#Y3juKez>{P42;^0fT)w*2<E{P(&1`Mdo4z5M;Z"
    )), dtype=torch.uint8,
).view(COLOURS, 3)  # fmt: skip


def decibels(power: Tensor, reference: Tensor) -> Tensor:
    """Power in decibels relative to a reference, and not lower than -RANGE_DB: librosa.power_to_db.

    power: (batch, bins, frames). reference: the power that is 0 dB, (batch,). Returns (batch, bins, frames).
    """
    reference_db = 10 * torch.log10(reference.clamp(min=AMIN))
    return (10 * torch.log10(power.clamp(min=AMIN)) - reference_db[:, None, None]).clamp(min=-RANGE_DB)


def first_frames(values: Tensor, lengths: Tensor) -> Tensor:
    """Values (batch, bins, frames) whose frames from lengths (batch,) on are replaced by the first frame.

    So the lowest and the highest value of each window are those of the frames that count.
    """
    counts = torch.arange(values.shape[2], device=values.device) < lengths[:, None]
    return torch.where(counts[:, None], values, values[:, :, :1])


def choose_cells(bins: int) -> Tensor:
    """Which cell each row of the picture shows: int64 (HEIGHT,), both counted from the top.

    It is the cell in which the centre of the row's pixels lies.
    """
    centres = torch.arange(HEIGHT) + 0.5 + AXES_CUT
    return (centres * bins / AXES_HEIGHT).long().clamp(0, bins - 1)


def resize_matrix(pixels: int) -> Tensor:
    """PIL's bilinear resizing, with antialiasing, from so many pixels to SIDE, as a matrix: (SIDE, pixels)."""
    identity = torch.eye(pixels)[None, None]
    return F.interpolate(identity, size=(SIDE, pixels), mode="bilinear", antialias=True)[0, 0]


class SpectrogramImage(nn.Module):
    """Decibels (batch, bins, frames) and lengths (batch,) int64 -> pictures (batch, 3, SIDE, SIDE) in [0, 1].

    The first `lengths` frames of each window are drawn. The other frames must be copies of these, see first_frames().

    make_kernels: makes what draws the same pictures faster on a GPU, see make_triton_kernels().
    """

    rows: Tensor  # choose_cells().
    column_centres: Tensor  # (WIDTH,) pixels.
    down: Tensor  # (SIDE, HEIGHT): resizes columns.
    across: Tensor  # (WIDTH, SIDE): resizes rows.

    def __init__(self, bins: int, make_kernels: "Callable[[SpectrogramImage], nn.Module] | None" = None) -> None:
        super().__init__()
        self.bins = bins
        self.jpeg = JpegPalette(MAGMA)
        self.register_buffer("rows", choose_cells(bins), persistent=False)
        self.register_buffer("column_centres", torch.arange(WIDTH) + 0.5, persistent=False)
        self.register_buffer("down", resize_matrix(HEIGHT), persistent=False)
        self.register_buffer("across", resize_matrix(WIDTH).T.contiguous(), persistent=False)
        self._make_kernels = make_kernels or make_triton_kernels
        self._has_tried_kernels = False
        self._kernels: nn.Module | None = None

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        if values.is_cuda and not self._has_tried_kernels:
            self._kernels = self._try_kernels(values)
            self._has_tried_kernels = True
        pictures: Tensor = self._draw(values, lengths) if self._kernels is None else self._kernels(values, lengths)
        return pictures

    def _draw(self, values: Tensor, lengths: Tensor) -> Tensor:
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        places = (values - low) / (high - low).clamp(min=MIN_CONTRAST)  # Of the values, between 0 and 1.
        colours = (places * COLOURS).clamp(max=COLOURS - 1).to(torch.uint8)
        columns = (self.column_centres * lengths[:, None] / WIDTH).long()
        drawn = colours.flip(1)[:, self.rows].gather(2, columns[:, None].expand(-1, HEIGHT, -1))
        across = round_half_up(self.jpeg(drawn) @ self.across)
        return round_half_up(self.down @ across) / 255  # PIL rounds to whole numbers after each of the two directions.

    def _try_kernels(self, values: Tensor) -> nn.Module | None:
        """The kernels, after they have drawn one window; None, and a warning in the log, where that fails."""
        try:
            kernels = self._make_kernels(self).to(values.device)
            kernels(values[:1], torch.full((1,), values.shape[2], device=values.device))
        except Exception as error:  # Triton is not installed, finds no C compiler, or does not know the GPU.
            log.warning("Triton does not work here, and pictures take ten times as long: %s", error)
            return None
        return kernels


def make_triton_kernels(image: SpectrogramImage) -> nn.Module:
    """The same as the image's forward(), in kernels of Triton."""
    from worker.features.picture_triton import PictureKernels  # Triton is installed with torch for GPUs only.

    return PictureKernels(image.jpeg, image.bins, image.rows, image.across, image.down, MIN_CONTRAST)
