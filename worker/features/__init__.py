"""From waveforms to what networks take: spectrograms and pictures, computed on the device that the waveform is on.

This is what a user's own model may import (see docs/models.md). Importing it costs no more than importing torch: what
else these classes need is imported when one of them is made.
"""

from worker.features.constant_q import ConstantQPower
from worker.features.mel import MelPower, mel_filters
from worker.features.picture import SpectrogramImage, decibels, first_frames
from worker.features.resample import Resample

__all__ = ["ConstantQPower", "MelPower", "Resample", "SpectrogramImage", "decibels", "first_frames", "mel_filters"]
