"""Keeps the engine of one device busy: python -m benchmarks.throughput.engine_load MODEL DEVICE AMP SECONDS

The part `gpu-scaling` starts this process for each device. It warms up, prints a line, waits for a line on its standard
input, and prints as JSON how many windows a second its engine predicted in so many seconds from then on.
"""

import json
import os
import sys
import threading
import time
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch

from genremill.bench.target import start_engine
from worker.inference.executors import pin
from worker.inference.requests import WindowRequest
from worker.models import checkpoints
from worker.windowing import REGIONS

WARM_UP_S = 5.0  # Seconds of work before the device is measured.
TRACKS = 64  # Different tracks in memory, which are predicted again and again.
REQUESTS_IN_ENGINE = 1024  # How many tracks are in the engine at a time.
NOISE_LEVEL = 8000  # Greatest sample of the noise that the tracks consist of; full scale is 32768.


class EngineLoad:
    """An engine that is fed the same tracks again and again, and the number of windows it has predicted."""

    def __init__(self, name: str, device: str, amp: str) -> None:
        self.model = checkpoints.load_model(checkpoints.find_checkpoint(name), device, amp)
        self.engine = start_engine(self.model, device)
        self.windows = 0
        windowing = self.model.windowing()
        self._cut = windowing.frame_cut
        shape = (TRACKS, REGIONS * windowing.region_windows, self.model.window)
        self._tracks = np.random.default_rng(0).integers(-NOISE_LEVEL, NOISE_LEVEL, shape, dtype=np.int16)
        if device != "cpu":
            pin(self._tracks)  # as a worker's shared memory is
        self._room = threading.Semaphore(REQUESTS_IN_ENGINE)
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        while True:
            for pcm in self._tracks:
                self._room.acquire()
                self.engine.submit(WindowRequest(pcm, lambda: None, self._count, _fail, cut=self._cut))

    def _count(self, probabilities: npt.NDArray[np.float32]) -> None:
        self.windows += len(probabilities)
        self._room.release()


def _fail(error: Exception) -> None:
    print(f"the engine could not predict a track: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def measure(name: str, device: str, amp: str, seconds: float) -> None:
    """Measure one device. Ends this process, whose engine is in the middle of its work."""
    load = EngineLoad(name, device, amp)
    time.sleep(WARM_UP_S)
    print(json.dumps({"pid": os.getpid(), "dtype": load.model.dtype, **describe_visible(device)}), flush=True)
    sys.stdin.readline()
    windows_before, began = load.windows, time.perf_counter()
    time.sleep(seconds)
    rate = (load.windows - windows_before) / (time.perf_counter() - began)
    print(json.dumps({"pid": os.getpid(), "windows_per_s": rate, **asdict(load.engine.counters)}), flush=True)
    os._exit(0)


def describe_visible(device: str) -> dict[str, str | int]:
    """The device's name, its UUID, and how many GPUs this process sees."""
    if device == "cpu":
        return {"device": "cpu"}
    gpu = torch.cuda.get_device_properties(device)
    return {"device": gpu.name, "uuid": str(gpu.uuid), "visible": torch.cuda.device_count()}


if __name__ == "__main__":
    measure(*sys.argv[1:4], seconds=float(sys.argv[4]))
