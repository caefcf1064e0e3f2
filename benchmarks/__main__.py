"""What is measured on a machine with GPUs: python -m benchmarks PART ...

library    make FOLDER: tracks to measure on
endtoend   the product against its decode children alone
naive      the published pipeline, one track at a time, on the GPU in float32
neighbour  the product beside a process that takes and returns most of the card's memory
small      the product on a card that has 2 GiB left
scaling    two GPUs against one, with windows that are in memory already

Nothing else should run on the machine. Each part prints what it measured, and ends with 1 when something was wrong.
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

from worker.gpu import nvml


def main() -> None:
    """Run one part."""
    options = parse()
    os.environ["GENREMILL_DATA_DIR"] = str(options.data.absolute())
    for name in ("device", "amp"):
        if getattr(options, name, None):
            os.environ[f"GENREMILL_{name.upper()}"] = getattr(options, name)
    logs = options.data / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    print(f"$ {' '.join(sys.argv[1:])}\n{machine()}", flush=True)
    try:
        importlib.import_module(f"benchmarks.{options.module}").main(options)  # which reads the settings above
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(trouble(logs / "worker.log"))
        raise SystemExit(1) from None
    finally:
        sys.stdout.flush()


def parse() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/tmp/genremill-benchmark"), help="the data folder")
    parts = parser.add_subparsers(dest="part", required=True)

    library = parts.add_parser("library")
    library.set_defaults(module="library")
    library.add_argument("folder", type=Path)
    library.add_argument("--tracks", type=int, default=2000)
    library.add_argument("--processes", type=int, default=os.cpu_count())
    library.add_argument("--short", action="store_true", help="WAV of 10 s in place of MP3 and FLAC of 4 minutes")

    for name, module, tracks in (
        ("endtoend", "endtoend", 2000),
        ("naive", "naive", 8),
        ("neighbour", "crowded", 600),
        ("small", "crowded", 200),
    ):
        part = parts.add_parser(name)
        part.set_defaults(module=module)
        part.add_argument("folder", type=Path, help="what the part library made")
        part.add_argument("--model", required=True)
        part.add_argument("--tracks", type=int, default=tracks, help="0: of endtoend, only what --also says")
        part.add_argument("--device", default="cuda:0")
        part.add_argument("--amp", help="auto, bf16, fp16 or off; default: the setting's")
    parts.choices["endtoend"].add_argument("--also", type=int, default=0, help="tracks: runs of so many too, before")
    parts.choices["endtoend"].add_argument("--times", type=int, default=9, help="so many of those, each with others")
    parts.choices["endtoend"].add_argument("--repeat", type=int, default=1, help="so many runs of all tracks")
    for name in ("neighbour", "small"):
        parts.choices[name].add_argument("--coverage", choices=("regions", "full"), default="regions")
    parts.choices["neighbour"].add_argument("--seed", type=int, default=0)
    parts.choices["neighbour"].add_argument("--reserve", type=float, default=0.1, help="of the card, never taken")
    parts.choices["neighbour"].add_argument("--greedy", action="store_true", help="it takes what the worker gives back")
    parts.choices["small"].add_argument("--leave-mib", type=int, default=2048)

    scaling = parts.add_parser("scaling")
    scaling.set_defaults(module="scaling")
    scaling.add_argument("--model", required=True)
    scaling.add_argument("--devices", nargs="+", default=["cuda:0", "cuda:0,1"], help="the first is what counts as 1")
    scaling.add_argument("--seconds", type=float, default=20)
    scaling.add_argument("--amp", default="auto")
    return parser.parse_args()


def machine() -> str:
    """What this runs on."""
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    gpus = ", ".join(gpu.name for gpu in nvml.gpus()) or "no GPU"
    return f"{platform.machine()}, {cores} cores, {gpus}, Python {python}, torch {version('torch')}"


def trouble(log: Path, lines: int = 60) -> str:
    """The log's last lines that tell of more than daily business."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in text if ": INFO/" not in line][-lines:])


if __name__ == "__main__":
    main()
