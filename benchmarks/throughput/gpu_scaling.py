"""Two GPUs against one, with windows that are in memory already: one process for each GPU, as the workers are.

`python -m benchmarks.throughput.gpu_scaling MODEL DEVICE AMP SECONDS` is such a process: it warms up,
prints a line, waits for a line, and prints what it predicted in so many seconds from then on.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import numpy as np

from benchmarks.throughput import product
from worker.gpu import nvml
from worker.gpu.devices import Device, choose_devices

WARM_UP_S = 5.0
TRACKS = 64  # different ones, in memory
WAITING = 1024  # tracks in the engine at a time


def main(options: argparse.Namespace) -> None:
    """Measure each set of devices, and print."""
    product.with_weights(options.model)
    rates = [measure(choose_devices(wanted), options) for wanted in options.devices]
    for wanted, rate in zip(options.devices, rates, strict=True):
        print(f"{options.model} on {wanted}: {rate:.1f} windows/s, {rate / rates[0]:.3f} of {options.devices[0]}")


def measure(devices: list[Device], options: argparse.Namespace) -> float:
    """Windows a second of all these devices together."""
    feeders = [start(device, options) for device in devices]
    try:
        for feeder in feeders:
            print(f"ready: {feeder.stdout.readline().strip()}", flush=True)
        for feeder in feeders:
            feeder.stdin.write("go\n")
            feeder.stdin.flush()
        say_contexts()
        results = [json.loads(feeder.stdout.readline()) for feeder in feeders]
    finally:
        for feeder in feeders:
            feeder.kill()
            feeder.wait()
    for result in results:
        print(result, flush=True)
    return sum(result["per_s"] for result in results)


def start(device: Device, options: argparse.Namespace) -> subprocess.Popen:
    """The process of a device, in the environment of a worker's."""
    arguments = (options.model, device.torch_name, options.amp, str(options.seconds))
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.throughput.gpu_scaling", *arguments],
        env={**os.environ, **device.environment, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def say_contexts() -> None:
    """Which processes compute on which GPU, as the driver has it: in a container these are the host's numbers."""
    for gpu in nvml.gpus():
        print(f"GPU {gpu.index}, {gpu.uuid}: {nvml.usage(gpu.uuid)}", flush=True)


class Feeder:
    """Keeps an engine busy with the same tracks, and counts the windows that come back."""

    def __init__(self, name: str, device: str, amp: str):
        from worker.inference.engine import Engine
        from worker.inference.executors import pin
        from worker.models import checkpoints

        self.model = checkpoints.load_model(checkpoints.find_checkpoint(name), device, amp)
        self.engine = Engine(self.model, device, 1)
        self.windowing = self.model.windowing()
        shape = (TRACKS, 3 * self.windowing.region_windows, self.model.window)
        self._tracks = np.random.default_rng(0).integers(-8000, 8000, shape, dtype=np.int16)
        pin(self._tracks)  # as a worker's shared memory is
        self._room = threading.Semaphore(WAITING)
        self.windows = 0
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        from worker.inference.requests import WindowRequest

        while True:
            for pcm in self._tracks:
                self._room.acquire()
                self.engine.submit(
                    WindowRequest(pcm, lambda: None, self._scored, self._refused, frames=self.windowing.frames)
                )

    def _scored(self, probabilities: np.ndarray) -> None:
        self.windows += len(probabilities)
        self._room.release()

    def _refused(self, error: Exception) -> None:
        print(f"the engine refused: {error}", flush=True)
        os._exit(1)


def feed(name: str, device: str, amp: str, seconds: str) -> None:
    """One device's process."""
    feeder = Feeder(name, device, amp)
    time.sleep(WARM_UP_S)
    print(json.dumps({"pid": os.getpid(), "dtype": feeder.model.dtype, **visible(device)}), flush=True)
    sys.stdin.readline()
    before, began = feeder.windows, time.perf_counter()
    time.sleep(float(seconds))
    per_s = (feeder.windows - before) / (time.perf_counter() - began)
    print(json.dumps({"pid": os.getpid(), "per_s": per_s, **asdict(feeder.engine.counters)}), flush=True)
    os._exit(0)  # the engine is in the middle of its work, which nobody needs


def visible(device: str) -> dict[str, str | int]:
    """The GPUs that this process sees."""
    import torch

    if device == "cpu":
        return {"device": "cpu"}
    seen = torch.cuda.get_device_properties(device)
    return {"device": seen.name, "uuid": str(seen.uuid), "visible": torch.cuda.device_count()}


if __name__ == "__main__":
    feed(*sys.argv[1:])
