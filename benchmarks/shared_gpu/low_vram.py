"""What happens on a GPU that has only 2 GiB left: python -m benchmarks low-vram FOLDER --model MODEL

FOLDER is what `python -m benchmarks library` made. Before the worker starts, a competing process takes all memory of
the card but 2 GiB, and keeps it. The benchmark fails when a track fails, is missing or is stored twice. Printed are the
batches that the worker chose, and the rate.
"""

import argparse

from benchmarks.shared_gpu.observed_run import add_run_arguments, analyse_beside_competitor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    add_run_arguments(parser, tracks=200)
    parser.add_argument("--leave-mib", type=int, default=2048, help="what the competitor leaves (default: 2048)")


def main(options: argparse.Namespace) -> None:
    """Measure with a competitor that is there before the worker; print."""
    analyse_beside_competitor(options, ["--leave-mib", str(options.leave_mib)], before_worker=True)
