"""soxr's resampler (quality HQ) as a product of matrices, for waveforms that are on a device."""

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# An output sample of soxr depends on no more than so many input samples on each side of it; on more in proportion
# where the rate falls.
REACH_SAMPLES = 200

# Input samples that change no output sample by more than this part of them are left out. soxr HQ computes in float32,
# whose noise is a tenth of this.
NEGLIGIBLE_GAIN = 1e-7


def soxr_matrix(rate_in: int, rate_out: int, blocks: int) -> tuple[npt.NDArray[np.float32], int, int]:
    """The matrix that turns some periods of input into the samples that soxr makes of them.

    Both rates are in Hz. A period is the shortest time in which both of them have a whole number of samples. The matrix
    is read out of soxr by resampling impulses: a row is what soxr answers to an impulse at one input sample.

    blocks: the periods that one product makes. Returns the matrix, (period_in + 2 * reach, period_out); period_in, the
    input samples of these periods; and reach, the input samples on each side of them that matter too.
    """
    import soxr  # Imported here, so that importing the features costs no more than importing torch.

    common = math.gcd(rate_in, rate_out)
    period_in, period_out = rate_in // common * blocks, rate_out // common * blocks
    reach = math.ceil(REACH_SAMPLES * max(rate_in / rate_out, 1.0))
    silent_periods = math.ceil(reach / period_in) + 2  # On each side of the period whose output is read.
    rows = np.zeros((period_in + 2 * reach, period_out))
    for row in range(len(rows)):
        impulse = np.zeros((2 * silent_periods + 1) * period_in)
        impulse[silent_periods * period_in - reach + row] = 1.0
        resampled = soxr.resample(impulse, rate_in, rate_out, "HQ")
        rows[row] = resampled[silent_periods * period_out : (silent_periods + 1) * period_out]
    audible_rows = np.flatnonzero(np.abs(rows).max(1) > NEGLIGIBLE_GAIN)
    left_out = int(min(audible_rows[0], len(rows) - 1 - audible_rows[-1]))
    return rows[left_out : len(rows) - left_out].astype(np.float32), period_in, reach - left_out


class Resample(nn.Module):
    """Waveforms (batch, samples) at rate_in -> (batch, ceil(samples * rate_out / rate_in)), as soxr HQ gives them.

    Both rates are in Hz. blocks: periods that one product makes, see soxr_matrix(). More of them make larger products,
    which are fast, but of which a larger part is multiplied by zeros.
    """

    matrix: Tensor

    def __init__(self, rate_in: int, rate_out: int, blocks: int = 1) -> None:
        super().__init__()
        matrix, self._period, self._reach = soxr_matrix(rate_in, rate_out, blocks)
        self._rate_in, self._rate_out = rate_in, rate_out
        self.register_buffer("matrix", torch.from_numpy(matrix), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        batch, samples = waveform.shape
        periods = math.ceil(samples / self._period)
        padded = F.pad(waveform, (self._reach, periods * self._period - samples + self._reach))
        resampled = self._multiply(padded).reshape(batch, -1)
        return resampled[:, : math.ceil(samples * self._rate_out / self._rate_in)]

    def _multiply(self, padded: Tensor) -> Tensor:
        """Every period's input, and its reach, times the matrix: (batch, periods, period_out).

        A CPU does it as a convolution, which does not copy where periods overlap. A GPU would round a convolution of
        float32 to tf32.
        """
        if padded.is_cuda:
            return padded.unfold(1, len(self.matrix), self._period) @ self.matrix
        return F.conv1d(padded[:, None], self.matrix.T[:, None], stride=self._period).transpose(1, 2)
