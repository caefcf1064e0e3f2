"""How much faster are two GPUs than one: python -m benchmarks gpu-scaling --model MODEL [--devices cuda:0 cuda:0,1]

Each GPU has a process of its own, as a worker is, whose engine predicts windows that are in memory already. The rates
of each set of devices are added up and compared with those of the first set.
"""

import argparse
import json
import subprocess
from collections.abc import Sequence

from benchmarks.throughput import product
from worker.gpu import nvml
from worker.gpu.devices import Device, choose_devices
from worker.python_process import ONE_THREAD, python_command, python_environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--devices",
        nargs="+",
        default=["cuda:0", "cuda:0,1"],
        help="sets of devices; the rate of the first counts as 1 (default: cuda:0 cuda:0,1)",
    )
    parser.add_argument("--seconds", type=float, default=20, help="how long windows are counted (default: 20)")
    parser.add_argument("--amp", default="auto", help="auto, bf16, fp16 or off (default: auto)")


def main(options: argparse.Namespace) -> None:
    """Measure each set of devices, and print."""
    product.find_or_seed_weights(options.model)
    rates = [measure(choose_devices(selection), options) for selection in options.devices]
    for selection, rate in zip(options.devices, rates, strict=True):
        print(f"{options.model} on {selection}: {rate:.1f} windows/s, {rate / rates[0]:.3f} of {options.devices[0]}")


def measure(devices: Sequence[Device], options: argparse.Namespace) -> float:
    """Windows a second of all these devices together. Raises RuntimeError when one of their processes ends early."""
    processes = [start_engine_load(device, options) for device in devices]
    try:
        for process in processes:
            print(f"ready: {read_line(process)}", flush=True)
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        print_processes_on_gpus()
        results = [json.loads(read_line(process)) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for result in results:
        print(result, flush=True)
    return sum(result["windows_per_s"] for result in results)


def start_engine_load(device: Device, options: argparse.Namespace) -> subprocess.Popen[str]:
    """The process that keeps a device busy, in the environment of a worker."""
    arguments = (options.model, device.torch_name, options.amp, str(options.seconds))
    return subprocess.Popen(
        python_command("benchmarks.throughput.engine_load", *arguments),
        env=python_environment(**device.environment, **ONE_THREAD),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints. Raises RuntimeError when it ends instead."""
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the process on a device ended with exit status {process.wait()}")
    return line.strip()


def print_processes_on_gpus() -> None:
    """Print which processes compute on which GPU. In a container the driver knows them by the host's process ids."""
    for gpu in nvml.list_gpus():
        print(f"GPU {gpu.index}, {gpu.uuid}: {nvml.read_usage(gpu.uuid)}", flush=True)
