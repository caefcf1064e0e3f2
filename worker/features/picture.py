"""The picture that the published systems draw of a window's spectrogram, without matplotlib, on the device.

They draw it with librosa.display.specshow, save it as JPEG, and resize that: 496 x 369 pixels of cells in magma's
colours, scaled to the window's least and greatest value, low frequencies at the bottom.
"""

import base64
import logging

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.jpeg import JpegPalette, rounded

log = logging.getLogger(__name__)

AMIN = 1e-10  # of power: librosa.power_to_db's
RANGE_DB = 80.0
WIDTH, HEIGHT = 496, 369  # pixels that matplotlib draws at its default figure size
EXTENT, OFFSET = 369.6, 0.595  # pixels: of the axes, of which the lowest row is cut
SIDE = 224  # pixels of a network's input
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
).view(256, 3)  # fmt: skip


def decibels(power: Tensor, reference: Tensor) -> Tensor:
    """librosa.power_to_db: power (batch, bins, frames) relative to the references (batch,), at least -RANGE_DB."""
    reference = 10 * torch.log10(reference.clamp(min=AMIN))
    return (10 * torch.log10(power.clamp(min=AMIN)) - reference[:, None, None]).clamp(min=-RANGE_DB)


def cells(count: int, pixels: int, extent: float, offset: float) -> Tensor:
    """Which of `count` cells each of the pixels shows: int64 (pixels,)."""
    return ((torch.arange(pixels) + 0.5 + offset) * count / extent).long().clamp(0, count - 1)


def resizing(pixels: int) -> Tensor:
    """PIL's antialiased bilinear resizing to SIDE pixels, as a matrix: (SIDE, pixels)."""
    identity = torch.eye(pixels)[None, None]
    return F.interpolate(identity, size=(SIDE, pixels), mode="bilinear", antialias=True)[0, 0]


class SpectrogramImage(nn.Module):
    """Decibels (batch, bins, frames), of which the first lengths (batch,) int64 frames are drawn (the others are copies
    of these, see first_frames) -> pictures (batch, 3, SIDE, SIDE) in [0, 1]."""

    def __init__(self, bins: int):
        super().__init__()
        self.jpeg = JpegPalette(MAGMA)
        self.register_buffer("rows", cells(bins, HEIGHT, EXTENT, OFFSET), persistent=False)
        self.register_buffer("pixels", torch.arange(WIDTH) + 0.5, persistent=False)
        self.register_buffer("down", resizing(HEIGHT), persistent=False)
        self.register_buffer("across", resizing(WIDTH).T.contiguous(), persistent=False)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        kernels = self._kernels(values) if values.is_cuda else None
        if kernels is not None:
            return kernels(values, lengths)
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        colours = ((values - low) / (high - low).clamp(min=1e-12) * 256).clamp(max=255).to(torch.uint8)
        columns = (self.pixels * lengths[:, None] / WIDTH).long()
        drawn = colours.flip(1)[:, self.rows].gather(2, columns[:, None].expand(-1, HEIGHT, -1))
        across = rounded(self.jpeg(drawn) @ self.across)
        return rounded(self.down @ across) / 255  # PIL keeps whole numbers, between its two passes too

    def _kernels(self, values: Tensor) -> nn.Module | None:
        """The same in Triton, made and tried when it is first needed; None where Triton does not work."""
        if not hasattr(self, "_fast"):
            try:
                from worker.features.picture_triton import PictureKernels

                self._fast = PictureKernels(self, values.shape[1]).to(values.device)
                self._fast(values[:1], torch.full((1,), values.shape[2], device=values.device))
            except Exception as error:  # it is not there, finds no C compiler, does not know the GPU
                log.warning("Triton does not work here, and pictures take ten times as long: %s", error)
                self._fast = None
        return self._fast


def first_frames(values: Tensor, lengths: Tensor) -> Tensor:
    """The values (batch, bins, frames), with the first frame in place of those behind lengths (batch,)."""
    counts = torch.arange(values.shape[2], device=values.device) < lengths[:, None]
    return torch.where(counts[:, None], values, values[:, :, :1])
