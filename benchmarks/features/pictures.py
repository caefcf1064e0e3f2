"""What do spectrogram and picture cost, beside the network that reads them: python -m benchmarks pictures

Both published networks are measured, with random weights. On the CPU, in one thread: spectrograms beside librosa's and
pictures beside matplotlib's, for each window. On a GPU, where there is one: what resampling, spectrogram and picture of
a window take, beside the network in float32, with tf32 products and with AMP.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import Work
from genremill.bench import naive
from genremill.bench.random_weights import seeded_state
from worker.features.picture import decibels
from worker.features.resample import Resample
from worker.inference.batch import PCM_SCALE
from worker.models import checkpoints, precision
from worker.models.networks import vgg, vit
from worker.models.networks.ccmusic import FRAMES, SAMPLE_RATE, PictureNetwork

NETWORKS = {"vit_b_16_mel": ("mel", vit), "vgg19_bn_cqt": ("cqt", vgg)}  # The naive pipeline's spectrogram, the module.
PICTURE_SIDE = 224  # Pixels of a picture in each direction.
REPEATS = 7  # Of each measurement; the median counts.
NETWORK_REPEATS = 3  # The same for a network on a CPU, which takes a second.
GPU_WARM_UPS = 3  # Calls before a measurement on a GPU.
CPU_WINDOWS = 3  # Windows in a batch on a CPU: those of a track.
GPU_WINDOWS = 256  # Windows in a batch on a GPU.
RESAMPLING_BLOCKS = {44_100: 64, 48_000: 1}  # The rate of a file in Hz, and the blocks of Resample for it.
NOISE_LEVEL = 0.1  # Standard deviation of the noise that is measured with; full scale is 1.

Mode = Callable[[PictureNetwork, Tensor], tuple[PictureNetwork, Tensor]]  # Changes a network and its pictures.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This part has no options."""


def main(_options: argparse.Namespace) -> None:
    """Measure and print."""
    for name, (feature, module) in NETWORKS.items():
        network = checkpoints.build_with_weights(module, seeded_state(module)).requires_grad_(False)
        with torch.inference_mode():
            if torch.cuda.is_available():
                measure_on_gpu(name, network.cuda(), module.WINDOW)
            else:
                measure_on_cpu(name, feature, network, module.WINDOW)


def measure_on_cpu(name: str, feature: str, network: PictureNetwork, samples: int) -> None:
    """Print CPU milliseconds a window of so many samples, and the ratios to the published pipeline's."""
    torch.set_num_threads(1)
    waveforms = make_noise(CPU_WINDOWS, samples)
    lengths = torch.full((CPU_WINDOWS,), FRAMES)
    power = network.power(waveforms, lengths)
    values = decibels(power, power.amax((1, 2)))
    pictures = torch.rand(CPU_WINDOWS, 3, PICTURE_SIDE, PICTURE_SIDE)

    librosa_ms = median_cpu_ms(lambda: naive.power(feature, waveforms[0].numpy()))
    spectrogram_ms = median_cpu_ms(lambda: network.spectrogram(waveforms)) / CPU_WINDOWS
    matplotlib_ms = median_cpu_ms(lambda: naive.draw(values[0, :, :FRAMES].numpy()))
    picture_ms = median_cpu_ms(lambda: network.picture(values, lengths)) / CPU_WINDOWS
    network_ms = median_cpu_ms(lambda: network.logits(pictures), NETWORK_REPEATS) / CPU_WINDOWS
    print(f"{name}, CPU ms a window ({samples / SAMPLE_RATE:.1f} s, context included):")
    print(f"  spectrogram {spectrogram_ms:.1f}, librosa {librosa_ms:.1f}: {librosa_ms / spectrogram_ms:.1f} times less")
    print(f"  picture {picture_ms:.1f}, matplotlib {matplotlib_ms:.1f}: {matplotlib_ms / picture_ms:.1f} times less")
    share = (spectrogram_ms + picture_ms) / network_ms
    print(f"  network {network_ms:.0f}: its input costs {share:.3f} of it", flush=True)


