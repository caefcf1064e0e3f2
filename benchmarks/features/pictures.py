"""What the input of the two published networks costs: python -m benchmarks.features.pictures

On the CPU, one thread: spectrograms against librosa's, pictures against matplotlib's, per window. On a GPU, where there
is one: resampling, spectrogram and picture of a window beside the network that looks at it.
"""

import copy
import statistics
import time
from functools import partial

import numpy as np
import torch
from torch import nn

from genremill.bench import naive
from genremill.bench.random_weights import seeded_state
from worker.features.picture import decibels
from worker.features.resample import Resample
from worker.models import checkpoints, precision
from worker.models.networks import vgg, vit
from worker.models.networks.ccmusic import FRAMES, SAMPLE_RATE, PictureNetwork

NETWORKS = {"vit_b_16_mel": ("mel", vit), "vgg19_bn_cqt": ("cqt", vgg)}
REPEATS = 7
CPU_WINDOWS = 3  # of a batch: those of a track
GPU_WINDOWS = 256
RATES = {44_100: 64, 48_000: 1}  # Hz, and the blocks of Resample


def main() -> None:
    """Measure and print."""
    for name, (feature, module) in NETWORKS.items():
        network = checkpoints.build_with_weights(module, seeded_state(module)).requires_grad_(False)
        with torch.inference_mode():
            if torch.cuda.is_available():
                on_gpu(name, network.cuda(), module.WINDOW)
            else:
                on_cpu(name, feature, network, module.WINDOW)


def on_cpu(name: str, feature: str, network: PictureNetwork, samples: int) -> None:
    """CPU milliseconds a window, and the ratios to the published pipeline's."""
    torch.set_num_threads(1)
    waveforms = noise(CPU_WINDOWS, samples)
    lengths = torch.full((CPU_WINDOWS,), FRAMES)
    power = network.spectrogram(waveforms, lengths)
    values = decibels(power, power.amax((1, 2)))
    theirs = cpu_ms(lambda: naive.power(feature, waveforms[0].numpy()))
    ours = cpu_ms(lambda: network.power(waveforms)) / CPU_WINDOWS
    drawn = cpu_ms(lambda: naive.draw(values[0, :, :FRAMES].numpy()))
    picture = cpu_ms(lambda: network.picture(values, lengths)) / CPU_WINDOWS
    logits = cpu_ms(lambda: network.logits(torch.rand(CPU_WINDOWS, 3, 224, 224)), 3) / CPU_WINDOWS
    print(f"{name}, CPU ms a window ({samples / SAMPLE_RATE:.1f} s, context included):")
    print(f"  spectrogram {ours:.1f}, librosa's {theirs:.1f}: {theirs / ours:.1f} times as fast")
    print(f"  picture {picture:.1f}, matplotlib's {drawn:.1f}: {drawn / picture:.1f} times as fast")
    print(f"  network {logits:.0f}: the input costs {(ours + picture) / logits:.3f} of it")


def on_gpu(name: str, network: PictureNetwork, samples: int) -> None:
    """GPU microseconds a window, in batches of GPU_WINDOWS."""
    waveforms = noise(GPU_WINDOWS, samples).cuda()
    pcm = (waveforms * 32_767).short()
    lengths = torch.full((GPU_WINDOWS,), FRAMES, device="cuda")
    power = network.spectrogram(waveforms, lengths)
    values = decibels(power, power.amax((1, 2)))
    pictures = torch.rand(GPU_WINDOWS, 3, 224, 224, device="cuda") * 2 - 1
    print(f"{name}, {torch.cuda.get_device_name()}, batches of {GPU_WINDOWS}, us a window:")
    stages = {
        "int16 to float": lambda: pcm * (1 / 32_768),
        "spectrogram": lambda: network.power(waveforms),
        "decibels": lambda: decibels(power, power.amax((1, 2))),
        "picture": lambda: network.picture(values, lengths),
    }
    for rate, blocks in RATES.items():
        source, resample = noise(GPU_WINDOWS, samples * rate // SAMPLE_RATE).cuda(), Resample(rate, SAMPLE_RATE, blocks)
        stages[f"resampling from {rate}"] = partial(resample.cuda(), source)
    peaks = torch.full((GPU_WINDOWS,), torch.nan, device="cuda")
    stages["from int16 to the network's input"] = lambda: network.pictures(pcm * (1 / 32_768), lengths, peaks)
    costs = {stage: gpu_us(work) for stage, work in stages.items()}
    print("  " + ", ".join(f"{stage} {cost:.1f}" for stage, cost in costs.items()))
    needed, resampled = costs["from int16 to the network's input"], costs["resampling from 44100"]
    for mode, change in MODES.items():
        changed, inputs = change(copy.deepcopy(network), pictures)
        cost = gpu_us(lambda changed=changed, inputs=inputs: changed.logits(inputs))
        print(
            f"  network, {mode}: {cost:.1f} ({1e6 / cost:.0f} windows/s); the input costs {needed / cost:.3f} of it, "
            f"{(needed + resampled) / cost:.3f} with resampling from 44100"
        )
    float32(network, pictures)


def float32(network: nn.Module, pictures: torch.Tensor):
    """float32, without tf32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return network, pictures


def tf32(network: nn.Module, pictures: torch.Tensor):
    """float32 with tf32 products."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return network, pictures


def amp(network: nn.Module, pictures: torch.Tensor):
    """As a worker runs it."""
    dtype = precision.cast_to(network, precision.choose_dtype("auto", pictures.device))
    return network, pictures.to(dtype)


def compiled(network: nn.Module, pictures: torch.Tensor):
    """As a worker runs it with GENREMILL_COMPILE."""
    network, pictures = amp(network, pictures)
    network.logits = precision.Compiled(network.logits)
    return network, pictures


MODES = {"float32": float32, "tf32": tf32, "AMP": amp, "AMP, compiled": compiled}


def noise(windows: int, samples: int) -> torch.Tensor:
    """Waveforms (windows, samples)."""
    return torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (windows, samples)).astype(np.float32))


def cpu_ms(work, repeats: int = REPEATS) -> float:
    """Median CPU time of this thread."""
    work()
    spent = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return statistics.median(spent) * 1000


def gpu_us(work) -> float:
    """Median time on the GPU, a window of GPU_WINDOWS."""
    for _ in range(3):
        work()
    spent = []
    for _ in range(REPEATS):
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        work()
        ended.record()
        torch.cuda.synchronize()
        spent.append(began.elapsed_time(ended))
    return statistics.median(spent) * 1000 / GPU_WINDOWS


if __name__ == "__main__":
    main()
