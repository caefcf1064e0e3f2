"""What happens while another process takes and returns VRAM: python -m benchmarks contention FOLDER --model MODEL

FOLDER is what `python -m benchmarks library` made. The product analyses it while a competing process takes up to nine
tenths of the card and returns them, at random, every 0.2 to 2 s. The benchmark fails when a track fails, is missing or
is stored twice. Printed are the batches that the worker chose, what the competitor held, and the rate.
"""

import argparse

from benchmarks.shared_gpu.observed_run import add_run_arguments, analyse_beside_competitor

RESERVE_SHARE = 0.1  # The part of the card that the competitor never takes, unless another one is asked for.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    add_run_arguments(parser, tracks=600)
    parser.add_argument("--seed", type=int, default=0, help="of what the competitor takes and when (default: 0)")
    parser.add_argument(
        "--reserve",
        type=float,
        default=RESERVE_SHARE,
        help=f"the part of the card that the competitor never takes (default: {RESERVE_SHARE})",
    )
    parser.add_argument("--greedy", action="store_true", help="the competitor takes what the worker gives back")


def main(options: argparse.Namespace) -> None:
    """Measure with a competitor that starts when the worker is warm; print."""
    arguments = ["--seed", str(options.seed), "--reserve", str(options.reserve)]
    arguments += ["--greedy"] if options.greedy else []
    analyse_beside_competitor(options, arguments, before_worker=False)