def measure_on_gpu(name: str, network: PictureNetwork, samples: int) -> None:
    """Print GPU microseconds a window of so many samples, in batches of GPU_WINDOWS."""
    print(f"{name}, {torch.cuda.get_device_name()}, batches of {GPU_WINDOWS}, us a window:")
    spent_us = {step: median_gpu_us(work) for step, work in input_steps(network, samples).items()}
    print("  " + ", ".join(f"{step} {spent:.1f}" for step, spent in spent_us.items()))
    input_us = spent_us["from int16 to the network's input"]
    with_resampling_us = input_us + spent_us["resampling from 44100"]
    pictures = torch.rand(GPU_WINDOWS, 3, PICTURE_SIDE, PICTURE_SIDE, device="cuda") * 2 - 1
    for mode, change in MODES.items():
        changed, inputs = change(copy.deepcopy(network), pictures)
        network_us = median_gpu_us(partial(changed.logits, inputs))
        print(
            f"  network, {mode}: {network_us:.1f} ({1e6 / network_us:.0f} windows/s); its input costs "
            f"{input_us / network_us:.3f} of it, {with_resampling_us / network_us:.3f} with resampling from 44100",
            flush=True,
        )
    use_float32(network, pictures)


def input_steps(network: PictureNetwork, samples: int) -> dict[str, Work]:
    """The steps from samples to the network's input by name, each for a batch on the GPU."""
    waveforms = make_noise(GPU_WINDOWS, samples).cuda()
    pcm = (waveforms * 32_767).short()
    lengths = torch.full((GPU_WINDOWS,), FRAMES, device="cuda")
    peaks = torch.full((GPU_WINDOWS,), torch.nan, device="cuda")
    power = network.power(waveforms, lengths)
    values = decibels(power, power.amax((1, 2)))
    steps: dict[str, Work] = {
        "int16 to float": lambda: pcm * PCM_SCALE,
        "spectrogram": lambda: network.spectrogram(waveforms),
        "decibels": lambda: decibels(power, power.amax((1, 2))),
        "picture": lambda: network.picture(values, lengths),
    }
    for rate, blocks in RESAMPLING_BLOCKS.items():
        source = make_noise(GPU_WINDOWS, samples * rate // SAMPLE_RATE).cuda()
        steps[f"resampling from {rate}"] = partial(Resample(rate, SAMPLE_RATE, blocks).cuda(), source)
    steps["from int16 to the network's input"] = lambda: network.pictures(pcm * PCM_SCALE, lengths, peaks)
    return steps


def use_float32(network: PictureNetwork, pictures: Tensor) -> tuple[PictureNetwork, Tensor]:
    """float32, whose products are exact."""
    allow_tf32(False)
    return network, pictures


def use_tf32(network: PictureNetwork, pictures: Tensor) -> tuple[PictureNetwork, Tensor]:
    """float32 with tf32 products."""
    allow_tf32(True)
    return network, pictures


def use_amp(network: PictureNetwork, pictures: Tensor) -> tuple[PictureNetwork, Tensor]:
    """Mixed precision, as a worker uses it."""
    dtype = precision.cast_to(network, precision.choose_dtype("auto", pictures.device))
    return network, pictures.to(dtype)


MODES: dict[str, Mode] = {"float32": use_float32, "tf32": use_tf32, "AMP": use_amp}


def allow_tf32(allowed: bool) -> None:
    """Whether products of float32 may be computed in tf32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def make_noise(windows: int, samples: int) -> Tensor:
    """Noise, float32 (windows, samples)."""
    noise = np.random.default_rng(0).normal(0, NOISE_LEVEL, (windows, samples))
    return torch.from_numpy(noise.astype(np.float32))


def median_cpu_ms(work: Work, repeats: int = REPEATS) -> float:
    """The median CPU time of this thread in milliseconds."""
    work()
    spent_s = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        spent_s.append(time.thread_time() - began)
    return statistics.median(spent_s) * 1e3


def median_gpu_us(work: Work) -> float:
    """The median time on the GPU in microseconds, for one of GPU_WINDOWS windows."""
    for _ in range(GPU_WARM_UPS):
        work()
    spent_ms = []
    for _ in range(REPEATS):
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        work()
        ended.record()
        torch.cuda.synchronize()
        spent_ms.append(began.elapsed_time(ended))
    return statistics.median(spent_ms) * 1e3 / GPU_WINDOWS
