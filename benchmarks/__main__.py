"""Measure one thing: python -m benchmarks [--data FOLDER] PART ...

Nothing else should run on the machine meanwhile. Each part prints what it measured and ends with exit status 1 when
something went wrong. `python -m benchmarks PART --help` describes a part and its options.
"""

import argparse
import importlib
import os
import platform
import shutil
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import settings
from settings import GenremillError
from worker.gpu import nvml

DATA_DIR = Path("/tmp/genremill-benchmark")
LOG_LINES = 60  # How many lines of the worker's log are shown after a failure.


class Part(NamedTuple):
    """A benchmark: the module with its add_arguments() and main(), and the question that it answers."""

    module: str
    question: str


PARTS = {
    "library": Part("throughput.library", "makes a folder of tracks for the other parts to work on"),
    "main-job": Part("throughput.main_job", "how fast is a run on a CPU, beside librosa and beside its own limit?"),
    "endtoend": Part("throughput.endtoend", "how fast is a run, beside its decode processes alone?"),
    "naive": Part("throughput.naive", "how fast is the published pipeline on the same tracks?"),
    "gpu-scaling": Part("throughput.gpu_scaling", "how much faster are two GPUs than one?"),
    "scan": Part("throughput.scan", "how fast is a folder scanned?"),
    "codecs": Part("decoding.codecs", "what does decoding cost for each codec, beside librosa and a bare decoder?"),
    "child-scaling": Part("decoding.child_scaling", "how does decoding grow with the number of decode processes?"),
    "slow-storage": Part("decoding.slow_storage", "what does reading ahead bring on slow storage?"),
    "pictures": Part("features.pictures", "what do spectrogram and picture cost, beside the network that reads them?"),
    "contention": Part("shared_gpu.contention", "what happens while another process takes and returns VRAM?"),
    "low-vram": Part("shared_gpu.low_vram", "what happens on a GPU that has only 2 GiB left?"),
}


def main() -> None:
    """Run the part that was asked for. Raises SystemExit with status 1 when it fails."""
    data_dir, name, arguments = parse_command_line()
    os.environ["GENREMILL_DATA_DIR"] = str(data_dir.absolute())  # before a part's imports read the settings
    part = importlib.import_module(f"benchmarks.{PARTS[name].module}")
    options = parse_part(name, part, arguments)
    for setting in ("device", "amp"):
        if getattr(options, setting, None):
            os.environ[f"GENREMILL_{setting.upper()}"] = getattr(options, setting)
    settings.load.cache_clear()  # The part's imports may have read the settings before.
    logs = data_dir / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    print(f"$ {' '.join(sys.argv[1:])}\n{describe_machine()}", flush=True)
    try:
        part.main(options)
    except GenremillError as error:
        raise SystemExit(f"benchmarks: {error}") from None
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(read_warnings(logs / "worker.log"))
        raise SystemExit(1) from None
    finally:
        sys.stdout.flush()


def parse_command_line() -> tuple[Path, str, list[str]]:
    """The data folder, the part's name and the arguments behind it."""
    width = max(map(len, PARTS))
    listed = "\n".join(f"  {name:{width}}  {part.question}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nparts:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA_DIR, help="folder for the database, the logs and the weights")
    parser.add_argument("part", choices=PARTS, metavar="PART", help="one of the parts above")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what the part takes")
    options = parser.parse_args()
    return options.data, options.part, options.arguments


def parse_part(name: str, part: ModuleType, arguments: list[str]) -> argparse.Namespace:
    """The options of a part, which its module defines."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=part.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    part.add_arguments(parser)
    return parser.parse_args(arguments)


def describe_machine() -> str:
    """Processor, cores, GPUs and versions, in one line."""
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    gpus = ", ".join(gpu.name for gpu in nvml.list_gpus()) or "no GPU"
    return f"{platform.machine()}, {cores} cores, {gpus}, Python {python}, torch {version('torch')}"


def read_warnings(log: Path) -> str:
    """The last lines of the worker's log that are more serious than INFO."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in lines if ": INFO/" not in line][-LOG_LINES:])


if __name__ == "__main__":
    main()
