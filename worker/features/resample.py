"""soxr's resampler as a matrix product, for waveforms that are on a device."""

import math

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor, nn

REACH = 200  # input samples that an output sample sees on each side, times the decimation
NEGLIGIBLE = 1e-7  # of an impulse: soxr HQ computes in float32, and its noise is a tenth of this


def soxr_matrix(rate_in: int, rate_out: int, blocks: int) -> tuple[np.ndarray, int, int]:
    """soxr HQ from `blocks` periods of input, and `reach` samples around them, to their output.

    It is read out of soxr by impulses. Returns float32 (period_in + 2 * reach, period_out), period_in and reach.
    """
    common = math.gcd(rate_in, rate_out)
    period_in, period_out = rate_in // common * blocks, rate_out // common * blocks
    reach = math.ceil(REACH * max(rate_in / rate_out, 1.0))
    before = math.ceil(reach / period_in) + 2  # periods of silence on each side
    rows = np.zeros((period_in + 2 * reach, period_out))
    for row in range(len(rows)):
        impulse = np.zeros((2 * before + 1) * period_in)
        impulse[before * period_in - reach + row] = 1.0
        rows[row] = soxr.resample(impulse, rate_in, rate_out, "HQ")[before * period_out : (before + 1) * period_out]
    heard = np.flatnonzero(np.abs(rows).max(1) > NEGLIGIBLE)
    unheard = min(heard[0], len(rows) - 1 - heard[-1])
    return rows[unheard : len(rows) - unheard].astype(np.float32), period_in, reach - unheard


class Resample(nn.Module):
    """Waveforms (batch, samples) at rate_in -> (batch, ceil(samples * rate_out / rate_in)), as soxr HQ gives them.

    A larger `blocks` makes larger matrix products, of which a larger part is multiplied by zeros.
    """

    def __init__(self, rate_in: int, rate_out: int, blocks: int = 1):
        super().__init__()
        matrix, self._period, self._reach = soxr_matrix(rate_in, rate_out, blocks)
        self._ratio = rate_out, rate_in
        self.register_buffer("matrix", torch.from_numpy(matrix), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        batch, samples = waveform.shape
        periods = math.ceil(samples / self._period)
        padded = F.pad(waveform, (self._reach, periods * self._period - samples + self._reach))
        rate_out, rate_in = self._ratio
        pieces = self._multiply(padded).reshape(batch, -1)
        return pieces[:, : math.ceil(samples * rate_out / rate_in)]

    def _multiply(self, padded: Tensor) -> Tensor:
        """(batch, periods, period_out). On a CPU a convolution, which does not copy the overlaps; on a GPU one of
        float32 would be rounded to tf32."""
        if padded.is_cuda:
            return padded.unfold(1, len(self.matrix), self._period) @ self.matrix
        return F.conv1d(padded[:, None], self.matrix.T[:, None], stride=self._period).transpose(1, 2)
